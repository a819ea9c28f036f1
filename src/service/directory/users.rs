//! Users.

use crate::{
    domain::{
        access::{owner::Home, owner_status::Gone, role::RoleSet},
        common::{
            entropy::NoEntropy,
            id::UserId,
            json::Metadata,
            page::{Page, PageRequest},
        },
        directory::User,
        events::{EventKind, NewEvent},
    },
    service::{
        App, Error,
        access::roles,
        caller::Caller,
        common::version::require_version,
        directory::{Becomes, departed_member, put_at_the_same_moment},
    },
    store::{self, Outcome, Tx, directory::owner_deletions::Departed},
};

/// Body of `PUT /v1/users/{id}`. It replaces the entry; omitted fields are empty.
#[derive(Debug, Clone)]
pub struct PutUser {
    pub id: UserId,
    pub blocked: bool,
    pub profile: Metadata,
    pub metadata: Metadata,
    /// The roles outside any organization.
    pub roles: RoleSet,
}

/// Body of `PATCH /v1/users/{id}`. Absent fields stay unchanged.
#[derive(Debug, Clone, Default)]
pub struct PatchUser {
    pub blocked: Option<bool>,
    pub profile: Option<Metadata>,
    pub metadata: Option<Metadata>,
    pub roles: Option<RoleSet>,
}

/// Creates or replaces a user; `true` if the user is new. A PUT that changes nothing records no
/// event.
pub async fn put(app: &App, caller: &Caller, put: PutUser, if_version: Option<i64>) -> Result<(User, bool), Error> {
    app.store
        .change(caller.origin.clone(), move |tx| {
            let existing = store::directory::users::find_for_change(tx, &put.id)?;
            require_version(existing.as_ref().map_or(0, |found| found.version), if_version)?;
            require_roles(tx, &put.roles)?;
            let becomes = becomes(tx, existing.as_ref(), put)?;
            save(tx, becomes)
        })
        .await
}

pub async fn patch(
    app: &App,
    caller: &Caller,
    id: UserId,
    patch: PatchUser,
    if_version: Option<i64>,
) -> Result<User, Error> {
    app.store
        .change(caller.origin.clone(), move |tx| {
            let found = store::directory::users::find_for_change(tx, &id)?.ok_or(NOT_FOUND)?;
            require_version(found.version, if_version)?;
            let now = tx.now();
            let blocked_at = match patch.blocked {
                None => found.blocked_at,
                Some(blocked) => blocked.then(|| found.blocked_at.unwrap_or(now)),
            };
            if let Some(roles) = &patch.roles {
                require_roles(tx, roles)?;
            }
            let after = User {
                blocked_at,
                profile: patch.profile.unwrap_or_else(|| found.profile.clone()),
                metadata: patch.metadata.unwrap_or_else(|| found.metadata.clone()),
                roles: patch.roles.unwrap_or_else(|| found.roles.clone()),
                ..found.clone()
            };
            let after = altered(&found, after);
            Ok(save(tx, after)?.map(|(user, _)| user))
        })
        .await
}

pub async fn get(app: &App, id: UserId) -> Result<User, Error> {
    app.store.read(move |connection| store::directory::users::find(connection, &id)).await?.ok_or(NOT_FOUND)
}

pub async fn list(app: &App, page: PageRequest) -> Result<Page<User>, Error> {
    Ok(app.store.read(move |connection| store::directory::users::list(connection, &page)).await?)
}

/// Deletes a user and all of the user's memberships. The user's keys become invalid at once, and
/// stay invalid if a user with the same id is created again.
pub async fn delete(app: &App, caller: &Caller, id: UserId, if_version: Option<i64>) -> Result<(), Error> {
    let ends_with_creator = app.settings.limits.ends_with_creator;
    app.store
        .change(caller.origin.clone(), move |tx| {
            let found = store::directory::users::find_for_change(tx, &id)?.ok_or(NOT_FOUND)?;
            require_version(found.version, if_version)?;
            let mut events = vec![NewEvent::new(EventKind::UserDeleted, &id)];
            for member in store::directory::members::of_user(tx, &id)? {
                let event = NewEvent::new(EventKind::MemberDeleted, &id).within(Some(&member.organization));
                events.push(event.because("user_deleted"));
                departed_member(
                    tx,
                    &id,
                    &member.organization,
                    member.incarnation,
                    Gone::UserDeleted,
                    ends_with_creator,
                )?;
            }
            store::directory::members::delete_of_user(tx, &id)?;
            store::directory::users::delete(tx, &id)?;
            let home = Home::User { id, organization: None, incarnation: found.incarnation };
            store::directory::owner_deletions::note(tx, &Departed::Home(home), Gone::UserDeleted)?;
            Ok(Outcome::events((), events))
        })
        .await
}

pub(super) const NOT_FOUND: Error = Error::NotFound("user");

fn require_roles(tx: &mut Tx<'_>, wanted: &RoleSet) -> Result<(), Error> {
    let faults = roles::unknown(tx, wanted)?;
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// The result of a PUT of a user over `found`.
pub(super) fn becomes(tx: &Tx<'_>, found: Option<&User>, put: PutUser) -> Result<Becomes<User>, NoEntropy> {
    let now = tx.now();
    if let Some(found) = found {
        let after = User {
            blocked_at: put.blocked.then(|| found.blocked_at.unwrap_or(now)),
            profile: put.profile,
            metadata: put.metadata,
            roles: put.roles,
            ..found.clone()
        };
        return Ok(altered(found, after));
    }
    let user = User {
        id: put.id,
        incarnation: tx.new_id()?,
        blocked_at: put.blocked.then_some(now),
        profile: put.profile,
        metadata: put.metadata,
        roles: put.roles,
        created_at: now,
        version: 1,
    };
    let event = NewEvent::new(EventKind::UserCreated, &user.id)
        .with("blocked", put.blocked)
        .with("roles", user.roles.to_string());
    Ok(Becomes::New(user, event))
}

/// Blocking and unblocking have event kinds of their own, because they suspend and restore keys.
fn altered(before: &User, mut after: User) -> Becomes<User> {
    if *before == after {
        return Becomes::Same(after);
    }
    after.version += 1;
    let kind = match (before.blocked_at, after.blocked_at) {
        (None, Some(_)) => EventKind::UserBlocked,
        (Some(_), None) => EventKind::UserUnblocked,
        (None, None) | (Some(_), Some(_)) => EventKind::UserUpdated,
    };
    let event = NewEvent::new(kind, &after.id).with("roles", after.roles.to_string());
    Becomes::Altered(after, event)
}

/// `true` if the user is new.
fn save(tx: &mut Tx<'_>, becomes: Becomes<User>) -> Result<Outcome<(User, bool)>, Error> {
    Ok(match becomes {
        Becomes::Same(user) => Outcome::bookkeeping((user, false)),
        Becomes::Altered(user, event) => {
            store::directory::users::update(tx, &user)?;
            Outcome::event((user, false), event)
        }
        Becomes::New(user, event) => {
            put_at_the_same_moment(store::directory::users::insert(tx, &user), &user.id)?;
            Outcome::event((user, true), event)
        }
    })
}
