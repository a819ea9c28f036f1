pub mod members;
pub mod organizations;
pub mod owner_deletions;
pub mod users;
