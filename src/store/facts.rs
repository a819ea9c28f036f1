//! What an exchange needs to know, as of one look-up, with the database's clock.

use std::collections::BTreeSet;

use diesel::{
    BoolExpressionMethods, ExpressionMethods, JoinOnDsl, NullableExpressionMethods, OptionalExtension, QueryDsl,
    RunQueryDsl, SelectableHelper,
};

use crate::domain::{
    api_key::Owner,
    audience::Identifier,
    grant::{Facts, KeyFacts, OwnerSet},
    id::{CredentialId, KeyId},
    time::Timestamp,
};

use super::{
    api_keys::{self as rows, KeyRow},
    audiences,
    connection::{Conn, keyswap_now},
    error::StoreError,
    schema::{api_keys, credentials, service_clients},
};

/// The facts about a credential, and what it is proved against.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub facts: Facts,
    pub sealed: Vec<u8>,
    pub master_version: i32,
}

/// How a key is looked for.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// By the credential in a key that was presented.
    Credential(CredentialId),
    /// By the id in a token of ours: any credential of the key that still works stands for it.
    Key(KeyId),
}

type Row = (KeyRow, (String, Vec<u8>, i32, Option<i64>), (Option<String>, Option<i64>), i64);

/// Looks a key up, and those of `targets` that exist. Nothing when there is no such credential: expired, suspended and revoked
/// ones are found, and refused by `grant::decide`.
///
/// # Errors
/// The database does not answer, or holds what it should not.
pub fn load(
    connection: &mut Conn,
    wanted: &Wanted,
    targets: &BTreeSet<Identifier>,
) -> Result<Option<Loaded>, StoreError> {
    let query =
        credentials::table
            .inner_join(api_keys::table)
            .left_join(service_clients::table.on(
                api_keys::owner_id.eq(service_clients::id.nullable()).and(api_keys::owner_type.eq("service_client")),
            ))
            .select((
                KeyRow::as_select(),
                (credentials::id, credentials::sealed, credentials::master_version, credentials::expires_at),
                (service_clients::permissions.nullable(), service_clients::deleted_at.nullable()),
                keyswap_now(),
            ));
    let row: Option<Row> = match wanted {
        Wanted::Credential(id) => query.filter(credentials::id.eq(id.as_str())).first(connection).optional()?,
        Wanted::Key(id) => query
            .filter(credentials::key_id.eq(id.as_str()))
            .order(credentials::created_at.desc())
            .first(connection)
            .optional()?,
    };
    // Asked for in any case: an unknown key costs the same look-ups as a known one.
    let audiences = audiences::with_identifiers(connection, targets)?;
    let Some((key, (credential, sealed, master_version, credential_end), (client_permissions, client_deleted), now)) =
        row
    else {
        return Ok(None);
    };
    let owner = rows::owner(&key)?;
    let owner_set = match &owner {
        Owner::Nobody => Some(OwnerSet::KeysOwn),
        Owner::ServiceClient(_) => match (client_permissions, client_deleted) {
            (Some(permissions), None) => Some(OwnerSet::Permissions(rows::permission_set(&permissions)?)),
            (_, Some(_)) | (None, None) => None,
        },
    };
    let facts = Facts {
        now: Timestamp::from_millis(now),
        key: KeyFacts {
            id: rows::parsed("key id", &key.id)?,
            credential: rows::parsed("credential id", &credential)?,
            credential_expires_at: credential_end.map(Timestamp::from_millis),
            owner,
            owner_set,
            permissions: rows::permission_set(&key.permissions)?,
            audiences: rows::audiences(key.audiences.as_deref())?,
            max_token_ttl: rows::span(key.max_token_ttl),
            life: rows::life(&key),
        },
        audiences,
    };
    Ok(Some(Loaded { facts, sealed, master_version }))
}
