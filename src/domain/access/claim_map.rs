//! Claims that an audience maps from metadata: name of the claim, source object and member.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::domain::{
    access::profile_error::ShapeFault,
    common::{key_text::holds_key, time::as_text},
};

/// Maximum number of claims that an audience maps.
pub const MAX_CLAIMS: usize = 16;
/// Maximum length of all mapped claims of a token together, in bytes of JSON: a token must fit an
/// HTTP header.
pub const MAX_BYTES: usize = 4096;

/// Claims whose registered meaning affects decisions (RFC 7519 §4.1, RFC 9068 §2.2, RFC 8693 §4,
/// RFC 7800 and the header parameters of RFC 7515), and the claims that Keyswap writes. A mapped
/// claim cannot replace any of them.
const RESERVED: &str = "_claim_names _claim_sources acr act alg amr at_hash aud auth_time authorization_details azp c_hash client_id \
    cnf crit cty entitlements events exp groups iat iss jku jti jwk key_id kid may_act nbf nonce org_id roles \
    s_hash scope scp sid status sub sub_id sub_jwk sub_type toe txn typ x5c x5t x5t#S256 x5u";

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
    type Err = InvalidClaim;
    fn from_str(text: &str) -> Result<Self, InvalidClaim> {
        let shape = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte);
        if !(1..=64).contains(&text.len()) || !text.bytes().all(shape) || holds_key(text) {
            Err(InvalidClaim::Name)
        } else if RESERVED.split(' ').any(|name| name == text) {
            Err(InvalidClaim::Reserved)
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
as_text!(ClaimName);

/// Object that a claim is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    ApiKeyMetadata,
    ServiceClientMetadata,
    UserMetadata,
    UserProfile,
    OrganizationMetadata,
}

impl Holder {
    pub const ALL: [Self; 5] = [
        Self::ApiKeyMetadata,
        Self::ServiceClientMetadata,
        Self::UserMetadata,
        Self::UserProfile,
        Self::OrganizationMetadata,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKeyMetadata => "api_key.metadata",
            Self::ServiceClientMetadata => "service_client.metadata",
            Self::UserMetadata => "user.metadata",
            Self::UserProfile => "user.profile",
            Self::OrganizationMetadata => "organization.metadata",
        }
    }
}

/// Source of a claim: a holder, and the path of member names in it, separated by dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    holder: Holder,
    path: String,
}

impl FromStr for Source {
    type Err = InvalidClaim;
    fn from_str(text: &str) -> Result<Self, InvalidClaim> {
        let found = Holder::ALL.into_iter().find_map(|holder| {
            let path = text.strip_prefix(holder.as_str())?.strip_prefix('.')?;
            Some(Self { holder, path: path.to_owned() })
        });
        let source = found.ok_or(InvalidClaim::Source)?;
        let names = source.path.split('.');
        let ok = text.len() <= 256
            && !text.contains(char::is_control)
            && !holds_key(text)
            && names.clone().count() <= 16
            && names.clone().all(|name| !name.is_empty());
        if ok { Ok(source) } else { Err(InvalidClaim::Source) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.holder.as_str(), self.path)
    }
}
as_text!(Source);

/// Reason why a mapped claim is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaim {
    #[error(
        "the name of a claim has 1 to 64 printable ASCII characters, no space, quote or backslash, and no API key in it"
    )]
    Name,
    #[error("this claim has a meaning of its own and cannot be taken from metadata")]
    Reserved,
    #[error(
        "a claim is taken from api_key.metadata, service_client.metadata, user.metadata, user.profile or organization.metadata, \
         with the names of members after it, such as api_key.metadata.team: at most 256 bytes and 16 members"
    )]
    Source,
}

/// Returned if the mapped claims of a token exceed `MAX_BYTES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the claims that are mapped from metadata are longer than 4096 bytes together")]
pub struct TooLarge;

/// Values that mapped claims are taken from: the holders that exist and that an audience refers to.
pub type Sources = BTreeMap<Holder, Map<String, Value>>;

/// Claims that an audience maps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimMap(BTreeMap<ClaimName, Source>);

impl ClaimMap {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a claim is taken from this holder.
    pub fn reads(&self, holder: Holder) -> bool {
        self.0.values().any(|source| source.holder == holder)
    }

