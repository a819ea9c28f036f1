//! The population of one service client that owns every key.

use keyswap::domain::access::permission::PermissionSet;
use serde_json::json;

use super::{
    ManagementApi,
    plan::{Owners, Plan},
    text,
};

const PERMISSIONS: [&str; 5] = ["builds:read", "builds:start", "logs:read", "projects:read", "projects:write"];
/// The number of these permissions that each key has.
const PER_KEY: usize = 3;

/// Creates the permissions and the service client.
pub fn create(api: &ManagementApi<'_>) -> Plan {
    for name in PERMISSIONS {
        api.put(&format!("/v1/permissions/{name}"), &json!({ "assignable_to": ["service_client"] }));
    }
    let client = api.post("/v1/service-clients", &json!({ "name": "Load", "permissions": PERMISSIONS }), 201);
    let permissions: PermissionSet =
        PERMISSIONS.iter().take(PER_KEY).map(|name| name.parse().expect("a permission")).collect();
    Plan {
        permission_sets: vec![permissions],
        audience_lists: Vec::new(),
        owners: Owners::OneClient(text(&client, "id").parse().expect("the id of a service client")),
    }
}
