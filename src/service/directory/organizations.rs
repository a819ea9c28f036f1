//! Organizations.

use crate::{
    domain::{
        access::{owner::Home, owner_status::Gone},
        common::{
            entropy::NoEntropy,
            id::OrganizationId,
            json::Metadata,
            name::DisplayName,
            page::{Page, PageRequest},
        },
        directory::Organization,
        events::{EventKind, NewEvent},
    },
    service::{
        App, Error,
        caller::Caller,
        common::version::require_version,
        directory::{Becomes, put_at_the_same_moment},
    },
    store::{self, Outcome, Tx, directory::owner_deletions::Departed},
};

/// Body of `PUT /v1/organizations/{id}`. It replaces the entry; omitted fields are empty.
#[derive(Debug, Clone)]
pub struct PutOrganization {
    pub id: OrganizationId,
    pub name: Option<DisplayName>,
    pub metadata: Metadata,
}

/// Body of `PATCH /v1/organizations/{id}`. Absent fields stay unchanged.
#[derive(Debug, Clone, Default)]
pub struct PatchOrganization {
    pub name: Option<Option<DisplayName>>,
    pub metadata: Option<Metadata>,
}

/// Creates or replaces an organization; `true` if it is new. A PUT that changes nothing records no
/// event.
pub async fn put(
    app: &App,
    caller: &Caller,
    put: PutOrganization,
    if_version: Option<i64>,
) -> Result<(Organization, bool), Error> {
    app.store
        .change(caller.origin.clone(), move |tx| {
            let existing = store::directory::organizations::find_for_change(tx, &put.id)?;
            require_version(existing.as_ref().map_or(0, |found| found.version), if_version)?;
            let becomes = becomes(tx, existing.as_ref(), put)?;
            save(tx, becomes)
        })
        .await
}

pub async fn patch(
    app: &App,
    caller: &Caller,
    id: OrganizationId,
    patch: PatchOrganization,
    if_version: Option<i64>,
) -> Result<Organization, Error> {
    app.store
        .change(caller.origin.clone(), move |tx| {
            let found = store::directory::organizations::find_for_change(tx, &id)?.ok_or(NOT_FOUND)?;
            require_version(found.version, if_version)?;
            let after = Organization {
                name: patch.name.unwrap_or_else(|| found.name.clone()),
                metadata: patch.metadata.unwrap_or_else(|| found.metadata.clone()),
                ..found.clone()
            };
            let after = altered(&found, after);
            Ok(save(tx, after)?.map(|(organization, _)| organization))
        })
        .await
}

pub async fn get(app: &App, id: OrganizationId) -> Result<Organization, Error> {
    app.store.read(move |connection| store::directory::organizations::find(connection, &id)).await?.ok_or(NOT_FOUND)
}

pub async fn list(app: &App, page: PageRequest) -> Result<Page<Organization>, Error> {
    Ok(app.store.read(move |connection| store::directory::organizations::list(connection, &page)).await?)
}

/// Deletes an organization. All keys within it become invalid at once, and stay invalid if an
/// organization with the same id is created again.
pub async fn delete(app: &App, caller: &Caller, id: OrganizationId, if_version: Option<i64>) -> Result<(), Error> {
    app.store
        .change(caller.origin.clone(), move |tx| {
            let found = store::directory::organizations::find_for_change(tx, &id)?.ok_or(NOT_FOUND)?;
            require_version(found.version, if_version)?;
            store::directory::organizations::delete(tx, &id)?;
            let event = event(EventKind::OrganizationDeleted, &found);
            let home = Home::Organization { id, incarnation: found.incarnation };
            store::directory::owner_deletions::note(tx, &Departed::Home(home), Gone::OrganizationDeleted)?;
            Ok(Outcome::event((), event))
        })
        .await
}

pub(super) const NOT_FOUND: Error = Error::NotFound("organization");

/// The result of a PUT of an organization over `found`.
pub(super) fn becomes(
    tx: &Tx<'_>,
    found: Option<&Organization>,
    put: PutOrganization,
) -> Result<Becomes<Organization>, NoEntropy> {
    if let Some(found) = found {
        return Ok(altered(found, Organization { name: put.name, metadata: put.metadata, ..found.clone() }));
    }
    let organization = Organization {
        id: put.id,
        incarnation: tx.new_id()?,
        name: put.name,
        metadata: put.metadata,
        created_at: tx.now(),
        version: 1,
    };
    let event = event(EventKind::OrganizationCreated, &organization);
    Ok(Becomes::New(organization, event))
}

fn altered(before: &Organization, mut after: Organization) -> Becomes<Organization> {
    if *before == after {
        return Becomes::Same(after);
    }
    after.version += 1;
    let event = event(EventKind::OrganizationUpdated, &after);
    Becomes::Altered(after, event)
}

/// `true` if the organization is new.
fn save(tx: &mut Tx<'_>, becomes: Becomes<Organization>) -> Result<Outcome<(Organization, bool)>, Error> {
    Ok(match becomes {
        Becomes::Same(organization) => Outcome::bookkeeping((organization, false)),
        Becomes::Altered(organization, event) => {
            store::directory::organizations::update(tx, &organization)?;
            Outcome::event((organization, false), event)
        }
        Becomes::New(organization, event) => {
            put_at_the_same_moment(store::directory::organizations::insert(tx, &organization), &organization.id)?;
            Outcome::event((organization, true), event)
        }
    })
}

fn event(kind: EventKind, organization: &Organization) -> NewEvent {
    NewEvent::new(kind, &organization.id).within(Some(&organization.id))
}
