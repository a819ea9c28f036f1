//! What is wrong with a request is said in the form its path speaks, with the right status and headers, and leaves nothing behind.

mod bodies;
mod credentials;
mod parameters;
mod paths;

use serde_json::Value;

use crate::support::Server;

/// Everything that a refused request could have left behind.
pub async fn traces(server: &Server) -> Vec<Value> {
    let mut found = server.events().await;
    for list in ["api-keys", "service-clients", "permissions", "audiences", "signing-keys"] {
        let path = if list == "signing-keys" { "/v1/signing-keys".to_owned() } else { format!("/v1/{list}?limit=100") };
        let mut list = server.manage("GET", &path, None, 200).await;
        // The administrator's key is used to look.
        for key in list["data"].as_array_mut().unwrap() {
            key.as_object_mut().unwrap().remove("last_used_at");
            key.as_object_mut().unwrap().remove("credentials");
        }
        // Who is up, and what comes next, tells the time.
        found.push(list["data"].take());
    }
    found
}
