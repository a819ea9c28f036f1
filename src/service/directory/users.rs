//! Users.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{owner::OwnerScope, owner_status::DeletionCause, policy::ADMIN, role::RoleSet},
        common::{
            entropy::EntropyUnavailable,
            id::UserId,
            json::{Metadata, MetadataPatch, deserialize_present},
            name::Description,
            page::{Page, PageRequest},
            preconditions::Preconditions,
            time::Timestamp,
        },
        directory::User,
        events::{EventType, NewEvent},
    },
    service::{
        Conflict, Error, Services,
        access::roles,
        caller::Caller,
        common::entry::{WriteResult, entry, merge_metadata, require_existing, require_found},
        directory::members::{CreatedKeysEffect, record_deletion},
    },
    store::{self, Outcome, StoreError, Tx, directory::owner_deletions::DeletedOwner},
};

/// Body of `PUT /v1/users/{id}`. It replaces the entry; omitted data is empty. What decides about
/// the keys of the user stays as it is if it is omitted, so that a mirror that does not send it
/// lifts no restriction.
#[derive(Debug, Clone)]
pub struct UserPut {
    pub id: UserId,
    pub blocked: Option<bool>,
    pub profile: Metadata,
    pub metadata: Metadata,
    /// The roles outside any organization.
    pub roles: Option<RoleSet>,
}

/// Changes to a user.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub blocked: Option<bool>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false, value_type = Option<Metadata>)]
    pub profile: Option<MetadataPatch>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false, value_type = Option<Metadata>)]
    pub metadata: Option<MetadataPatch>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub roles: Option<RoleSet>,
}

entry!(User, "user", store::directory::users, |user, before| {
    // Blocking, locking and their reversals have event types of their own, because they suspend and
    // restore keys.
    let roles = user.roles.to_string();
    let Some(before) = before else {
        let event = NewEvent::new(EventType::UserCreated, &user.id).with_data("blocked", user.blocked_at.is_some());
        return event.with_data("roles", roles);
    };
    let turned = |before: Option<Timestamp>, after: Option<Timestamp>, on, off| match (before, after) {
        (None, Some(_)) => Some(on),
        (Some(_), None) => Some(off),
        (None, None) | (Some(_), Some(_)) => None,
    };
    let kind = turned(before.locked_at, user.locked_at, EventType::UserLocked, EventType::UserUnlocked)
        .or_else(|| turned(before.blocked_at, user.blocked_at, EventType::UserBlocked, EventType::UserUnblocked));
    NewEvent::new(kind.unwrap_or(EventType::UserUpdated), &user.id).with_data("roles", roles)
});

/// Creates or replaces a user; `true` if the user is new. A PUT that changes nothing records no
/// event.
pub async fn put(
    services: &Services,
    caller: &Caller,
    put: UserPut,
    preconditions: Preconditions,
) -> Result<(User, bool), Error> {
    let ends_with_creator = services.settings.limits.end_with_creator;
    services
        .change(caller, move |tx, _| {
            let before = store::directory::users::find_for_change(tx, &put.id)?;
            preconditions.check(before.as_ref().map(|found| found.version).into())?;
            roles::require_known(tx, put.roles.as_ref().unwrap_or(&RoleSet::default()))?;
            Ok(effect_of_put(tx, before.as_ref(), put, ends_with_creator)?.write(tx)?.into())
        })
        .await
}

pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: UserId,
    patch: UserPatch,
    preconditions: Preconditions,
) -> Result<User, Error> {
    let ends_with_creator = services.settings.limits.end_with_creator;
    services
        .change(caller, move |tx, _| {
            let before = require_existing(store::directory::users::find_for_change(tx, &id)?, &preconditions)?;
            if let Some(roles) = &patch.roles {
                roles::require_known(tx, roles)?;
            }
            let put = UserPut {
                id,
                blocked: patch.blocked,
                profile: merge_metadata("profile", patch.profile, &before.profile)?,
                metadata: merge_metadata("metadata", patch.metadata, &before.metadata)?,
                roles: patch.roles,
            };
            effect_of_put(tx, Some(&before), put, ends_with_creator)?.write_outcome(tx)
        })
        .await
}

pub async fn get(services: &Services, id: UserId) -> Result<User, Error> {
    let found = services.store.read(move |connection| store::directory::users::find(connection, &id)).await?;
    require_found(found)
}

pub async fn list(services: &Services, page: PageRequest) -> Result<Page<User>, Error> {
    Ok(services.store.read(move |connection| store::directory::users::list(connection, &page)).await?)
}

