//! Key statistics of a deployment.

use serde::Serialize;
use utoipa::ToSchema;

/// Number of keys by state, regardless of owner status. Deleted keys are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = KeysByState)]
pub struct KeyCounts {
    pub active: i64,
    pub suspended: i64,
    pub expired: i64,
    pub revoked: i64,
    /// Active keys that expire within 14 days.
    #[serde(rename = "expiring")]
    pub expiring_soon: i64,
}
