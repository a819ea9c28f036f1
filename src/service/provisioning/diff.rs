//! The changes that a configuration file makes, as text and as JSON.

use std::{collections::BTreeMap, fmt};

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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    pub action: Action,
    pub kind: &'static str,
    pub name: String,
    /// Absent if the name identifies the resource, and on a planned creation.
    pub id: Option<String>,
    pub members: Vec<Member>,
}

/// One changed member with its old and its new value. `null`: not set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Member {
    pub member: String,
    pub before: Value,
    pub after: Value,
}

/// A resource that can be compared by everything a file can set on it.
pub(crate) trait Described {
    const KIND: &'static str;
    fn name(&self) -> &str;
    fn id(&self) -> Option<&str>;
    fn members(&self) -> BTreeMap<String, Value>;
}

/// The change from `before` to `after`; `None` if no member that a file can set differs.
pub(crate) fn change<T: Described>(before: Option<&T>, after: Option<&T>) -> Option<Change> {
    let subject = after.or(before)?;
    let action = match (before, after) {
        (None, _) => Action::Create,
        (Some(_), Some(_)) => Action::Update,
        (Some(_), None) => Action::Delete,
    };
    let members_of = |thing: Option<&T>| thing.map(T::members).unwrap_or_default();
    let (mut old, mut new) = (members_of(before), members_of(after));
    let mut names: Vec<_> = old.keys().chain(new.keys()).cloned().collect();
    names.sort();
    names.dedup();
    let members: Vec<_> = names
        .into_iter()
        .map(|name| {
            let (before, after) = (old.remove(&name).unwrap_or_default(), new.remove(&name).unwrap_or_default());
            Member { member: name, before, after }
        })
        .filter(|member| member.before != member.after)
        .collect();
    if action == Action::Update && members.is_empty() {
        return None;
    }
    let (name, id) = (subject.name().to_owned(), subject.id().map(str::to_owned));
    Some(Change { action, kind: T::KIND, name, id, members })
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.action {
            Action::Create => '+',
            Action::Update => '~',
            Action::Delete => '-',
        };
        write!(f, "{sign} {} {}", self.kind, self.name)?;
        // A creation shows only its lists, which are what it allows; a deletion shows no members;
        // an update shows every changed member.
        let shown = |member: &&Member| match self.action {
            Action::Update => true,
            Action::Create => member.after.is_array(),
            Action::Delete => false,
        };
        for (position, member) in self.members.iter().filter(shown).enumerate() {
            write!(f, "{} {}", if position == 0 { ":" } else { "," }, member.member)?;
            member.write(f, self.action == Action::Create)?;
        }
        Ok(())
    }
}

impl Member {
    fn write(&self, f: &mut fmt::Formatter<'_>, is_new: bool) -> fmt::Result {
        let (before, after) = match (&self.before, &self.after) {
            (Value::Array(before), Value::Array(after)) => (before.as_slice(), after.as_slice()),
            (Value::Null, Value::Array(after)) if is_new => (&[][..], after.as_slice()),
            (before, after) => return write!(f, " {} -> {}", text(before), text(after)),
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

fn text(value: &Value) -> String {
    if value.is_null() { "(not set)".to_owned() } else { value.to_string() }
}

fn format_list_item(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn flatten_object(name: &str, value: Value) -> impl Iterator<Item = (String, Value)> {
    let members = if let Value::Object(members) = value { members } else { serde_json::Map::new() };
    members.into_iter().map(move |(member, value)| (format!("{name}.{member}"), value))
}

fn collect_members<const N: usize>(members: [(&str, Value); N]) -> BTreeMap<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Described for Permission {
    const KIND: &'static str = "permission";
    fn name(&self) -> &str {
        self.name.as_str()
    }
    fn id(&self) -> Option<&str> {
        None
    }
    fn members(&self) -> BTreeMap<String, Value> {
        collect_members([("description", json!(self.description)), ("assignable_to", json!(self.assignable_to))])
    }
}

impl Described for Role {
    const KIND: &'static str = "role";
    fn name(&self) -> &str {
        self.name.as_str()
    }
    fn id(&self) -> Option<&str> {
        None
    }
    fn members(&self) -> BTreeMap<String, Value> {
        collect_members([("description", json!(self.description)), ("permissions", json!(self.permissions))])
    }
}

impl Described for Audience {
    const KIND: &'static str = "audience";
    fn name(&self) -> &str {
        self.identifier.as_str()
    }
    fn id(&self) -> Option<&str> {
        Some(self.id.as_str())
    }
    fn members(&self) -> BTreeMap<String, Value> {
        let permissions = match &self.accepts {
            AcceptedPermissions::Product | AcceptedPermissions::Management => Value::Null,
            AcceptedPermissions::Listed(listed) => json!(listed),
        };
        let mut members = collect_members([
            ("permissions", permissions),
            ("token_ttl", json!(self.token_ttl)),
            ("algorithm", json!(self.token_profile.algorithm)),
            ("typ", json!(self.token_profile.typ)),
            ("scope_claim", json!(self.token_profile.scope_claim)),
            ("aud_claim", json!(self.token_profile.aud_claim)),
            ("status", json!(self.token_profile.status)),
        ]);
        members.extend(flatten_object("claims", json!(self.token_profile.claims)));
        members
    }
}

impl Described for ServiceClient {
    const KIND: &'static str = "service_client";
    fn name(&self) -> &str {
        self.name.as_str()
    }
    fn id(&self) -> Option<&str> {
        Some(self.id.as_str())
    }
    fn members(&self) -> BTreeMap<String, Value> {
        let mut members = collect_members([("permissions", json!(self.permissions))]);
        members.extend(flatten_object("metadata", json!(self.metadata)));
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::common::time::Timestamp;

    fn role(description: Option<&str>, permissions: &[&str]) -> Role {
        Role {
            name: "editor".parse().unwrap(),
            description: description.map(|text| text.parse().unwrap()),
            permissions: permissions.iter().map(|name| name.parse().unwrap()).collect(),
            created_at: Timestamp::from_millis(0),
            version: 1,
        }
    }

    #[test]
    fn a_change_reads_as_a_line() {
        let (before, after) = (role(None, &["a", "b"]), role(Some("Edits"), &["b", "c"]));
        let shown =
            |before: Option<&Role>, after: Option<&Role>| change(before, after).map(|change| change.to_string());
        assert_eq!(shown(None, Some(&after)).unwrap(), "+ role editor: permissions +b +c");
        assert_eq!(
            shown(Some(&before), Some(&after)).unwrap(),
            r#"~ role editor: description (not set) -> "Edits", permissions +c -a"#
        );
        assert_eq!(shown(Some(&before), None).unwrap(), "- role editor");
        assert_eq!(shown(Some(&before), Some(&Role { version: 9, ..before.clone() })), None);
    }
}
