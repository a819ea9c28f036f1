//! Time bounds after the revocation of a signing key. Revocation is not instantaneous, because
//! verifiers cache the JWKS.

use crate::domain::{
    common::time::{Span, Timestamp},
    signing::{SigningKeyMetadata, rotation::timing::RotationTiming},
};

/// Worst-case bounds for the effects of revoking a signing key, computed from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct RevocationBounds {
    /// Time from which no replica publishes the key in its JWKS or signs with it.
    pub unpublished_by: Timestamp,
    /// Latest time at which a verifier may accept a token signed with the revoked key, even if it
    /// is forged.
    pub accepted_until: Timestamp,
    /// Time by which every token that Keyswap itself signed with the key has expired.
    pub last_token_ends: Timestamp,
    /// Latest time at which a verifier may refuse tokens signed with the current key, if it does
    /// not fetch the JWKS again for an unknown `kid`.
    pub successor_known_by: Timestamp,
}

impl RotationTiming {
    /// Returns the bounds for revoking `key` at `now`. `successor_published` is when the key that
    /// signs in its place was published.
    pub fn revocation_bounds(
        self,
        key: &SigningKeyMetadata,
        now: Timestamp,
        successor_published: Timestamp,
    ) -> RevocationBounds {
        let unpublished_by = now.plus(self.signing_stop_delay());
        let longest = key.longest_ttl.max(self.max_ttl);
        let dead = |at: Timestamp, life: Span| at.plus(life + self.verifier_leeway + self.clock_skew);
        RevocationBounds {
            unpublished_by,
            accepted_until: unpublished_by.plus(self.verifier_cache_ttl),
            last_token_ends: dead(unpublished_by, longest),
            successor_known_by: successor_published.plus(self.propagation_delay()).max(now),
        }
    }
}
