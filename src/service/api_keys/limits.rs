//! Limits on what a key may be given: permissions that its creator holds, audiences that exist, and
//! a lifetime within the configured maximum.

use crate::{
    config::Settings,
    domain::{
        access::{
            audience::Identifier,
            owner::{Owner, OwnerScope},
            owner_status::OwnerStatus,
            permission::PermissionSet,
            policy::{GrantablePermissions, TenantScope},
        },
        common::time::{Span, Timestamp},
        credentials::api_key::{ApiKey, ApiKeyAttributes},
        events::Actor,
    },
    service::{
        Error, InputFault,
        access::{
            access_records::{is_limited_by_operator, is_within_key_access},
            permissions::{check_grantable, find_grant_faults},
        },
        api_keys::owner::ResolvedOwner,
        caller::Caller,
        common::error::Rule,
    },
    store::{self, Tx},
};

/// Requires that the caller holds all permissions of a key. A change that widens the key, renews
/// its value or reactivates it grants all of them.
pub(super) fn require_grantable(key: &ApiKey, grantable: &GrantablePermissions) -> Result<(), Error> {
    Error::if_any(key.attributes.permissions.iter().filter_map(|name| check_grantable(name, grantable)).collect())
}

/// Requires that the caller holds the permissions that a key carries while its owner has them. A
/// change that takes something from the key needs them, unless it ends the key: otherwise a caller
/// could disable the keys of those who have more permissions than it, unnoticed and bit by bit.
pub(super) fn require_carried(key: &ApiKey, caller: &Caller, settings: &Settings) -> Result<(), Error> {
    let permissions = &key.attributes.permissions;
    let carried = match key.ownership.owner_status(settings.limits.end_with_creator) {
        OwnerStatus::Active(owner) => owner.of(permissions),
        OwnerStatus::Blocked | OwnerStatus::Deleted(_) => permissions.clone(),
    };
    Error::if_any(find_carried_faults(&carried, &caller.holdings))
}

/// Faults of taking something from a key or a service client that carries these permissions.
pub(super) fn find_carried_faults(carried: &PermissionSet, grantable: &GrantablePermissions) -> Vec<InputFault> {
    let fault = |name| {
        let message =
            format!("you cannot restrict it, because it has {name} and you do not: revoke or delete it instead");
        InputFault::new("permissions", message)
    };
    carried.iter().filter(|name| !grantable.can_grant(name)).map(fault).collect()
}

/// Whether a patch removes a permission, or sets or lowers a limit.
pub(super) fn is_narrowed(before: &ApiKeyAttributes, after: &ApiKeyAttributes) -> bool {
    before.permissions.difference(&after.permissions).next().is_some()
        || !after.limits().fields_exceeded_by(&before.limits()).is_empty()
}

/// Whether a patch raises or removes a limit.
pub(super) fn raises_limits(before: &ApiKeyAttributes, after: &ApiKeyAttributes) -> bool {
    !before.limits().fields_exceeded_by(&after.limits()).is_empty()
}

/// Refuses to give another key more than the limits of the calling key allow.
pub(super) fn require_within_caller_limits(
    tx: &mut Tx<'_>,
    settings: &Settings,
    caller: &Caller,
    key: &ApiKey,
) -> Result<(), Error> {
    if caller.origin.actor == Actor::Key(key.id.clone()) {
        return Ok(());
    }
    match &caller.limits {
        Some(own) if !own.fields_exceeded_by(&key.attributes.limits()).is_empty() => {
            Err(Error::NotAllowed(Rule::CallerLimits))
        }
        Some(_) | None => require_within_caller_resources(tx, settings, caller, key),
    }
}

/// Refuses to give another key more than the access records of the calling key allow, if they
/// restrict it.
pub(super) fn require_within_caller_resources(
    tx: &mut Tx<'_>,
    settings: &Settings,
    caller: &Caller,
    key: &ApiKey,
) -> Result<(), Error> {
    let (Some(limits), Some(own)) = (&caller.limits, &caller.key_access) else { return Ok(()) };
    let is_restricted = limits.record_bound || settings.limits.record_bound;
    if !is_restricted || caller.origin.actor == Actor::Key(key.id.clone()) {
        return Ok(());
    }
    let is_bound = key.attributes.record_bound || settings.limits.record_bound;
    if is_bound && is_within_key_access(tx, own, &key.id, &key.attributes.permissions)? {
        Ok(())
    } else {
        Err(Error::NotAllowed(Rule::CallerLimits))
    }
}

/// The fault of a key that is not record-bound, for a service client that an operator limits by
/// access records: services that read only the scope would not see the limit.
pub(super) fn validate_record_bound(
    tx: &mut Tx<'_>,
    settings: &Settings,
    caller: &Caller,
    owner: &ResolvedOwner,
    record_bound: bool,
) -> Result<Option<InputFault>, Error> {
    let Owner::ServiceClient(client) = &owner.owner else { return Ok(None) };
    let may_be_unbound = caller.authority.tenant_scope == TenantScope::Account;
    if record_bound || may_be_unbound || settings.limits.record_bound {
        return Ok(None);
    }
    let is_limited = is_limited_by_operator(tx, client, &owner.owner_scope)?;
    let fault =
        || InputFault::new("record_bound", "must be true: an operator limits the service client by access records");
    Ok(is_limited.then(fault))
}

