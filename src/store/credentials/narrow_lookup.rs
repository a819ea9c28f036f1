//! Lookup of the narrow row of a credential, with the owner, the time of the database and the
//! version of what exchanges remember, in one query.

use std::collections::BTreeMap;

use crate::{
    domain::{
        access::{
            owner::{Owner, OwnerScope},
            owner_status::{MembershipSnapshot, UserSnapshot},
        },
        common::{
            derived_id::CredentialId,
            encryption::Encrypted,
            id::{GenerationId, KeyId, StatusListId},
            time::Timestamp,
        },
    },
    store::{
        column_types::{Count, Flag},
        pool::keyswap_now,
        prelude::*,
        schema::narrow_lookups,
    },
};

/// A credential with its narrow row, and the state of its owner.
#[derive(Debug, Clone)]
pub struct NarrowCredential {
    pub id: CredentialId,
    pub key: KeyId,
    pub version: i64,
    pub encrypted_secret: Encrypted,
    pub credential_expires_at: Option<Timestamp>,
    pub key_expires_at: Option<Timestamp>,
    status_list: Option<StatusListId>,
    status_index: Option<Count>,
    /// The number of the entitlement.
    pub entitlement: i64,
    pub owner: Owner,
    pub owner_scope: OwnerScope,
    pub created_at: Timestamp,
    user_generation_id: Option<GenerationId>,
    user_blocked_at: Option<Timestamp>,
    member_generation_id: Option<GenerationId>,
    member_organization_generation_id: Option<GenerationId>,
    /// The generation of the organization that exists now.
    pub organization: Option<GenerationId>,
    /// The roles of the user or member, in order and separated by spaces.
    pub roles: Option<String>,
    has_access_records: Flag,
    /// The event of the last change of what exchanges remember. Empty: nothing may be remembered.
    pub authority_event: String,
}

selectable!(every_backend: narrow_lookups => NarrowCredential {
    id = credential_id, key = key_id, version, encrypted_secret = (encrypted_secret, master_version),
    credential_expires_at, key_expires_at, status_list, status_index, entitlement, owner = (owner_type, owner_id),
    owner_scope = (user_id, organization_id, generation_id), created_at, user_generation_id, user_blocked_at,
    member_generation_id, member_organization_generation_id, organization = organization_generation_id, roles,
    has_access_records, authority_event,
});

impl NarrowCredential {
    pub fn status(&self) -> Option<(&StatusListId, u32)> {
        self.status_list.as_ref().zip(self.status_index.map(u32::from))
    }

    pub fn user(&self) -> Option<UserSnapshot> {
        let blocked = self.user_blocked_at.is_some();
        self.user_generation_id.clone().map(|generation_id| UserSnapshot { generation_id, blocked })
    }

    pub fn membership(&self) -> Option<MembershipSnapshot> {
        let (generation_id, organization) =
            self.member_generation_id.clone().zip(self.member_organization_generation_id.clone())?;
        Some(MembershipSnapshot { generation_id, organization })
    }

    /// Whether exchanges need no more than the row and what they remember.
    pub(crate) fn is_sufficient(&self) -> bool {
        !self.has_access_records.0 && !self.authority_event.is_empty()
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = narrow_lookups)]
struct Row {
    #[diesel(embed)]
    credential: NarrowCredential,
    #[diesel(select_expression = keyswap_now(), select_expression_type = keyswap_now)]
    now: Timestamp,
}

impl Row {
    fn into_sufficient(self) -> Option<NarrowLookup> {
        self.credential.is_sufficient().then_some((self.credential, self.now))
    }
}

/// A narrow row, and the time of the database when it was read.
pub type NarrowLookup = (NarrowCredential, Timestamp);

macro_rules! query_one {
    ($id:expr) => {
        narrow_lookups::table.find($id.number()).select(Row::as_select())
    };
}

/// Finds the narrow row of a credential. Returns `None` if it needs a lookup in all tables.
pub(crate) fn find(connection: &mut Conn, id: CredentialId) -> Result<Option<NarrowLookup>, StoreError> {
    let found: Option<Row> = match connection {
        Conn::Sqlite(inner) => query_one!(id).get_result(inner).optional()?,
        Conn::Postgres(inner) => query_one!(id).get_result(inner).optional()?,
    };
    Ok(found.and_then(Row::into_sufficient).filter(|(credential, _)| credential.id == id))
}

/// Like `find`, for many credentials. Those that need a lookup in all tables are omitted.
pub(crate) fn find_many(
    connection: &mut Conn,
    ids: &[CredentialId],
) -> Result<BTreeMap<CredentialId, NarrowLookup>, StoreError> {
    let Conn::Postgres(inner) = connection else {
        // A statement with a list cannot be prepared once on SQLite.
        let found = ids.iter().filter_map(|&id| Some((id, find(connection, id).transpose()?)));
        return found.map(|(id, found)| Ok((id, found?))).collect();
    };
    let numbers: Vec<_> = ids.iter().map(CredentialId::number).collect();
    let query = narrow_lookups::table.filter(narrow_lookups::number.eq_any(numbers)).select(Row::as_select());
    let found: Vec<Row> = query.load(inner)?;
    Ok(found.into_iter().filter_map(Row::into_sufficient).map(|found| (found.0.id, found)).collect())
}
