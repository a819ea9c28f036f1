//! Token introspection (RFC 7662): what is in effect now of a key or token that was presented to a
//! service. The functions are pure and apply the rules of validation.

use std::collections::BTreeSet;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{
    access::{
        access_record::{self, AuthorizationDetail},
        audience::Identifier,
        permission::PermissionSet,
    },
    common::{
        id::{KeyId, OrganizationId},
        time::Timestamp,
    },
    exchange::{
        claims::{AudienceClaim, Claims},
        key_context::{KeyContext, KeyProperties, Limits},
        refusal::{DenyReason, TargetError},
        validation::{CredentialBounds, CredentialRequirements, find_missing_permissions},
    },
};

/// Whether an API key or token is active, and the permissions that it grants at the calling service
/// (RFC 7662 §2.2). An inactive response has no member besides `active`.
// Members are serialized in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Introspection)]
pub struct IntrospectionResponse {
    pub active: bool,
    /// `Bearer` for a token, `api_key` for an API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^(Bearer|api_key)$", nullable = false)]
    pub token_type: Option<PresentedTokenType>,
    /// Permissions in effect now, separated by spaces. Absent if there are none.
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<AuthorizationDetail>,
}

/// Kind of the presented credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PresentedTokenType {
    Bearer,
    #[serde(rename = "api_key")]
    ApiKey,
}

/// Returns which permissions are in effect now within `bounds`: among those in the scope of a
/// token, or among all permissions of a key. A key is in effect for an audience if it can obtain a
/// token for it. For several audiences the result is the union of what is in effect for each of
/// them.
///
/// `bounded` states that a key must be in effect for one of the audiences in `bounds`, even if
/// these are none; otherwise the result is `TargetError::NotAllowed`.
pub fn effective_permissions(
    context: &KeyContext,
    bounds: &CredentialBounds,
    bounded: bool,
    limits: &Limits,
) -> Result<PermissionSet, DenyReason> {
    let key = &context.key;
    let granted = bounds.scope.as_ref().unwrap_or(&key.permissions);
    let required =
        CredentialRequirements { required_permissions: granted.clone(), ..CredentialRequirements::default() };
    let within = |bounds: &CredentialBounds| {
        find_missing_permissions(context, &required, bounds, limits)
            .map(|gone| granted.difference(&gone).cloned().collect::<PermissionSet>())
    };
    if bounds.scope.is_some() || !bounded {
        return within(bounds);
    }
    let mut found: Option<PermissionSet> = None;
    for audience in &bounds.audiences {
        let bounds = CredentialBounds { scope: None, audiences: [audience.clone()].into() };
        match within(&bounds) {
            Ok(scope) => found = Some(found.unwrap_or_default().union(&scope)),
            Err(DenyReason::Target(_)) => {}
            Err(refusal @ (DenyReason::Credential(_) | DenyReason::Scope(_))) => return Err(refusal),
        }
    }
    key.check_in_force(context.now, limits).map_err(DenyReason::Credential)?;
    found.ok_or(DenyReason::Target(TargetError::NotAllowed))
}

/// Builds the response for a token in force: its claims, reduced to what is in effect now.
pub fn token_response(claims: Claims, key: &KeyProperties, scope: &PermissionSet) -> IntrospectionResponse {
    let authorization_details = restrict_details(
        &claims.authorization_details,
        &access_record::build_authorization_details(&key.access_statements, scope),
    );
    IntrospectionResponse {
        active: true,
        token_type: Some(PresentedTokenType::Bearer),
        scope: text(scope),
        client_id: Some(claims.client_id),
        sub: Some(claims.sub),
        sub_type: Some(claims.sub_type),
        aud: Some(claims.aud),
        iss: Some(claims.iss),
        exp: Some(claims.exp),
        iat: Some(claims.iat),
        jti: Some(claims.jti),
        key_id: Some(claims.key_id),
        org_id: claims.org_id,
        authorization_details,
    }
}

/// Builds the response for a key in force.
pub fn key_response(key: &KeyProperties, scope: &PermissionSet) -> IntrospectionResponse {
    let subject = key.subject();
    let ends = [key.lifecycle.expires_at, key.credential_expires_at];
    IntrospectionResponse {
        active: true,
        token_type: Some(PresentedTokenType::ApiKey),
        scope: text(scope),
        client_id: Some(subject.client_id(&key.id).to_owned()),
        sub: Some(subject.id().into_owned()),
        sub_type: Some(subject.kind().to_owned()),
        exp: ends.into_iter().flatten().min().map(Timestamp::seconds),
        iat: Some(key.created_at.seconds()),
        key_id: Some(key.id.clone()),
        org_id: key.ownership.owner_scope.organization().cloned(),
        ..IntrospectionResponse::default()
    }
}

fn text(scope: &PermissionSet) -> Option<String> {
    (!scope.is_empty()).then(|| scope.to_string())
}

/// Reduces the `authorization_details` of a token to those that the access records still contain.
/// Patterns are compared as they are written: a pattern that was changed after a token was issued
/// takes effect only in tokens issued later.
fn restrict_details(granted: &[AuthorizationDetail], now: &[AuthorizationDetail]) -> Vec<AuthorizationDetail> {
    let mut remaining = Vec::new();
    for (granted, now) in granted.iter().flat_map(|granted| now.iter().map(move |now| (granted, now))) {
        let locations: Vec<_> = granted.locations.iter().filter(|one| now.locations.contains(one)).cloned().collect();
        let detail =
            AuthorizationDetail { kind: granted.kind, actions: granted.actions.intersection(&now.actions), locations };
        if !detail.actions.is_empty() && !detail.locations.is_empty() && !remaining.contains(&detail) {
            remaining.push(detail);
        }
    }
    remaining
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

    fn detail(actions: &str, locations: &[&str]) -> AuthorizationDetail {
        AuthorizationDetail {
            kind: access_record::AuthorizationDetailType::Access,
            actions: PermissionSet::from_stored(actions).unwrap(),
            locations: locations.iter().map(|one| one.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn an_inactive_response_has_no_other_member() {
        assert_eq!(serde_json::to_string(&IntrospectionResponse::default()).unwrap(), r#"{"active":false}"#);
    }

    #[test]
    fn details_are_reduced_to_those_of_the_current_access_records() {
        let granted = [detail("a b", &["/x/*", "/y"]), detail("c", &["/z"])];
        assert_eq!(restrict_details(&granted, &granted), granted);
        assert_eq!(restrict_details(&granted, &[detail("a", &["/y"])]), [detail("a", &["/y"])]);
        assert!(restrict_details(&granted, &[detail("a", &["/x/1"]), detail("c", &["/y"])]).is_empty());
    }
}
