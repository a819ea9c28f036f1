//! The owner status of keys: the view that exchanges and key lists read.

use std::collections::BTreeMap;

use crate::{
    domain::{
        access::{
            claim_map::ClaimSourceObject,
            owner::{Owner, OwnerScope},
            owner_status::{DirectorySnapshot, MembershipSnapshot, Ownership, ServiceClientSnapshot, UserSnapshot},
            permission::PermissionSet,
        },
        common::{
            id::{GenerationId, KeyId, UserId},
            time::Timestamp,
        },
        exchange::validation::OwnerUser,
    },
    store::{columns::parsed_metadata, prelude::*, schema::key_owner_status},
};

/// The owner of a key in the directory. Exchanges rarely need the profile and the metadata, so
/// these are not parsed.
#[derive(Debug, Clone, Default, Queryable, Selectable)]
#[diesel(table_name = key_owner_status)]
pub(crate) struct OwnerRow {
    #[diesel(embed)]
    status: OwnerStatusRow,
    client_metadata: Option<String>,
    user_profile: Option<String>,
    user_metadata: Option<String>,
    organization_metadata: Option<String>,
    owner_permissions: Option<PermissionSet>,
}

/// The columns that determine the owner status. The permissions of the user or organization are
/// omitted.
#[derive(Debug, Clone, Default, Queryable, Selectable)]
#[diesel(table_name = key_owner_status)]
pub(crate) struct OwnerStatusRow {
    client_permissions: Option<PermissionSet>,
    client_deleted_at: Option<Timestamp>,
    user_generation_id: Option<GenerationId>,
    user_blocked_at: Option<Timestamp>,
    member_generation_id: Option<GenerationId>,
    member_organization_generation_id: Option<GenerationId>,
    organization_generation_id: Option<GenerationId>,
    creator_member_generation_id: Option<GenerationId>,
    creator_member_organization_generation_id: Option<GenerationId>,
    creator_blocked_at: Option<Timestamp>,
}

impl OwnerRow {
    /// Returns the generation of the organization of the key that exists now.
    pub(crate) const fn organization_generation_id(&self) -> Option<&GenerationId> {
        self.status.organization_generation_id.as_ref()
    }
}

impl From<OwnerStatusRow> for OwnerRow {
    fn from(status: OwnerStatusRow) -> Self {
        Self { status, ..Self::default() }
    }
}

/// Returns the rows of the keys `ids`, by key id.
pub(crate) fn find_many(connection: &mut Conn, ids: &[KeyId]) -> Result<BTreeMap<KeyId, OwnerRow>, StoreError> {
    let rows: Vec<(KeyId, OwnerRow)> = key_owner_status::table
        .filter(key_owner_status::key_id.eq_any(ids))
        .select((key_owner_status::key_id, OwnerRow::as_select()))
        .load_all(connection)?;
    Ok(rows.into_iter().collect())
}

/// Combines the owner that is stored with a key and the current state of the directory.
pub(crate) fn ownership(
    owner: Owner,
    owner_scope: OwnerScope,
    creator_membership: Option<(UserId, GenerationId)>,
    row: OwnerRow,
) -> Ownership {
    let status = row.status;
    let deleted = status.client_deleted_at.is_some();
    let blocked = status.user_blocked_at.is_some();
    Ownership {
        owner,
        owner_scope,
        creator_membership,
        client: status.client_permissions.map(|permissions| ServiceClientSnapshot { permissions, deleted }),
        directory: DirectorySnapshot {
            user: status.user_generation_id.map(|generation_id| UserSnapshot { generation_id, blocked }),
            membership: membership(status.member_generation_id, status.member_organization_generation_id),
            organization: status.organization_generation_id,
            creator_membership: membership(
                status.creator_member_generation_id,
                status.creator_member_organization_generation_id,
            ),
            creator_blocked: status.creator_blocked_at.is_some(),
            permissions: row.owner_permissions.unwrap_or_default(),
        },
    }
}

fn membership(own: Option<GenerationId>, organization: Option<GenerationId>) -> Option<MembershipSnapshot> {
    let (generation_id, organization) = own.zip(organization)?;
    Some(MembershipSnapshot { generation_id, organization })
}

impl OwnerRow {
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
