//! Changes the members of a key.

use crate::{
    config::Settings,
    domain::{
        access::policy::{ObjectRight, TenantScope},
        common::{
            id::KeyId,
            preconditions::{Preconditions, StoredObject},
            time::Timestamp,
        },
        credentials::api_key::{ApiKey, ApiKeyPatch},
        events::{Actor, EventType},
    },
    service::{
        Error, InputFault, Services,
        access::{
            access_records::{Grantor, find_addition_faults},
            last_administrator,
        },
        api_keys::{
            limits::{
                is_narrowed, raises_limits, require_carried, require_grantable, require_within_caller_limits,
                require_within_caller_resources, validate_audiences, validate_expiry, validate_permissions,
                validate_rate_limit, validate_record_bound, validate_token_ttl,
            },
            lookup::{key_event, lock_key, require_not_revoked, save},
            owner::ResolvedOwner,
            quotas::{lock_owner_of_key, require_key_quota_of_existing},
            types::ApiKeyView,
        },
        caller::Caller,
        common::error::Rule,
    },
    store::{self, NoEvent, Outcome, Tx, credentials::key_statements::find_statements_of_key},
};

/// Changes the members of a key. The caller must hold what the change adds, and the permissions of
/// a key from which the change takes something.
pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: KeyId,
    patch: ApiKeyPatch,
    preconditions: Preconditions,
) -> Result<ApiKeyView, Error> {
    let (settings, quotas) = (services.settings.clone(), services.live.load().quotas);
    services
        .change(caller, move |tx, caller| {
            if patch.expires_at.is_some() {
                lock_owner_of_key(tx, caller, &id)?;
            }
            let before = lock_key(tx, caller, &id, ObjectRight::Change)?;
            preconditions.check(StoredObject::Version(before.version))?;
            require_not_revoked(&before, &settings)?;
            let mut key = patch_attributes(tx, caller, &settings, &before, patch)?;
            if key == before {
                return Ok(Outcome::without_event(ApiKeyView::new(key, tx.now(), &settings), NoEvent::Unchanged));
            }
            if is_later(key.attributes.expires_at, before.attributes.expires_at) {
                require_key_quota_of_existing(tx, &quotas, &before)?;
            }
            let permissions = &before.attributes.permissions;
            last_administrator::keep_administrator(tx, caller, &settings, permissions, |tx| save(tx, &mut key))?;
            let (attributes, earlier) = (&key.attributes, &before.attributes);
            if attributes.expires_at != earlier.expires_at {
                store::api_keys::expiry_notifications::reset(tx, &key.id, attributes.expires_at)?;
            }
            let event = key_event(EventType::ApiKeyUpdated, &key)
                .with_data("changed", attributes.changed_member_names(earlier))
                .with_data("permissions", attributes.permissions.to_string());
            Ok(Outcome::event(ApiKeyView::new(key, tx.now(), &settings), event))
        })
        .await
}

fn is_later(end: Option<Timestamp>, before: Option<Timestamp>) -> bool {
    before.is_some_and(|before| end.is_none_or(|end| end > before))
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
        let owner = ResolvedOwner::of(&before.ownership);
        faults.extend(validate_permissions(tx, &owner, &added, &caller.holdings)?);
        if !added.is_empty() {
            let record_bound = patch.record_bound.unwrap_or(before.attributes.record_bound);
            faults.extend(validate_record_bound(tx, settings, caller, &owner, record_bound)?);
            require_within_caller_resources(tx, settings, caller, before)?;
            let statements = find_statements_of_key(tx, &before.id)?;
            let grantor = Grantor { caller, settings: &settings.access_records };
            faults.extend(find_addition_faults(tx, grantor, &added, &statements)?);
        }
    }
    if let Some(audiences) = &patch.audiences {
        faults.extend(validate_audiences(tx, audiences.as_deref())?);
    }
    if let Some(expires_at) = patch.expires_at {
        faults.extend(validate_expiry(settings, before.created_at, tx.now(), expires_at));
    }
    faults.extend(patch.max_token_ttl.and_then(validate_token_ttl));
    faults.extend(patch.exchanges_per_minute.and_then(validate_rate_limit));
    if let Err(error) = key.attributes.apply(patch) {
        faults.push(InputFault::new("metadata", error.to_string()));
    }
    Error::if_any(faults)?;
    if is_narrowed(&before.attributes, &key.attributes) {
        require_carried(before, caller, settings)?;
    }
    if raises_limits(&before.attributes, &key.attributes) {
        if caller.origin.actor == Actor::Key(key.id.clone()) {
            return Err(Error::NotAllowed(Rule::OwnLimits));
        }
        if before.attributes.record_bound
            && !key.attributes.record_bound
            && caller.authority.tenant_scope != TenantScope::Account
        {
            return Err(Error::NotAllowed(Rule::RecordBound));
        }
        require_grantable(before, &caller.holdings)?;
        require_within_caller_limits(tx, settings, caller, &key)?;
    }
    Ok(key)
}
