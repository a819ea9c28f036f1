//! Changes the members of a key.

use crate::{
    config::Settings,
    domain::{
        access::policy::Right,
        common::id::KeyId,
        credentials::api_key::ApiKey,
        events::{Actor, EventType},
    },
    service::{
        Error, Services,
        access::last_administrator,
        api_keys::{
            limits::{
                raises_limits, require_grantable, require_within_caller_limits, validate_audiences, validate_expiry,
                validate_permissions, validate_rate_limit, validate_token_ttl,
            },
            lookup::{key_event, lock_key, require_not_revoked, save},
            owner::ResolvedOwner,
            types::{ApiKeyPatch, ApiKeyView},
        },
        caller::Caller,
        common::{error::Rule, version::require_version},
    },
    store::{self, NoEvent, Outcome, Tx},
};

/// Changes the members of a key. The caller must hold what the change adds.
pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: KeyId,
    patch: ApiKeyPatch,
    if_version: Option<i64>,
) -> Result<ApiKeyView, Error> {
    let settings = services.settings.clone();
    services
        .change(caller, move |tx, caller| {
            let before = lock_key(tx, caller, &id, Right::Change)?;
            require_version(before.version, if_version)?;
            require_not_revoked(&before, &settings)?;
            let mut key = apply(tx, caller, &settings, &before, patch)?;
            if key == before {
                return Ok(Outcome::without_event(ApiKeyView::new(key, tx.now(), &settings), NoEvent::Unchanged));
            }
            save(tx, &mut key)?;
            if key.lifecycle.expires_at != before.lifecycle.expires_at {
                store::api_keys::expiry_notifications::reset(tx, &key.id, key.lifecycle.expires_at)?;
            }
            last_administrator::require_administrator_after_change(tx, &before.permissions, &settings)?;
            let event = key_event(EventType::ApiKeyUpdated, &key)
                .with_data("changed", list_changed_members(&before, &key))
                .with_data("permissions", key.permissions.to_string());
            Ok(Outcome::event(ApiKeyView::new(key, tx.now(), &settings), event))
        })
        .await
}

/// Returns the key after the patch, if the caller may change it so.
fn apply(
    tx: &mut Tx<'_>,
    caller: &Caller,
    settings: &Settings,
    before: &ApiKey,
    patch: ApiKeyPatch,
) -> Result<ApiKey, Error> {
    let (mut key, mut faults) = (before.clone(), Vec::new());
    if let Some(permissions) = patch.permissions {
        let added = permissions.difference(&key.permissions).cloned().collect();
        faults.extend(validate_permissions(tx, &ResolvedOwner::of(&key.ownership), &added, &caller.holdings)?);
        key.permissions = permissions;
    }
    if let Some(audiences) = patch.audiences {
        faults.extend(validate_audiences(tx, audiences.as_deref())?);
        key.audiences = audiences;
    }
    if let Some(expires_at) = patch.expires_at {
        faults.extend(validate_expiry(settings, key.created_at, tx.now(), expires_at));
        key.lifecycle.expires_at = expires_at;
    }
    if let Some(max_token_ttl) = patch.max_token_ttl {
        faults.extend(validate_token_ttl(max_token_ttl));
        key.max_token_ttl = max_token_ttl;
    }
    if let Some(exchanges_per_minute) = patch.exchanges_per_minute {
        faults.extend(validate_rate_limit(exchanges_per_minute));
        key.exchanges_per_minute = exchanges_per_minute;
    }
    Error::if_any(faults)?;
    key.name = patch.name.unwrap_or(key.name);
    key.metadata = patch.metadata.unwrap_or(key.metadata);
    if raises_limits(before, &key) {
        if caller.origin.actor == Actor::Key(key.id.clone()) {
            return Err(Error::NotAllowed(Rule::OwnLimits));
        }
        require_grantable(before, &caller.holdings)?;
        require_within_caller_limits(caller, &key)?;
    }
    Ok(key)
}

/// The names of the members that a patch changed.
fn list_changed_members(before: &ApiKey, after: &ApiKey) -> Vec<&'static str> {
    let members = [
        ("name", before.name != after.name),
        ("permissions", before.permissions != after.permissions),
        ("audiences", before.audiences != after.audiences),
        ("metadata", before.metadata != after.metadata),
        ("max_token_ttl", before.max_token_ttl != after.max_token_ttl),
        ("exchanges_per_minute", before.exchanges_per_minute != after.exchanges_per_minute),
        ("expires_at", before.lifecycle.expires_at != after.lifecycle.expires_at),
    ];
    members.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}
