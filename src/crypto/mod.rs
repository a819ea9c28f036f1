//! Cryptography. Only this module uses ring, aws-lc-rs and jsonwebtoken.

pub mod credential;
pub mod encryption;
pub mod imported_key;
pub mod jwk;
pub mod key_import;
pub mod master_key_file;
pub mod master_keys;
pub mod random;
pub mod secret_file;
pub mod signer;
pub mod tls;
pub mod token;
pub mod webhook;

use ring::digest;

/// SHA-256 without a salt, for public data and for input of high entropy. The digest of an imported
/// key may have low entropy; `imported_key` protects it with an HMAC and encryption.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// SHA-256 in hexadecimal, for fingerprints and ETags.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
