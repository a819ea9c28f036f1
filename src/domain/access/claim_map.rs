//! Claims that an audience maps from metadata: name of the claim, source object and member.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::domain::{
    access::profile_error::TokenProfileError,
    common::{
        key_text::contains_api_key,
        text::{impl_serde_as_text, text_enum},
    },
};

/// Maximum number of claims that an audience maps.
pub const MAX_CLAIMS: usize = 16;
/// Maximum length of all mapped claims of a token together, in bytes of JSON: a token must fit an
/// HTTP header.
pub const MAX_BYTES: usize = 4096;

/// Claims whose registered meaning affects decisions (RFC 7519 §4.1, RFC 9068 §2.2, RFC 8693 §4,
/// RFC 7800 and the header parameters of RFC 7515), the members of an introspection response that
/// decide (RFC 7662 §2.2), and the claims that Keyswap writes. A mapped
/// claim cannot replace any of them.
const RESERVED_CLAIMS: &str = "_claim_names _claim_sources acr act active alg amr at_hash aud auth_time authorization_details azp c_hash client_id \
    cnf crit cty entitlements events exp groups iat iss jku jti jwk key_id kid may_act nbf nonce org_id roles \
    s_hash scope scp sid status sub sub_id sub_jwk sub_type toe token_type txn typ x5c x5t x5t#S256 x5u";

/// Name of a mapped claim: 1 to 64 printable ASCII characters without quotes and backslashes, and
/// not reserved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimName(String);

impl ClaimName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClaimName {
    type Err = InvalidMappedClaim;
    fn from_str(text: &str) -> Result<Self, InvalidMappedClaim> {
        let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte);
        if !(1..=64).contains(&text.len()) || !text.bytes().all(is_allowed) || contains_api_key(text) {
            Err(InvalidMappedClaim::Name)
        } else if RESERVED_CLAIMS.split(' ').any(|name| name == text) {
            Err(InvalidMappedClaim::Reserved)
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl_serde_as_text!(ClaimName);

text_enum! {
    /// Object that a claim is taken from.
    pub enum ClaimSourceObject {
        ApiKeyMetadata = "api_key.metadata",
        ServiceClientMetadata = "service_client.metadata",
        UserMetadata = "user.metadata",
        UserProfile = "user.profile",
        OrganizationMetadata = "organization.metadata",
    }
}

/// Source of a claim: an object, and the path of member names in it, separated by dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimSource {
    object: ClaimSourceObject,
    path: String,
}

impl FromStr for ClaimSource {
    type Err = InvalidMappedClaim;
    fn from_str(text: &str) -> Result<Self, InvalidMappedClaim> {
        let found = ClaimSourceObject::ALL.into_iter().find_map(|object| {
            let path = text.strip_prefix(object.as_str())?.strip_prefix('.')?;
            Some(Self { object, path: path.to_owned() })
        });
        let source = found.ok_or(InvalidMappedClaim::ClaimSource)?;
        let names = source.path.split('.');
        let ok = text.len() <= 256
            && !text.contains(char::is_control)
            && !contains_api_key(text)
            && names.clone().count() <= 16
            && names.clone().all(|name| !name.is_empty());
        if ok { Ok(source) } else { Err(InvalidMappedClaim::ClaimSource) }
    }
}

impl fmt::Display for ClaimSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.object.as_str(), self.path)
    }
}
impl_serde_as_text!(ClaimSource);

/// Reason why a mapped claim is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMappedClaim {
    #[error(
        "the name of a claim has 1 to 64 printable ASCII characters, no space, quote or backslash, and no API key in it"
    )]
    Name,
    #[error("this claim is reserved and cannot be mapped from metadata: choose another name")]
    Reserved,
    #[error(
        "a claim is taken from api_key.metadata, service_client.metadata, user.metadata, user.profile or organization.metadata, \
         with the names of members after it, such as api_key.metadata.team: at most 256 bytes and 16 members"
    )]
    ClaimSource,
}

