//! Parses the configuration file (TOML or YAML). All faults are reported together, each with its
//! path.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    domain::{
        access::{
            permission::{PermissionName, PermissionSet},
            token_profile::TokenProfilePatch,
        },
        common::{
            json::{Metadata, StrictJson},
            key_text::contains_api_key,
            name::DisplayName,
        },
    },
    service::{
        Error, InputFault,
        access::{audience_changes::NewAudience, permissions::PermissionInput, roles::RoleInput},
    },
};

/// The syntax of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    Toml,
    Yaml,
}

/// The configuration that a file describes. A section that the file does not contain is `None`, as
/// opposed to an empty list, for which `prune` removes every resource of that kind.
#[derive(Debug, Clone, Default)]
pub struct DesiredConfiguration {
    pub permissions: Option<Vec<PermissionInput>>,
    pub roles: Option<Vec<RoleInput>>,
    pub audiences: Option<Vec<NewAudience>>,
    pub service_clients: Option<Vec<DesiredServiceClient>>,
}

impl DesiredConfiguration {
    /// All permission names in the file, in whichever section.
    pub(crate) fn permission_names(&self) -> BTreeSet<PermissionName> {
        let of_roles = self.roles.iter().flatten().map(|role| &role.permissions);
        let of_audiences = self.audiences.iter().flatten().filter_map(|audience| audience.permissions.as_ref());
        let of_clients = self.service_clients.iter().flatten().map(|client| &client.permissions);
        let carried = of_roles.chain(of_audiences).chain(of_clients).flat_map(PermissionSet::iter);
        let own = self.permissions.iter().flatten().map(|permission| &permission.name);
        own.chain(carried).cloned().collect()
    }
}

/// A service client of the account, identified by its name.
#[derive(Debug, Clone)]
pub struct DesiredServiceClient {
    pub name: DisplayName,
    pub permissions: PermissionSet,
    pub metadata: Metadata,
}

/// Parses a file. Syntax errors of TOML or YAML are reported one at a time, with line and column;
/// all other faults are reported together.
pub fn read(text: &str, format: FileFormat) -> Result<DesiredConfiguration, Error> {
    let parsed = match format {
        FileFormat::Toml => toml::from_str::<StrictJson>(text).map_err(|error| error.to_string()),
        FileFormat::Yaml => serde_saphyr::from_str::<StrictJson>(text).map_err(|error| error.to_string()),
    };
    let StrictJson(value) = parsed.map_err(|fault| Error::invalid("the file", fault.trim_end()))?;
    let mut faults = Vec::new();
    let root = match convert_dates_to_strings(value) {
        Value::Object(members) => members,
        // An empty YAML file parses as null.
        Value::Null => Map::new(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(Error::invalid("the file", "must contain permission, role, audience or service_client"));
        }
    };
    let mut root = TableReader { path: String::new(), members: root, known: Vec::new(), faults: &mut faults };
    let desired = DesiredConfiguration {
        permissions: root.section("permission", "name", read_permission),
        roles: root.section("role", "name", read_role),
        audiences: root.section("audience", "identifier", read_audience),
        service_clients: root.section("service_client", "name", read_service_client),
    };
    root.report_unknown_members();
    if faults.is_empty() { Ok(desired) } else { Err(Error::Invalid(faults)) }
}

fn read_permission(table: &mut TableReader<'_>) -> Option<PermissionInput> {
    let (name, description) = (table.required("name"), table.optional("description"));
    let assignable_to = table.required_list("assignable_to");
    Some(PermissionInput { name: name?, description, assignable_to: assignable_to?.into_iter().collect() })
}

fn read_role(table: &mut TableReader<'_>) -> Option<RoleInput> {
    let (name, description) = (table.required("name"), table.optional("description"));
    let permissions = table.required_list("permissions").map(|names| table.permission_set(names));
    Some(RoleInput { name: name?, description, permissions: permissions? })
}

fn read_audience(table: &mut TableReader<'_>) -> Option<NewAudience> {
    let identifier = table.required("identifier");
    let permissions = table.list("permissions").map(|names| table.permission_set(names));
    let token_ttl = table.optional("token_ttl");
    // An omitted member is reset to its default and does not keep its stored value: the file is the
    // complete description.
    let token_profile = TokenProfilePatch {
        algorithm: Some(table.optional("algorithm")),
        typ: Some(table.optional("typ")),
        scope_claim: Some(table.optional("scope_claim")),
        aud_claim: Some(table.optional("aud_claim")),
        claims: Some(table.optional("claims")),
        status: Some(table.optional("status")),
    };
    let record_bound = table.optional("record_bound").unwrap_or_default();
    Some(NewAudience { identifier: identifier?, permissions, token_ttl, token_profile, record_bound })
}

