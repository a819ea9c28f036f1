//! Organizations.

use crate::{
    domain::{
        access::{owner::OwnerScope, owner_status::Deleted},
        common::{
            entropy::EntropyUnavailable,
            id::OrganizationId,
            json::Metadata,
            name::DisplayName,
            page::{Page, PageRequest},
        },
        directory::Organization,
        events::{EventType, NewEvent},
    },
    service::{
        Error, Services,
        caller::Caller,
        common::version::require_version,
        directory::{PutEffect, map_put_conflict},
    },
    store::{self, NoEvent, Outcome, Tx, directory::owner_deletions::DeletedOwner},
};

/// Body of `PUT /v1/organizations/{id}`. It replaces the entry; omitted fields are empty.
#[derive(Debug, Clone)]
pub struct OrganizationPut {
    pub id: OrganizationId,
    pub name: Option<DisplayName>,
    pub metadata: Metadata,
}

/// Body of `PATCH /v1/organizations/{id}`. Absent fields stay unchanged.
#[derive(Debug, Clone, Default)]
pub struct OrganizationPatch {
    pub name: Option<Option<DisplayName>>,
    pub metadata: Option<Metadata>,
}

/// Creates or replaces an organization; `true` if it is new. A PUT that changes nothing records no
/// event.
pub async fn put(
    services: &Services,
    caller: &Caller,
    put: OrganizationPut,
    if_version: Option<i64>,
) -> Result<(Organization, bool), Error> {
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let existing = store::directory::organizations::find_for_change(tx, &put.id)?;
            require_version(existing.as_ref().map_or(0, |found| found.version), if_version)?;
            let becomes = becomes(tx, existing.as_ref(), put)?;
            write_effect(tx, becomes)
        })
        .await
}

pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: OrganizationId,
    patch: OrganizationPatch,
    if_version: Option<i64>,
) -> Result<Organization, Error> {
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let found = store::directory::organizations::find_for_change(tx, &id)?.ok_or(NOT_FOUND)?;
            require_version(found.version, if_version)?;
            let after = Organization {
                name: patch.name.unwrap_or_else(|| found.name.clone()),
                metadata: patch.metadata.unwrap_or_else(|| found.metadata.clone()),
                ..found.clone()
            };
            let after = evaluate_update(&found, after);
            Ok(write_effect(tx, after)?.map(|(organization, _)| organization))
        })
        .await
}

pub async fn get(services: &Services, id: OrganizationId) -> Result<Organization, Error> {
    services
        .store
        .read(move |connection| store::directory::organizations::find(connection, &id))
        .await?
        .ok_or(NOT_FOUND)
}

pub async fn list(services: &Services, page: PageRequest) -> Result<Page<Organization>, Error> {
    Ok(services.store.read(move |connection| store::directory::organizations::list(connection, &page)).await?)
}

/// Deletes an organization. All keys within it become invalid at once, and stay invalid if an
/// organization with the same id is created again.
pub async fn delete(
    services: &Services,
    caller: &Caller,
    id: OrganizationId,
    if_version: Option<i64>,
) -> Result<(), Error> {
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let found = store::directory::organizations::find_for_change(tx, &id)?.ok_or(NOT_FOUND)?;
            require_version(found.version, if_version)?;
            store::directory::organizations::delete(tx, &id)?;
            let event = event(EventType::OrganizationDeleted, &found);
            let home = OwnerScope::Organization { id, generation_id: found.generation_id };
            store::directory::owner_deletions::record_deletion(
                tx,
                &DeletedOwner::OwnerScope(home),
                Deleted::OrganizationDeleted,
            )?;
            Ok(Outcome::event((), event))
        })
        .await
}

pub(super) const NOT_FOUND: Error = Error::NotFound("organization");

/// The result of a PUT of an organization over `found`.
pub(super) fn becomes(
    tx: &Tx<'_>,
    found: Option<&Organization>,
    put: OrganizationPut,
) -> Result<PutEffect<Organization>, EntropyUnavailable> {
    if let Some(found) = found {
        return Ok(evaluate_update(found, Organization { name: put.name, metadata: put.metadata, ..found.clone() }));
    }
    let organization = Organization {
        id: put.id,
        generation_id: tx.generate_id()?,
        name: put.name,
        metadata: put.metadata,
        created_at: tx.now(),
        version: 1,
    };
    let event = event(EventType::OrganizationCreated, &organization);
    Ok(PutEffect::New(organization, event))
}

fn evaluate_update(before: &Organization, mut after: Organization) -> PutEffect<Organization> {
    if *before == after {
        return PutEffect::Unchanged(after);
    }
    after.version += 1;
    let event = event(EventType::OrganizationUpdated, &after);
    PutEffect::Updated(after, event)
}

/// `true` if the organization is new.
fn write_effect(tx: &mut Tx<'_>, becomes: PutEffect<Organization>) -> Result<Outcome<(Organization, bool)>, Error> {
    Ok(match becomes {
        PutEffect::Unchanged(organization) => Outcome::without_event((organization, false), NoEvent::Unchanged),
        PutEffect::Updated(organization, event) => {
            store::directory::organizations::update(tx, &organization)?;
            Outcome::event((organization, false), event)
        }
        PutEffect::New(organization, event) => {
            map_put_conflict(store::directory::organizations::insert(tx, &organization), &organization.id)?;
            Outcome::event((organization, true), event)
        }
    })
}

fn event(kind: EventType, organization: &Organization) -> NewEvent {
    NewEvent::new(kind, &organization.id).with_organization(Some(&organization.id))
}
