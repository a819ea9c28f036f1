//! Authorization: permissions and roles, access records, audiences, tenants, and what callers can
//! grant.

mod access_records;
mod audiences;
mod catalog;
mod grantable_permissions;
pub mod privilege_model;
mod tenant_isolation;
mod visibility;
