//! The narrow rows of credentials: what an exchange needs of the usual ones, in one row that is
//! found by an integer. A credential without a row is looked up in all tables, so a row is never
//! required. The row is written at the end of each change of its key. Triggers delete it when a
//! deciding column changes, also by SQL.

use crate::{
    domain::{
        access::owner::OwnerType,
        common::{
            derived_id::CredentialId,
            id::{GenerationId, KeyId, OrganizationId, StatusListId, UserId},
            time::Timestamp,
        },
        credentials::authority::CredentialAuthority,
    },
    store::{column_types::Count, prelude::*, schema::narrow_credentials},
};

#[derive(Insertable)]
#[diesel(table_name = narrow_credentials)]
struct NewRow<'a> {
    number: i64,
    credential_id: &'a CredentialId,
    key_id: &'a KeyId,
    version: i64,
    encrypted_secret: &'a [u8],
    master_version: i32,
    credential_expires_at: Option<Timestamp>,
    key_expires_at: Option<Timestamp>,
    status_list: Option<&'a StatusListId>,
    status_index: Option<Count>,
    entitlement: i64,
    owner_type: OwnerType,
    owner_id: Option<&'a str>,
    user_id: Option<&'a UserId>,
    organization_id: Option<&'a OrganizationId>,
    generation_id: Option<&'a GenerationId>,
    created_at: Timestamp,
}

/// A credential whose secret was just encrypted for its authority.
pub(crate) struct EncryptedFor<'a> {
    pub authority: CredentialAuthority<'a>,
    pub encrypted_secret: &'a [u8],
    pub master_version: i32,
    pub key_created_at: Timestamp,
    /// Whether a rotation has replaced it.
    pub is_replaced: bool,
    /// Whether it is found by a digest.
    pub is_imported: bool,
}

impl EncryptedFor<'_> {
    /// Whether an exchange needs nothing that a narrow row lacks.
    fn is_usual(&self) -> bool {
        let authority = &self.authority;
        let lifecycle = authority.lifecycle;
        !self.is_replaced
            && !self.is_imported
            && lifecycle.suspended_at.is_none()
            && lifecycle.revoked_at.is_none()
            && authority.exchanges_per_minute.is_none()
            && !authority.record_bound
            && authority.creator_membership.is_none()
            && authority.metadata == "{}"
    }
}

/// Replaces the narrow row of a credential, or deletes it if the credential is unusual.
pub(crate) fn replace(tx: &mut Tx<'_>, credential: &EncryptedFor<'_>) -> Result<(), StoreError> {
    let authority = &credential.authority;
    let number = authority.credential.number();
    diesel::delete(narrow_credentials::table.find(number)).execute_in(tx)?;
    if !credential.is_usual() {
        return Ok(());
    }
    let row = NewRow {
        number,
        credential_id: authority.credential,
        key_id: authority.key,
        version: authority.version,
        encrypted_secret: credential.encrypted_secret,
        master_version: credential.master_version,
        credential_expires_at: authority.credential_expires_at,
        key_expires_at: authority.lifecycle.expires_at,
        status_list: authority.status.map(|(list, _)| list),
        status_index: authority.status.map(|(_, index)| Count(index)),
        entitlement: authority.entitlement.number(tx.encryption.digest()),
        owner_type: authority.owner.kind(),
        owner_id: authority.owner.id(),
        user_id: authority.owner_scope.user(),
        organization_id: authority.owner_scope.organization(),
        generation_id: authority.owner_scope.generation_id(),
        created_at: credential.key_created_at,
    };
    diesel::insert_into(narrow_credentials::table).values(row).execute_in(tx)
}
