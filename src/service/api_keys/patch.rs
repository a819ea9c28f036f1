//! Changes the members of a key.

use crate::{
    config::Settings,
    domain::{
        access::policy::Right,
        common::id::KeyId,
        credentials::api_key::{ApiKey, ApiKeyPatch},
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
            types::ApiKeyView,
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
            let mut key = patch_attributes(tx, caller, &settings, &before, patch)?;
            if key == before {
                return Ok(Outcome::without_event(ApiKeyView::new(key, tx.now(), &settings), NoEvent::Unchanged));
            }
            save(tx, &mut key)?;
            let (attributes, earlier) = (&key.attributes, &before.attributes);
            if attributes.expires_at != earlier.expires_at {
                store::api_keys::expiry_notifications::reset(tx, &key.id, attributes.expires_at)?;
            }
            last_administrator::require_administrator_after_change(tx, &earlier.permissions, &settings)?;
            let event = key_event(EventType::ApiKeyUpdated, &key)
                .with_data("changed", attributes.changed_member_names(earlier))
                .with_data("permissions", attributes.permissions.to_string());
            Ok(Outcome::event(ApiKeyView::new(key, tx.now(), &settings), event))
        })
        .await
}

/// Returns the key after the patch, if the caller may change it so.
fn patch_attributes(
    tx: &mut Tx<'_>,
    caller: &Caller,
    settings: &Settings,
    before: &ApiKey,
    patch: ApiKeyPatch,
) -> Result<ApiKey, Error> {
    let (mut key, mut faults) = (before.clone(), Vec::new());
    if let Some(permissions) = &patch.permissions {
        let added = permissions.difference(&before.attributes.permissions).cloned().collect();
        faults.extend(validate_permissions(tx, &ResolvedOwner::of(&before.ownership), &added, &caller.holdings)?);
    }
    if let Some(audiences) = &patch.audiences {
        faults.extend(validate_audiences(tx, audiences.as_deref())?);
    }
    if let Some(expires_at) = patch.expires_at {
        faults.extend(validate_expiry(settings, before.created_at, tx.now(), expires_at));
    }
    faults.extend(patch.max_token_ttl.and_then(validate_token_ttl));
    faults.extend(patch.exchanges_per_minute.and_then(validate_rate_limit));
    Error::if_any(faults)?;
    key.attributes.apply(patch);
    if raises_limits(&before.attributes, &key.attributes) {
        if caller.origin.actor == Actor::Key(key.id.clone()) {
            return Err(Error::NotAllowed(Rule::OwnLimits));
        }
        require_grantable(before, &caller.holdings)?;
        require_within_caller_limits(caller, &key)?;
    }
    Ok(key)
}