/// Locks a user. The user's keys and sessions do not work until the user is unlocked, even if the
/// product unblocks the user.
pub async fn lock(
    services: &Services,
    caller: &Caller,
    id: UserId,
    reason: Option<Description>,
    preconditions: Preconditions,
) -> Result<User, Error> {
    let ends_with_creator = services.settings.limits.end_with_creator;
    services
        .change(caller, move |tx, _| {
            let before = require_existing(store::directory::users::find_for_change(tx, &id)?, &preconditions)?;
            let locked_at = before.locked_at.or(Some(tx.now()));
            let after = User { locked_at, lock_reason: reason.or(before.lock_reason.clone()), ..before.clone() };
            write_result(Some(&before), after, ends_with_creator).write_outcome(tx)
        })
        .await
}

/// Unlocks a user. The user's keys work again, unless the product has blocked the user.
pub async fn unlock(
    services: &Services,
    caller: &Caller,
    id: UserId,
    preconditions: Preconditions,
) -> Result<User, Error> {
    services
        .change(caller, move |tx, _| {
            let before = require_existing(store::directory::users::find_for_change(tx, &id)?, &preconditions)?;
            let after = User { locked_at: None, lock_reason: None, ..before.clone() };
            WriteResult::of(Some(&before), after).write_outcome(tx)
        })
        .await
}

/// Deletes a user and all of the user's memberships. The user's keys become invalid at once, and
/// stay invalid if a user with the same id is created again. Only the administrator deletes a
/// locked user: a user of that id that is created again is not locked.
pub async fn delete(
    services: &Services,
    caller: &Caller,
    id: UserId,
    preconditions: Preconditions,
) -> Result<(), Error> {
    let ends_with_creator = services.settings.limits.end_with_creator;
    services
        .change(caller, move |tx, caller| {
            let found = require_existing(store::directory::users::find_for_change(tx, &id)?, &preconditions)?;
            if found.locked_at.is_some() && !caller.authority.has_permission(ADMIN) {
                return Err(Conflict::UserLocked(id).into());
            }
            let end = CreatedKeysEffect::of_deletion(ends_with_creator);
            let mut events = vec![end.describe(NewEvent::new(EventType::UserDeleted, &id))];
            for member in store::directory::members::list_by_user(tx, &id)? {
                let event = NewEvent::new(EventType::MemberDeleted, &id).with_organization(Some(&member.organization));
                events.push(end.describe(event.with_cause("user_deleted")));
                record_deletion(tx, &member, DeletionCause::UserDeleted, ends_with_creator)?;
            }
            store::directory::members::delete_by_user(tx, &id)?;
            store::directory::users::delete(tx, &id)?;
            let owner = OwnerScope::User { id, organization: None, generation_id: found.generation_id };
            let owner = DeletedOwner::OwnerScope(owner);
            store::directory::owner_deletions::record_deletion(tx, &owner, DeletionCause::UserDeleted)?;
            Ok(Outcome::events((), events))
        })
        .await
}

/// The effect of a PUT of a user over `before`. A user who is blocked already stays blocked since
/// the same time.
pub(super) fn effect_of_put(
    tx: &Tx<'_>,
    before: Option<&User>,
    put: UserPut,
    ends_with_creator: bool,
) -> Result<WriteResult<User>, EntropyUnavailable> {
    let UserPut { id, blocked, profile, metadata, roles } = put;
    let already = before.and_then(|user| user.blocked_at);
    let blocked_at = blocked.map_or(already, |blocked| blocked.then(|| already.unwrap_or(tx.now())));
    let after = match before {
        Some(before) => {
            let roles = roles.unwrap_or_else(|| before.roles.clone());
            User { blocked_at, profile, metadata, roles, ..before.clone() }
        }
        None => User {
            id,
            generation_id: tx.generate_id()?,
            blocked_at,
            locked_at: None,
            lock_reason: None,
            profile,
            metadata,
            roles: roles.unwrap_or_default(),
            created_at: tx.now(),
            version: 1,
        },
    };
    Ok(write_result(before, after, ends_with_creator))
}

/// Like `WriteResult::of`. The event of a user who was blocked or locked also states what happens
/// to the keys of organizations that the user created.
fn write_result(before: Option<&User>, after: User, ends_with_creator: bool) -> WriteResult<User> {
    let effect = CreatedKeysEffect::of_suspension(ends_with_creator);
    WriteResult::of(before, after).map_event(|event| {
        let is_suspension = matches!(event.kind, EventType::UserBlocked | EventType::UserLocked);
        if is_suspension { effect.describe(event) } else { event }
    })
}