/// Returned if the mapped claims of a token exceed `MAX_BYTES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the claims that are mapped from metadata are longer than 4096 bytes together")]
pub struct MappedClaimsTooLarge;

/// Values that mapped claims are taken from: of the objects that exist and that an audience refers
/// to.
pub type ClaimSourceValues = BTreeMap<ClaimSourceObject, Map<String, Value>>;

/// Claims that an audience maps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimMapping(BTreeMap<ClaimName, ClaimSource>);

impl ClaimMapping {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ClaimName, &ClaimSource)> {
        self.0.iter()
    }

    /// Returns whether a claim is taken from this object.
    pub fn uses_object(&self, object: ClaimSourceObject) -> bool {
        self.0.values().any(|source| source.object == object)
    }

    /// Returns the mapped claims with their values in `sources`. A claim whose member does not
    /// exist is absent.
    ///
    /// If the claims are too long together, none is returned: omitting some of them would mislead
    /// the verifier.
    pub fn collect(&self, sources: &ClaimSourceValues) -> Result<Map<String, Value>, MappedClaimsTooLarge> {
        let mut claims = Map::new();
        for (name, source) in &self.0 {
            if let Some(value) = sources.get(&source.object).and_then(|map| find_member(map, &source.path)) {
                claims.insert(name.as_str().to_owned(), value.clone());
            }
        }
        let fits = claims.is_empty() || serde_json::to_string(&claims).is_ok_and(|text| text.len() <= MAX_BYTES);
        if fits { Ok(claims) } else { Err(MappedClaimsTooLarge) }
    }

    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

fn find_member<'a>(map: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => map.get(path),
        Some((name, rest)) => find_member(map.get(name)?.as_object()?, rest),
    }
}

impl FromStr for ClaimMapping {
    type Err = serde_json::Error;
    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Mapped claims as sent by a client. They are not validated yet, so that all errors can be
/// reported at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnvalidatedClaimMapping(Vec<(String, Option<String>)>);

impl UnvalidatedClaimMapping {
    /// Returns the mapping after a merge patch of `before` (RFC 7396): a claim that is `null` is
    /// removed, and one that is absent stays.
    pub fn merge_into(self, before: &ClaimMapping) -> Self {
        let kept = before.iter().filter(|(name, _)| self.0.iter().all(|(patched, _)| patched != name.as_str()));
        let kept = kept.map(|(name, source)| (name.as_str().to_owned(), Some(source.to_string())));
        Self(kept.chain(self.0.iter().filter(|(_, source)| source.is_some()).cloned()).collect())
    }

    /// Validates the mapped claims. Returns all errors, not only the first one.
    pub fn read(self) -> Result<ClaimMapping, Vec<TokenProfileError>> {
        let (mut map, mut faults) = (BTreeMap::new(), Vec::new());
        if self.0.len() > MAX_CLAIMS {
            faults.push(TokenProfileError::new("claims", format!("{MAX_CLAIMS} claims at most")));
        }
        for (name, source) in self.0 {
            match (name.parse::<ClaimName>(), source.unwrap_or_default().parse::<ClaimSource>()) {
                (Ok(name), Ok(source)) => {
                    map.insert(name, source);
                }
                (Ok(name), Err(fault)) => {
                    faults.push(TokenProfileError::new(format!("claims.{name}"), fault.to_string()))
                }
                // The message does not contain the name, which may be a secret.
                (Err(InvalidMappedClaim::Name), _) => {
                    faults.push(TokenProfileError::new("claims", InvalidMappedClaim::Name.to_string()));
                }
                (Err(fault @ (InvalidMappedClaim::Reserved | InvalidMappedClaim::ClaimSource)), other) => {
                    faults.push(TokenProfileError::new(format!("claims.{name}"), fault.to_string()));
                    if let Err(fault) = other {
                        faults.push(TokenProfileError::new(format!("claims.{name}"), fault.to_string()));
                    }
                }
            }
        }
        if faults.is_empty() { Ok(ClaimMapping(map)) } else { Err(faults) }
    }
}

impl<'de> Deserialize<'de> for UnvalidatedClaimMapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniquePairsVisitor).map(Self)
    }
}

