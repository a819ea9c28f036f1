//! The owner status of keys: the view that exchanges and key lists read.

use std::collections::BTreeMap;

use diesel::{ExpressionMethods, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper};

use crate::{
    domain::{
        access::{
            claim_map::ClaimSourceObject,
            owner::{Owner, OwnerScope},
            owner_status::{DirectorySnapshot, MembershipSnapshot, Ownership, ServiceClientSnapshot, UserSnapshot},
        },
        common::{id::GenerationId, time::Timestamp},
        exchange::validation::OwnerUser,
    },
    store::{
        api_keys::key_row::KeyRow,
        columns::{parsed, parsed_metadata, permission_set},
        error::StoreError,
        pool::Conn,
        schema::key_owner_status,
    },
};

/// The owner of a key in the directory, not yet parsed: invalid data of one key must not affect the
/// others.
#[derive(Debug, Clone, Default, Queryable, Selectable)]
#[diesel(table_name = key_owner_status)]
pub(crate) struct OwnerRow {
    key_id: String,
    #[diesel(embed)]
    status: OwnerStatusRow,
    client_metadata: Option<String>,
    user_profile: Option<String>,
    user_metadata: Option<String>,
    organization_metadata: Option<String>,
    owner_permissions: Option<String>,
}

/// The columns that determine the owner status. The permissions of the user or organization are
/// omitted.
#[derive(Debug, Clone, Default, Queryable, Selectable)]
#[diesel(table_name = key_owner_status)]
pub(crate) struct OwnerStatusRow {
    client_permissions: Option<String>,
    client_deleted_at: Option<Timestamp>,
    user_generation_id: Option<String>,
    user_blocked_at: Option<Timestamp>,
    member_generation_id: Option<String>,
    member_organization_generation_id: Option<String>,
    organization_generation_id: Option<String>,
    creator_member_generation_id: Option<String>,
    creator_member_organization_generation_id: Option<String>,
}

impl From<OwnerStatusRow> for OwnerRow {
    fn from(status: OwnerStatusRow) -> Self {
        Self { status, ..Self::default() }
    }
}

/// Returns the rows of the keys `ids`, by key id.
pub(crate) fn find_many(connection: &mut Conn, ids: &[String]) -> Result<BTreeMap<String, OwnerRow>, StoreError> {
    let rows: Vec<OwnerRow> = key_owner_status::table
        .filter(key_owner_status::key_id.eq_any(ids))
        .select(OwnerRow::as_select())
        .load(connection)?;
    Ok(rows.into_iter().map(|row| (row.key_id.clone(), row)).collect())
}

/// Combines the owner that is stored with a key and the current state of the directory.
pub(crate) fn ownership(key: &KeyRow, row: &OwnerRow) -> Result<Ownership, StoreError> {
    let client = row.status.client_permissions.as_deref().map(|permissions| {
        Ok::<_, StoreError>(ServiceClientSnapshot {
            permissions: permission_set(permissions)?,
            deleted: row.status.client_deleted_at.is_some(),
        })
    });
    let creator_membership = match (&key.creator_id, &key.creator_generation_id) {
        (Some(user), Some(generation_id)) => {
            Some((parsed("creator_membership", user)?, parsed("generation id of the creator", generation_id)?))
        }
        (Some(_) | None, _) => None,
    };
    Ok(Ownership {
        owner: owner(key)?,
        owner_scope: owner_scope(key)?,
        creator_membership,
        client: client.transpose()?,
        directory: row.directory()?,
    })
}

