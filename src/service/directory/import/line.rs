//! Parses a line into a row. The fields are those of the PUT bodies, and all faults are reported
//! together.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    domain::common::json::Object,
    service::{
        InputFault,
        common::json_errors,
        directory::{members::MemberPut, organizations::OrganizationPut, users::UserPut},
    },
};

/// The parsed content of a line.
#[derive(Debug, Clone)]
pub enum Row {
    Organization(OrganizationPut),
    User(UserPut),
    Member(MemberPut),
}

/// Maximum number of faults reported for one line.
const MAX_FAULTS_PER_LINE: usize = 16;

/// Parses a line, or returns all faults that can be found without the database.
pub fn read(text: &[u8]) -> Result<Row, Vec<InputFault>> {
    let mut members = MemberReader::of(text).map_err(|fault| vec![fault])?;
    let kind = members.remaining.remove("type");
    let row = match kind.as_ref().and_then(Value::as_str) {
        Some("organization") => members.organization().map(Row::Organization),
        Some("user") => members.user().map(Row::User),
        Some("member") => members.read_member().map(Row::Member),
        Some(_) | None => return Err(vec![InputFault::new("type", "must be organization, user or member")]),
    };
    let faults = members.end();
    match row {
        Some(row) if faults.is_empty() => Ok(row),
        Some(_) | None => Err(truncate_faults(faults)),
    }
}

/// Keeps the first `MAX_FAULTS_PER_LINE` faults and appends the number of omitted ones.
pub fn truncate_faults(mut faults: Vec<InputFault>) -> Vec<InputFault> {
    let more = faults.len().saturating_sub(MAX_FAULTS_PER_LINE);
    if more > 0 {
        faults.truncate(MAX_FAULTS_PER_LINE);
        faults.push(InputFault::new("row", format!("and {more} more")));
    }
    faults
}

/// The members of a JSON object, removed as they are read.
struct MemberReader {
    remaining: Map<String, Value>,
    known: Vec<&'static str>,
    faults: Vec<InputFault>,
}

impl MemberReader {
    fn of(text: &[u8]) -> Result<Self, InputFault> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let read: Result<Object, _> = serde_path_to_error::deserialize(&mut deserializer);
        let Object(remaining) = read.map_err(|error| match error.inner().classify() {
            serde_json::error::Category::Data => json_errors::to_input_fault("row", &error),
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => {
                InputFault::new("row", format!("is not JSON: see column {}", error.inner().column()))
            }
        })?;
        deserializer.end().map_err(|_| InputFault::new("row", "must be one JSON object, without text after it"))?;
        Ok(Self { remaining, known: Vec::new(), faults: Vec::new() })
    }

    fn organization(&mut self) -> Option<OrganizationPut> {
        let (id, name, metadata) = (self.read_required("id"), self.take("name"), self.take("metadata"));
        Some(OrganizationPut { id: id?, name, metadata })
    }

    fn user(&mut self) -> Option<UserPut> {
        let (id, blocked) = (self.read_required("id"), self.take_present("blocked"));
        let (profile, metadata, roles) = (self.take("profile"), self.take("metadata"), self.take_present("roles"));
        Some(UserPut { id: id?, blocked, profile, metadata, roles })
    }

    fn read_member(&mut self) -> Option<MemberPut> {
        let (organization, user) = (self.read_required("organization_id"), self.read_required("user_id"));
        let (roles, metadata) = (self.take_present("roles"), self.take("metadata"));
        Some(MemberPut { organization: organization?, user: user?, roles, metadata })
    }

    fn read_required<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        self.known.push(name);
        match self.remaining.remove(name) {
            Some(value) => self.read(name, value),
            None => {
                self.faults.push(InputFault::new(name, "is missing"));
                None
            }
        }
    }

    /// An absent member is empty or stays as it is, as in a PUT.
    fn take<T: DeserializeOwned + Default>(&mut self, name: &'static str) -> T {
        self.known.push(name);
        let remaining = self.remaining.remove(name);
        remaining.and_then(|value| self.read(name, value)).unwrap_or_default()
    }

    /// An absent member stays as it is. `null` would mean nothing.
    fn take_present<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        self.known.push(name);
        let remaining = self.remaining.remove(name)?;
        self.read(name, remaining)
    }

    fn read<T: DeserializeOwned>(&mut self, name: &str, value: Value) -> Option<T> {
        match serde_path_to_error::deserialize(value) {
            Ok(value) => Some(value),
            Err(error) => {
                let InputFault { field, message } = json_errors::to_input_fault("", &error);
                let between = if field.is_empty() || field.starts_with('[') { "" } else { "." };
                self.faults.push(InputFault { field: format!("{name}{between}{field}"), message });
                None
            }
        }
    }

    /// Reports the members that were not read as unknown.
    fn end(self) -> Vec<InputFault> {
        let Self { remaining, known, mut faults } = self;
        let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
        let message = format!("not recognized: expected one of {}", known.join(", "));
        faults.extend(remaining.keys().map(|name| InputFault::new(json_errors::truncate_name(name), message.clone())));
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<(String, String)> {
        let faults = read(text.as_bytes()).unwrap_err();
        faults.into_iter().map(|fault| (fault.field, fault.message)).collect()
    }

    #[test]
    fn every_fault_of_a_line_is_reported_at_once_and_no_value_is_quoted() {
        let found =
            faults(r#"{"type":"user","id":"a*b","blocked":"SECRET, expected SECRET","roles":["ok","SECRET!"],"x":1}"#);
        let fields: Vec<_> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["id", "blocked", "roles[1]", "x"]);
        assert_eq!(found[1].1, "must be a boolean");
        assert!(!format!("{found:?}").contains("SECRET"), "{found:?}");
        assert_eq!(faults(r#"{"type":"member"}"#).len(), 2, "both ids are missing");
        let many: String = (0..100).map(|n| format!(r#","x{n}":1"#)).collect();
        let found = faults(&format!(r#"{{"type":"organization"{many}}}"#));
        assert_eq!((found.len(), found[16].1.as_str()), (17, "and 85 more"));
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for (text, field) in [
            ("{", "row"),
            ("[]", "row"),
            ("{}{}", "row"),
            ("\u{feff}{}", "row"),
            ("{}", "type"),
            (r#"{"type":1}"#, "type"),
            (r#"{"type":"role","name":"a"}"#, "type"),
            (r#"{"type":"user","type":"user","id":"a"}"#, "row"),
            (r#"{"type":"organization","id":"a","name":5}"#, "name"),
            (r#"{"type":"user","id":"a","metadata":{"a":1,"a":2}}"#, "metadata"),
            (r#"{"type":"user","id":"a","blocked":null}"#, "blocked"),
            (r#"{"type":"user","id":"a","roles":null}"#, "roles"),
            (r#"{"type":"member","organization_id":"a","user_id":"b","roles":null}"#, "roles"),
        ] {
            assert_eq!(faults(text)[0].0, field, "{text}");
        }
        assert!(read(b"\xff{}").is_err());
        assert!(read(br#" {"type":"organization","id":"a","name":null} "#).is_ok());
    }
}