fn read_service_client(table: &mut TableReader<'_>) -> Option<DesiredServiceClient> {
    let name = table.required("name");
    let permissions = table.list("permissions").map(|names| table.permission_set(names)).unwrap_or_default();
    let metadata = table.optional("metadata").unwrap_or_default();
    Some(DesiredServiceClient { name: name?, permissions, metadata })
}

/// A table whose members are removed as they are read. Members left at the end are unknown.
struct TableReader<'a> {
    path: String,
    members: Map<String, Value>,
    known: Vec<&'static str>,
    faults: &'a mut Vec<InputFault>,
}

impl TableReader<'_> {
    fn fault(&mut self, member: &str, message: impl Into<String>) {
        self.faults.push(InputFault::new(format!("{}.{member}", self.path), message));
    }

    fn take(&mut self, member: &'static str) -> Option<Value> {
        self.known.push(member);
        self.members.remove(member).filter(|value| !value.is_null())
    }

    fn parse<T: DeserializeOwned>(&mut self, member: &str, value: Value) -> Option<T> {
        serde_json::from_value(value).map_err(|error| self.fault(member, describe(&error.to_string()))).ok()
    }

    fn optional<T: DeserializeOwned>(&mut self, member: &'static str) -> Option<T> {
        let value = self.take(member)?;
        self.parse(member, value)
    }

    fn required<T: DeserializeOwned>(&mut self, member: &'static str) -> Option<T> {
        match self.take(member) {
            Some(value) => self.parse(member, value),
            None => {
                self.fault(member, "is missing");
                None
            }
        }
    }

    fn list<T: DeserializeOwned>(&mut self, member: &'static str) -> Option<Vec<T>> {
        let Value::Array(items) = self.take(member)? else {
            self.fault(member, "must be a list");
            return Some(Vec::new());
        };
        let items = items.into_iter().enumerate();
        Some(items.filter_map(|(position, item)| self.parse(&format!("{member}[{position}]"), item)).collect())
    }

    fn required_list<T: DeserializeOwned>(&mut self, member: &'static str) -> Option<Vec<T>> {
        let list = self.list(member);
        if list.is_none() {
            self.fault(member, "is missing; use [] for an empty list");
        }
        list
    }

    fn permission_set(&mut self, names: Vec<PermissionName>) -> PermissionSet {
        PermissionSet::try_from(names.into_iter().collect::<BTreeSet<_>>()).unwrap_or_else(|error| {
            self.fault("permissions", error.to_string());
            PermissionSet::default()
        })
    }

    /// Reads one section: a list of tables with unique names.
    fn section<T>(
        &mut self,
        kind: &'static str,
        name_member: &str,
        read: fn(&mut TableReader<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.known.push(kind);
        let Value::Array(items) = self.members.remove(kind)? else {
            let message = format!("must be a list, [[{kind}]] in TOML; use an empty list for no {kind}");
            self.faults.push(InputFault::new(kind, message));
            return None;
        };
        let (mut all, mut seen) = (Vec::new(), BTreeMap::<String, usize>::new());
        for (position, item) in items.into_iter().enumerate() {
            let Value::Object(members) = item else {
                self.faults.push(InputFault::new(format!("{kind}[{position}]"), "must be a table"));
                continue;
            };
            // Faults refer to a table by its name if that is valid, otherwise by its position.
            let name = members.get(name_member).and_then(Value::as_str);
            let path = match name.filter(|name| name.parse::<DisplayName>().is_ok()) {
                Some(name) => {
                    *seen.entry(name.to_owned()).or_default() += 1;
                    format!("{kind}[{name}]")
                }
                None => format!("{kind}[{position}]"),
            };
            let mut table = TableReader { path, members, known: Vec::new(), faults: &mut *self.faults };
            all.extend(read(&mut table));
            table.report_unknown_members();
        }
        for (name, count) in seen.into_iter().filter(|(_, count)| *count > 1) {
            self.faults.push(InputFault::new(format!("{kind}[{name}]"), format!("occurs {count} times")));
        }
        Some(all)
    }

    fn report_unknown_members(self) {
        for name in self.members.keys() {
            // A member name may be an API key pasted in the wrong place; it is not quoted.
            let name = if contains_api_key(name) { "…" } else { name };
            let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
            self.faults.push(InputFault::new(path, format!("is unknown; expected {}", self.known.join(", "))));
        }
    }
}

