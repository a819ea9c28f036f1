//! Creates a service client with its access record and first key in one transaction.

use crate::{
    domain::{
        access::{
            access_record::{AccessRecord, Principal},
            policy::ObjectRight,
        },
        credentials::{api_key::ApiKeyAttributes, format::ApiKeyValue},
        directory::service_client::ServiceClient,
        events::NewEvent,
    },
    service::{
        Error, Services,
        access::{
            access_records::{self, Grantor, InitialAccessRecord},
            visibility::authorize,
        },
        api_keys::{
            KeyFactory,
            owner::ResolvedOwner,
            service_clients::{self, NewServiceClient, require_client_limit},
            types::ApiKeyView,
        },
        caller::Caller,
        common::idempotency::{self, IdempotencyRequest, IdempotentOutcome},
    },
    store::{self, NoEvent, Outcome, Tx},
};

/// Objects that can be created together with a service client.
#[derive(Debug, Clone, Default)]
pub struct NewClientBundle {
    pub record: Option<InitialAccessRecord>,
    /// The attributes of the first key, which the service client owns.
    pub key: Option<ApiKeyAttributes>,
}

/// A service client with the objects that were created together with it.
#[derive(Debug)]
pub struct CreatedClientBundle {
    pub client: ServiceClient,
    pub record: Option<AccessRecord>,
    pub key: Option<ApiKeyView>,
    /// Present only in the first response.
    pub value: Option<ApiKeyValue>,
}

/// Creates a service client, together with its access record and its first key if they are given.
/// The operation is atomic.
pub async fn create(
    services: &Services,
    caller: &Caller,
    new: NewServiceClient,
    bundle: NewClientBundle,
    once: Option<IdempotencyRequest>,
) -> Result<IdempotentOutcome<CreatedClientBundle, CreatedClientBundle>, Error> {
    let factory = KeyFactory::of(services);
    services
        .change(caller, move |tx, caller| {
            if let Some(ids) = idempotency::earlier(tx, once.as_ref())? {
                let found = find_earlier(tx, caller, &factory, &ids)?;
                return Ok(Outcome::without_event(IdempotentOutcome::Existing(found), NoEvent::AlreadyRecorded));
            }
            let (created, events) = create_in(tx, caller, &factory, new, bundle)?;
            idempotency::record_object(tx, once.as_ref(), &created.ids())?;
            Ok(Outcome::events(IdempotentOutcome::New(created), events))
        })
        .await
}

/// Creates all parts, or reports the faults of all of them.
fn create_in(
    tx: &mut Tx<'_>,
    caller: &Caller,
    factory: &KeyFactory,
    new: NewServiceClient,
    bundle: NewClientBundle,
) -> Result<(CreatedClientBundle, Vec<NewEvent>), Error> {
    let owner = service_clients::resolve_owner(tx, caller, new.owner.clone())?;
    if let Some(record) = &bundle.record {
        access_records::lock_roles(tx, &record.statements)?;
    }
    // All of them at once: those of the key would otherwise be locked after those of the client.
    if let Some(attributes) = &bundle.key {
        store::access::permissions::find_many_for_update(tx, &new.permissions.union(&attributes.permissions))?;
    }
    // The access record and the key cannot be checked without the service client.
    let (client, event) = service_clients::create_owned(tx, new, &owner, caller)?;
    require_client_limit(tx, &factory.settings, &client)?;
    let (mut events, mut faults) = (vec![event], Vec::new());
    let mut created = CreatedClientBundle { client, record: None, key: None, value: None };
    if let Some(record) = bundle.record {
        let principal = Principal::ServiceClient(created.client.id.clone());
        let grantor = Grantor { caller, settings: &factory.settings.access_records };
        let record = access_records::create_initial(tx, grantor, &created.client.owner_scope, principal, record);
        if let Some((record, event)) =
            Error::collect(record.map_err(|error| error.prefix_fields("access_record.")), &mut faults)?
        {
            created.record = Some(record);
            events.push(event);
        }
    }
    if let Some(attributes) = bundle.key {
        let owner = ResolvedOwner::of_client(created.client.clone(), owner.roles);
        let issued = factory.create(tx, &owner, attributes, caller);
        if let Some((issued, event)) =
            Error::collect(issued.map_err(|error| error.prefix_fields("api_key.")), &mut faults)?
        {
            (created.key, created.value) = (Some(issued.api_key), Some(issued.value));
            events.push(event);
        }
    }
    Error::if_any(faults)?;
    Ok((created, events))
}

impl CreatedClientBundle {
    /// Returns the ids of all created objects, separated by single spaces.
    fn ids(&self) -> String {
        let record = self.record.as_ref().map(|record| record.id.as_str());
        let key = self.key.as_ref().map(|view| view.key.id.as_str());
        [Some(self.client.id.as_str()), record, key].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// Returns the current state of the objects with these ids.
fn find_earlier(
    tx: &mut Tx<'_>,
    caller: &Caller,
    factory: &KeyFactory,
    ids: &str,
) -> Result<CreatedClientBundle, Error> {
    let mut parts = ids.split(' ');
    let client = store::api_keys::service_clients::find(tx, &parts.next().unwrap_or_default().parse()?)?;
    let client = authorize(tx, caller, client, ObjectRight::Read)?;
    let (mut record, mut key) = (None, None);
    for id in parts {
        if let Ok(id) = id.parse() {
            let found = store::access::access_records::find(tx, &id)?;
            record = if_visible(authorize(tx, caller, found, ObjectRight::Read))?;
        } else {
            key = if_visible(factory.load(tx, caller, &id.parse()?))?;
        }
    }
    Ok(CreatedClientBundle { client, record, key, value: None })
}

/// Converts `Error::NotFound` to `None`.
fn if_visible<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Err(Error::NotFound(_)) => Ok(None),
        found => found.map(Some),
    }
}
