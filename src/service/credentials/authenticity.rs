//! Whether stored rows are those that Keyswap has written. A row that was altered outside of
//! Keyswap is refused (invariant 14).

use crate::{
    crypto::sha256,
    domain::{
        common::{
            encoding::EncodedRow,
            encryption::{Encrypted, EncryptionError, Plaintext, RowCipher as _},
        },
        credentials::error::CredentialError,
        exchange::key_context::KeyContext,
    },
    service::{Services, credentials::error::AuthError},
    store::{access::stored_access_record::StoredAccessRecord, credentials::key_context::KeyRecord},
    telemetry::labels::AuthenticatedTable,
};

/// Decrypts the digest of a credential, which proves that its row and that of its key are
/// unaltered. Audiences and access records whose rows were altered are left out of the context, as
/// if they did not exist. Returns `CredentialError::Altered` if the credential or its key was
/// altered.
pub(crate) fn authenticate(services: &Services, record: KeyRecord) -> Result<(KeyContext, Plaintext), AuthError> {
    let KeyRecord { mut context, audience_tags, access_records, encrypted_secret, master_version } = record;
    let encrypted = Encrypted { master_version, bytes: encrypted_secret };
    let row = context.key.credential_authority().encode(sha256);
    let id = context.key.credential_id.as_str();
    let digest = decrypt_row(services, AuthenticatedTable::Credentials, id, &row, &encrypted)?;
    let mut audiences = Vec::with_capacity(context.audiences.len());
    for (audience, tag) in context.audiences.into_iter().zip(audience_tags) {
        let (id, row) = (audience.id.as_str(), audience.encode());
        match decrypt_row(services, AuthenticatedTable::Audiences, id, &row, &tag) {
            Ok(_) => audiences.push(audience),
            Err(AuthError::Credential(CredentialError::Altered)) => {}
            Err(error) => return Err(error),
        }
    }
    context.audiences = audiences;
    let count = access_records.len();
    let authentic = authentic_records(services, access_records)?;
    // Without one of its records, the scope of the key would not be limited by them.
    context.key.record_bound |= authentic.len() < count;
    context.key.access_statements = authentic.into_iter().flat_map(StoredAccessRecord::into_statements).collect();
    Ok((context, digest))
}

/// Returns those of the records that Keyswap has written.
pub(crate) fn authentic_records(
    services: &Services,
    records: Vec<StoredAccessRecord>,
) -> Result<Vec<StoredAccessRecord>, AuthError> {
    let mut authentic = Vec::with_capacity(records.len());
    for stored in records {
        let (id, row) = (stored.record.id.as_str(), stored.encode());
        match decrypt_row(services, AuthenticatedTable::AccessRecords, id, &row, &stored.tag) {
            Ok(_) => authentic.push(stored),
            Err(AuthError::Credential(CredentialError::Altered)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(authentic)
}

/// Decrypts a row. Counts and logs one that was altered, and returns `CredentialError::Altered`.
pub(crate) fn decrypt_row(
    services: &Services,
    table: AuthenticatedTable,
    id: &str,
    row: &EncodedRow,
    encrypted: &Encrypted,
) -> Result<Plaintext, AuthError> {
    services.master_keys.decrypt(row, encrypted).map_err(|error| match error {
        EncryptionError::DecryptionFailed => {
            services.metrics.record_integrity_failure(table);
            let table = table.as_str();
            tracing::error!(
                table,
                id,
                "refused a row that was altered outside of Keyswap; see `keyswap integrity list`"
            );
            CredentialError::Altered.into()
        }
        EncryptionError::NoEntropy | EncryptionError::NoMasterKey(_) => error.into(),
    })
}
