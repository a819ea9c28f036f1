//! Claims of an access token (RFC 9068 §2.2), in the order in which they are serialized.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{
    access::{access_record::AuthorizationDetail, audience::Identifier},
    common::{
        id::{KeyId, OrganizationId, ServiceClientId, UserId},
        time::Timestamp,
    },
    credentials::error::CredentialError,
    status_lists::StatusListIndex,
};

/// Subject of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    User(UserId),
    Organization(OrganizationId),
    ServiceClient(ServiceClientId),
    ApiKey(KeyId),
}

impl Subject {
    /// Returns the `sub_type` claim.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Organization(_) => "organization",
            Self::ServiceClient(_) => "service_client",
            Self::ApiKey(_) => "api_key",
        }
    }

    /// Returns the `sub` claim. Keyswap assigns it, and no client can choose it (RFC 9068 §5).
    pub fn id(&self) -> Cow<'_, str> {
        match self {
            // Without a prefix, as in the browser tokens of the product.
            Self::User(id) => id.as_str().into(),
            Self::Organization(id) => format!("organization:{id}").into(),
            Self::ServiceClient(id) => id.as_str().into(),
            Self::ApiKey(id) => id.as_str().into(),
        }
    }

    /// Returns the `client_id` claim: the id of the service client, or of the key for other
    /// subjects.
    pub fn client_id<'a>(&'a self, key: &'a KeyId) -> &'a str {
        match self {
            Self::ServiceClient(id) => id.as_str(),
            Self::User(_) | Self::Organization(_) | Self::ApiKey(_) => key.as_str(),
        }
    }
}

/// The audience of a token: one identifier or a list.
// RFC 7519 §4.1.3 allows both. A single audience is a string by default, because some verifiers do
// not accept an array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum AudienceClaim {
    One(Identifier),
    Multiple(Vec<Identifier>),
}

impl AudienceClaim {
    pub fn all(&self) -> &[Identifier] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Multiple(all) => all,
        }
    }

    pub fn contains(&self, identifier: &str) -> bool {
        match self {
            Self::One(one) => one.as_str() == identifier,
            Self::Multiple(all) => all.iter().any(|one| one.as_str() == identifier),
        }
    }
}

/// The `status` claim: where the status of a token is published (draft-ietf-oauth-status-list-20
/// §6.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusClaim {
    pub status_list: StatusListClaim,
}

/// An index in a status list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusListClaim {
    pub idx: u32,
    pub uri: String,
}

impl StatusClaim {
    pub fn new(issuer: &str, status_list_index: &StatusListIndex) -> Self {
        Self { status_list: StatusListClaim { idx: status_list_index.index, uri: status_list_index.list.uri(issuer) } }
    }
}

/// Claims of an access token. There is no `nbf`, because common verifiers apply no leeway to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub sub_type: String,
    pub aud: AudienceClaim,
    /// Seconds since 1970-01-01T00:00:00Z, as is `iat`. The value is an integer, because some
    /// verifiers reject fractions.
    pub exp: i64,
    pub iat: i64,
    /// 128 random bits in base64url.
    pub jti: String,
    pub client_id: String,
    /// Space-separated permissions; absent if there are none, or if `scp` contains them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<String>,
    /// The scope as an array, for audiences that read `scp` instead of `scope`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scp: Option<Vec<String>>,
    pub key_id: KeyId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub org_id: Option<OrganizationId>,
    /// What the token permits, and on which resources, if access records apply (RFC 9396 §9.1).
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub authorization_details: Vec<AuthorizationDetail>,
    /// Where verifiers read the status of the token. The claim is absent only if the credential was
    /// created by an earlier version and has no status list index yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<StatusClaim>,
    /// Claims mapped from metadata, serialized last. They are never deserialized, so that no
    /// decision depends on them.
    #[serde(flatten, skip_deserializing)]
    pub mapped_claims: Map<String, Value>,
}

/// State of a token in the database, besides the context of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenState {
    /// Whether the token was revoked by its `jti`.
    pub revoked: bool,
    pub source_credential: SourceCredential,
}

/// What is known about the credential that a token was issued from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceCredential {
    /// The status list index of the token identifies its credential. `accepted` states whether the
    /// credential is still accepted.
    Identified { accepted: bool },
    /// The token has no status list index. `oldest_accepted` is the creation time of the oldest
    /// credential of its key that is still accepted, or `None` if no credential is.
    Unidentified { oldest_accepted: Option<Timestamp> },
}

impl Claims {
    /// Checks that the token itself is in force. The module `grant` checks its key.
    ///
    /// A token from a credential that is no longer accepted is `CredentialError::Expired`. If the
    /// token does not identify its credential, the credential counts as no longer accepted if the
    /// token was issued before the oldest accepted credential was created; this comparison is in
    /// whole seconds.
    pub fn check_in_force(&self, now: Timestamp, known: &TokenState) -> Result<(), CredentialError> {
        let credential_works = match known.source_credential {
            SourceCredential::Identified { accepted } => accepted,
            SourceCredential::Unidentified { oldest_accepted } => {
                oldest_accepted.is_some_and(|created_at| self.iat >= created_at.seconds())
            }
        };
        if known.revoked {
            Err(CredentialError::Revoked)
        } else if self.exp <= now.seconds() || !credential_works {
            Err(CredentialError::Expired)
        } else {
            Ok(())
        }
    }

