//! Members: users in organizations.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{owner::OwnerScope, owner_status::Deleted, role::RoleSet},
        common::{
            entropy::EntropyUnavailable,
            id::{OrganizationId, UserId},
            json::Metadata,
            page::{Page, PageRequest},
        },
        directory::{Member, Organization},
        events::{EventType, NewEvent},
    },
    service::{
        Error, InputFault, Services,
        access::roles,
        caller::Caller,
        common::{
            entry::{WriteResult, entry, require_existing},
            version::require_version,
        },
    },
    store::{self, Conn, Outcome, StoreError, Tx, directory::owner_deletions::DeletedOwner},
};

/// Body of `PUT /v1/organizations/{id}/members/{user}`. It replaces the entry; omitted fields are
/// empty.
#[derive(Debug, Clone)]
pub struct MemberPut {
    pub organization: OrganizationId,
    pub user: UserId,
    pub roles: RoleSet,
    pub metadata: Metadata,
}

/// Changes to a membership.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberPatch {
    pub roles: Option<RoleSet>,
    pub metadata: Option<Metadata>,
}

entry!(Member, "member", store::directory::members, |member, before| {
    event(before.map_or(EventType::MemberCreated, |_| EventType::MemberUpdated), member)
});

/// Creates or replaces a membership; `true` if it is new. A PUT that changes nothing records no
/// event.
pub async fn put(
    services: &Services,
    caller: &Caller,
    put: MemberPut,
    if_version: Option<i64>,
) -> Result<(Member, bool), Error> {
    services
        .change(caller, move |tx, _| {
            let organization = lock_organization(tx, &put.organization)?;
            let mut faults = Vec::new();
            if store::directory::users::find_for_change(tx, &put.user)?.is_none() {
                let message = format!("there is no user {}: PUT /v1/users/{} first", put.user, put.user);
                faults.push(InputFault::new("user", message));
            }
            faults.extend(roles::find_unknown(tx, &put.roles)?);
            Error::if_any(faults)?;
            let before = store::directory::members::find_for_change(tx, &organization, &put.user)?;
            require_version(before.as_ref().map_or(0, |found| found.version), if_version)?;
            Ok(effect_of_put(tx, &organization, before.as_ref(), put)?.write(tx)?.into())
        })
        .await
}

pub async fn patch(
    services: &Services,
    caller: &Caller,
    (id, user): (OrganizationId, UserId),
    patch: MemberPatch,
    if_version: Option<i64>,
) -> Result<Member, Error> {
    services
        .change(caller, move |tx, _| {
            let before = lock_member(tx, &id, &user, if_version)?;
            if let Some(roles) = &patch.roles {
                roles::require_known(tx, roles)?;
            }
            let after = Member {
                roles: patch.roles.unwrap_or_else(|| before.roles.clone()),
                metadata: patch.metadata.unwrap_or_else(|| before.metadata.clone()),
                ..before.clone()
            };
            WriteResult::of(Some(&before), after).write_outcome(tx)
        })
        .await
}

pub async fn get(services: &Services, id: OrganizationId, user: UserId) -> Result<Member, Error> {
    let found = services.store.read(move |connection| {
        let Some(organization) = store::directory::organizations::find(connection, &id)? else { return Ok(None) };
        store::directory::members::find(connection, &organization, &user)
    });
    require_existing(Ok::<_, StoreError>(found.await?)?, None)
}

pub async fn list(services: &Services, id: OrganizationId, page: PageRequest) -> Result<Page<Member>, Error> {
    services
        .store
        .read(move |connection: &mut Conn| {
            let organization = require_existing(store::directory::organizations::find(connection, &id)?, None)?;
            Ok::<_, Error>(store::directory::members::list(connection, &organization, &page)?)
        })
        .await
}

/// Deletes a membership. The user's personal keys within the organization become invalid at once,
/// and stay invalid if the user joins again.
pub async fn delete(
    services: &Services,
    caller: &Caller,
    id: OrganizationId,
    user: UserId,
    if_version: Option<i64>,
) -> Result<(), Error> {
    let ends_with_creator = services.settings.limits.end_with_creator;
    services
        .change(caller, move |tx, _| {
            let found = lock_member(tx, &id, &user, if_version)?;
            store::directory::members::delete(tx, &id, &user)?;
            record_deletion(tx, &found, Deleted::MemberLeft, ends_with_creator)?;
            Ok(Outcome::event((), event(EventType::MemberDeleted, &found)))
        })
        .await
}

/// Records that a membership was deleted and why, for the events of the keys that end with it.
pub(super) fn record_deletion(
    tx: &mut Tx<'_>,
    member: &Member,
    reason: Deleted,
    ends_with_creator: bool,
) -> Result<(), StoreError> {
    let owner = OwnerScope::User {
        id: member.user.clone(),
        organization: Some(member.organization.clone()),
        generation_id: member.generation_id.clone(),
    };
    store::directory::owner_deletions::record_deletion(tx, &DeletedOwner::OwnerScope(owner.clone()), reason)?;
    if ends_with_creator {
        store::directory::owner_deletions::record_deletion(tx, &DeletedOwner::Creator(owner), Deleted::CreatorLeft)?;
    }
    Ok(())
}

/// Loads the organization and locks it until the transaction ends.
fn lock_organization(tx: &mut Tx<'_>, id: &OrganizationId) -> Result<Organization, Error> {
    require_existing(store::directory::organizations::find_for_change(tx, id)?, None)
}

fn lock_member(tx: &mut Tx<'_>, id: &OrganizationId, user: &UserId, if_version: Option<i64>) -> Result<Member, Error> {
    let organization = lock_organization(tx, id)?;
    require_existing(store::directory::members::find_for_change(tx, &organization, user)?, if_version)
}

/// The effect of a PUT of a member over `before`.
pub(super) fn effect_of_put(
    tx: &Tx<'_>,
    organization: &Organization,
    before: Option<&Member>,
    put: MemberPut,
) -> Result<WriteResult<Member>, EntropyUnavailable> {
    let after = match before {
        Some(before) => Member { roles: put.roles, metadata: put.metadata, ..before.clone() },
        None => Member {
            organization: put.organization,
            user: put.user,
            generation_id: tx.generate_id()?,
            organization_generation_id: organization.generation_id.clone(),
            roles: put.roles,
            metadata: put.metadata,
            created_at: tx.now(),
            version: 1,
        },
    };
    Ok(WriteResult::of(before, after))
}

fn event(kind: EventType, member: &Member) -> NewEvent {
    NewEvent::new(kind, &member.user)
        .with_organization(Some(&member.organization))
        .with_data("roles", member.roles.to_string())
}
