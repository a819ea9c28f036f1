//! What a credential is trusted for. The secret of a credential is encrypted for exactly this: a
//! row whose authority was altered in the database does not decrypt, so one decryption proves both
//! the secret and the authority (invariant 14).

use crate::domain::{
    access::{
        audience::Identifier,
        owner::{Owner, OwnerScope},
        permission::PermissionSet,
    },
    common::{
        derived_id::CredentialId,
        encoding::{EncodedRow, RowEncoder},
        id::{GenerationId, KeyId, StatusListId, UserId},
        time::{Span, Timestamp},
    },
    credentials::api_key::KeyLifecycle,
    events::Digest,
};

/// Everything about a credential and its key that decides what the credential may do. The name, the
/// description and last-used times decide nothing.
#[derive(Debug, Clone, Copy)]
pub struct CredentialAuthority<'a> {
    pub credential: &'a CredentialId,
    pub credential_expires_at: Option<Timestamp>,
    /// The status list index of its tokens.
    pub status: Option<(&'a StatusListId, u32)>,
    pub key: &'a KeyId,
    /// The version of the key's row. An older row that is put back is detected by the version in
    /// the last event of the key.
    pub version: i64,
    pub lifecycle: KeyLifecycle,
    pub exchanges_per_minute: Option<u32>,
    pub record_bound: bool,
    pub owner: &'a Owner,
    pub owner_scope: &'a OwnerScope,
    pub creator_membership: Option<(&'a UserId, &'a GenerationId)>,
    /// The metadata as it is stored: audiences map it to claims, by which services may decide.
    pub metadata: &'a str,
    pub entitlement: Entitlement<'a>,
}

/// What many keys share.
#[derive(Debug, Clone, Copy)]
pub struct Entitlement<'a> {
    pub permissions: &'a PermissionSet,
    pub audiences: Option<&'a [Identifier]>,
    pub max_token_ttl: Option<Span>,
}

impl Entitlement<'_> {
    /// Returns the number under which the entitlement is remembered. The secret of a credential is
    /// encrypted for the whole digest, so one with the same number is not mistaken for it.
    pub fn number(&self, digest: Digest) -> i64 {
        let [a, b, c, d, e, f, g, h, ..] = digest(self.encode().as_bytes());
        i64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    fn encode(&self) -> EncodedRow {
        RowEncoder::new("entitlement", 1)
            .list(self.permissions.iter(), |row, name| row.text(name.as_str()))
            .optional(self.audiences, |row, all| row.list(all, |row, one| row.text(one.as_str())))
            .optional_integer(self.max_token_ttl.map(Span::millis))
            .finish()
    }
}

impl CredentialAuthority<'_> {
    pub fn encode(&self, digest: Digest) -> EncodedRow {
        let millis = |at: Option<Timestamp>| at.map(Timestamp::millis);
        RowEncoder::new("credential", 1)
            .text(self.credential.as_str())
            .optional_integer(millis(self.credential_expires_at))
            .optional(self.status, |row, (list, index)| row.text(list.as_str()).integer(index.into()))
            .text(self.key.as_str())
            .integer(self.version)
            .optional_integer(millis(self.lifecycle.suspended_at))
            .optional_integer(millis(self.lifecycle.revoked_at))
            .optional_integer(millis(self.lifecycle.expires_at))
            .optional_integer(self.exchanges_per_minute.map(i64::from))
            .integer(self.record_bound.into())
            .text(self.owner.kind().as_str())
            .optional_text(self.owner.id())
            .optional_text(self.owner_scope.user().map(UserId::as_str))
            .optional_text(self.owner_scope.organization().map(|id| id.as_str()))
            .optional_text(self.owner_scope.generation_id().map(GenerationId::as_str))
            .optional(self.creator_membership, |row, (user, generation_id)| {
                row.text(user.as_str()).text(generation_id.as_str())
            })
            .text(self.metadata)
            .digest(&digest(self.entitlement.encode().as_bytes()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        for (position, byte) in bytes.iter().enumerate() {
            out[position % 32] ^= byte.wrapping_add(u8::try_from(position % 251).unwrap());
        }
        out
    }

    /// Every field that decides changes the encoding.
    #[test]
    fn each_field_of_the_authority_changes_its_encoding() {
        let (one, two) = (CredentialId::placeholder(), "1".repeat(CredentialId::LENGTH).parse().unwrap());
        let (key, other_key): (KeyId, KeyId) =
            ("key_00000000000000000000000001".parse().unwrap(), "key_00000000000000000000000002".parse().unwrap());
        let at = Timestamp::from_millis;
        let (permissions, more) = (PermissionSet::default(), ["a".parse().unwrap()].into_iter().collect());
        let audiences: [Identifier; 1] = ["https://a.example".parse().unwrap()];
        let user: UserId = "u".parse().unwrap();
        let generation_id: GenerationId = "inc_00000000000000000000000001".parse().unwrap();
        let scope = OwnerScope::User { id: user.clone(), organization: None, generation_id: generation_id.clone() };
        let owner = Owner::User(user.clone());
        let list: StatusListId = "stl_00000000000000000000000001".parse().unwrap();
        let base = CredentialAuthority {
            credential: &one,
            credential_expires_at: None,
            status: None,
            key: &key,
            version: 1,
            lifecycle: KeyLifecycle::default(),
            exchanges_per_minute: None,
            record_bound: false,
            owner: &Owner::Unowned,
            owner_scope: &OwnerScope::Account,
            creator_membership: None,
            metadata: "{}",
            entitlement: Entitlement { permissions: &permissions, audiences: None, max_token_ttl: None },
        };
        let lifecycle = |suspended_at, revoked_at, expires_at| KeyLifecycle { suspended_at, revoked_at, expires_at };
        let entitlement = base.entitlement;
        let all = [
            base,
            CredentialAuthority { credential: &two, ..base },
            CredentialAuthority { credential_expires_at: Some(at(1)), ..base },
            CredentialAuthority { status: Some((&list, 7)), ..base },
            CredentialAuthority { key: &other_key, ..base },
            CredentialAuthority { version: 2, ..base },
            CredentialAuthority { lifecycle: lifecycle(Some(at(1)), None, None), ..base },
            CredentialAuthority { lifecycle: lifecycle(None, Some(at(1)), None), ..base },
            CredentialAuthority { lifecycle: lifecycle(None, None, Some(at(1))), ..base },
            CredentialAuthority { exchanges_per_minute: Some(1), ..base },
            CredentialAuthority { record_bound: true, ..base },
            CredentialAuthority { owner: &owner, ..base },
            CredentialAuthority { owner_scope: &scope, ..base },
            CredentialAuthority { creator_membership: Some((&user, &generation_id)), ..base },
            CredentialAuthority { metadata: r#"{"plan":"gold"}"#, ..base },
            CredentialAuthority { entitlement: Entitlement { permissions: &more, ..entitlement }, ..base },
            CredentialAuthority { entitlement: Entitlement { audiences: Some(&[]), ..entitlement }, ..base },
            CredentialAuthority { entitlement: Entitlement { audiences: Some(&audiences), ..entitlement }, ..base },
            CredentialAuthority {
                entitlement: Entitlement { max_token_ttl: Some(Span::from_secs(1)), ..entitlement },
                ..base
            },
        ];
        for (position, one) in all.iter().enumerate() {
            for other in &all[position + 1..] {
                assert_ne!(one.encode(digest), other.encode(digest), "{one:?} and {other:?}");
            }
        }
    }
}