    /// Returns the lifetime of the token in seconds.
    pub const fn expires_in(&self) -> i64 {
        self.exp - self.iat
    }

    /// Returns the permissions, separated by spaces, in either form of the claim.
    pub fn scope_text(&self) -> Option<Cow<'_, str>> {
        match (&self.scope, &self.scp) {
            (Some(scope), _) => Some(scope.into()),
            (None, Some(scp)) => Some(scp.join(" ").into()),
            (None, None) => None,
        }
    }

    /// Returns the status list index of the token.
    pub fn status_list_index(&self) -> Option<StatusListIndex> {
        let StatusListClaim { idx, uri } = &self.status.as_ref()?.status_list;
        let (_, list) = uri.rsplit_once('/')?;
        Some(StatusListIndex { list: list.parse().ok()?, index: *idx })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_ends_at_its_expiry_or_revocation_or_with_its_credential() {
        let text = r#"{"iss":"i","sub":"s","sub_type":"api_key","aud":"a","exp":20,"iat":10,"jti":"j","client_id":"c","key_id":"key_01JD0000000000000000000000"}"#;
        let claims: Claims = serde_json::from_str(text).unwrap();
        let ended = |now: i64, revoked: bool, oldest_accepted: Option<i64>| {
            let source_credential =
                SourceCredential::Unidentified { oldest_accepted: oldest_accepted.map(Timestamp::from_millis) };
            let known = TokenState { revoked, source_credential };
            claims.check_in_force(Timestamp::from_millis(now), &known)
        };
        assert_eq!(ended(19_999, false, Some(10_999)), Ok(()));
        assert_eq!(ended(20_000, false, Some(10_000)), Err(CredentialError::Expired));
        assert_eq!(ended(19_999, true, Some(10_000)), Err(CredentialError::Revoked));
        // A token with a status list index identifies its credential; creation times are not
        // compared.
        let not_accepted =
            TokenState { revoked: false, source_credential: SourceCredential::Identified { accepted: false } };
        assert_eq!(claims.check_in_force(Timestamp::from_millis(19_999), &not_accepted), Err(CredentialError::Expired));
        let accepted =
            TokenState { revoked: false, source_credential: SourceCredential::Identified { accepted: true } };
        assert_eq!(claims.check_in_force(Timestamp::from_millis(19_999), &accepted), Ok(()));
        assert_eq!(
            ended(19_999, false, Some(11_000)),
            Err(CredentialError::Expired),
            "its credential is no longer accepted"
        );
        assert_eq!(ended(19_999, false, None), Err(CredentialError::Expired), "no credential is accepted");
    }

    #[test]
    fn claims_are_serialized_in_one_order_and_mapped_claims_last() {
        let mut claims = Claims {
            iss: "https://i.test".to_owned(),
            sub: "s".to_owned(),
            sub_type: "api_key".to_owned(),
            aud: AudienceClaim::Multiple(vec!["a".parse().unwrap()]),
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
            mapped_claims: Map::new(),
        };
        let usual = r#"{"iss":"https://i.test","sub":"s","sub_type":"api_key","aud":["a"],"exp":2,"iat":1,"jti":"j","client_id":"c","scope":"x y","key_id":"key_01JD0000000000000000000000"}"#;
        assert_eq!(serde_json::to_string(&claims).unwrap(), usual);
        assert_eq!(serde_json::from_str::<Claims>(usual).unwrap(), claims);
        (claims.scope, claims.scp) = (None, Some(vec!["x".to_owned(), "y".to_owned()]));
        claims.mapped_claims.insert("plan".to_owned(), json!({ "iss": 1 }));
        let with_profile =
            usual.replace(r#""scope":"x y""#, r#""scp":["x","y"]"#).replace("0000\"}", r#"0000","plan":{"iss":1}}"#);
        assert_eq!(serde_json::to_string(&claims).unwrap(), with_profile);
        // Mapped claims are not deserialized: no decision depends on metadata.
        claims.mapped_claims = Map::new();
        assert_eq!(serde_json::from_str::<Claims>(&with_profile).unwrap(), claims);
        let list = "stl_01JD0000000000000000000000".parse().unwrap();
        claims.status = Some(StatusClaim::new("https://i.test", &StatusListIndex { list, index: 7 }));
        let text = serde_json::to_string(&claims).unwrap();
        let status = r#","status":{"status_list":{"idx":7,"uri":"https://i.test/v1/status-lists/stl_01JD0000000000000000000000"}}}"#;
        assert!(text.ends_with(status), "{text}");
    }
}
