//! Users.

use crate::{
    domain::{
        access::{owner::OwnerScope, owner_status::Deleted, role::RoleSet},
        common::{
            entropy::EntropyUnavailable,
            id::UserId,
            json::Metadata,
            page::{Page, PageRequest},
        },
        directory::User,
        events::{EventType, NewEvent},
    },
    service::{
        Error, Services,
        access::roles,
        caller::Caller,
        common::version::require_version,
        directory::{PutEffect, map_put_conflict, record_member_deletion},
    },
    store::{self, NoEvent, Outcome, Tx, directory::owner_deletions::DeletedOwner},
};

/// Body of `PUT /v1/users/{id}`. It replaces the entry; omitted fields are empty.
#[derive(Debug, Clone)]
pub struct UserPut {
    pub id: UserId,
    pub blocked: bool,
    pub profile: Metadata,
    pub metadata: Metadata,
    /// The roles outside any organization.
    pub roles: RoleSet,
}

/// Body of `PATCH /v1/users/{id}`. Absent fields stay unchanged.
#[derive(Debug, Clone, Default)]
pub struct UserPatch {
    pub blocked: Option<bool>,
    pub profile: Option<Metadata>,
    pub metadata: Option<Metadata>,
    pub roles: Option<RoleSet>,
}

/// Creates or replaces a user; `true` if the user is new. A PUT that changes nothing records no
/// event.
pub async fn put(
    services: &Services,
    caller: &Caller,
    put: UserPut,
    if_version: Option<i64>,
) -> Result<(User, bool), Error> {
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let existing = store::directory::users::find_for_change(tx, &put.id)?;
            require_version(existing.as_ref().map_or(0, |found| found.version), if_version)?;
            require_known_roles(tx, &put.roles)?;
            let becomes = becomes(tx, existing.as_ref(), put)?;
            write_effect(tx, becomes)
        })
        .await
}

pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: UserId,
    patch: UserPatch,
    if_version: Option<i64>,
) -> Result<User, Error> {
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let found = store::directory::users::find_for_change(tx, &id)?.ok_or(NOT_FOUND)?;
            require_version(found.version, if_version)?;
            let now = tx.now();
            let blocked_at = match patch.blocked {
                None => found.blocked_at,
                Some(blocked) => blocked.then(|| found.blocked_at.unwrap_or(now)),
            };
            if let Some(roles) = &patch.roles {
                require_known_roles(tx, roles)?;
            }
            let after = User {
                blocked_at,
                profile: patch.profile.unwrap_or_else(|| found.profile.clone()),
                metadata: patch.metadata.unwrap_or_else(|| found.metadata.clone()),
                roles: patch.roles.unwrap_or_else(|| found.roles.clone()),
                ..found.clone()
            };
            let after = evaluate_update(&found, after);
            Ok(write_effect(tx, after)?.map(|(user, _)| user))
        })
        .await
}

pub async fn get(services: &Services, id: UserId) -> Result<User, Error> {
    services.store.read(move |connection| store::directory::users::find(connection, &id)).await?.ok_or(NOT_FOUND)
}

pub async fn list(services: &Services, page: PageRequest) -> Result<Page<User>, Error> {
    Ok(services.store.read(move |connection| store::directory::users::list(connection, &page)).await?)
}

/// Deletes a user and all of the user's memberships. The user's keys become invalid at once, and
/// stay invalid if a user with the same id is created again.
pub async fn delete(services: &Services, caller: &Caller, id: UserId, if_version: Option<i64>) -> Result<(), Error> {
    let ends_with_creator = services.settings.limits.end_with_creator;
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let found = store::directory::users::find_for_change(tx, &id)?.ok_or(NOT_FOUND)?;
            require_version(found.version, if_version)?;
            let mut events = vec![NewEvent::new(EventType::UserDeleted, &id)];
            for member in store::directory::members::list_by_user(tx, &id)? {
                let event = NewEvent::new(EventType::MemberDeleted, &id).with_organization(Some(&member.organization));
                events.push(event.with_cause("user_deleted"));
                record_member_deletion(
                    tx,
                    &id,
                    &member.organization,
                    member.generation_id,
                    Deleted::UserDeleted,
                    ends_with_creator,
                )?;
            }
            store::directory::members::delete_by_user(tx, &id)?;
            store::directory::users::delete(tx, &id)?;
            let home = OwnerScope::User { id, organization: None, generation_id: found.generation_id };
            store::directory::owner_deletions::record_deletion(
                tx,
                &DeletedOwner::OwnerScope(home),
                Deleted::UserDeleted,
            )?;
            Ok(Outcome::events((), events))
        })
        .await
}

pub(super) const NOT_FOUND: Error = Error::NotFound("user");

fn require_known_roles(tx: &mut Tx<'_>, wanted: &RoleSet) -> Result<(), Error> {
    let faults = roles::unknown(tx, wanted)?;
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// The result of a PUT of a user over `found`.
pub(super) fn becomes(tx: &Tx<'_>, found: Option<&User>, put: UserPut) -> Result<PutEffect<User>, EntropyUnavailable> {
    let now = tx.now();
    if let Some(found) = found {
        let after = User {
            blocked_at: put.blocked.then(|| found.blocked_at.unwrap_or(now)),
            profile: put.profile,
            metadata: put.metadata,
            roles: put.roles,
            ..found.clone()
        };
        return Ok(evaluate_update(found, after));
    }
    let user = User {
        id: put.id,
        generation_id: tx.generate_id()?,
        blocked_at: put.blocked.then_some(now),
        profile: put.profile,
        metadata: put.metadata,
        roles: put.roles,
        created_at: now,
        version: 1,
    };
    let event = NewEvent::new(EventType::UserCreated, &user.id)
        .with_data("blocked", put.blocked)
        .with_data("roles", user.roles.to_string());
    Ok(PutEffect::New(user, event))
}

/// Blocking and unblocking have event kinds of their own, because they suspend and restore keys.
fn evaluate_update(before: &User, mut after: User) -> PutEffect<User> {
    if *before == after {
        return PutEffect::Unchanged(after);
    }
    after.version += 1;
    let kind = match (before.blocked_at, after.blocked_at) {
        (None, Some(_)) => EventType::UserBlocked,
        (Some(_), None) => EventType::UserUnblocked,
        (None, None) | (Some(_), Some(_)) => EventType::UserUpdated,
    };
    let event = NewEvent::new(kind, &after.id).with_data("roles", after.roles.to_string());
    PutEffect::Updated(after, event)
}

/// `true` if the user is new.
fn write_effect(tx: &mut Tx<'_>, becomes: PutEffect<User>) -> Result<Outcome<(User, bool)>, Error> {
    Ok(match becomes {
        PutEffect::Unchanged(user) => Outcome::without_event((user, false), NoEvent::Unchanged),
        PutEffect::Updated(user, event) => {
            store::directory::users::update(tx, &user)?;
            Outcome::event((user, false), event)
        }
        PutEffect::New(user, event) => {
            map_put_conflict(store::directory::users::insert(tx, &user), &user.id)?;
            Outcome::event((user, true), event)
        }
    })
}
