//! The scope of an exchange, and the resources to which access records restrict it.

use serde_json::{Map, Value};

use crate::domain::{
    access::{
        access_record::{self, AuthorizationDetail},
        audience::{AcceptedPermissions, Audience},
        owner_status::OwnerPermissions,
        permission::{PermissionName, PermissionSet},
    },
    common::json::json_length,
    exchange::{
        key_context::{KeyProperties, Limits},
        refusal::{PermissionLimit, RemovedPermission, ScopeEvaluation, TargetError},
    },
};

/// Determines the effective permissions: the requested permissions, or all permissions of the key,
/// which the key, its owner and every audience allow.
pub(super) fn evaluate_scope(
    key: &KeyProperties,
    owner: &OwnerPermissions,
    audiences: &[&Audience],
    requested: Option<&PermissionSet>,
) -> ScopeEvaluation {
    let mut evaluation =
        ScopeEvaluation { granted: requested.unwrap_or(&key.permissions).clone(), ..Default::default() };
    evaluation.remove(|name| {
        if !key.permissions.contains(name) {
            Some(PermissionLimit::Key)
        } else if !owner.contains(name) {
            Some(PermissionLimit::Owner)
        } else if !audiences.iter().all(|audience| audience.accepts.accepts(name)) {
            Some(PermissionLimit::Audience)
        } else {
            None
        }
    });
    evaluation
}

/// Adds the `authorization_details` to the evaluation of a scope. If the token is record-bound, the
/// permissions that no access record grants on any resource are removed.
///
/// If the details are too large, the exchange is refused and nothing is omitted: a service would
/// read an omitted entry as a denial, and the omission would go unnoticed.
pub(super) fn apply_access_records(
    mut evaluation: ScopeEvaluation,
    key: &KeyProperties,
    audiences: &[&Audience],
    mapped_claims: &Map<String, Value>,
    limits: &Limits,
) -> Result<ScopeEvaluation, TargetError> {
    if is_for_management(audiences) {
        return Ok(evaluation);
    }
    evaluation.record_bound = is_record_bound(key, audiences, limits);
    if evaluation.record_bound {
        let is_granted =
            |name: &PermissionName| key.access_statements.iter().any(|rule| rule.permissions.contains(name));
        evaluation.remove(|name| (!is_granted(name)).then_some(PermissionLimit::AccessRecords));
    }
    let details = access_record::build_authorization_details(&key.access_statements, &evaluation.granted);
    if !details.is_empty() && !fits_token(&details, mapped_claims) {
        return Err(TargetError::AuthorizationDetailsTooLarge);
    }
    evaluation.authorization_details = (evaluation.record_bound || !details.is_empty()).then_some(details);
    Ok(evaluation)
}

/// Returns whether a token of the key for these audiences has `authorization_details` instead of a
/// scope: the deployment, the key or one of the audiences is record-bound.
pub(super) fn is_record_bound(key: &KeyProperties, audiences: &[&Audience], limits: &Limits) -> bool {
    let is_bound = limits.record_bound || key.record_bound || audiences.iter().any(|audience| audience.record_bound);
    is_bound && !is_for_management(audiences)
}

/// Returns whether one of the audiences is Keyswap itself. Access records describe resources of the
/// product, and none of Keyswap.
pub(super) fn is_for_management(audiences: &[&Audience]) -> bool {
    audiences.iter().any(|audience| audience.accepts == AcceptedPermissions::Management)
}

impl ScopeEvaluation {
    /// Removes the granted permissions for which `limit` returns a reason.
    fn remove(&mut self, limit: impl Fn(&PermissionName) -> Option<PermissionLimit>) {
        // Usually all remain, and the set is shared with the key.
        if self.granted.iter().all(|name| limit(name).is_none()) {
            return;
        }
        let mut granted = Vec::new();
        for name in self.granted.iter() {
            match limit(name) {
                Some(by) => self.removed.push(RemovedPermission { permission: name.clone(), by }),
                None => granted.push(name.clone()),
            }
        }
        self.granted = granted.into_iter().collect();
    }
}

fn fits_token(details: &[AuthorizationDetail], mapped_claims: &Map<String, Value>) -> bool {
    let with_mapped = if mapped_claims.is_empty() { 0 } else { json_length(mapped_claims) };
    json_length(&details).saturating_add(with_mapped) <= access_record::MAX_BYTES
}
