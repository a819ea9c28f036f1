pub mod check_access;
pub mod introspect;
pub mod resolve;
pub mod revoke;
pub mod validate;
