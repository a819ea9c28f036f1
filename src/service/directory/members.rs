//! Members: users in organizations.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{owner::OwnerScope, owner_status::DeletionCause, role::RoleSet},
        common::{
            entropy::EntropyUnavailable,
            id::{OrganizationId, UserId},
            json::{Metadata, MetadataPatch, deserialize_present},
            page::{Page, PageRequest},
            percent_encoding::encode_segment,
            preconditions::Preconditions,
        },
        directory::{Member, Organization},
        events::{EventType, NewEvent},
    },
    service::{
        Error, InputFault, Services,
        access::roles,
        caller::Caller,
        common::entry::{WriteResult, entry, merge_metadata, require_existing, require_found},
    },
    store::{self, Conn, Outcome, StoreError, Tx, directory::owner_deletions::DeletedOwner},
};

/// Body of `PUT /v1/organizations/{id}/members/{user}`. It replaces the entry; omitted metadata is
/// empty, and omitted roles stay as they are.
#[derive(Debug, Clone)]
pub struct MemberPut {
    pub organization: OrganizationId,
    pub user: UserId,
    pub roles: Option<RoleSet>,
    pub metadata: Metadata,
}

/// Changes to a membership.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberPatch {
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub roles: Option<RoleSet>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false, value_type = Option<Metadata>)]
    pub metadata: Option<MetadataPatch>,
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
    preconditions: Preconditions,
) -> Result<(Member, bool), Error> {
    services
        .change(caller, move |tx, _| {
            let organization = lock_organization(tx, &put.organization)?;
            let user = store::directory::users::find_for_change(tx, &put.user)?;
            let before = store::directory::members::find_for_change(tx, &organization, &put.user)?;
            let mut faults = Vec::new();
            if user.is_none() {
                let path = encode_segment(put.user.as_str());
                let message = format!("there is no user {}: PUT /v1/users/{path} first", put.user);
                faults.push(InputFault::new("user", message));
            }
            faults.extend(roles::find_unknown(tx, put.roles.as_ref().unwrap_or(&RoleSet::default()))?);
            Error::if_any(faults)?;
            preconditions.check(before.as_ref().map(|found| found.version).into())?;
            Ok(effect_of_put(tx, &organization, before.as_ref(), put)?.write(tx)?.into())
        })
        .await
}

pub async fn patch(
    services: &Services,
    caller: &Caller,
    (id, user): (OrganizationId, UserId),
    patch: MemberPatch,
    preconditions: Preconditions,
) -> Result<Member, Error> {
    services
        .change(caller, move |tx, _| {
            let before = lock_member(tx, &id, &user, &preconditions)?;
            if let Some(roles) = &patch.roles {
                roles::require_known(tx, roles)?;
            }
            let after = Member {
                roles: patch.roles.unwrap_or_else(|| before.roles.clone()),
                metadata: merge_metadata("metadata", patch.metadata, &before.metadata)?,
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
    require_found(Ok::<_, StoreError>(found.await?)?)
}

pub async fn list(services: &Services, id: OrganizationId, page: PageRequest) -> Result<Page<Member>, Error> {
    services
        .store
        .read(move |connection: &mut Conn| {
            let organization = require_found(store::directory::organizations::find(connection, &id)?)?;
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
    preconditions: Preconditions,
) -> Result<(), Error> {
    let ends_with_creator = services.settings.limits.end_with_creator;
    services
        .change(caller, move |tx, _| {
            let found = lock_member(tx, &id, &user, &preconditions)?;
            store::directory::members::delete(tx, &id, &user)?;
            record_deletion(tx, &found, DeletionCause::MemberLeft, ends_with_creator)?;
            let end = CreatedKeysEffect::of_deletion(ends_with_creator);
            let event = end.describe(event(EventType::MemberDeleted, &found));
            Ok(Outcome::event((), event))
        })
        .await
}

/// Records that a membership was deleted and why, for the events of the keys that end with it.
pub(super) fn record_deletion(
    tx: &mut Tx<'_>,
    member: &Member,
    reason: DeletionCause,
    ends_with_creator: bool,
) -> Result<(), StoreError> {
    let owner = OwnerScope::User {
        id: member.user.clone(),
        organization: Some(member.organization.clone()),
        generation_id: member.generation_id.clone(),
    };
    store::directory::owner_deletions::record_deletion(tx, &DeletedOwner::OwnerScope(owner.clone()), reason)?;
    if ends_with_creator {
        store::directory::owner_deletions::record_deletion(
            tx,
            &DeletedOwner::Creator(owner),
            DeletionCause::CreatorLeft,
        )?;
    }
    Ok(())
}

/// What happens to the keys of organizations that a user created, if the user is blocked, locked or
/// deleted, or a membership of the user is.
#[derive(Debug, Clone, Copy)]
pub(super) enum CreatedKeysEffect {
    Unaffected,
    Suspended,
    Ended,
}

impl CreatedKeysEffect {
    /// The effect of a deletion. `ends_with_creator` is the setting `api_keys.end_with_creator`.
    pub(super) const fn of_deletion(ends_with_creator: bool) -> Self {
        if ends_with_creator { Self::Ended } else { Self::Unaffected }
    }

    /// The effect of blocking or locking the user.
    pub(super) const fn of_suspension(ends_with_creator: bool) -> Self {
        if ends_with_creator { Self::Suspended } else { Self::Unaffected }
    }

    /// Adds the effect to an event of the user.
    pub(super) fn describe(self, event: NewEvent) -> NewEvent {
        let effect = match self {
            Self::Unaffected => "kept",
            Self::Suspended => "suspended",
            Self::Ended => "ended",
        };
        event.with_data("created_organization_keys", effect)
    }
}

/// Loads the organization and locks it until the transaction ends.
fn lock_organization(tx: &mut Tx<'_>, id: &OrganizationId) -> Result<Organization, Error> {
    require_found(store::directory::organizations::find_for_change(tx, id)?)
}

fn lock_member(
    tx: &mut Tx<'_>,
    id: &OrganizationId,
    user: &UserId,
    preconditions: &Preconditions,
) -> Result<Member, Error> {
    let organization = lock_organization(tx, id)?;
    require_existing(store::directory::members::find_for_change(tx, &organization, user)?, preconditions)
}

/// The effect of a PUT of a member over `before`.
pub(super) fn effect_of_put(
    tx: &Tx<'_>,
    organization: &Organization,
    before: Option<&Member>,
    put: MemberPut,
) -> Result<WriteResult<Member>, EntropyUnavailable> {
    let after = match before {
        Some(before) => Member {
            roles: put.roles.unwrap_or_else(|| before.roles.clone()),
            metadata: put.metadata,
            ..before.clone()
        },
        None => Member {
            organization: put.organization,
            user: put.user,
            generation_id: tx.generate_id()?,
            organization_generation_id: organization.generation_id.clone(),
            roles: put.roles.unwrap_or_default(),
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
