//! Organizations.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{owner::OwnerScope, owner_status::DeletionCause},
        common::{
            entropy::EntropyUnavailable,
            id::OrganizationId,
            json::{Metadata, MetadataPatch, deserialize_nullable, deserialize_present},
            name::DisplayName,
            page::{Page, PageRequest},
            preconditions::Preconditions,
        },
        directory::Organization,
        events::{EventType, NewEvent},
    },
    service::{
        Error, Services,
        caller::Caller,
        common::entry::{WriteResult, entry, merge_metadata, require_existing, require_found},
    },
    store::{self, Outcome, StoreError, Tx, directory::owner_deletions::DeletedOwner},
};

/// Body of `PUT /v1/organizations/{id}`. It replaces the entry; omitted fields are empty.
#[derive(Debug, Clone)]
pub struct OrganizationPut {
    pub id: OrganizationId,
    pub name: Option<DisplayName>,
    pub metadata: Metadata,
}

/// Changes to an organization.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationPatch {
    #[serde(default, deserialize_with = "deserialize_nullable")]
    pub name: Option<Option<DisplayName>>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false, value_type = Option<Metadata>)]
    pub metadata: Option<MetadataPatch>,
}

entry!(Organization, "organization", store::directory::organizations, |organization, before| {
    event(before.map_or(EventType::OrganizationCreated, |_| EventType::OrganizationUpdated), organization)
});

/// Creates or replaces an organization; `true` if it is new. A PUT that changes nothing records no
/// event.
pub async fn put(
    services: &Services,
    caller: &Caller,
    put: OrganizationPut,
    preconditions: Preconditions,
) -> Result<(Organization, bool), Error> {
    services
        .change(caller, move |tx, _| {
            let before = store::directory::organizations::find_for_change(tx, &put.id)?;
            preconditions.check(before.as_ref().map(|found| found.version).into())?;
            Ok(effect_of_put(tx, before.as_ref(), put)?.write(tx)?.into())
        })
        .await
}

pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: OrganizationId,
    patch: OrganizationPatch,
    preconditions: Preconditions,
) -> Result<Organization, Error> {
    services
        .change(caller, move |tx, _| {
            let before = require_existing(store::directory::organizations::find_for_change(tx, &id)?, &preconditions)?;
            let after = Organization {
                name: patch.name.unwrap_or_else(|| before.name.clone()),
                metadata: merge_metadata("metadata", patch.metadata, &before.metadata)?,
                ..before.clone()
            };
            WriteResult::of(Some(&before), after).write_outcome(tx)
        })
        .await
}

pub async fn get(services: &Services, id: OrganizationId) -> Result<Organization, Error> {
    let found = services.store.read(move |connection| store::directory::organizations::find(connection, &id)).await?;
    require_found(found)
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
    preconditions: Preconditions,
) -> Result<(), Error> {
    services
        .change(caller, move |tx, _| {
            let found = require_existing(store::directory::organizations::find_for_change(tx, &id)?, &preconditions)?;
            store::directory::organizations::delete(tx, &id)?;
            let event = event(EventType::OrganizationDeleted, &found);
            let owner = OwnerScope::Organization { id, generation_id: found.generation_id };
            let owner = DeletedOwner::OwnerScope(owner);
            store::directory::owner_deletions::record_deletion(tx, &owner, DeletionCause::OrganizationDeleted)?;
            Ok(Outcome::event((), event))
        })
        .await
}

/// The effect of a PUT of an organization over `before`.
pub(super) fn effect_of_put(
    tx: &Tx<'_>,
    before: Option<&Organization>,
    put: OrganizationPut,
) -> Result<WriteResult<Organization>, EntropyUnavailable> {
    let OrganizationPut { id, name, metadata } = put;
    let after = match before {
        Some(before) => Organization { name, metadata, ..before.clone() },
        None => {
            let (generation_id, created_at) = (tx.generate_id()?, tx.now());
            Organization { id, generation_id, name, metadata, created_at, version: 1 }
        }
    };
    Ok(WriteResult::of(before, after))
}

fn event(kind: EventType, organization: &Organization) -> NewEvent {
    NewEvent::new(kind, &organization.id).with_organization(Some(&organization.id))
}
