pub mod access_records;
pub mod audiences;
pub mod permissions;
pub mod roles;
