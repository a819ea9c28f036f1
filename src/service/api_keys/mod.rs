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
mod patch;
mod quotas;
pub mod revoke;
pub mod rotate;
pub mod service_clients;
pub mod types;
mod usage;

use crate::{
    domain::{
        access::{access_record::Principal, policy::TenantScope},
        common::{
            id::KeyId,
            page::{Page, PageRequest},
        },
        credentials::api_key::KeyFilter,
    },
    service::{
        Error, Services,
        access::{
            access_records::{self, Grantor},
            visibility::retain_visible,
        },
        api_keys::{
            lookup::find_key,
            types::{ApiKeyView, IssuedApiKey, NewApiKey},
        },
        caller::Caller,
        common::idempotency::{self, IdempotencyRequest, IdempotentOutcome},
    },
    store::{self, NoEvent, Outcome},
};

pub use import::import;
pub use lifecycle::{KeyTransition, step};
pub use owner::RequestedOwner;
pub use patch::patch;
pub use revoke::revoke;
pub use rotate::{DEFAULT_GRACE, MAX_GRACE, Rotation, cancel as cancel_rotation, rotate};
pub use usage::{MAX_USAGE_DAYS, usage};

pub(super) use create::KeyFactory;
pub(super) use limits::validate_user_permissions;
pub(super) use owner::{resolve_requested_owner, unknown_owner_fault};

/// Creates a key, together with its access record if one is given, in one transaction. All exceeded
/// limits are reported together.
pub async fn create(
    services: &Services,
    caller: &Caller,
    new: NewApiKey,
    once: Option<IdempotencyRequest>,
) -> Result<IdempotentOutcome<IssuedApiKey, ApiKeyView>, Error> {
    let factory = KeyFactory::of(services);
    services
        .change(caller, move |tx, caller| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                return Ok(Outcome::without_event(
                    IdempotentOutcome::Existing(factory.load(tx, caller, &id.parse()?)?),
                    NoEvent::AlreadyRecorded,
                ));
            }
            let owner = factory.resolve_owner_with_faults(tx, caller, new.owner, &new.attributes)?;
            if let Some(record) = &new.access_record {
                access_records::lock_roles(tx, &record.statements)?;
            }
            let (issued, event) = factory.create(tx, &owner, new.attributes, caller)?;
            let (key, mut events) = (&issued.api_key.key, vec![event]);
            if let Some(record) = new.access_record {
                let principal = Principal::ApiKey(key.id.clone());
                let grantor = Grantor { caller, settings: &factory.settings.access_records };
                let created =
                    access_records::create_initial(tx, grantor, &key.ownership.owner_scope, principal, record);
                events.push(created.map_err(|error| error.prefix_fields("access_record."))?.1);
            }
            idempotency::record_object(tx, once.as_ref(), key.id.as_str())?;
            Ok(Outcome::events(IdempotentOutcome::New(issued), events))
        })
        .await
}

/// Returns a key that the caller may see. `archived` selects among deleted keys instead of existing
/// ones.
pub async fn get(services: &Services, caller: &Caller, id: KeyId, archived: bool) -> Result<ApiKeyView, Error> {
    let (settings, caller) = (services.settings.clone(), caller.clone());
    services
        .store
        .read(move |connection| {
            let now = store::now(connection)?;
            let key = find_key(connection, &caller, &id, archived, now)?;
            Ok(ApiKeyView::new(key, now, &settings))
        })
        .await
}

/// Lists the keys that the caller may see.
pub async fn list(
    services: &Services,
    caller: &Caller,
    filter: KeyFilter,
    page: PageRequest,
) -> Result<Page<ApiKeyView>, Error> {
    let (settings, visible, caller) = (services.settings.clone(), caller.authority.visible_keys(), caller.clone());
    services
        .store
        .read(move |connection| {
            let now = store::now(connection)?;
            let (mut found, mut after) = (Vec::new(), page.cursor.clone());
            let is_filtered = filter.state.is_some() || caller.authority.tenant_scope != TenantScope::Account;
            // The state depends on the owner as well, which no index covers. Keys are read in
            // batches until the page is full or `MAX_LIST_BATCHES` batches are read; the next
            // request continues from there.
            let (batch_size, mut batches) =
                if is_filtered { (LIST_BATCH_SIZE, MAX_LIST_BATCHES) } else { (page.limit, 1) };
            let next = loop {
                let batch = PageRequest { limit: batch_size, cursor: after.take() };
                let keys = store::api_keys::keys::list(connection, &visible, &filter, &batch, now)?;
                let keys_of_batch = retain_visible(connection, &caller, keys.data)?;
                let views = keys_of_batch.into_iter().map(|key| ApiKeyView::new(key, now, &settings));
                found.extend(views.filter(|view| filter.state.is_none_or(|state| state == view.state)));
                let is_full = i64::try_from(found.len()).is_ok_and(|count| count > page.limit);
                batches -= 1;
                match keys.next {
                    Some(next) if !is_full && batches > 0 => after = Some(next),
                    next => break next,
                }
            };
            let found = Page::from_rows(found, page.limit, |view| view.key.id.to_string());
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
