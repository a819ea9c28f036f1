//! The plan of a population: the owner and the kind of each key. Each key of the same number has
//! the same ones in every database.

use keyswap::domain::{
    access::{
        audience::Identifier,
        owner::{Owner, OwnerScope, OwnerType},
        permission::PermissionSet,
    },
    common::id::{KeyId, ServiceClientId},
};
use serde_json::{Value, json};

use super::directory::Directory;

/// What the copies of a key have in common with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyKind {
    pub owner_type: OwnerType,
    /// The position of the permission set.
    pub permissions: usize,
    /// The position of the list of audiences.
    pub audiences: Option<usize>,
}

pub struct PlannedKey {
    pub owner: Owner,
    pub owner_scope: OwnerScope,
    pub kind: KeyKind,
}

pub struct Plan {
    pub permission_sets: Vec<PermissionSet>,
    pub audience_lists: Vec<Vec<Identifier>>,
    pub owners: Owners,
}

pub enum Owners {
    OneClient(ServiceClientId),
    Directory(Directory),
}

impl PlannedKey {
    /// The owner in the body of a request.
    pub fn owner_body(&self) -> Value {
        let mut body = json!({ "type": self.owner.kind().as_str() });
        if let Some(id) = self.owner.id() {
            body["id"] = json!(id);
        }
        if let (Owner::User(_), Some(organization)) = (&self.owner, self.owner_scope.organization()) {
            body["organization_id"] = json!(organization.as_str());
        }
        body
    }
}

impl Plan {
    pub fn permissions(&self, kind: KeyKind) -> &PermissionSet {
        &self.permission_sets[kind.permissions]
    }

    pub fn audiences(&self, kind: KeyKind) -> Option<&[Identifier]> {
        kind.audiences.map(|position| self.audience_lists[position].as_slice())
    }

    pub fn key(&self, number: u32) -> PlannedKey {
        match &self.owners {
            Owners::OneClient(client) => PlannedKey {
                owner: Owner::ServiceClient(client.clone()),
                owner_scope: OwnerScope::Account,
                kind: KeyKind { owner_type: OwnerType::ServiceClient, permissions: 0, audiences: None },
            },
            Owners::Directory(directory) => directory.key(number),
        }
    }

    /// The body of the access record that is created for the key of this number.
    pub fn access_record(&self, number: u32, key: &PlannedKey, id: &KeyId) -> Option<Value> {
        match &self.owners {
            Owners::OneClient(_) => None,
            Owners::Directory(directory) => directory.access_record(number, key, id),
        }
    }
}
