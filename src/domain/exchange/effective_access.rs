//! What a presented key or token permits now: the permissions in effect, and the resources on which
//! access records grant them. The functions are pure and apply the rules of the exchange.

use std::collections::BTreeSet;

use crate::domain::{
    access::{
        access_record::{self, AuthorizationDetail},
        audience::{Audience, Identifier},
        permission::PermissionSet,
        resource::Resource,
    },
    exchange::{
        key_context::{KeyContext, Limits},
        refusal::{DenyReason, TargetError},
        scope::{is_for_management, is_record_bound},
    },
};

/// Bounds of the presented credential: for a token its claims, for a key only the audiences of the
/// service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialBounds {
    /// Permissions of a token: its scope, or the actions of a record-bound token. `None` for a key.
    pub scope: Option<PermissionSet>,
    /// The `authorization_details` of a token.
    pub authorization_details: Option<Vec<AuthorizationDetail>>,
    /// Whether a token is record-bound.
    pub record_bound: bool,
    /// Audiences that must accept the credential. For a key, the set is empty if the service names
    /// no audience.
    pub audiences: BTreeSet<Identifier>,
}

/// What a key or token permits now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EffectiveAccess {
    /// The permissions that hold for every resource. If the credential is record-bound, none does.
    pub scope: PermissionSet,
    /// What access records grant, and on which resources. `None` if no access record applies and
    /// the credential is not record-bound.
    pub authorization_details: Option<Vec<AuthorizationDetail>>,
    pub record_bound: bool,
}

impl EffectiveAccess {
    /// Reduces the access to one resource: `scope` contains the permissions that access records
    /// grant on it. Without a record that does, there are none.
    #[must_use]
    pub fn on_resource(self, resource: &Resource) -> Self {
        let mut remaining = Vec::new();
        for mut detail in self.authorization_details.unwrap_or_default() {
            detail.locations.retain(|pattern| pattern.matches(resource));
            if !detail.locations.is_empty() {
                remaining.push(detail);
            }
        }
        Self {
            scope: permissions_of(&remaining),
            authorization_details: Some(remaining),
            record_bound: self.record_bound,
        }
    }
}

/// Returns the permissions that the details grant on some resource.
pub fn permissions_of(details: &[AuthorizationDetail]) -> PermissionSet {
    details.iter().flat_map(|detail| detail.actions.iter()).cloned().collect()
}

/// Returns what is in effect now within `bounds`. A permission is in effect if the key has it, its
/// owner has it now, the token contains it, and all audiences accept it.
///
/// Fails with `DenyReason::Target` if the key may not be used for one of the audiences.
pub fn effective_access(
    context: &KeyContext,
    bounds: &CredentialBounds,
    limits: &Limits,
) -> Result<EffectiveAccess, DenyReason> {
    let key = &context.key;
    let owner = key.check_in_force(context.now, limits).map_err(DenyReason::Credential)?;
    let audiences = find_audiences(context, &bounds.audiences).map_err(DenyReason::Target)?;
    let is_effective = |name: &&_| {
        key.permissions.contains(name)
            && owner.contains(name)
            && audiences.iter().all(|audience| audience.accepts.accepts(name))
    };
    let candidates = bounds.scope.as_ref().unwrap_or(&key.permissions);
    let permissions: PermissionSet = candidates.iter().filter(is_effective).cloned().collect();
    if is_for_management(&audiences) {
        return Ok(EffectiveAccess { scope: permissions, ..EffectiveAccess::default() });
    }
    let current = access_record::build_authorization_details(&key.access_statements, &permissions);
    let details = match &bounds.authorization_details {
        Some(granted) => restrict_details(granted, &current),
        None => current,
    };
    Ok(if bounds.record_bound || is_record_bound(key, &audiences, limits) {
        EffectiveAccess { scope: PermissionSet::default(), authorization_details: Some(details), record_bound: true }
    } else {
        let authorization_details = (!details.is_empty()).then_some(details);
        EffectiveAccess { scope: permissions, authorization_details, record_bound: false }
    })
}

/// Returns what is in effect for a key at any of the audiences in `bounds`: the union for those
/// that the key can obtain a token for. If one of them is record-bound, the result is.
///
/// Fails with `TargetError::NotAllowed` if the key can obtain a token for none of them.
pub fn effective_access_at_any(
    context: &KeyContext,
    bounds: &CredentialBounds,
    limits: &Limits,
) -> Result<EffectiveAccess, DenyReason> {
    context.key.check_in_force(context.now, limits).map_err(DenyReason::Credential)?;
    let mut found: Option<EffectiveAccess> = None;
    for audience in &bounds.audiences {
        let bounds = CredentialBounds { audiences: [audience.clone()].into(), ..bounds.clone() };
        match effective_access(context, &bounds, limits) {
            Ok(access) => found = Some(found.map_or(access.clone(), |found| found.union(access))),
            Err(DenyReason::Target(_)) => {}
            Err(refusal @ (DenyReason::Credential(_) | DenyReason::Scope(_) | DenyReason::Lifetime(_))) => {
                return Err(refusal);
            }
        }
    }
    found.ok_or(DenyReason::Target(TargetError::NotAllowed))
}

