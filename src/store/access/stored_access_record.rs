//! Access records as they are read: the record with its parts, and what authenticates it.

use serde::Deserialize;

use crate::{
    domain::{
        access::{
            access_record::{AccessRecord, EffectiveStatement, Principal, PrincipalType, RecordAdmin, Statement},
            permission::PermissionSet,
            role::RoleSet,
        },
        common::{
            encoding::{EncodedRow, RowEncoder},
            encryption::Encrypted,
            id::{AccessRecordId, GenerationId, OrganizationId},
            name::DisplayName,
            time::Timestamp,
        },
        events::ActorRef,
    },
    store::{
        column_types::Json,
        columns::parsed,
        prelude::*,
        schema::{access_record_parts, access_records},
    },
};

/// A record with its parts.
#[derive(Queryable, Selectable)]
#[diesel(table_name = access_records)]
pub(super) struct AccessRecordRow {
    id: AccessRecordId,
    name: DisplayName,
    organization_id: Option<OrganizationId>,
    generation_id: Option<GenerationId>,
    created_at: Timestamp,
    created_by: ActorRef,
    granted_by: ActorRef,
    version: i64,
    tag: Vec<u8>,
    master_version: i32,
    #[diesel(select_expression = access_record_parts::principals)]
    principals: Json<Vec<PositionedPart<StoredPrincipal>>>,
    #[diesel(select_expression = access_record_parts::admins)]
    admins: Json<Vec<PositionedPart<RecordAdmin>>>,
    #[diesel(select_expression = access_record_parts::statements)]
    statements: Json<Vec<PositionedPart<StoredStatement>>>,
}

/// A part of a record, with its position among the parts of its kind. The view does not order them.
type PositionedPart<T> = (i32, T);

#[derive(Debug, Deserialize)]
pub(super) struct StoredPrincipal {
    kind: PrincipalType,
    id: String,
    unique_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct StoredStatement {
    roles: String,
    resources: String,
    permissions: String,
}

/// A record as it is stored, which may have been altered outside of Keyswap. Its statements grant
/// and limit nothing before `encode` was verified with `tag`.
#[derive(Debug, Clone)]
pub struct StoredAccessRecord {
    pub record: AccessRecord,
    pub tag: Encrypted,
    /// The current permissions of the roles of each statement.
    permissions: Vec<PermissionSet>,
    /// Whether each principal is found by its own id. The column by which records are found repeats
    /// the id of keys and service clients.
    is_consistent: bool,
}

impl StoredAccessRecord {
    /// Returns the statements, with the current permissions of their roles.
    pub fn into_statements(self) -> impl Iterator<Item = EffectiveStatement> {
        let statements = self.record.statements.into_iter().zip(self.permissions);
        statements.map(|(Statement { resources, .. }, permissions)| EffectiveStatement { permissions, resources })
    }

    /// What the tag authenticates. A record that is found by other ids than those of its principals
    /// has no valid encoding.
    pub fn encode(&self) -> EncodedRow {
        if self.is_consistent { self.record.encode() } else { RowEncoder::new("inconsistent", 1).finish() }
    }

    /// Returns `StoreError::Altered` if the record was altered outside of Keyswap.
    pub(super) fn verify(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.decrypt(&self.encode(), &self.tag, "access_records", self.record.id.as_str()).map(drop)
    }
}

impl TryFrom<AccessRecordRow> for StoredAccessRecord {
    type Error = StoreError;

    fn try_from(row: AccessRecordRow) -> Result<Self, StoreError> {
        let principal = |StoredPrincipal { kind, id, unique_id }: StoredPrincipal| {
            Ok::<_, StoreError>(match kind {
                PrincipalType::User => Principal::User(parsed("user", &id)?, parsed("generation id", &unique_id)?),
                PrincipalType::ServiceClient => Principal::ServiceClient(parsed("service client", &id)?),
                PrincipalType::ApiKey => Principal::ApiKey(parsed("API key", &id)?),
            })
        };
        let (mut principals, mut is_consistent) = (Vec::new(), true);
        for stored in sort_parts(row.principals.0) {
            let unique_id = stored.unique_id.clone();
            let principal = principal(stored)?;
            is_consistent &= principal.unique_id() == unique_id;
            principals.push(principal);
        }
        let (mut statements, mut permissions) = (Vec::new(), Vec::new());
        for stored in sort_parts(row.statements.0) {
            let resources = stored.resources.split(' ').map(|pattern| parsed("resource", pattern));
            statements.push(Statement {
                roles: RoleSet::from_stored(&stored.roles).map_err(StoreError::invalid_data)?,
                resources: resources.collect::<Result<_, _>>()?,
            });
            permissions.push(PermissionSet::from_stored(&stored.permissions).map_err(StoreError::invalid_data)?);
        }
        let record = AccessRecord {
            principals,
            admins: sort_parts(row.admins.0).collect(),
            statements,
            organization: row.organization_id.zip(row.generation_id),
            id: row.id,
            name: row.name,
            created_at: row.created_at,
            created_by: row.created_by,
            granted_by: row.granted_by,
            version: row.version,
        };
        Ok(Self {
            record,
            tag: Encrypted { master_version: row.master_version, bytes: row.tag },
            permissions,
            is_consistent,
        })
    }
}

/// Returns the parts in the order of their positions.
fn sort_parts<T>(mut parts: Vec<PositionedPart<T>>) -> impl Iterator<Item = T> {
    parts.sort_by_key(|(position, _)| *position);
    parts.into_iter().map(|(_, part)| part)
}
