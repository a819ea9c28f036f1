//! Accepts altered rows by decision of an operator.

use crate::{
    crypto::master_keys::MasterKeys,
    domain::{
        common::{
            derived_id::SigningKeyId,
            id::{AccessRecordId, AudienceId},
        },
        events::{EventType, NewEvent, Origin},
    },
    service::{
        Conflict, Error, Services,
        integrity::check::{find_credentials, is_altered},
    },
    store::{self, AuthenticatedRow, Lock, Outcome, Tx, api_keys::authentication},
};

/// Accepts an altered row as it is now, by decision of an operator, and appends an event. Returns
/// `Error::Conflict` for a row that is unaltered.
pub async fn accept(services: &Services, table: &str, id: String, origin: Origin) -> Result<(), Error> {
    let accept = match table {
        "credentials" => accept_credential,
        "audiences" => accept_audience,
        "access_records" => accept_access_record,
        "signing_keys" => accept_signing_key,
        "signing_key_manifest" => accept_manifest,
        _ => {
            let message = "must be credentials, audiences, access_records, signing_keys or signing_key_manifest; delete or \
                           restore rows of other tables";
            return Err(Error::invalid("table", message));
        }
    };
    let event =
        NewEvent::new(EventType::IntegrityAccepted, format!("{table}/{id}")).with_data("table", table.to_owned());
    let master_keys = services.master_keys.clone();
    let change = move |tx: &mut Tx<'_>| {
        accept(tx, &master_keys, &id)?;
        Ok(Outcome::event((), event))
    };
    services.store.run_transaction(origin, change).await
}

/// The digest is decrypted without its authentication, because the row that it was authenticated
/// with is gone.
fn accept_credential(tx: &mut Tx<'_>, master_keys: &MasterKeys, id: &str) -> Result<(), Error> {
    let mut rows = find_credentials(tx, &[id.to_owned()])?.into_iter();
    let found = rows.next().ok_or(Error::NotFound("credential"))?;
    let is_narrow_row_altered = rows.next().map_or(Ok(false), |narrow| is_altered(master_keys, &narrow))?;
    if is_narrow_row_altered || is_altered(master_keys, &found)? {
        let digest = master_keys.decrypt_unauthenticated(&found.encrypted)?;
        return Ok(authentication::accept(tx, id, &digest)?);
    }
    require_older(tx, &found)?;
    let keys = authentication::find_keys(tx, &[id.to_owned()])?;
    let key = keys.get(id).ok_or(Error::NotFound("credential"))?;
    Ok(authentication::make_newest(tx, key)?)
}

fn accept_audience(tx: &mut Tx<'_>, master_keys: &MasterKeys, id: &str) -> Result<(), Error> {
    let found = store::access::audiences::find_to_check(tx, &[id.to_owned()])?;
    let found = found.into_iter().next().ok_or(Error::NotFound("audience"))?;
    let id: AudienceId = id.parse().map_err(|_| Error::NotFound("audience"))?;
    let mut audience = store::access::audiences::find(tx, &id)?.ok_or(Error::NotFound("audience"))?;
    if !is_altered(master_keys, &found)? {
        audience.version = require_older(tx, &found)?.saturating_add(1);
    }
    Ok(store::access::audiences::accept(tx, &audience)?)
}

fn accept_access_record(tx: &mut Tx<'_>, master_keys: &MasterKeys, id: &str) -> Result<(), Error> {
    let found = store::access::access_records::find_to_check(tx, &[id.to_owned()])?;
    let found = found.into_iter().next().ok_or(Error::NotFound("access record"))?;
    let id: AccessRecordId = id.parse().map_err(|_| Error::NotFound("access record"))?;
    let mut record = store::access::access_records::find(tx, &id)?.ok_or(Error::NotFound("access record"))?;
    if !is_altered(master_keys, &found)? {
        record.version = require_older(tx, &found)?.saturating_add(1);
    }
    // With its parts: the ids by which it is found are those of its principals again.
    Ok(store::access::access_records::update(tx, &record)?)
}

/// Returns the version of the last event about a row. Returns `Conflict::RowNotAltered` unless the
/// row is older.
fn require_older(tx: &mut Tx<'_>, row: &AuthenticatedRow) -> Result<i64, Error> {
    let recorded = store::row_versions::last_versions(tx, std::slice::from_ref(&row.subject))?;
    let later = recorded.into_values().find(|recorded| row.version < *recorded);
    later.ok_or_else(|| Conflict::RowNotAltered.into())
}

fn accept_signing_key(tx: &mut Tx<'_>, _: &MasterKeys, id: &str) -> Result<(), Error> {
    let kid: SigningKeyId = id.parse().map_err(|_| Error::NotFound("signing key"))?;
    tx.lock(Lock::SigningKeys)?;
    require_altered(store::signing::manifest::accept(tx, &kid)?)
}

fn accept_manifest(tx: &mut Tx<'_>, _: &MasterKeys, _: &str) -> Result<(), Error> {
    tx.lock(Lock::SigningKeys)?;
    require_altered(store::signing::manifest::accept_manifest(tx)?)
}

fn require_altered(is_altered: bool) -> Result<(), Error> {
    if is_altered { Ok(()) } else { Err(Conflict::RowNotAltered.into()) }
}
