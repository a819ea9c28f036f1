//! What a token says (RFC 9068 §2.2), in the order in which it is written.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    access::Detail,
    audience::Identifier,
    grant::KeyFault,
    id::{KeyId, OrganizationId, ServiceClientId, UserId},
    status_list::Place,
    time::Timestamp,
};

/// Who a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    User(UserId),
    Organization(OrganizationId),
    ServiceClient(ServiceClientId),
    ApiKey(KeyId),
}

impl Subject {
    /// The `sub_type` claim.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Organization(_) => "organization",
            Self::ServiceClient(_) => "service_client",
            Self::ApiKey(_) => "api_key",
        }
    }

    /// The `sub` claim. Keyswap makes it; no client can choose it (RFC 9068 §5).
    pub fn id(&self) -> Cow<'_, str> {
        match self {
            // Bare, as in the product's own browser tokens.
            Self::User(id) => id.as_str().into(),
            Self::Organization(id) => format!("organization:{id}").into(),
            Self::ServiceClient(id) => id.as_str().into(),
            Self::ApiKey(id) => id.as_str().into(),
        }
    }

    /// The `client_id` claim: the service client, or the key itself.
    pub fn client_id<'a>(&'a self, key: &'a KeyId) -> &'a str {
        match self {
            Self::ServiceClient(id) => id.as_str(),
            Self::User(_) | Self::Organization(_) | Self::ApiKey(_) => key.as_str(),
        }
    }
}

/// `aud`: one string where there is one, since some verifiers take no array (RFC 7519 §4.1.3 allows both).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AudienceClaim {
    One(Identifier),
    Several(Vec<Identifier>),
}

impl AudienceClaim {
    pub fn all(&self) -> &[Identifier] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(all) => all,
        }
    }

    pub fn contains(&self, identifier: &str) -> bool {
        match self {
            Self::One(one) => one.as_str() == identifier,
            Self::Several(all) => all.iter().any(|one| one.as_str() == identifier),
        }
    }
}

/// Where the status of a token stands (draft-ietf-oauth-status-list-20 §6.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusClaim {
    pub status_list: StatusListClaim,
}

/// A place in a status list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusListClaim {
    pub idx: u32,
    pub uri: String,
}

impl StatusClaim {
    pub fn new(issuer: &str, place: &Place) -> Self {
        Self { status_list: StatusListClaim { idx: place.index, uri: place.list.uri(issuer) } }
    }
}

/// The claims of an access token. No `nbf`: stock verifiers allow it no tolerance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub sub_type: String,
    pub aud: AudienceClaim,
    /// Whole seconds since 1970: some verifiers refuse fractions.
    pub exp: i64,
    pub iat: i64,
    /// 128 random bits in base64url.
    pub jti: String,
    pub client_id: String,
    /// One string; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<String>,
    /// The same as an array, instead of `scope`, for audiences that read it so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scp: Option<Vec<String>>,
    pub key_id: KeyId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub org_id: Option<OrganizationId>,
    /// Where access records apply: what the token may do, and over which resources (RFC 9396 §9.1).
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub authorization_details: Vec<Detail>,
    /// Where verifiers learn what became of the token; absent only while its credential, made by a version before this one, has no place.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<StatusClaim>,
    /// Claims from metadata stand last. They are written and never read back: nothing here decides by them.
    #[serde(flatten, skip_deserializing)]
    pub mapped: Map<String, Value>,
}

/// What the database says of a token, beside its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenNow {
    /// By name, before its time.
    pub revoked: bool,
    pub made_from: MadeFrom,
}

/// What is known of the credential that a token was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeFrom {
    /// The token's place in a status list names it: whether it still works.
    Credential { works: bool },
    /// A token without a place. When the oldest of its key's credentials that still work was made; absent where none does.
    SomeCredential { oldest: Option<Timestamp> },
}

impl Claims {
    /// Whether the token itself is in force. Whether its key is, `grant` says.
    ///
    /// # Errors
    /// It has expired, was revoked, or was made from a credential that is dead. Where the token does not say which that was, it is from a
    /// dead one if it was made before any that still works; both times are whole seconds then.
    pub fn in_force(&self, now: Timestamp, known: &TokenNow) -> Result<(), KeyFault> {
        let credential_works = match known.made_from {
            MadeFrom::Credential { works } => works,
            MadeFrom::SomeCredential { oldest } => oldest.is_some_and(|made| self.iat >= made.seconds()),
        };
        if known.revoked {
            Err(KeyFault::Revoked)
        } else if self.exp <= now.seconds() || !credential_works {
            Err(KeyFault::Expired)
        } else {
            Ok(())
        }
    }

