//! An invalid request is answered in the error format of its path, with the right status and
//! headers, and has no side effects.

mod all_faults;
mod bodies;
mod credentials;
mod null_members;
mod parameters;
mod paths;
mod undocumented;
mod unsupported;

use serde_json::Value;

use crate::support::Server;

/// Returns all state that a refused request could have changed.
pub async fn stored_state(server: &Server) -> Vec<Value> {
    let mut found = server.events().await;
    for list in ["api-keys", "service-clients", "permissions", "audiences", "signing-keys"] {
        let path = if list == "signing-keys" { "/v1/signing-keys".to_owned() } else { format!("/v1/{list}?limit=100") };
        let mut list = server.manage("GET", &path, None, 200).await;
        // Reading the lists updates the last use of the administrator's key.
        for key in list["data"].as_array_mut().unwrap() {
            key.as_object_mut().unwrap().remove("last_used_at");
            key.as_object_mut().unwrap().remove("credentials");
        }
        // Only `data` is compared: the list of signing keys also reports replicas and planned
        // steps, which depend on the time.
        found.push(list["data"].take());
    }
    found
}
