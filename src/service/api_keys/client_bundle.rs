//! Creates a service client with its access record and first key in one transaction.

use crate::{
    domain::{
        access::access_record::{AccessRecord, Principal},
        credentials::format::ApiKeyValue,
        directory::service_client::ServiceClient,
    },
    service::{
        App, Error, Fault,
        access::access_records::{self, FirstRecord},
        api_keys::{
            Maker, OwnerAsked,
            service_clients::{NOT_FOUND, NewServiceClient, make, seen, within_limit},
            types::{NewKey, Shown},
        },
        caller::Caller,
        common::idempotency::{self, Created, Idempotency},
    },
    store::{self, Outcome, Tx},
};

/// Objects that can be created together with a service client.
#[derive(Debug, Clone, Default)]
pub struct Outfit {
    pub record: Option<FirstRecord>,
    /// Its `owner` is ignored: the service client owns the key.
    pub key: Option<NewKey>,
}

/// A service client with the objects that were created together with it.
#[derive(Debug)]
pub struct Outfitted {
    pub client: ServiceClient,
    pub record: Option<AccessRecord>,
    pub key: Option<Shown>,
    /// Present only in the first response.
    pub value: Option<ApiKeyValue>,
}

/// Creates a service client, together with its access record and its first key if they are given.
/// The operation is atomic.
pub async fn create(
    app: &App,
    caller: &Caller,
    new: NewServiceClient,
    outfit: Outfit,
    once: Option<Idempotency>,
) -> Result<Created<Outfitted, Outfitted>, Error> {
    let (caller, maker, settings) = (caller.clone(), Maker::of(app), app.settings.clone());
    app.store
        .change(caller.origin.clone(), move |tx| {
            if let Some(ids) = idempotency::earlier(tx, once.as_ref())? {
                return Ok(Outcome::bookkeeping(Created::Replayed(earlier(tx, &caller, &maker, &ids)?)));
            }
            if let Some(first) = &outfit.record {
                access_records::lock_roles(tx, &first.statements)?;
            }
            let mut faults = Vec::new();
            let made =
                among(&mut faults, "", make(tx, new, &caller).and_then(|made| within_limit(tx, &settings, made)))?;
            // The access record and the key cannot be checked without the service client.
            let Some((client, event)) = made else { return Err(Error::Invalid(faults)) };
            let mut events = vec![event];
            let record = match outfit.record {
                Some(first) => {
                    let principal = Principal::ServiceClient(client.id.clone());
                    let made = access_records::first(tx, &caller, &client.home, principal, first);
                    among(&mut faults, "access_record.", made)?
                }
                None => None,
            };
            let key = match outfit.key {
                Some(key) => {
                    let key = NewKey { owner: Some(OwnerAsked::ServiceClient(client.id.clone())), ..key };
                    among(&mut faults, "api_key.", maker.make(tx, key, &caller))?
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
            let made = Outfitted { client, record, key, value };
            idempotency::remember(tx, once.as_ref(), &made.ids())?;
            Ok(Outcome::events(Created::New(made), events))
        })
        .await
}

impl Outfitted {
    /// Returns the ids of all created objects, separated by single spaces.
    fn ids(&self) -> String {
        let record = self.record.as_ref().map(|record| record.id.as_str());
        let key = self.key.as_ref().map(|shown| shown.key.id.as_str());
        [Some(self.client.id.as_str()), record, key].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// Returns the current state of the objects with these ids.
pub(crate) fn earlier(tx: &mut Tx<'_>, caller: &Caller, maker: &Maker, ids: &str) -> Result<Outfitted, Error> {
    let mut parts = ids.split(' ');
    let client = store::api_keys::service_clients::find(tx, &parts.next().unwrap_or_default().parse()?)?;
    let client = seen(tx, caller, client)?.ok_or(NOT_FOUND)?;
    let (mut record, mut key) = (None, None);
    for id in parts {
        if let Ok(id) = id.parse() {
            record = store::access::access_records::find(tx, &id)?;
        } else {
            key = Some(maker.shown(tx, &id.parse()?)?).filter(|shown| shown.key.archived_at.is_none());
        }
    }
    Ok(Outfitted { client, record, key, value: None })
}

/// Adds the faults of one part to the faults of the whole request.
pub(crate) fn among<T>(faults: &mut Vec<Fault>, part: &str, made: Result<T, Error>) -> Result<Option<T>, Error> {
    match made.map_err(|error| error.of_part(part)) {
        Ok(made) => Ok(Some(made)),
        Err(Error::Invalid(more)) => {
            faults.extend(more);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
