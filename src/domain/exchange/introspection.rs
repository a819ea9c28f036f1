//! Token introspection (RFC 7662): what is in effect now of a key or token that was presented to a
//! service. The functions are pure and apply the rules of validation.

use std::{borrow::Cow, collections::BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::domain::{
    access::{access_record::AuthorizationDetail, audience::Identifier, permission::PermissionSet},
    common::{
        id::{KeyId, OrganizationId},
        time::Timestamp,
    },
    exchange::{
        claims::{AudienceClaim, Claims},
        effective_access::EffectiveAccess,
        key_context::KeyProperties,
    },
};

/// Whether an API key or token is active, and the permissions that it grants at the calling service
/// (RFC 7662 §2.2). An inactive response has no member besides `active`. The response for a token
/// has the claims that its audience takes from metadata as well.
// Members are serialized in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Introspection)]
pub struct IntrospectionResponse {
    pub active: bool,
    /// `Bearer` for a token, `api_key` for an API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^(Bearer|api_key)$", nullable = false)]
    pub token_type: Option<PresentedTokenType>,
    /// Permissions in effect now for every resource, separated by spaces. Absent if there are none,
    /// as for a record-bound token or key. With `resource`, the permissions that access records
    /// grant on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sub_type: Option<String>,
    /// One audience or a list of audiences.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub aud: Option<AudienceClaim>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub iss: Option<String>,
    /// Expiry in seconds since 1970-01-01 UTC. Absent for an API key that does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub exp: Option<i64>,
    /// When the token was issued or the API key created, in seconds since 1970-01-01 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key_id: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub org_id: Option<OrganizationId>,
    /// What access records grant, and on which resources. Absent if no access record applies and
    /// the token or key is not record-bound. With `resource`, what they grant on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub authorization_details: Option<Vec<AuthorizationDetail>>,
    /// The claims that the token has from metadata.
    #[serde(flatten)]
    #[schema(ignore)]
    pub mapped_claims: Map<String, Value>,
}

/// Kind of the presented credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PresentedTokenType {
    Bearer,
    #[serde(rename = "api_key")]
    ApiKey,
}

/// Builds the response for a token in force: its claims, reduced to what is in effect now.
pub fn token_response(claims: Claims<'_>, access: EffectiveAccess) -> IntrospectionResponse {
    IntrospectionResponse {
        active: true,
        token_type: Some(PresentedTokenType::Bearer),
        scope: text(&access.scope),
        client_id: Some(claims.client_id.into_owned()),
        sub: Some(claims.sub.into_owned()),
        sub_type: Some(claims.sub_type.into_owned()),
        aud: Some(claims.aud.into_owned()),
        iss: Some(claims.iss.into_owned()),
        exp: Some(claims.exp),
        iat: Some(claims.iat),
        jti: Some(claims.jti.into_owned()),
        key_id: Some(claims.key_id),
        org_id: claims.org_id.map(Cow::into_owned),
        authorization_details: access.authorization_details,
        mapped_claims: claims.mapped_claims.into_owned(),
    }
}

/// Builds the response for a key in force.
pub fn key_response(key: &KeyProperties, access: EffectiveAccess) -> IntrospectionResponse {
    let subject = key.subject();
    let ends = [key.lifecycle.expires_at, key.credential_expires_at];
    IntrospectionResponse {
        active: true,
        token_type: Some(PresentedTokenType::ApiKey),
        scope: text(&access.scope),
        client_id: Some(subject.client_id(&key.id).to_owned()),
        sub: Some(subject.id().into_owned()),
        sub_type: Some(subject.kind().to_owned()),
        exp: ends.into_iter().flatten().min().map(Timestamp::seconds),
        iat: Some(key.created_at.seconds()),
        key_id: Some(key.id.clone()),
        org_id: key.ownership.owner_scope.organization().cloned(),
        authorization_details: access.authorization_details,
        ..IntrospectionResponse::default()
    }
}

fn text(scope: &PermissionSet) -> Option<String> {
    (!scope.is_empty()).then(|| scope.to_string())
}

/// Returns the audiences whose tokens the calling key may introspect, or `None` (every audience) if
/// the key has no list of audiences. The management audience is excluded: no service should receive
/// a token for Keyswap itself.
pub fn introspectable_audiences(
    audiences: Option<&[Identifier]>,
    management: &Identifier,
) -> Option<BTreeSet<Identifier>> {
    audiences.map(|all| all.iter().filter(|one| *one != management).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inactive_response_has_no_other_member() {
        assert_eq!(serde_json::to_string(&IntrospectionResponse::default()).unwrap(), r#"{"active":false}"#);
    }
}
