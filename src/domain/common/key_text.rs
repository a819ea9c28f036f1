//! The fixed lengths of an API key, and the search for a key in texts that are not secret.

/// Length of the credential id in a key.
pub const ID_LENGTH: usize = 16;

pub(crate) const SECRET_LENGTH: usize = 32;

pub(crate) const CHECKSUM_LENGTH: usize = 6;

/// Returns whether a text contains what appears to be an API key, even if it is truncated within
/// the checksum. Such a text is never stored as a name, in metadata or anywhere else where it would
/// be displayed: users paste keys into the wrong field.
pub fn contains_api_key(text: &str) -> bool {
    const LENGTH: usize = 1 + ID_LENGTH + 1 + SECRET_LENGTH;
    text.as_bytes().windows(LENGTH).any(|tail| {
        let (id, secret) = (&tail[1..1 + ID_LENGTH], &tail[LENGTH - SECRET_LENGTH..]);
        let all = |is_in_class: fn(&u8) -> bool| id.iter().chain(secret).all(is_in_class);
        tail[0] == b'_'
            && tail[1 + ID_LENGTH] == b'_'
            && all(u8::is_ascii_alphanumeric)
            // A random key does not consist of lowercase letters only, but a written text may.
            && !all(u8::is_ascii_lowercase)
    })
}