impl EffectiveAccess {
    fn union(self, other: Self) -> Self {
        let record_bound = self.record_bound || other.record_bound;
        let mut details = self.authorization_details.unwrap_or_default();
        for detail in other.authorization_details.unwrap_or_default() {
            if !details.contains(&detail) {
                details.push(detail);
            }
        }
        Self {
            scope: if record_bound { PermissionSet::default() } else { self.scope.union(&other.scope) },
            authorization_details: (record_bound || !details.is_empty()).then_some(details),
            record_bound,
        }
    }
}

fn find_audiences<'a>(
    context: &'a KeyContext,
    identifiers: &BTreeSet<Identifier>,
) -> Result<Vec<&'a Audience>, TargetError> {
    let find = |identifier: &Identifier| {
        if context.key.audiences.as_ref().is_some_and(|allowed| !allowed.contains(identifier)) {
            return Err(TargetError::NotAllowed);
        }
        context.audiences.iter().find(|audience| audience.identifier == *identifier).ok_or(TargetError::Unknown)
    };
    identifiers.iter().map(find).collect()
}

/// Reduces the `authorization_details` of a token to those that the access records still contain.
/// Of two patterns that overlap, only one that contains the other has a result: the narrower one.
fn restrict_details(granted: &[AuthorizationDetail], current: &[AuthorizationDetail]) -> Vec<AuthorizationDetail> {
    let mut remaining = Vec::new();
    for (granted, current) in granted.iter().flat_map(|granted| current.iter().map(move |current| (granted, current))) {
        let mut locations = Vec::new();
        for (one, other) in granted.locations.iter().flat_map(|one| current.locations.iter().map(move |o| (one, o))) {
            let narrower =
                if other.contains(one) { Some(one) } else { Some(other).filter(|other| one.contains(other)) };
            locations.extend(narrower.filter(|pattern| !locations.contains(*pattern)).cloned());
        }
        let actions = granted.actions.intersection(&current.actions);
        let detail = AuthorizationDetail { kind: granted.kind, actions, locations };
        if !detail.actions.is_empty() && !detail.locations.is_empty() && !remaining.contains(&detail) {
            remaining.push(detail);
        }
    }
    remaining
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
    fn details_are_reduced_to_those_of_the_current_access_records() {
        let granted = [detail("a b", &["/x/*", "/y"]), detail("c", &["/z"])];
        assert_eq!(restrict_details(&granted, &granted), granted);
        assert_eq!(restrict_details(&granted, &[detail("a", &["/y"])]), [detail("a", &["/y"])]);
        // The narrower of two patterns remains, and nothing of patterns that only overlap.
        assert_eq!(restrict_details(&granted, &[detail("a", &["/x/1"])]), [detail("a", &["/x/1"])]);
        assert_eq!(restrict_details(&granted, &[detail("a", &["/*"])]), [detail("a", &["/x/*", "/y"])]);
        assert!(restrict_details(&[detail("a", &["/*/1"])], &[detail("a", &["/x/*"])]).is_empty());
        assert!(restrict_details(&granted, &[detail("c", &["/y"])]).is_empty());
    }

    #[test]
    fn access_on_a_resource_is_what_a_record_grants_there() {
        let access = EffectiveAccess {
            scope: PermissionSet::from_stored("a b c").unwrap(),
            authorization_details: Some(vec![detail("a b", &["/x/*", "/y"]), detail("c", &["/z"])]),
            record_bound: false,
        };
        let on = |resource: &str| access.clone().on_resource(&resource.parse().unwrap());
        assert_eq!(on("/x/1").scope.to_string(), "a b");
        assert_eq!(on("/x/1").authorization_details, Some(vec![detail("a b", &["/x/*"])]));
        assert_eq!(on("/z").scope.to_string(), "c");
        assert!(on("/w").scope.is_empty());
        let without_records = EffectiveAccess { authorization_details: None, ..access };
        let found = without_records.on_resource(&"/x/1".parse().unwrap());
        assert!(found.scope.is_empty() && found.authorization_details == Some(Vec::new()), "no record grants it");
    }
}
