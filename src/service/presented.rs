//! A key as it was read off a text: one of ours, or one of another make.

use crate::{
    crypto::{
        credential, foreign,
        master::MasterKeys,
        seal::{SealError, Sealed},
    },
    domain::{
        api_key_value::PresentedKey,
        foreign::{ForeignDigest, may_be_foreign},
        id::CredentialId,
    },
    store::{Conn, StoreError, facts::Wanted},
};

use super::{App, Settings, master_keys::catch_up};

/// What is worth a look-up; whether it is right only its credential can tell.
#[derive(Debug)]
pub(super) enum Presented {
    Ours(PresentedKey),
    Foreign {
        digest: ForeignDigest,
        lookups: Vec<String>,
        /// Its credential is not known before the look-up, and failures are counted before it.
        counted_as: CredentialId,
    },
}

impl Presented {
    /// The shape, the checksum and the prefix. What begins as ours do is one of ours or nothing: a mistyped key must cost no look-up.
    pub fn read(app: &App, text: &str) -> Option<Self> {
        match PresentedKey::parse(text) {
            Ok(ours) if app.settings.own_prefixes().any(|prefix| *prefix == ours.prefix) => Some(Self::Ours(ours)),
            Ok(_) | Err(_) if app.settings.foreign && may_be_foreign(text) && !begins_as_ours(&app.settings, text) => {
                let digest = foreign::digest_of(text);
                let lookups = foreign::lookups(&app.master, &digest);
                let counted_as = lookups.first().and_then(|lookup| lookup.get(..CredentialId::LENGTH)?.parse().ok());
                Some(Self::Foreign { digest, lookups, counted_as: counted_as.unwrap_or_else(CredentialId::decoy) })
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Under which failures are counted. What it is, once it is found, the facts say.
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

    /// How to look once more when nothing was found; nothing for a key of ours, which is found by its id.
    pub fn again(&self, app: &App) -> Option<Again> {
        match self {
            Self::Ours(_) => None,
            Self::Foreign { digest, .. } => Some(Again { digest: digest.clone(), master: app.master.clone() }),
        }
    }

    /// Whether it is what was sealed as `sealed` for the credential `id`.
    pub fn is(&self, id: &CredentialId, sealed: &Sealed, master: &MasterKeys) -> Result<bool, SealError> {
        match self {
            Self::Ours(key) => credential::proves(master, id, sealed, key),
            Self::Foreign { digest, .. } => foreign::proves(master, id, sealed, digest),
        }
    }
}

/// A second look for a foreign key, on what a rotation of the master key may have brought since.
pub(super) struct Again {
    digest: ForeignDigest,
    master: MasterKeys,
}

impl Again {
    /// What to look for now; nothing when that is what was `tried`.
    pub fn wanted(&self, connection: &mut Conn, tried: &Wanted) -> Result<Option<Wanted>, StoreError> {
        catch_up(connection, &self.master)?;
        let wanted = Wanted::Foreign(foreign::lookups(&self.master, &self.digest));
        Ok((wanted != *tried).then_some(wanted))
    }
}

/// Whether a text begins with a prefix of ours.
pub(super) fn begins_as_ours(settings: &Settings, text: &str) -> bool {
    settings.own_prefixes().any(|prefix| text.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('_')))
}
