//! All faults of a JSON body at once. serde stops at the first fault, so the body is deserialized
//! again without each faulty part, until the rest has no fault.

use serde::de::DeserializeOwned;
use utoipa::{
    ToSchema,
    openapi::{
        RefOr, Schema, Type,
        schema::{ArrayItems, SchemaType},
    },
};

use crate::{
    http::extract::json_tree::{JsonTree, PartError, Step},
    service::{
        InputFault,
        common::json_errors::{remove_values, truncate_path},
    },
};

/// Maximum number of faults that a response lists. It bounds the work for a body.
pub const MAX_FAULTS: usize = 32;

/// Returns the faults of a body in the order of the document, followed by the members that are
/// missing. Empty if it has none.
pub fn find_faults<T: DeserializeOwned + ToSchema>(body: JsonTree) -> Vec<InputFault> {
    let missing = find_missing::<T>(&body);
    let mut found = FaultFinder { rest: body, removed: Vec::new(), faults: Vec::new() };
    while found.faults.len() < MAX_FAULTS {
        let Err(error) = serde_path_to_error::deserialize::<_, T>(&found.rest) else { break };
        let at = found.rest.locate(error.path());
        if !found.remove_fault(at, error.into_inner()) {
            break;
        }
    }
    for at in missing {
        found.report(at, MISSING);
    }
    let FaultFinder { mut faults, .. } = found;
    faults.truncate(MAX_FAULTS);
    if faults.len() == MAX_FAULTS {
        faults.push((Vec::new(), format!("may have more faults than these {MAX_FAULTS}: correct them first")));
    }
    faults.into_iter().map(|(at, message)| InputFault::new(format_steps(&at), message)).collect()
}

const MISSING: &str = "is missing";

struct FaultFinder {
    /// The body without its faulty parts.
    rest: JsonTree,
    removed: Vec<Vec<Step>>,
    faults: Vec<(Vec<Step>, String)>,
}

impl FaultFinder {
    /// Reports a fault and removes what has it. Returns whether there is a rest to examine.
    fn remove_fault(&mut self, mut at: Vec<Step>, error: PartError) -> bool {
        match error {
            PartError::Invalid(message) => {
                // A value without a part that was removed may be faulty for that reason alone.
                if !self.removed.iter().any(|removed| removed.starts_with(&at)) {
                    self.report(at.clone(), remove_values(&message));
                }
                self.remove(at)
            }
            PartError::Missing(name) => {
                let member = member_of(&at, name);
                if !self.removed.contains(&member) {
                    self.report(member, MISSING);
                }
                // serde has examined its other members before.
                self.remove(at)
            }
            PartError::Repeated(name) => {
                self.report(member_of(&at, name), "is repeated: send it once");
                self.rest.remove_repetitions(&at, name) || self.remove(at)
            }
            PartError::Unknown { name, message } => {
                let member = Step::Member(name);
                // The path ends before the member if serde has buffered the object.
                if at.last() != Some(&member) {
                    at.push(member);
                }
                self.report(at.clone(), remove_values(&message));
                self.remove(at)
            }
        }
    }

    fn report(&mut self, at: Vec<Step>, message: impl Into<String>) {
        if self.faults.iter().all(|(other, _)| *other != at) {
            self.faults.push((at, message.into()));
        }
    }

    fn remove(&mut self, at: Vec<Step>) -> bool {
        let is_removed = self.rest.remove(&at);
        self.removed.push(at);
        is_removed
    }
}

fn member_of(parent: &[Step], name: &str) -> Vec<Step> {
    [parent, &[Step::Member(name.to_owned())]].concat()
}

/// Formats a path as `statements[0].roles`.
fn format_steps(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Member(name) if path.is_empty() => path.push_str(name),
            Step::Member(name) => path.extend([".", name]),
            Step::Item(position) => path.push_str(&format!("[{position}]")),
        }
    }
    if path.is_empty() { "body".to_owned() } else { truncate_path(&path) }
}

/// Returns the required members that a body lacks, by its schema. serde names one of them only.
fn find_missing<T: ToSchema>(body: &JsonTree) -> Vec<Vec<Step>> {
    let mut components = Vec::new();
    T::schemas(&mut components);
    let mut missing = Vec::new();
    collect_missing((&T::schema(), &components), body, &[], &mut missing);
    missing
}

/// A schema, and the schemas that it refers to.
type SchemaWithComponents<'a> = (&'a RefOr<Schema>, &'a [(String, RefOr<Schema>)]);

