//! Parsing of presented API keys: native keys and imported keys.

use crate::{
    crypto::{
        credential,
        encryption::{SealError, Sealed},
        imported_key,
        master_keys::MasterKeys,
    },
    domain::{
        common::derived_id::CredentialId,
        credentials::{
            format::PresentedKey,
            imported::{ForeignDigest, may_be_foreign},
        },
    },
    service::{App, Settings, encryption::master_keys::catch_up},
    store::{Conn, StoreError, credentials::key_context::Wanted},
};

/// A key that justifies a lookup. Only its credential proves whether it is correct.
#[derive(Debug)]
pub(crate) enum Presented {
    Ours(PresentedKey),
    Foreign {
        digest: ForeignDigest,
        lookups: Vec<String>,
        /// The id under which failures are counted. It is derived from the digest, because the id
        /// of the credential is unknown until the lookup.
        counted_as: CredentialId,
    },
}

impl Presented {
    /// Checks the format, the checksum and the prefix. A text with a native prefix is a native key
    /// or invalid: a mistyped key must not cost a lookup.
    pub fn read(app: &App, text: &str) -> Option<Self> {
        match PresentedKey::parse(text) {
            Ok(ours) if app.settings.own_prefixes().any(|prefix| *prefix == ours.prefix) => Some(Self::Ours(ours)),
            Ok(_) | Err(_) if app.settings.foreign && may_be_foreign(text) && !begins_as_ours(&app.settings, text) => {
                let digest = imported_key::digest_of(text);
                let lookups = imported_key::lookups(&app.master, &digest);
                let counted_as = lookups.first().and_then(|lookup| lookup.get(..CredentialId::LENGTH)?.parse().ok());
                Some(Self::Foreign { digest, lookups, counted_as: counted_as.unwrap_or_else(CredentialId::decoy) })
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Returns the id under which failures are counted. The facts hold the credential of a key that
    /// is found.
    pub const fn counted_as(&self) -> &CredentialId {
        match self {
            Self::Ours(key) => &key.credential,
            Self::Foreign { counted_as, .. } => counted_as,
        }
    }

    pub fn wanted(&self) -> Wanted {
        match self {
            Self::Ours(key) => Wanted::Credential(key.credential),
            Self::Foreign { lookups, .. } => Wanted::Foreign(lookups.clone()),
        }
    }

    /// Returns the second lookup for a key that was not found. Native keys have none, because their
    /// id does not depend on the master key.
    pub fn again(&self, app: &App) -> Option<Again> {
        match self {
            Self::Ours(_) => None,
            Self::Foreign { digest, .. } => Some(Again { digest: digest.clone(), master: app.master.clone() }),
        }
    }

    /// Returns whether the key matches the value that is encrypted in `sealed` for the credential
    /// `id`.
    pub fn is(&self, id: &CredentialId, sealed: &Sealed, master: &MasterKeys) -> Result<bool, SealError> {
        match self {
            Self::Ours(key) => credential::proves(master, id, sealed, key),
            Self::Foreign { digest, .. } => imported_key::proves(master, id, sealed, digest),
        }
    }
}

/// A second lookup of an imported key, with master keys that a rotation may have added.
pub(crate) struct Again {
    digest: ForeignDigest,
    master: MasterKeys,
}

impl Again {
    /// Loads the registered master keys and returns the new lookup, or `None` if it equals `tried`.
    pub fn wanted(&self, connection: &mut Conn, tried: &Wanted) -> Result<Option<Wanted>, StoreError> {
        catch_up(connection, &self.master)?;
        let wanted = Wanted::Foreign(imported_key::lookups(&self.master, &self.digest));
        Ok((wanted != *tried).then_some(wanted))
    }
}

/// Returns whether a text begins with a native prefix.
pub(crate) fn begins_as_ours(settings: &Settings, text: &str) -> bool {
    settings.own_prefixes().any(|prefix| text.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('_')))
}
