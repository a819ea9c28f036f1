//! The rows of the signing keys, as they are stored.

use crate::{
    domain::{common::encryption::Encrypted, signing::SigningKeyMetadata},
    store::{column_types::OptionalCiphertext, prelude::*, schema::signing_keys},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSigningKey {
    pub info: SigningKeyMetadata,
    pub public_jwk: String,
    /// The encrypted private key. `None` once the private key is destroyed.
    pub encrypted_private_key: Option<Encrypted>,
}

selectable!(signing_keys => StoredSigningKey {
    info: SigningKeyMetadata, public_jwk, encrypted_private_key = (encrypted_private_key, master_version) as OptionalCiphertext,
});

selectable!(signing_keys => SigningKeyMetadata {
    kid, algorithm, state, published_at, seen_at, activated_at, retired_at, removed_at, destroyed_at, longest_ttl,
    version,
});

/// Returns the rows of all keys that were ever published, in the order of publication, whether
/// Keyswap has written them or not. Nothing is trusted that only this function returns.
pub fn list_rows(connection: &mut Conn) -> Result<Vec<StoredSigningKey>, StoreError> {
    signing_keys::table
        .order((signing_keys::published_at.asc(), signing_keys::kid.asc()))
        .select(StoredSigningKey::as_select())
        .load_all(connection)
}