fn collect_missing(
    (schema, components): SchemaWithComponents<'_>,
    value: &JsonTree,
    at: &[Step],
    missing: &mut Vec<Vec<Step>>,
) {
    let mut visit = |schema: &RefOr<Schema>, value: &JsonTree, at: &[Step]| {
        collect_missing((schema, components), value, at, missing);
    };
    let schema = match schema {
        RefOr::T(schema) => schema,
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            if let Some((_, schema)) = components.iter().find(|(other, _)| other == name) {
                visit(schema, value, at);
            }
            return;
        }
    };
    match (schema, value) {
        (Schema::Object(object), JsonTree::Object(members)) => {
            for (name, member) in members {
                if let Some(schema) = object.properties.get(name) {
                    visit(schema, member, &member_of(at, name));
                }
            }
            let is_absent = |name: &&String| members.iter().all(|(other, _)| other != *name);
            missing.extend(object.required.iter().filter(is_absent).map(|name| member_of(at, name)));
        }
        (Schema::Array(array), JsonTree::List(items)) => {
            let ArrayItems::RefOrSchema(schema) = &array.items else { return };
            for (position, item) in items {
                visit(schema, item, &[at, &[Step::Item(*position)]].concat());
            }
        }
        (Schema::OneOf(one_of), _) => {
            // One that may be `null`. Of others, serde says which one it is.
            let mut choices = one_of.items.iter().filter(|schema| !is_null(schema));
            if let (Some(schema), None) = (choices.next(), choices.next()) {
                visit(schema, value, at);
            }
        }
        (_, _) => {}
    }
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::{
        domain::{access::permission::PermissionSet, common::name::DisplayName},
        service::{access::access_records::NewAccessRecord, api_keys::RequestedOwner},
    };

    #[derive(Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by serde alone")]
    struct Body {
        name: DisplayName,
        owner: Option<RequestedOwner>,
        #[serde(default)]
        permissions: PermissionSet,
        count: u32,
    }

    fn faults<T: DeserializeOwned + ToSchema>(body: &str) -> Vec<(String, String)> {
        let faults = find_faults::<T>(serde_json::from_str(body).unwrap());
        faults.into_iter().map(|fault| (fault.field, fault.message)).collect()
    }

    fn fields<T: DeserializeOwned + ToSchema>(body: &str) -> Vec<String> {
        faults::<T>(body).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn each_faulty_part_is_named_once_in_the_order_of_the_document() {
        let cases: &[(&str, &[&str])] = &[
            (r#"{"name":"a","count":1}"#, &[]),
            ("[]", &["body"]),
            ("{}", &["name", "count"]),
            (r#"{"x":1,"name":null,"y":2}"#, &["x", "name", "y", "count"]),
            (
                r#"{"count":"1","permissions":["a b","a",1],"name":{"a":1}}"#,
                &["count", "permissions[0]", "permissions[2]", "name"],
            ),
            (r#"{"name":"a","name":"","count":1,"count":2}"#, &["name", "count"]),
            (r#"{"name":"a","count":1,"owner":{"type":"user","id":1}}"#, &["owner"]),
            (r#"{"name":"a","count":1,"owner":{"type":"user","x":1,"y":2}}"#, &["owner.x", "owner.y"]),
            (r#"{"name":"","count":1,"owner":{"type":"service_client"}}"#, &["name", "owner.id"]),
            (r#"{"name":"","count":1,"owner":{"type":"absent"}}"#, &["name", "owner"]),
        ];
        for (body, expected) in cases {
            assert_eq!(fields::<Body>(body), *expected, "{body}");
        }
        let nested = r#"{"name":1,"principals":[{"type":"x"},{"id":1,"x":1}],"statements":[{"roles":"a"},{}]}"#;
        let expected = [
            "name",
            "principals[0].type",
            "principals[1].id",
            "principals[1].x",
            "principals[1].type",
            "statements[0].roles",
            "statements[1].roles",
            "principals[0].id",
            "statements[0].resources",
            "statements[1].resources",
        ];
        assert_eq!(fields::<NewAccessRecord>(nested), expected);
    }

    #[test]
    fn faults_are_bounded_and_quote_no_value() {
        let body =
            format!(r#"{{"name":"SECRET\u0000","permissions":[{}]}}"#, vec![r#""SECRET SECRET""#; 1000].join(","));
        let found = faults::<Body>(&body);
        assert_eq!((found.len(), found[MAX_FAULTS].0.as_str()), (MAX_FAULTS + 1, "body"));
        assert!(!format!("{found:?}").contains("SECRET"), "{found:?}");
    }
}
