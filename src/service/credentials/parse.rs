//! Parsing of presented API keys: native keys and imported keys.

use crate::{
    config::Settings,
    crypto::{credential, imported_key},
    domain::{
        common::{derived_id::CredentialId, encryption::Plaintext},
        credentials::{
            format::PresentedKey,
            imported::{ImportedKeyDigest, is_importable_format},
        },
    },
    service::Services,
};

/// A well-formed API key. Whether it is correct follows from its stored credential only.
#[derive(Debug)]
pub(crate) enum ParsedCredential {
    Native(PresentedKey),
    Imported {
        digest: ImportedKeyDigest,
        /// The values under which the key may be stored, one for each master key.
        lookups: Vec<String>,
    },
}

impl ParsedCredential {
    /// Checks the format, the checksum and the prefix. A text with a native prefix is a native key
    /// or invalid: a mistyped key must not cost a lookup. White space around a key is ignored, as
    /// it is at the end of a file or of a decoded header.
    pub fn parse(services: &Services, text: &str) -> Option<Self> {
        let (text, settings) = (text.trim_ascii(), &services.settings);
        match PresentedKey::parse(text) {
            Ok(key) if settings.api_keys.native_key_prefixes().any(|prefix| *prefix == key.prefix) => {
                Some(Self::Native(key))
            }
            Ok(_) | Err(_)
                if settings.api_keys.imported && is_importable_format(text) && !has_native_prefix(settings, text) =>
            {
                let digest = imported_key::digest_of(text);
                Some(Self::Imported { lookups: imported_key::compute_lookups(&services.master_keys, &digest), digest })
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Returns the id under which failures are counted. For an imported key it is derived from the
    /// digest, because the id of the credential is unknown until the lookup.
    pub fn limiter_id(&self) -> CredentialId {
        match self {
            Self::Native(key) => key.credential_id,
            Self::Imported { lookups, .. } => {
                let id = lookups.first().and_then(|lookup| lookup.get(..CredentialId::LENGTH)?.parse().ok());
                id.unwrap_or_else(CredentialId::placeholder)
            }
        }
    }

    /// Returns whether the key is the one whose digest is `stored`, in constant time.
    pub fn is_correct(&self, stored: &Plaintext) -> bool {
        match self {
            Self::Native(key) => credential::is_correct(stored, key),
            Self::Imported { digest, .. } => imported_key::is_correct(stored, digest),
        }
    }
}

/// Returns whether a text begins with a native prefix.
pub(crate) fn has_native_prefix(settings: &Settings, text: &str) -> bool {
    settings
        .api_keys
        .native_key_prefixes()
        .any(|prefix| text.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('_')))
}