struct UniquePairsVisitor;

impl<'de> Visitor<'de> for UniquePairsVisitor {
    type Value = Vec<(String, Option<String>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims and where each is taken from")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::<(String, Option<String>)>::new();
        while let Some((name, source)) = access.next_entry::<String, Option<String>>()? {
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(de::Error::custom("two claims have the same name"));
            }
            pairs.push((name, source));
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<ClaimMapping, Vec<TokenProfileError>> {
        serde_json::from_value::<UnvalidatedClaimMapping>(value).unwrap().read()
    }

    fn sources(value: &Value) -> ClaimSourceValues {
        [(ClaimSourceObject::ApiKeyMetadata, value.as_object().unwrap().clone())].into()
    }

    #[test]
    fn a_claim_is_the_member_at_the_end_of_its_path() {
        let map = read(json!({
            "team": "api_key.metadata.team", "deep": "api_key.metadata.a.b.c", "none": "api_key.metadata.no",
            "through": "api_key.metadata.team.x", "other": "organization.metadata.team", "nothing": "api_key.metadata.n",
            "https://a.test/claim": "api_key.metadata.a",
        }));
        let metadata = json!({ "team": "x", "a": { "b": { "c": [1, null] } }, "n": null });
        let claims = map.unwrap().collect(&sources(&metadata)).unwrap();
        let expected =
            json!({ "team": "x", "deep": [1, null], "nothing": null, "https://a.test/claim": metadata["a"] });
        assert_eq!(Value::Object(claims), expected);
    }

    #[test]
    fn claims_fit_together_or_not_at_all() {
        let map = read(json!({ "a": "api_key.metadata.a", "b": "api_key.metadata.b" })).unwrap();
        // `{"a":"…","b":""}` adds 15 bytes to the value of `a`.
        for (length, fits) in [(MAX_BYTES - 15, true), (MAX_BYTES - 14, false)] {
            let metadata = json!({ "a": "x".repeat(length), "b": "" });
            assert_eq!(map.collect(&sources(&metadata)).is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn every_fault_is_reported_and_no_name_that_may_be_a_secret() {
        let faults = read(json!({
            "exp": "api_key.metadata.exp", "typ": "x", "a b": "api_key.metadata.a", "plan": "organization.plan", "c\"": "user.profile.c",
            "ok": "user.profile.email",
        }));
        let faults = faults.unwrap_err();
        let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["claims", "claims", "claims.exp", "claims.plan", "claims.typ", "claims.typ"]);
        for name in RESERVED_CLAIMS.split(' ') {
            assert_eq!(name.parse::<ClaimName>(), Err(InvalidMappedClaim::Reserved), "{name}");
        }
        for name in ["", &"a".repeat(65), "ä", "a\\", "a'", "a\u{7f}"] {
            assert_eq!(name.parse::<ClaimName>(), Err(InvalidMappedClaim::Name), "{name}");
        }
        for source in [
            "",
            "api_key.metadata",
            "api_key.metadata.",
            "api_key.metadata.a..b",
            "api_key.metadata.a.",
            "api_key.name",
            "api_key.metadata.a\nb",
            &format!("user.metadata.{}", "a".repeat(300)),
            "metadata.a",
        ] {
            assert_eq!(source.parse::<ClaimSource>(), Err(InvalidMappedClaim::ClaimSource), "{source}");
        }
        let many: Map<_, _> = (0..17).map(|i| (format!("c{i}"), json!("user.metadata.a"))).collect();
        assert_eq!(read(Value::Object(many)).unwrap_err().len(), 1);
        assert!(
            serde_json::from_str::<UnvalidatedClaimMapping>(r#"{"a":"user.metadata.a","a":"user.metadata.b"}"#)
                .is_err()
        );
    }
}