/// The members in which a new key would exceed the limits of the key that creates it. Such a key
/// could replace its creator without the creator's limits.
pub(super) fn find_exceeded_caller_limits(caller: &Caller, new: &ApiKeyAttributes) -> Vec<InputFault> {
    let Some(own) = &caller.limits else { return Vec::new() };
    let fault = |member| {
        InputFault::new(member, "exceeds the limit of the calling key: request the same limit, or a narrower one")
    };
    own.fields_exceeded_by(&new.limits()).into_iter().map(fault).collect()
}

/// Faults of giving these permissions to a key of `owner`. One permission may have several faults.
pub(super) fn validate_permissions(
    tx: &mut Tx<'_>,
    owner: &ResolvedOwner,
    permissions: &PermissionSet,
    grantable: &GrantablePermissions,
) -> Result<Vec<InputFault>, Error> {
    let mut faults = find_grant_faults(tx, permissions, owner.assignable_to(), &owner.owner_scope, grantable)?;
    if let Some(client) = &owner.client {
        for name in permissions.difference(&client.permissions) {
            faults.push(InputFault::new("permissions", format!("{name} is not a permission of the service client")));
        }
    }
    faults.extend(validate_user_permissions(&owner.owner_scope, &owner.roles, permissions, "the user"));
    Ok(faults)
}

/// Permissions that the roles of the user behind a key or a service client do not include.
pub(in crate::service) fn validate_user_permissions(
    owner_scope: &OwnerScope,
    roles: &PermissionSet,
    permissions: &PermissionSet,
    who: &str,
) -> Vec<InputFault> {
    let fault = |name| InputFault::new("permissions", format!("{name} is not a permission of the roles of {who}"));
    match owner_scope {
        OwnerScope::Account | OwnerScope::Organization { .. } => Vec::new(),
        OwnerScope::User { .. } => permissions.difference(roles).map(fault).collect(),
    }
}

pub(super) fn validate_audiences(tx: &mut Tx<'_>, audiences: Option<&[Identifier]>) -> Result<Vec<InputFault>, Error> {
    let Some(audiences) = audiences else { return Ok(Vec::new()) };
    if audiences.is_empty() {
        return Ok(vec![InputFault::new("audiences", "must not be empty: use null to accept any audience")]);
    }
    let similar = store::access::audiences::find_similar(tx, &audiences.iter().cloned().collect())?;
    let unknown = audiences.iter().filter(|one| similar.iter().all(|audience| audience.identifier != **one));
    let fault = |identifier: &Identifier| {
        let meant = similar.iter().find(|audience| audience.identifier.normalized() == identifier.normalized());
        let meant = meant.map(|audience| format!(": did you mean {}?", audience.identifier)).unwrap_or_default();
        InputFault::new("audiences", format!("there is no audience {identifier}{meant}"))
    };
    Ok(unknown.map(fault).collect())
}

pub(super) fn validate_expiry(
    settings: &Settings,
    created_at: Timestamp,
    now: Timestamp,
    expires_at: Option<Timestamp>,
) -> Option<InputFault> {
    let message = match (expires_at, settings.api_keys.max_lifetime) {
        (Some(end), _) if end <= now => "is in the past".to_owned(),
        (Some(end), Some(longest)) if end.elapsed_since(created_at) > longest => {
            format!("must be at most {longest} after the creation of the key")
        }
        (None, Some(longest)) => format!("is required: a key is valid for at most {longest}"),
        (Some(_) | None, _) => return None,
    };
    Some(InputFault::new("expires_at", message))
}

pub(super) fn validate_token_ttl(max_token_ttl: Option<Span>) -> Option<InputFault> {
    max_token_ttl
        .filter(|ttl| ttl.as_secs() == 0)
        .map(|_| InputFault::new("max_token_ttl", "must be at least one second"))
}

pub(super) fn validate_rate_limit(exchanges_per_minute: Option<u32>) -> Option<InputFault> {
    exchanges_per_minute
        .filter(|limit| !(1..=1_000_000).contains(limit))
        .map(|_| InputFault::new("exchanges_per_minute", "must be from 1 to 1000000, or null for no limit"))
}

pub(super) fn validate_owner_type(settings: &Settings, owner: &ResolvedOwner) -> Option<InputFault> {
    let kind = owner.owner.kind();
    let message = || format!("keys of this owner type ({}) are not enabled (api_keys.owner_types)", kind.as_str());
    (!settings.api_keys.owner_types.contains(&kind)).then(|| InputFault::new("owner", message()))
}
