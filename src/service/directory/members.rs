//! Members: users in organizations.

use crate::{
    domain::{
        access::{owner_status::Deleted, role::RoleSet},
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
        common::version::require_version,
        directory::{PutEffect, map_put_conflict, organizations, record_member_deletion},
    },
    store::{self, NoEvent, Outcome, StoreError, Tx},
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

/// Body of `PATCH …/members/{user}`. Absent fields stay unchanged.
#[derive(Debug, Clone, Default)]
pub struct MemberPatch {
    pub roles: Option<RoleSet>,
    pub metadata: Option<Metadata>,
}

/// Creates or replaces a membership; `true` if it is new. A PUT that changes nothing records no
/// event.
pub async fn put(
    services: &Services,
    caller: &Caller,
    put: MemberPut,
    if_version: Option<i64>,
) -> Result<(Member, bool), Error> {
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let organization = organization(tx, &put.organization)?;
            let mut faults = Vec::new();
            if store::directory::users::find_for_change(tx, &put.user)?.is_none() {
                let message = format!("there is no user {}: PUT /v1/users/{} first", put.user, put.user);
                faults.push(InputFault::new("user", message));
            }
            faults.extend(roles::unknown(tx, &put.roles)?);
            if !faults.is_empty() {
                return Err(Error::Invalid(faults));
            }
            let existing = store::directory::members::find_for_change(tx, &organization, &put.user)?;
            require_version(existing.as_ref().map_or(0, |found| found.version), if_version)?;
            let becomes = becomes(tx, &organization, existing.as_ref(), put)?;
            write_effect(tx, becomes)
        })
        .await
}

pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: OrganizationId,
    user: UserId,
    patch: MemberPatch,
    if_version: Option<i64>,
) -> Result<Member, Error> {
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let organization = organization(tx, &id)?;
            let found = store::directory::members::find_for_change(tx, &organization, &user)?.ok_or(NOT_FOUND)?;
            require_version(found.version, if_version)?;
            if let Some(roles) = &patch.roles {
                let faults = roles::unknown(tx, roles)?;
                if !faults.is_empty() {
                    return Err(Error::Invalid(faults));
                }
            }
            let after = Member {
                roles: patch.roles.unwrap_or_else(|| found.roles.clone()),
                metadata: patch.metadata.unwrap_or_else(|| found.metadata.clone()),
                ..found.clone()
            };
            let after = evaluate_update(&found, after);
            Ok(write_effect(tx, after)?.map(|(member, _)| member))
        })
        .await
}

pub async fn get(services: &Services, id: OrganizationId, user: UserId) -> Result<Member, Error> {
    let found = services.store.read(move |connection| {
        let Some(organization) = store::directory::organizations::find(connection, &id)? else { return Ok(None) };
        store::directory::members::find(connection, &organization, &user)
    });
    Ok::<_, StoreError>(found.await?)?.ok_or(NOT_FOUND)
}

pub async fn list(services: &Services, id: OrganizationId, page: PageRequest) -> Result<Page<Member>, Error> {
    services
        .store
        .read(move |connection| {
            let organization =
                store::directory::organizations::find(connection, &id)?.ok_or(organizations::NOT_FOUND)?;
            Ok(store::directory::members::list(connection, &organization, &page)?)
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
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let organization = organization(tx, &id)?;
            let found = store::directory::members::find_for_change(tx, &organization, &user)?.ok_or(NOT_FOUND)?;
            require_version(found.version, if_version)?;
            store::directory::members::delete(tx, &id, &user)?;
            let event = event(EventType::MemberDeleted, &found);
            record_member_deletion(tx, &user, &id, found.generation_id, Deleted::MemberLeft, ends_with_creator)?;
            Ok(Outcome::event((), event))
        })
        .await
}

const NOT_FOUND: Error = Error::NotFound("member");

/// Loads the organization and locks it until the transaction ends.
fn organization(tx: &mut Tx<'_>, id: &OrganizationId) -> Result<Organization, Error> {
    store::directory::organizations::find_for_change(tx, id)?.ok_or(organizations::NOT_FOUND)
}

/// The result of a PUT of a member over `found`.
pub(super) fn becomes(
    tx: &Tx<'_>,
    organization: &Organization,
    found: Option<&Member>,
    put: MemberPut,
) -> Result<PutEffect<Member>, EntropyUnavailable> {
    if let Some(found) = found {
        return Ok(evaluate_update(found, Member { roles: put.roles, metadata: put.metadata, ..found.clone() }));
    }
    let member = Member {
        organization: put.organization,
        user: put.user,
        generation_id: tx.generate_id()?,
        organization_generation_id: organization.generation_id.clone(),
        roles: put.roles,
        metadata: put.metadata,
        created_at: tx.now(),
        version: 1,
    };
    let event = event(EventType::MemberCreated, &member);
    Ok(PutEffect::New(member, event))
}

fn evaluate_update(before: &Member, mut after: Member) -> PutEffect<Member> {
    if *before == after {
        return PutEffect::Unchanged(after);
    }
    after.version += 1;
    let event = event(EventType::MemberUpdated, &after);
    PutEffect::Updated(after, event)
}

/// `true` if the member is new.
fn write_effect(tx: &mut Tx<'_>, becomes: PutEffect<Member>) -> Result<Outcome<(Member, bool)>, Error> {
    Ok(match becomes {
        PutEffect::Unchanged(member) => Outcome::without_event((member, false), NoEvent::Unchanged),
        PutEffect::Updated(member, event) => {
            store::directory::members::update(tx, &member)?;
            Outcome::event((member, false), event)
        }
        PutEffect::New(member, event) => {
            map_put_conflict(store::directory::members::insert(tx, &member), &member.user)?;
            Outcome::event((member, true), event)
        }
    })
}

fn event(kind: EventType, member: &Member) -> NewEvent {
    NewEvent::new(kind, &member.user)
        .with_organization(Some(&member.organization))
        .with_data("roles", member.roles.to_string())
}
