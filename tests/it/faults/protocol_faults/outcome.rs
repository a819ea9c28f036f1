//! The check after the faults: every change has happened as a whole or not at all, and every
//! acknowledged one has happened.

use std::collections::BTreeMap;

use serde_json::Value;

use super::client::{KeyRecord, Knowledge};
use crate::faults::process::Running;

impl Knowledge {
    /// Whether the client may find that the change has happened, or not.
    fn allows(self, has_happened: bool) -> bool {
        match self {
            Self::NotSent => !has_happened,
            Self::Unknown => true,
            Self::Acknowledged => has_happened,
        }
    }
}

/// Compares the keys and events with what the clients know.
pub async fn assert_whole(server: &Running, admin: &str, records: &[KeyRecord]) {
    let keys = read_keys(server, admin).await;
    let events = server.event_counts(admin).await;
    let none = Vec::new();
    for record in records {
        let found = keys.get(&record.name).unwrap_or(&none);
        assert!(found.len() <= 1, "{record:?} exists several times: {found:?}");
        assert!(record.creation.allows(!found.is_empty()), "{record:?}: {found:?}");
        let Some(key) = found.first() else { continue };
        let id = key["id"].as_str().unwrap();
        assert!(record.id.as_ref().is_none_or(|known| known == id), "{record:?}: {key}");
        let count = |kind: &str| events.get(&(kind.to_owned(), id.to_owned())).copied().unwrap_or(0);
        assert_eq!(count("api_key.created"), 1, "{record:?}");
        let rotations = count("api_key.rotated");
        assert!(rotations <= 1 && record.rotation.allows(rotations == 1), "{record:?}: {rotations} rotations");
        let is_revoked = key["state"] == "revoked";
        assert_eq!(count("api_key.revoked"), usize::from(is_revoked), "{record:?}: {key}");
        assert!(record.revocation.allows(is_revoked), "{record:?}: {key}");
    }
}

/// Every key, by its name.
async fn read_keys(server: &Running, admin: &str) -> BTreeMap<String, Vec<Value>> {
    let mut keys: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/api-keys?limit=100{after}");
        let page: Value = server.call(admin, "GET", &path, None).await.json().await.unwrap();
        for key in page["data"].as_array().unwrap() {
            keys.entry(key["name"].as_str().unwrap().to_owned()).or_default().push(key.clone());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return keys,
        }
    }
}
