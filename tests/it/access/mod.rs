//! Authorization: permissions and roles, access records, audiences, tenants, and what callers can
//! grant.

mod access_records;
mod audiences;
mod catalog;
mod grantable_permissions;
mod matrix;
mod offered_permissions;
pub mod privilege_model;
mod record_bound;
mod resource_bounds;
mod tenant_isolation;
pub mod trust;
mod visibility;
