//! The directory: organizations, users and members, copied from the product by repeated, idempotent
//! PUTs.

pub mod import;
pub mod members;
pub mod organizations;
pub mod users;
