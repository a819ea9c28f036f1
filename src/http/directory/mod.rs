pub mod import;
pub mod members;
pub mod organizations;
pub mod users;
