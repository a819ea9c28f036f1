pub mod access_records;
pub mod audience_changes;
pub mod audiences;
pub mod last_administrator;
pub mod owners;
pub mod permissions;
pub mod roles;
pub mod visibility;
