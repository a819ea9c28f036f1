//! API keys: create, change, rotate and end them. Only the responses to create and rotate contain
//! the value.

pub mod client_bundle;
pub mod create;
pub mod expiry_notifications;
mod import;
pub mod lifecycle;
mod limits;
pub mod lookup;
pub mod owner;
pub mod rotate;
pub mod service_clients;
pub mod types;
mod usage;

use crate::{
    domain::{
        access::{
            access_record::Principal,
            policy::{Right, TenantScope},
        },
        common::{
            id::KeyId,
            page::{Page, PageRequest},
        },
        credentials::api_key::{ApiKey, KeyFilter},
        events::{Actor, EventType},
    },
    service::{
        Error, Services,
        access::{
            access_records::{self, InitialAccessRecord},
            last_administrator,
            visibility::retain_visible,
        },
        api_keys::{
            limits::{
                raises_limits, require_grantable, require_within_caller_limits, validate_audiences, validate_expiry,
                validate_permissions, validate_rate_limit, validate_token_ttl,
            },
            lookup::{find_key, key_event, lock_key, require_not_revoked, save},
            owner::ResolvedOwner,
            types::{ApiKeyPatch, IssuedApiKey, NewApiKey, Shown},
        },
        caller::Caller,
        common::{
            error::Rule,
            idempotency::{self, CreateOutcome, IdempotencyRequest},
            version::require_version,
        },
    },
    store::{self, NoEvent, Outcome},
};

pub use import::{Import, import};
pub use lifecycle::{Step, step};
pub use owner::RequestedOwner;
pub use rotate::{MAX_GRACE, cancel as cancel_rotation, rotate};
pub use usage::{MAX_USAGE_DAYS, usage};

pub(super) use create::Maker;
pub(super) use limits::validate_user_permissions;
pub(super) use owner::{organization as organization_holder, unknown_owner_fault, user as user_holder};

/// Creates a key, together with its access record if one is given, in one transaction. All exceeded
/// limits are reported together.
pub async fn create(
    services: &Services,
    caller: &Caller,
    new: NewApiKey,
    record: Option<InitialAccessRecord>,
    once: Option<IdempotencyRequest>,
) -> Result<CreateOutcome<IssuedApiKey, Shown>, Error> {
    let maker = Maker::of(services);
    let caller = caller.clone();
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let shown = maker.shown(tx, &caller, &id.parse()?)?;
                return Ok(Outcome::without_event(CreateOutcome::Existing(shown), NoEvent::AlreadyRecorded));
            }
            if let Some(first) = &record {
                access_records::lock_roles(tx, &first.statements)?;
            }
            let (made, event) = maker.make(tx, new, &caller)?;
            let mut events = vec![event];
            if let Some(first) = record {
                let (key, principal) = (&made.shown.key, Principal::ApiKey(made.shown.key.id.clone()));
                let made = access_records::first(tx, &caller, &key.ownership.home, principal, first);
                events.push(made.map_err(|error| error.prefix_fields("access_record."))?.1);
            }
            idempotency::record_created_object(tx, once.as_ref(), made.shown.key.id.as_str())?;
            Ok(Outcome::events(CreateOutcome::New(made), events))
        })
        .await
}

/// Returns a key that the caller may see. `archived` selects among deleted keys instead of existing
/// ones.
pub async fn get(services: &Services, caller: &Caller, id: KeyId, archived: bool) -> Result<Shown, Error> {
    let (settings, caller) = (services.settings.clone(), caller.clone());
    services
        .store
        .read(move |connection| {
            let now = store::now(connection)?;
            let key = find_key(connection, &caller, &id, archived, now)?;
            Ok(Shown::new(key, now, &settings))
        })
        .await
}

/// Lists the keys that the caller may see.
pub async fn list(
    services: &Services,
    caller: &Caller,
    filter: KeyFilter,
    page: PageRequest,
) -> Result<Page<Shown>, Error> {
    let (settings, reach, caller) = (services.settings.clone(), caller.authority.visible_keys(), caller.clone());
    services
        .store
        .read(move |connection| {
            let now = store::now(connection)?;
            let (mut shown, mut after) = (Vec::new(), page.cursor.clone());
            let inside = caller.authority.tenant_scope != TenantScope::Deployment;
            // The state depends on the owner as well, which no index covers. Keys are read in
            // batches until the page is full or `MAX_LIST_BATCHES` batches are read; the next request
            // continues from there.
            let (at_once, mut looks) = match filter.state {
                None if !inside => (page.limit, 1),
                None | Some(_) => (LIST_BATCH_SIZE, MAX_LIST_BATCHES),
            };
            let next = loop {
                let rest = PageRequest { limit: at_once, cursor: after.take() };
                let keys = store::api_keys::keys::list(connection, &reach, &filter, &rest, now)?;
                let visible = retain_visible(connection, &caller, keys.data)?;
                let visible = visible.into_iter().map(|key| Shown::new(key, now, &settings));
                shown.extend(visible.filter(|key| filter.state.is_none_or(|state| state == key.state)));
                let full = i64::try_from(shown.len()).is_ok_and(|count| count > page.limit);
                looks -= 1;
                match keys.next {
                    Some(next) if !full && looks > 0 => after = Some(next),
                    next => break next,
                }
            };
            let found = Page::from_rows(shown, page.limit, |shown| shown.key.id.to_string());
            // If more keys matched than fit the page, the next page begins after the last one
            // returned; otherwise after the last key read.
            Ok(Page { next: found.next.or(next), data: found.data })
        })
        .await
}

/// The batch size, and the maximum number of batches, of a list that is filtered after reading:
/// about a thousand keys per request.
const LIST_BATCH_SIZE: i64 = 100;
const MAX_LIST_BATCHES: u32 = 10;

/// Changes the members of a key.
pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: KeyId,
    patch: ApiKeyPatch,
    if_version: Option<i64>,
) -> Result<Shown, Error> {
    let settings = services.settings.clone();
    let caller = caller.clone();
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let mut key = lock_key(tx, &caller, &id, Right::Change)?;
            require_version(key.version, if_version)?;
            require_not_revoked(&key, &settings)?;
            let before = key.clone();
            let mut faults = Vec::new();
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
                faults.extend(validate_expiry(&settings, key.created_at, tx.now(), expires_at));
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
            key.name = patch.name.unwrap_or(key.name);
            key.metadata = patch.metadata.unwrap_or(key.metadata);
            if !faults.is_empty() {
                return Err(Error::Invalid(faults));
            }
            if raises_limits(&before, &key) {
                if caller.origin.actor == Actor::Key(key.id.clone()) {
                    return Err(Error::NotAllowed(Rule::OwnLimits));
                }
                require_grantable(&before, &caller.holdings)?;
                require_within_caller_limits(&caller, &key)?;
            }
            if key == before {
                return Ok(Outcome::without_event(Shown::new(key, tx.now(), &settings), NoEvent::Unchanged));
            }
            save(tx, &mut key)?;
            if key.lifecycle.expires_at != before.lifecycle.expires_at {
                store::api_keys::expiry_notifications::begin_anew(tx, &key.id, key.lifecycle.expires_at)?;
            }
            last_administrator::require_administrator_after_key_change(tx, &before, &settings)?;
            let event = key_event(EventType::ApiKeyUpdated, &key)
                .with_data("changed", list_changed_members(&before, &key))
                .with_data("permissions", key.permissions.to_string());
            Ok(Outcome::event(Shown::new(key, tx.now(), &settings), event))
        })
        .await
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