    /// Where the token's status stands.
    pub fn place(&self) -> Option<Place> {
        let StatusListClaim { idx, uri } = &self.status.as_ref()?.status_list;
        let (_, list) = uri.rsplit_once('/')?;
        Some(Place { list: list.parse().ok()?, index: *idx })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_ends_with_its_time_its_name_and_its_credential() {
        let text = r#"{"iss":"i","sub":"s","sub_type":"api_key","aud":"a","exp":20,"iat":10,"jti":"j","client_id":"c","key_id":"key_01JD0000000000000000000000"}"#;
        let claims: Claims = serde_json::from_str(text).unwrap();
        let ended = |now: i64, revoked: bool, oldest: Option<i64>| {
            let made_from = MadeFrom::SomeCredential { oldest: oldest.map(Timestamp::from_millis) };
            let known = TokenNow { revoked, made_from };
            claims.in_force(Timestamp::from_millis(now), &known)
        };
        assert_eq!(ended(19_999, false, Some(10_999)), Ok(()));
        assert_eq!(ended(20_000, false, Some(10_000)), Err(KeyFault::Expired));
        assert_eq!(ended(19_999, true, Some(10_000)), Err(KeyFault::Revoked));
        // A token that says which credential it is from needs no guess.
        let of_dead = TokenNow { revoked: false, made_from: MadeFrom::Credential { works: false } };
        assert_eq!(claims.in_force(Timestamp::from_millis(19_999), &of_dead), Err(KeyFault::Expired));
        let of_good = TokenNow { revoked: false, made_from: MadeFrom::Credential { works: true } };
        assert_eq!(claims.in_force(Timestamp::from_millis(19_999), &of_good), Ok(()));
        assert_eq!(ended(19_999, false, Some(11_000)), Err(KeyFault::Expired), "its credential is gone");
        assert_eq!(ended(19_999, false, None), Err(KeyFault::Expired), "no credential is left");
    }

    #[test]
    fn claims_are_written_in_one_order_and_those_from_metadata_last() {
        let mut claims = Claims {
            iss: "https://i.test".to_owned(),
            sub: "s".to_owned(),
            sub_type: "api_key".to_owned(),
            aud: AudienceClaim::Several(vec!["a".parse().unwrap()]),
            exp: 2,
            iat: 1,
            jti: "j".to_owned(),
            client_id: "c".to_owned(),
            scope: Some("x y".to_owned()),
            scp: None,
            key_id: "key_01JD0000000000000000000000".parse().unwrap(),
            org_id: None,
            authorization_details: Vec::new(),
            status: None,
            mapped: Map::new(),
        };
        let usual = r#"{"iss":"https://i.test","sub":"s","sub_type":"api_key","aud":["a"],"exp":2,"iat":1,"jti":"j","client_id":"c","scope":"x y","key_id":"key_01JD0000000000000000000000"}"#;
        assert_eq!(serde_json::to_string(&claims).unwrap(), usual);
        assert_eq!(serde_json::from_str::<Claims>(usual).unwrap(), claims);
        (claims.scope, claims.scp) = (None, Some(vec!["x".to_owned(), "y".to_owned()]));
        claims.mapped.insert("plan".to_owned(), json!({ "iss": 1 }));
        let shaped =
            usual.replace(r#""scope":"x y""#, r#""scp":["x","y"]"#).replace("0000\"}", r#"0000","plan":{"iss":1}}"#);
        assert_eq!(serde_json::to_string(&claims).unwrap(), shaped);
        // Read back, they are not there: nothing here decides by what stands in metadata.
        claims.mapped = Map::new();
        assert_eq!(serde_json::from_str::<Claims>(&shaped).unwrap(), claims);
        let list = "stl_01JD0000000000000000000000".parse().unwrap();
        claims.status = Some(StatusClaim::new("https://i.test", &Place { list, index: 7 }));
        let text = serde_json::to_string(&claims).unwrap();
        let status = r#","status":{"status_list":{"idx":7,"uri":"https://i.test/v1/status-lists/stl_01JD0000000000000000000000"}}}"#;
        assert!(text.ends_with(status), "{text}");
    }
}