    /// Returns the mapped claims with their values in `sources`. A claim whose member does not
    /// exist is absent.
    ///
    /// If the claims are too long together, none is returned: omitting some of them would mislead
    /// the verifier.
    pub fn collect(&self, sources: &Sources) -> Result<Map<String, Value>, TooLarge> {
        let mut claims = Map::new();
        for (name, source) in &self.0 {
            if let Some(value) = sources.get(&source.holder).and_then(|map| member(map, &source.path)) {
                claims.insert(name.as_str().to_owned(), value.clone());
            }
        }
        let fits = claims.is_empty() || serde_json::to_string(&claims).is_ok_and(|text| text.len() <= MAX_BYTES);
        if fits { Ok(claims) } else { Err(TooLarge) }
    }

    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

fn member<'a>(map: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => map.get(path),
        Some((name, rest)) => member(map.get(name)?.as_object()?, rest),
    }
}

impl FromStr for ClaimMap {
    type Err = serde_json::Error;
    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Mapped claims as sent by a client. They are not validated yet, so that all errors can be
/// reported at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WishedClaims(Vec<(String, String)>);

impl WishedClaims {
    /// Validates the mapped claims. Returns all errors, not only the first one.
    pub fn read(self) -> Result<ClaimMap, Vec<ShapeFault>> {
        let (mut map, mut faults) = (BTreeMap::new(), Vec::new());
        if self.0.len() > MAX_CLAIMS {
            faults.push(ShapeFault::new("claims", format!("{MAX_CLAIMS} claims at most")));
        }
        for (name, source) in self.0 {
            match (name.parse::<ClaimName>(), source.parse::<Source>()) {
                (Ok(name), Ok(source)) => {
                    map.insert(name, source);
                }
                (Ok(name), Err(fault)) => faults.push(ShapeFault::new(format!("claims.{name}"), fault.to_string())),
                // The message does not contain the name, which may be a secret.
                (Err(InvalidClaim::Name), _) => {
                    faults.push(ShapeFault::new("claims", InvalidClaim::Name.to_string()));
                }
                (Err(fault @ (InvalidClaim::Reserved | InvalidClaim::Source)), other) => {
                    faults.push(ShapeFault::new(format!("claims.{name}"), fault.to_string()));
                    if let Err(fault) = other {
                        faults.push(ShapeFault::new(format!("claims.{name}"), fault.to_string()));
                    }
                }
            }
        }
        if faults.is_empty() { Ok(ClaimMap(map)) } else { Err(faults) }
    }
}

impl<'de> Deserialize<'de> for WishedClaims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor).map(Self)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims and where each is taken from")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::<(String, String)>::new();
        while let Some((name, source)) = access.next_entry::<String, String>()? {
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(de::Error::custom("a claim stands twice"));
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

    fn read(value: Value) -> Result<ClaimMap, Vec<ShapeFault>> {
        serde_json::from_value::<WishedClaims>(value).unwrap().read()
    }

    fn sources(value: &Value) -> Sources {
        [(Holder::ApiKeyMetadata, value.as_object().unwrap().clone())].into()
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
    fn every_fault_is_told_and_no_name_that_may_be_a_secret() {
        let faults = read(json!({
            "exp": "api_key.metadata.exp", "typ": "x", "a b": "api_key.metadata.a", "plan": "organization.plan", "c\"": "user.profile.c",
            "ok": "user.profile.email",
        }));
        let faults = faults.unwrap_err();
        let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["claims", "claims", "claims.exp", "claims.plan", "claims.typ", "claims.typ"]);
        for name in RESERVED.split(' ') {
            assert_eq!(name.parse::<ClaimName>(), Err(InvalidClaim::Reserved), "{name}");
        }
        for name in ["", &"a".repeat(65), "ä", "a\\", "a'", "a\u{7f}"] {
            assert_eq!(name.parse::<ClaimName>(), Err(InvalidClaim::Name), "{name}");
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
            assert_eq!(source.parse::<Source>(), Err(InvalidClaim::Source), "{source}");
        }
        let many: Map<_, _> = (0..17).map(|i| (format!("c{i}"), json!("user.metadata.a"))).collect();
        assert_eq!(read(Value::Object(many)).unwrap_err().len(), 1);
        assert!(serde_json::from_str::<WishedClaims>(r#"{"a":"user.metadata.a","a":"user.metadata.b"}"#).is_err());
    }
}
