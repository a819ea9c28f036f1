//! All faults of a JSON body at once. serde stops at the first fault, so the body is deserialized
//! again without each faulty part, until the rest has no fault.

use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::{
    http::extract::{
        argument_faults::MAX_FAULTS,
        json_tree::{JsonTree, Step},
        missing_members::find_missing,
        part_error::PartError,
    },
    service::{
        InputFault,
        common::json_errors::{PathPart, format_path, remove_values},
    },
};

/// Number of bytes that are deserialized to find the faults of a body. The faults of a large body
/// are looked for fewer times, because a client without a key can send it as well.
const MAX_EXAMINED_SIZE: usize = 256 * 1024;

/// Returns the faults of a body in the order in which serde finds them, then the required members
/// that are still missing. The unknown members of an object are found together. Empty if the body
/// has no fault. `size` is the number of its bytes.
pub fn find_faults<T: DeserializeOwned + ToSchema>(body: JsonTree, size: usize) -> Vec<InputFault> {
    let (missing, has_all_missing) = find_missing::<T>(&body);
    let mut finder = FaultFinder { rest: body, removed: Vec::new(), faults: Vec::new() };
    let passes = (MAX_EXAMINED_SIZE / size.max(1)).max(1);
    let is_examined = (0..passes).any(|_| !finder.remove_first::<T>());
    for member in missing {
        finder.report(member, MISSING);
    }
    let FaultFinder { mut faults, .. } = finder;
    if !is_examined || !has_all_missing || faults.len() == MAX_FAULTS {
        faults.push((Vec::new(), "may have more faults: correct these first".to_owned()));
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
    /// Removes the first fault that serde finds. Returns whether another pass can find more.
    fn remove_first<T: DeserializeOwned>(&mut self) -> bool {
        let Err(error) = serde_path_to_error::deserialize::<_, T>(&self.rest) else { return false };
        let faulty_part = self.rest.locate(error.path());
        self.remove_fault(faulty_part, error.into_inner()) && self.faults.len() < MAX_FAULTS
    }

    /// Reports a fault and removes the faulty part. Returns whether something was removed, so that
    /// another pass can find more.
    fn remove_fault(&mut self, mut faulty_part: Vec<Step>, error: PartError) -> bool {
        match error {
            PartError::Invalid(message) => {
                // A value without a part that was removed may be faulty for that reason alone.
                if !self.removed.iter().any(|removed| removed.starts_with(&faulty_part)) {
                    self.report(faulty_part.clone(), remove_values(&message));
                }
                self.remove(faulty_part)
            }
            PartError::Missing(name) => {
                let member = member_of(&faulty_part, name);
                if !self.removed.contains(&member) {
                    self.report(member, MISSING);
                }
                // serde reports a missing member after it has read all others, so the object has no
                // other fault.
                self.remove(faulty_part)
            }
            PartError::Repeated(name) => {
                self.report(member_of(&faulty_part, name), "is repeated: send it once");
                self.rest.remove_repetitions(&faulty_part, name) || self.remove(faulty_part)
            }
            PartError::Unknown { message, accepted, is_in_path: true, .. } => {
                faulty_part.pop();
                // An object may have thousands of them, so they take one pass.
                let names = self.rest.remove_others(&faulty_part, accepted);
                let message = remove_values(&message);
                for name in &names {
                    self.report(member_of(&faulty_part, name), message.as_str());
                }
                !names.is_empty()
            }
            PartError::Unknown { name, message, is_in_path: false, .. } => {
                let member = member_of(&faulty_part, &name);
                self.report(member.clone(), remove_values(&message));
                self.remove(member)
            }
        }
    }

    fn report(&mut self, at: Vec<Step>, message: impl Into<String>) {
        if self.faults.len() < MAX_FAULTS && self.faults.iter().all(|(other, _)| *other != at) {
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
    Step::Member(name.to_owned()).below(parent)
}

fn format_steps(steps: &[Step]) -> String {
    let parts = steps.iter().map(|step| match step {
        Step::Member(name) => PathPart::Name(name),
        Step::Item(position) => PathPart::Position(*position),
    });
    format_path("body", parts)
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
        let faults = find_faults::<T>(serde_json::from_str(body).unwrap(), body.len());
        faults.into_iter().map(|fault| (fault.field, fault.message)).collect()
    }

    fn fields<T: DeserializeOwned + ToSchema>(body: &str) -> Vec<String> {
        faults::<T>(body).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn each_faulty_part_is_named_once_in_the_order_in_which_serde_finds_it() {
        let cases: &[(&str, &[&str])] = &[
            (r#"{"name":"a","count":1}"#, &[]),
            ("[]", &["body"]),
            ("{}", &["name", "count"]),
            (r#"{"x":1,"name":null,"y":2}"#, &["x", "y", "name", "count"]),
            (
                r#"{"count":"1","permissions":["a b","a",1],"name":{"a":1}}"#,
                &["count", "permissions[0]", "permissions[2]", "name"],
            ),
            (r#"{"name":"a","name":"","count":1,"count":2}"#, &["name", "count"]),
            (r#"{"name":"a","count":1,"owner":{"type":"user","id":1}}"#, &["owner"]),
            (r#"{"name":"a","count":1,"owner":{"type":"user","x":1,"y":2}}"#, &["owner.x", "owner.y"]),
            (r#"{"name":"","count":1,"owner":{"type":"service_client"}}"#, &["name", "owner.id"]),
            (r#"{"name":"","count":1,"owner":{"type":"absent"}}"#, &["name", "owner.type"]),
            (r#"{"name":"","count":1,"owner":{"type":"user","owner":1}}"#, &["name", "owner.owner"]),
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
            format!(r#"{{"name":"SECRET\u0000","permissions":[{}]}}"#, vec![r#""SECRET SECRET""#; 100].join(","));
        let found = faults::<Body>(&body);
        assert_eq!((found.len(), found[MAX_FAULTS].0.as_str()), (MAX_FAULTS + 1, "body"));
        assert!(!format!("{found:?}").contains("SECRET"), "{found:?}");
    }

    #[test]
    fn a_large_body_is_examined_fewer_times() {
        let body = |members: &str| format!(r#"{{"name":"a","count":1,{members}}}"#);
        let found = fields::<Body>(&body(&format!(r#""permissions":[{}]"#, vec![r#""a b""#; 10_000].join(","))));
        assert_eq!(found, ["permissions[0]", "permissions[1]", "permissions[2]", "permissions[3]", "body"]);
        // One pass finds all unknown members of an object, and one search all missing members.
        let unknown: String = (0..40).map(|n| format!(r#","x{n}":1"#)).collect();
        let permissions = vec![r#""a""#; 15_000].join(",");
        let found = fields::<Body>(&body(&format!(r#""permissions":[{permissions}]{unknown}"#)));
        assert_eq!((found.len(), found[0].as_str(), found[31].as_str(), found[32].as_str()), (33, "x0", "x31", "body"));
        let statements = vec!["{}"; 20_000].join(",");
        let found = fields::<NewAccessRecord>(&format!(r#"{{"statements":[{statements}]}}"#));
        assert_eq!((found.len(), found[0].as_str(), found[32].as_str()), (33, "statements[0].roles", "body"));
    }
}