/// Messages of serde itself quote values, which may be misplaced secrets, so only the expectation
/// is kept. Messages of the domain types quote no values.
fn describe(text: &str) -> String {
    match text.split_once(", expected ") {
        Some((_, expected)) => format!("must be {expected}"),
        None => text.to_owned(),
    }
}

/// TOML has a date type and JSON has none: dates become strings, as they are written in the file.
fn convert_dates_to_strings(value: Value) -> Value {
    match value {
        Value::Object(members) => match members.get("$__toml_private_datetime") {
            Some(date) => date.clone(),
            None => Value::Object(
                members.into_iter().map(|(name, value)| (name, convert_dates_to_strings(value))).collect(),
            ),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(convert_dates_to_strings).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str, format: FileFormat) -> Vec<String> {
        let Err(Error::Invalid(faults)) = read(text, format) else { panic!("{text} was accepted") };
        faults.into_iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect()
    }

    #[test]
    fn every_fault_names_its_place() {
        let text = r#"
            extra = 1
            role = [{ name = "a", permissions = ["x", "no space", 3] }, { name = "a", permissions = [] }, 7]
            [[permission]]
            name = "projects:read"
            assignable_to = ["user", "robot"]
            colour = "red"
            [[permission]]
            description = " x"
            [[audience]]
            identifier = "a b"
            token_ttl = "soon"
            claims = 3
            [[service_client]]
            name = "ci"
            permissions = "x"
            metadata = []
        "#;
        let found = faults(text, FileFormat::Toml);
        let begins = [
            "permission[projects:read].assignable_to[1]: must be one of `user`",
            "permission[projects:read].colour: is unknown; expected name, description, assignable_to",
            "permission[1].name: is missing",
            "permission[1].description: a description is",
            "permission[1].assignable_to: is missing; use [] for an empty list",
            "role[a].permissions[1]: a permission has",
            "role[a].permissions[2]: must be a string",
            "role[2]: must be a table",
            "role[a]: occurs 2 times",
            "audience[a b].identifier: an audience is",
            "audience[a b].token_ttl: give a length of time",
            "audience[a b].claims: must be an object of claims",
            "service_client[ci].permissions: must be a list",
            "service_client[ci].metadata: must be a JSON object",
            "extra: is unknown; expected permission, role, audience, service_client",
        ];
        assert_eq!(found.len(), begins.len(), "{found:#?}");
        for (fault, begin) in found.iter().zip(begins) {
            assert!(fault.starts_with(begin), "{fault}\nis not\n{begin}");
        }
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        for (text, format) in [
            ("[[role]]\nname = \n", FileFormat::Toml),
            ("[[role]]\nname = 'a'\nname = 'b'\n", FileFormat::Toml),
            ("role:\n  - name: [\n", FileFormat::Yaml),
            ("role:\n  - name: a\n    name: b\n", FileFormat::Yaml),
        ] {
            let found = faults(text, format);
            assert!(found.len() == 1 && found[0].contains("line "), "{text}: {found:?}");
        }
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                    g: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
        assert_eq!(faults(bomb, FileFormat::Yaml).len(), 1, "refused as it is read, and not member by member");
    }

    #[test]
    fn a_missing_section_is_not_an_empty_one() {
        let wanted = read("role = []", FileFormat::Toml).unwrap();
        assert!(wanted.roles.is_some_and(|roles| roles.is_empty()) && wanted.permissions.is_none());
        assert!(read("", FileFormat::Yaml).unwrap().roles.is_none());
        assert_eq!(faults("role:\n", FileFormat::Yaml).len(), 1, "it could mean either");
        let dated =
            read("[[service_client]]\nname = 'a'\nmetadata = { since = 2030-01-31 }", FileFormat::Toml).unwrap();
        assert_eq!(dated.service_clients.unwrap()[0].metadata.to_json(), r#"{"since":"2030-01-31"}"#);
    }
}
