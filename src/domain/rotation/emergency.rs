//! What can be said truly when a signing key is pulled. Nothing is instant: verifiers keep what they fetched.

use crate::domain::{
    signing::SigningKeyInfo,
    time::{Span, Timestamp},
};

use super::timing::Timing;

/// Until when somebody may still accept what, after a key was revoked at some moment. From the configuration, at worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Bounds {
    /// From when no replica serves the key in its JWKS, or signs by it.
    pub unpublished_by: Timestamp,
    /// Until when a verifier may accept a token by the revoked key, forged ones among them: it may use a JWKS that it fetched before.
    pub accepted_until: Timestamp,
    /// Until when the last token that Keyswap itself signed by it is out of its life.
    pub last_token_ends: Timestamp,
    /// Until when a verifier may refuse tokens by the key that signs now, if it does not fetch the JWKS anew for a kid it does not know.
    pub successor_known_by: Timestamp,
}

impl Timing {
    /// What follows from revoking `key` at `now`; `successor_published` is when the key was published that signs in its place.
    pub fn after_revocation(self, key: &SigningKeyInfo, now: Timestamp, successor_published: Timestamp) -> Bounds {
        let unpublished_by = now.after(self.until_unused());
        let longest = key.longest_ttl.max(self.max_ttl);
        let dead = |at: Timestamp, life: Span| at.after(life + self.verifier_leeway + self.clock_skew);
        Bounds {
            unpublished_by,
            accepted_until: unpublished_by.after(self.verifier_cache_ttl),
            last_token_ends: dead(unpublished_by, longest),
            successor_known_by: successor_published.after(self.until_known()).max(now),
        }
    }
}
