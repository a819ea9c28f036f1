//! Users.

use serde::Deserialize;
use utoipa::ToSchema;

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
        common::{
            entry::{WriteResult, entry, require_existing},
            version::require_version,
        },
        directory::members::record_deletion,
    },
    store::{self, Outcome, StoreError, Tx, directory::owner_deletions::DeletedOwner},
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

/// Changes to a user.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    pub blocked: Option<bool>,
    pub profile: Option<Metadata>,
    pub metadata: Option<Metadata>,
    pub roles: Option<RoleSet>,
}

entry!(User, "user", store::directory::users, |user, before| {
    // Blocking and unblocking have event types of their own, because they suspend and restore
    // keys.
    let roles = user.roles.to_string();
    let Some(before) = before else {
        let event = NewEvent::new(EventType::UserCreated, &user.id).with_data("blocked", user.blocked_at.is_some());
        return event.with_data("roles", roles);
    };
    let kind = match (before.blocked_at, user.blocked_at) {
        (None, Some(_)) => EventType::UserBlocked,
        (Some(_), None) => EventType::UserUnblocked,
        (None, None) | (Some(_), Some(_)) => EventType::UserUpdated,
    };
    NewEvent::new(kind, &user.id).with_data("roles", roles)
});

/// Creates or replaces a user; `true` if the user is new. A PUT that changes nothing records no
/// event.
pub async fn put(
    services: &Services,
    caller: &Caller,
    put: UserPut,
    if_version: Option<i64>,
) -> Result<(User, bool), Error> {
    services
        .change(caller, move |tx, _| {
            let before = store::directory::users::find_for_change(tx, &put.id)?;
            require_version(before.as_ref().map_or(0, |found| found.version), if_version)?;
            roles::require_known(tx, &put.roles)?;
            Ok(effect_of_put(tx, before.as_ref(), put)?.write(tx)?.into())
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
        .change(caller, move |tx, _| {
            let before = require_existing(store::directory::users::find_for_change(tx, &id)?, if_version)?;
            if let Some(roles) = &patch.roles {
                roles::require_known(tx, roles)?;
            }
            let put = UserPut {
                id,
                blocked: patch.blocked.unwrap_or(before.blocked_at.is_some()),
                profile: patch.profile.unwrap_or_else(|| before.profile.clone()),
                metadata: patch.metadata.unwrap_or_else(|| before.metadata.clone()),
                roles: patch.roles.unwrap_or_else(|| before.roles.clone()),
            };
            effect_of_put(tx, Some(&before), put)?.write_outcome(tx)
        })
        .await
}

pub async fn get(services: &Services, id: UserId) -> Result<User, Error> {
    let found = services.store.read(move |connection| store::directory::users::find(connection, &id)).await?;
    require_existing(found, None)
}

pub async fn list(services: &Services, page: PageRequest) -> Result<Page<User>, Error> {
    Ok(services.store.read(move |connection| store::directory::users::list(connection, &page)).await?)
}

/// Deletes a user and all of the user's memberships. The user's keys become invalid at once, and
/// stay invalid if a user with the same id is created again.
pub async fn delete(services: &Services, caller: &Caller, id: UserId, if_version: Option<i64>) -> Result<(), Error> {
    let ends_with_creator = services.settings.limits.end_with_creator;
    services
        .change(caller, move |tx, _| {
            let found = require_existing(store::directory::users::find_for_change(tx, &id)?, if_version)?;
            let mut events = vec![NewEvent::new(EventType::UserDeleted, &id)];
            for member in store::directory::members::list_by_user(tx, &id)? {
                let event = NewEvent::new(EventType::MemberDeleted, &id).with_organization(Some(&member.organization));
                events.push(event.with_cause("user_deleted"));
                record_deletion(tx, &member, Deleted::UserDeleted, ends_with_creator)?;
            }
            store::directory::members::delete_by_user(tx, &id)?;
            store::directory::users::delete(tx, &id)?;
            let owner = OwnerScope::User { id, organization: None, generation_id: found.generation_id };
            let owner = DeletedOwner::OwnerScope(owner);
            store::directory::owner_deletions::record_deletion(tx, &owner, Deleted::UserDeleted)?;
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
) -> Result<WriteResult<User>, EntropyUnavailable> {
    let UserPut { id, blocked, profile, metadata, roles } = put;
    let blocked_at = blocked.then(|| before.and_then(|user| user.blocked_at).unwrap_or(tx.now()));
    let after = match before {
        Some(before) => User { blocked_at, profile, metadata, roles, ..before.clone() },
        None => {
            let (generation_id, created_at) = (tx.generate_id()?, tx.now());
            User { id, generation_id, blocked_at, profile, metadata, roles, created_at, version: 1 }
        }
    };
    Ok(WriteResult::of(before, after))
}
