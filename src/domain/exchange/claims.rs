//! Claims of an access token (RFC 9068 §2.2), in the order in which they are serialized.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{
    access::{access_record::AuthorizationDetail, audience::Identifier},
    common::id::{KeyId, OrganizationId, ServiceClientId, StatusListId, UserId},
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

/// The `status` claim: where the status of a token is published (draft-ietf-oauth-status-list-21
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

/// Claims of an access token. Those of a token to sign borrow from its grant, and those of a
/// verified token are owned. There is no `nbf`, because common verifiers apply no leeway to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims<'a> {
    pub iss: Cow<'a, str>,
    pub sub: Cow<'a, str>,
    pub sub_type: Cow<'a, str>,
    pub aud: Cow<'a, AudienceClaim>,
    /// Seconds since 1970-01-01T00:00:00Z, as is `iat`. The value is an integer, because some
    /// verifiers reject fractions.
    pub exp: i64,
    pub iat: i64,
    /// 128 random bits in base64url.
    pub jti: Cow<'a, str>,
    pub client_id: Cow<'a, str>,
    /// Space-separated permissions; absent if there are none, or if `scp` contains them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<String>,
    /// The scope as an array, for audiences that read `scp` instead of `scope`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scp: Option<Vec<Cow<'a, str>>>,
    pub key_id: KeyId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub org_id: Option<Cow<'a, OrganizationId>>,
    /// What the token permits, and on which resources (RFC 9396 §9.1). Present if access records
    /// apply, and always if the token is record-bound.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub authorization_details: Option<Cow<'a, [AuthorizationDetail]>>,
    /// Where verifiers read the status of the token. Keyswap itself accepts no token without it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<StatusClaim>,
    /// Claims mapped from metadata, serialized last. They are never deserialized, so that no
    /// decision depends on them.
    #[serde(flatten, skip_deserializing)]
    pub mapped_claims: Cow<'a, Map<String, Value>>,
}

impl Claims<'_> {
    /// Returns whether the token has `authorization_details` instead of a scope.
    pub const fn is_record_bound(&self) -> bool {
        self.authorization_details.is_some() && self.scope.is_none() && self.scp.is_none()
    }

    /// Returns the status list index of the token. Returns `None` if the list is not one of the
    /// issuer.
    pub fn status_list_index(&self) -> Option<StatusListIndex> {
        let StatusListClaim { idx, uri } = &self.status.as_ref()?.status_list;
        let (_, list) = uri.rsplit_once('/')?;
        let list: StatusListId = list.parse().ok()?;
        (list.uri(&self.iss) == *uri).then_some(StatusListIndex { list, index: *idx })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_serialized_in_one_order_and_mapped_claims_last() {
        let mut claims = Claims {
            iss: "https://i.test".into(),
            sub: "s".into(),
            sub_type: "api_key".into(),
            aud: Cow::Owned(AudienceClaim::Multiple(vec!["a".parse().unwrap()])),
            exp: 2,
            iat: 1,
            jti: "j".into(),
            client_id: "c".into(),
            scope: Some("x y".to_owned()),
            scp: None,
            key_id: "key_01JD0000000000000000000000".parse().unwrap(),
            org_id: None,
            authorization_details: None,
            status: None,
            mapped_claims: Cow::default(),
        };
        let usual = r#"{"iss":"https://i.test","sub":"s","sub_type":"api_key","aud":["a"],"exp":2,"iat":1,"jti":"j","client_id":"c","scope":"x y","key_id":"key_01JD0000000000000000000000"}"#;
        assert_eq!(serde_json::to_string(&claims).unwrap(), usual);
        assert_eq!(serde_json::from_str::<Claims>(usual).unwrap(), claims);
        (claims.scope, claims.scp) = (None, Some(vec!["x".into(), "y".into()]));
        claims.mapped_claims.to_mut().insert("plan".to_owned(), json!({ "iss": 1 }));
        let with_profile =
            usual.replace(r#""scope":"x y""#, r#""scp":["x","y"]"#).replace("0000\"}", r#"0000","plan":{"iss":1}}"#);
        assert_eq!(serde_json::to_string(&claims).unwrap(), with_profile);
        // Mapped claims are not deserialized: no decision depends on metadata.
        claims.mapped_claims = Cow::default();
        assert_eq!(serde_json::from_str::<Claims>(&with_profile).unwrap(), claims);
        let list = "stl_01JD0000000000000000000000".parse().unwrap();
        claims.status = Some(StatusClaim::new("https://i.test", &StatusListIndex { list, index: 7 }));
        let text = serde_json::to_string(&claims).unwrap();
        let status = r#","status":{"status_list":{"idx":7,"uri":"https://i.test/v1/status-lists/stl_01JD0000000000000000000000"}}}"#;
        assert!(text.ends_with(status), "{text}");
    }
}