impl OwnerRow {
    fn directory(&self) -> Result<DirectorySnapshot, StoreError> {
        let user = self.status.user_generation_id.as_deref().map(|generation_id| {
            Ok::<_, StoreError>(UserSnapshot {
                generation_id: parsed("generation id of a user", generation_id)?,
                blocked: self.status.user_blocked_at.is_some(),
            })
        });
        Ok(DirectorySnapshot {
            user: user.transpose()?,
            membership: membership(&self.status.member_generation_id, &self.status.member_organization_generation_id)?,
            organization: parse_generation_id(self.status.organization_generation_id.as_deref())?,
            creator_membership: membership(
                &self.status.creator_member_generation_id,
                &self.status.creator_member_organization_generation_id,
            )?,
            permissions: permission_set(self.owner_permissions.as_deref().unwrap_or_default())?,
        })
    }

    /// Returns the user that the key belongs to, with the profile and metadata from the product.
    pub fn user(&self, owner_scope: &OwnerScope) -> Result<Option<OwnerUser>, StoreError> {
        let Some(id) = owner_scope.user().filter(|_| self.status.user_generation_id.is_some()) else { return Ok(None) };
        Ok(Some(OwnerUser {
            id: id.clone(),
            blocked: self.status.user_blocked_at.is_some(),
            profile: parsed_metadata(self.user_profile.as_deref().unwrap_or("{}"))?,
            metadata: parsed_metadata(self.user_metadata.as_deref().unwrap_or("{}"))?,
        }))
    }

    /// The metadata and the profile of the key's service client, user and organization.
    pub fn claim_sources(&self) -> [(ClaimSourceObject, Option<&str>); 4] {
        [
            (ClaimSourceObject::ServiceClientMetadata, self.client_metadata.as_deref()),
            (ClaimSourceObject::UserMetadata, self.user_metadata.as_deref()),
            (ClaimSourceObject::UserProfile, self.user_profile.as_deref()),
            (ClaimSourceObject::OrganizationMetadata, self.organization_metadata.as_deref()),
        ]
    }
}

fn membership(own: &Option<String>, organization: &Option<String>) -> Result<Option<MembershipSnapshot>, StoreError> {
    let both = parse_generation_id(own.as_deref())?.zip(parse_generation_id(organization.as_deref())?);
    Ok(both.map(|(generation_id, organization)| MembershipSnapshot { generation_id, organization }))
}

fn parse_generation_id(column: Option<&str>) -> Result<Option<GenerationId>, StoreError> {
    column.map(|text| parsed("generation id", text)).transpose()
}

fn owner(key: &KeyRow) -> Result<Owner, StoreError> {
    match (key.owner_type.as_str(), &key.owner_id) {
        ("user", Some(id)) => Ok(Owner::User(parsed("owner id", id)?)),
        ("organization", Some(id)) => Ok(Owner::Organization(parsed("owner id", id)?)),
        ("service_client", Some(id)) => Ok(Owner::ServiceClient(parsed("owner id", id)?)),
        ("none", None) => Ok(Owner::Unowned),
        (other, _) => Err(StoreError::invalid_data(format!("owner type {other}"))),
    }
}

fn owner_scope(key: &KeyRow) -> Result<OwnerScope, StoreError> {
    parse_owner_scope(key.user_id.as_deref(), key.organization_id.as_deref(), key.generation_id.as_deref())
}

/// Builds an `OwnerScope` from its three columns.
pub(crate) fn parse_owner_scope(
    user: Option<&str>,
    organization: Option<&str>,
    generation_id: Option<&str>,
) -> Result<OwnerScope, StoreError> {
    let organization = organization.map(|id| parsed("organization id", id)).transpose()?;
    let generation_id = generation_id.map(|text| parsed("generation_id", text)).transpose()?;
    match (user, organization, generation_id) {
        (None, None, None) => Ok(OwnerScope::Account),
        (None, Some(id), Some(generation_id)) => Ok(OwnerScope::Organization { id, generation_id }),
        (Some(user), organization, Some(generation_id)) => {
            Ok(OwnerScope::User { id: parsed("user id", user)?, organization, generation_id })
        }
        (None, None, Some(_)) | (None, Some(_), None) | (Some(_), _, None) => {
            Err(StoreError::invalid_data("an owner without a generation id"))
        }
    }
}
