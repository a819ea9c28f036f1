//! The changes that a configuration file makes, as text and as JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::{
    access::{
        audience::{AcceptedPermissions, Audience},
        permission::Permission,
        role::Role,
    },
    directory::service_client::ServiceClient,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Create,
    Update,
    Delete,
}

/// The change of one resource.
#[derive(Debug, Clone, Serialize)]
pub struct ResourceChange {
    pub action: Action,
    pub kind: &'static str,
    pub name: String,
    /// Absent if the name identifies the resource, and on a planned creation.
    pub id: Option<String>,
    pub members: Vec<MemberChange>,
}

/// One changed member with its old and its new value. `null`: not set.
#[derive(Debug, Clone, Serialize)]
pub struct MemberChange {
    pub member: String,
    pub before: Value,
    pub after: Value,
}

/// A resource that can be compared by everything a file can set on it.
pub(crate) trait ComparableResource {
    const KIND: &'static str;
    /// The name, and the id of a resource that its name does not identify.
    fn identity(&self) -> (&str, Option<&str>);
    /// A JSON object. The members of its objects are compared one by one.
    fn members(&self) -> Value;
}

/// The change from `before` to `after`; `None` if no member that a file can set differs.
pub(crate) fn compare<T: ComparableResource>(before: Option<&T>, after: Option<&T>) -> Option<ResourceChange> {
    let (name, id) = after.or(before)?.identity();
    let action = match (before, after) {
        (None, _) => Action::Create,
        (Some(_), Some(_)) => Action::Update,
        (Some(_), None) => Action::Delete,
    };
    let (mut old, mut new) = (collect_members(before), collect_members(after));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
    let mut members = Vec::new();
    for member in names {
        let (before, after) = (old.remove(&member).unwrap_or_default(), new.remove(&member).unwrap_or_default());
        if before != after {
            members.push(MemberChange { member, before, after });
        }
    }
    let is_change = action != Action::Update || !members.is_empty();
    is_change.then(|| ResourceChange {
        action,
        kind: T::KIND,
        name: name.to_owned(),
        id: id.map(str::to_owned),
        members,
    })
}

fn collect_members<T: ComparableResource>(resource: Option<&T>) -> BTreeMap<String, Value> {
    let mut members = BTreeMap::new();
    if let Some(Value::Object(own)) = resource.map(T::members) {
        for (name, value) in own {
            if let Value::Object(inner) = value {
                members.extend(inner.into_iter().map(|(member, value)| (format!("{name}.{member}"), value)));
            } else {
                members.insert(name, value);
            }
        }
    }
    members
}

impl fmt::Display for ResourceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.action {
            Action::Create => '+',
            Action::Update => '~',
            Action::Delete => '-',
        };
        write!(f, "{sign} {} {}", self.kind, self.name)?;
        // A creation shows only its lists, which are what it allows; a deletion shows no members;
        // an update shows every changed member.
        let is_listed = |member: &&MemberChange| match self.action {
            Action::Update => true,
            Action::Create => member.after.is_array(),
            Action::Delete => false,
        };
        for (position, member) in self.members.iter().filter(is_listed).enumerate() {
            write!(f, "{} {}", if position == 0 { ":" } else { "," }, member.member)?;
            member.write(f, self.action == Action::Create)?;
        }
        Ok(())
    }
}

impl MemberChange {
    fn write(&self, f: &mut fmt::Formatter<'_>, is_new: bool) -> fmt::Result {
        let (before, after) = match (&self.before, &self.after) {
            (Value::Array(before), Value::Array(after)) => (before.as_slice(), after.as_slice()),
            (Value::Null, Value::Array(after)) if is_new => (&[][..], after.as_slice()),
            (before, after) => return write!(f, " {} -> {}", format_value(before), format_value(after)),
        };
        for added in after.iter().filter(|item| !before.contains(item)) {
            write!(f, " +{}", format_list_item(added))?;
        }
        for removed in before.iter().filter(|item| !after.contains(item)) {
            write!(f, " -{}", format_list_item(removed))?;
        }
        Ok(())
    }
}

fn format_value(value: &Value) -> String {
    if value.is_null() { "(not set)".to_owned() } else { value.to_string() }
}

fn format_list_item(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl ComparableResource for Permission {
    const KIND: &'static str = "permission";
    fn identity(&self) -> (&str, Option<&str>) {
        (self.name.as_str(), None)
    }
    fn members(&self) -> Value {
        json!({ "description": self.description, "assignable_to": self.assignable_to })
    }
}

impl ComparableResource for Role {
    const KIND: &'static str = "role";
    fn identity(&self) -> (&str, Option<&str>) {
        (self.name.as_str(), None)
    }
    fn members(&self) -> Value {
        json!({ "description": self.description, "permissions": self.permissions })
    }
}

impl ComparableResource for Audience {
    const KIND: &'static str = "audience";
    fn identity(&self) -> (&str, Option<&str>) {
        (self.identifier.as_str(), Some(self.id.as_str()))
    }
    fn members(&self) -> Value {
        let permissions = match &self.accepts {
            AcceptedPermissions::Product | AcceptedPermissions::Management => None,
            AcceptedPermissions::Only(listed) => Some(listed),
        };
        let profile = &self.token_profile;
        json!({
            "permissions": permissions,
            "token_ttl": self.token_ttl,
            "algorithm": profile.algorithm,
            "typ": profile.typ,
            "scope_claim": profile.scope_claim,
            "aud_claim": profile.aud_claim,
            "status": profile.status,
            "claims": profile.claims,
            "record_bound": self.record_bound,
        })
    }
}

impl ComparableResource for ServiceClient {
    const KIND: &'static str = "service_client";
    fn identity(&self) -> (&str, Option<&str>) {
        (self.name.as_str(), Some(self.id.as_str()))
    }
    fn members(&self) -> Value {
        json!({ "permissions": self.permissions, "metadata": self.metadata })
    }
}
