//! Creates a service client with its access record and first key in one transaction.

use crate::{
    domain::{
        access::{
            access_record::{AccessRecord, Principal},
            policy::Right,
        },
        credentials::format::ApiKeyValue,
        directory::service_client::ServiceClient,
    },
    service::{
        Error, InputFault, Services,
        access::{
            access_records::{self, InitialAccessRecord},
            visibility::authorize,
        },
        api_keys::{
            Maker, RequestedOwner,
            service_clients::{NewServiceClient, make, require_client_limit},
            types::{NewApiKey, Shown},
        },
        caller::Caller,
        common::idempotency::{self, CreateOutcome, IdempotencyRequest},
    },
    store::{self, NoEvent, Outcome, Tx},
};

/// Objects that can be created together with a service client.
#[derive(Debug, Clone, Default)]
pub struct NewClientBundle {
    pub record: Option<InitialAccessRecord>,
    /// Its `owner` is ignored: the service client owns the key.
    pub key: Option<NewApiKey>,
}

/// A service client with the objects that were created together with it.
#[derive(Debug)]
pub struct CreatedClientBundle {
    pub client: ServiceClient,
    pub record: Option<AccessRecord>,
    pub key: Option<Shown>,
    /// Present only in the first response.
    pub value: Option<ApiKeyValue>,
}

/// Creates a service client, together with its access record and its first key if they are given.
/// The operation is atomic.
pub async fn create(
    services: &Services,
    caller: &Caller,
    new: NewServiceClient,
    outfit: NewClientBundle,
    once: Option<IdempotencyRequest>,
) -> Result<CreateOutcome<CreatedClientBundle, CreatedClientBundle>, Error> {
    let (caller, maker, settings) = (caller.clone(), Maker::of(services), services.settings.clone());
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            if let Some(ids) = idempotency::earlier(tx, once.as_ref())? {
                return Ok(Outcome::without_event(
                    CreateOutcome::Existing(earlier(tx, &caller, &maker, &ids)?),
                    NoEvent::AlreadyRecorded,
                ));
            }
            if let Some(first) = &outfit.record {
                access_records::lock_roles(tx, &first.statements)?;
            }
            let mut faults = Vec::new();
            let made = collect_faults(
                &mut faults,
                "",
                make(tx, new, &caller).and_then(|made| require_client_limit(tx, &settings, made)),
            )?;
            // The access record and the key cannot be checked without the service client.
            let Some((client, event)) = made else { return Err(Error::Invalid(faults)) };
            let mut events = vec![event];
            let record = match outfit.record {
                Some(first) => {
                    let principal = Principal::ServiceClient(client.id.clone());
                    let made = access_records::first(tx, &caller, &client.home, principal, first);
                    collect_faults(&mut faults, "access_record.", made)?
                }
                None => None,
            };
            let key = match outfit.key {
                Some(key) => {
                    let key = NewApiKey { owner: Some(RequestedOwner::ServiceClient(client.id.clone())), ..key };
                    collect_faults(&mut faults, "api_key.", maker.make(tx, key, &caller))?
                }
                None => None,
            };
            if !faults.is_empty() {
                return Err(Error::Invalid(faults));
            }
            let (record, record_event) = record.unzip();
            let (key, key_event) = key.unzip();
            events.extend(record_event);
            events.extend(key_event);
            let (key, value) = key.map(|made| (made.shown, made.value)).unzip();
            let made = CreatedClientBundle { client, record, key, value };
            idempotency::record_created_object(tx, once.as_ref(), &made.ids())?;
            Ok(Outcome::events(CreateOutcome::New(made), events))
        })
        .await
}

impl CreatedClientBundle {
    /// Returns the ids of all created objects, separated by single spaces.
    fn ids(&self) -> String {
        let record = self.record.as_ref().map(|record| record.id.as_str());
        let key = self.key.as_ref().map(|shown| shown.key.id.as_str());
        [Some(self.client.id.as_str()), record, key].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// Returns the current state of the objects with these ids.
pub(crate) fn earlier(
    tx: &mut Tx<'_>,
    caller: &Caller,
    maker: &Maker,
    ids: &str,
) -> Result<CreatedClientBundle, Error> {
    let mut parts = ids.split(' ');
    let client = store::api_keys::service_clients::find(tx, &parts.next().unwrap_or_default().parse()?)?;
    let client = authorize(tx, caller, client, Right::Read)?;
    let (mut record, mut key) = (None, None);
    for id in parts {
        if let Ok(id) = id.parse() {
            let found = store::access::access_records::find(tx, &id)?;
            record = if_visible(authorize(tx, caller, found, Right::Read))?;
        } else {
            key = if_visible(maker.shown(tx, caller, &id.parse()?))?;
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

/// Adds the faults of one part to the faults of the whole request.
pub(crate) fn collect_faults<T>(
    faults: &mut Vec<InputFault>,
    part: &str,
    made: Result<T, Error>,
) -> Result<Option<T>, Error> {
    match made.map_err(|error| error.prefix_fields(part)) {
        Ok(made) => Ok(Some(made)),
        Err(Error::Invalid(more)) => {
            faults.extend(more);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
