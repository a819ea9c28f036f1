//! Parsing of presented API keys: native keys and imported keys.

use crate::{
    crypto::{
        credential,
        encryption::{Encrypted, EncryptionError},
        imported_key,
        master_keys::MasterKeys,
    },
    domain::{
        common::derived_id::CredentialId,
        credentials::{
            format::PresentedKey,
            imported::{ImportedKeyDigest, is_importable_format},
        },
    },
    service::{Services, Settings, encryption::master_keys::catch_up},
    store::{Conn, StoreError, credentials::key_context::KeySelector},
};

/// A key that justifies a lookup. Only its credential proves whether it is correct.
#[derive(Debug)]
pub(crate) enum Presented {
    Native(PresentedKey),
    Imported {
        digest: ImportedKeyDigest,
        lookups: Vec<String>,
        /// The id under which failures are counted. It is derived from the digest, because the id
        /// of the credential is unknown until the lookup.
        limiter_id: CredentialId,
    },
}

impl Presented {
    /// Checks the format, the checksum and the prefix. A text with a native prefix is a native key
    /// or invalid: a mistyped key must not cost a lookup.
    pub fn read(services: &Services, text: &str) -> Option<Self> {
        match PresentedKey::parse(text) {
            Ok(ours) if services.settings.native_key_prefixes().any(|prefix| *prefix == ours.prefix) => {
                Some(Self::Native(ours))
            }
            Ok(_) | Err(_)
                if services.settings.accept_imported_keys
                    && is_importable_format(text)
                    && !has_native_prefix(&services.settings, text) =>
            {
                let digest = imported_key::digest_of(text);
                let lookups = imported_key::compute_lookups(&services.master, &digest);
                let limiter_id = lookups.first().and_then(|lookup| lookup.get(..CredentialId::LENGTH)?.parse().ok());
                Some(Self::Imported {
                    digest,
                    lookups,
                    limiter_id: limiter_id.unwrap_or_else(CredentialId::placeholder),
                })
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Returns the id under which failures are counted. The facts hold the credential of a key that
    /// is found.
    pub const fn limiter_id(&self) -> &CredentialId {
        match self {
            Self::Native(key) => &key.credential_id,
            Self::Imported { limiter_id, .. } => limiter_id,
        }
    }

    pub fn wanted(&self) -> KeySelector {
        match self {
            Self::Native(key) => KeySelector::Credential(key.credential_id),
            Self::Imported { lookups, .. } => KeySelector::ImportedKeyLookups(lookups.clone()),
        }
    }

    /// Returns the second lookup for a key that was not found. Native keys have none, because their
    /// id does not depend on the master key.
    pub fn retry_lookup(&self, services: &Services) -> Option<Again> {
        match self {
            Self::Native(_) => None,
            Self::Imported { digest, .. } => Some(Again { digest: digest.clone(), master: services.master.clone() }),
        }
    }

    /// Returns whether the key matches the value that is encrypted in `sealed` for the credential
    /// `id`.
    pub fn is(&self, id: &CredentialId, sealed: &Encrypted, master: &MasterKeys) -> Result<bool, EncryptionError> {
        match self {
            Self::Native(key) => credential::proves(master, id, sealed, key),
            Self::Imported { digest, .. } => imported_key::proves(master, id, sealed, digest),
        }
    }
}

/// A second lookup of an imported key, with master keys that a rotation may have added.
pub(crate) struct Again {
    digest: ImportedKeyDigest,
    master: MasterKeys,
}

impl Again {
    /// Loads the registered master keys and returns the new lookup, or `None` if it equals `tried`.
    pub fn wanted(&self, connection: &mut Conn, tried: &KeySelector) -> Result<Option<KeySelector>, StoreError> {
        catch_up(connection, &self.master)?;
        let wanted = KeySelector::ImportedKeyLookups(imported_key::compute_lookups(&self.master, &self.digest));
        Ok((wanted != *tried).then_some(wanted))
    }
}

/// Returns whether a text begins with a native prefix.
pub(crate) fn has_native_prefix(settings: &Settings, text: &str) -> bool {
    settings
        .native_key_prefixes()
        .any(|prefix| text.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('_')))
}
