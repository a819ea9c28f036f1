//! Mirrors of signing keys and of their rotation.

use utoipa::ToSchema;

use crate::{
    crypto::jwk::PublicJwk,
    domain::{
        common::{
            derived_id::SigningKeyId,
            time::{Span, Timestamp},
        },
        signing::{
            Algorithm, SigningKeyMetadata, SigningKeyState,
            rotation::{RevocationBounds, WaitReason},
        },
    },
    http::openapi::mirror::{mirrors, schema_of},
    service::signing::{
        Revocation, RotationResult,
        rotation_state::{EffectiveRules, ReplicaItem, SigningKeyItem, Timeline, UpcomingStep},
    },
};

mirrors! {
    /// The result of a rotation.
    RotatedShape as Rotated for RotationResult {
        activated: SigningKeyItem,
        /// Null in a dry run, which does not create the next key.
        next: Option<SigningKeyItem>,
        retired: Vec<SigningKeyItem>,
    }
    /// The signing keys and their planned transitions.
    TimelineShape as SigningKeys for Timeline {
        data: Vec<SigningKeyItem>,
        next: Option<String>,
        /// The next step of each key, earliest first.
        plan: Vec<UpcomingStep>,
        /// The running replicas.
        replicas: Vec<ReplicaItem>,
        /// The rotation rules in effect. If replicas differ, the stricter setting applies.
        rules: EffectiveRules,
    }
    /// A planned step of a rotation.
    UpcomingShape as RotationStep for UpcomingStep {
        #[schema(pattern = "^(publish|see|activate|retire|destroy_private_half|remove)$")]
        step: String,
        /// Null for a key that does not exist yet.
        kid: Option<SigningKeyId>,
        algorithm: Option<Algorithm>,
        at: Timestamp,
        waits_for: WaitReason,
    }
    /// A replica, as it last reported itself.
    ReplicaShape as Replica for ReplicaItem {
        id: String,
        name: String,
        started_at: Timestamp,
        seen_at: Timestamp,
        /// The key ids in the JWKS of the replica.
        published: Vec<String>,
    }
    /// The settings that govern rotation.
    RulesShape as RotationRules for EffectiveRules {
        rotation_period: Option<Span>,
        verifier_cache_ttl: Span,
        replica_staleness: Span,
        verifier_leeway: Span,
        clock_skew: Span,
        max_ttl: Span,
        /// The time from which waiting periods count: when a jump of the database clock was
        /// detected, or when a rolled back database was accepted. Null if neither has happened.
        stable_since: Option<Timestamp>,
    }
}

/// A signing key, with the times that matter for rotation.
#[derive(ToSchema)]
#[schema(as = SigningKey)]
#[expect(dead_code, reason = "read by utoipa alone")]
struct ListedShape {
    kid: SigningKeyId,
    algorithm: Algorithm,
    state: SigningKeyState,
    published_at: Timestamp,
    /// When another transaction saw the key published. Waiting periods count from this time.
    seen_at: Option<Timestamp>,
    activated_at: Option<Timestamp>,
    retired_at: Option<Timestamp>,
    removed_at: Option<Timestamp>,
    /// When the private key was destroyed.
    destroyed_at: Option<Timestamp>,
    /// Longest lifetime of any token that the key may have signed.
    longest_ttl: Span,
    version: i64,
    /// Earliest time at which the key may sign, or could have signed.
    may_sign_from: Timestamp,
    /// Earliest time at which the key may leave the JWKS. Null until the key is retired.
    may_be_removed_from: Option<Timestamp>,
    /// Number of unexpired tokens signed by the key, as last reported by the replicas. Replicas
    /// report once per `usage.flush_interval`, 10 seconds by default.
    live_tokens: i64,
}
schema_of!(SigningKeyItem, ListedShape);
const _: fn(SigningKeyItem) = |SigningKeyItem { info, may_sign_from: _, may_be_removed_from: _, live_tokens: _ }| {
    let SigningKeyMetadata {
        kid: _,
        algorithm: _,
        state: _,
        published_at: _,
        seen_at: _,
        destroyed_at: _,
        activated_at: _,
        retired_at: _,
        removed_at: _,
        longest_ttl: _,
        version: _,
    } = info;
};

/// The result of an emergency revocation, with its worst-case consequences.
#[derive(ToSchema)]
#[schema(as = RevokedSigningKey)]
#[expect(dead_code, reason = "read by utoipa alone")]
struct RevokedShape {
    revoked: SigningKeyItem,
    /// The key that signs instead. Null if the revoked key was not signing.
    activated: Option<SigningKeyItem>,
    /// Time from which no replica publishes the key in its JWKS or signs with it.
    unpublished_by: Timestamp,
    /// Latest time at which a verifier may accept a token signed with the revoked key, even if it
    /// is forged.
    accepted_until: Timestamp,
    /// Time by which every token that Keyswap itself signed with the key has expired.
    last_token_ends: Timestamp,
    /// Latest time at which a verifier may refuse tokens signed with the current key, if it does
    /// not fetch the JWKS again for an unknown `kid`.
    successor_known_by: Timestamp,
}
schema_of!(Revocation, RevokedShape);
const _: fn(Revocation) = |Revocation { revoked: _, activated: _, bounds }| {
    let RevocationBounds { unpublished_by: _, accepted_until: _, last_token_ends: _, successor_known_by: _ } = bounds;
};

mirrors! {
    /// A public key (RFC 7517).
    JwkShape as Jwk for PublicJwk {
        #[schema(pattern = "^(EC|OKP|RSA)$")]
        kty: String,
        #[serde(rename = "use")]
        #[schema(pattern = "^sig$")]
        usage: String,
        alg: Algorithm,
        kid: SigningKeyId,
        #[schema(nullable = false)]
        crv: Option<String>,
        #[schema(nullable = false)]
        x: Option<String>,
        #[schema(nullable = false)]
        y: Option<String>,
        #[schema(nullable = false)]
        n: Option<String>,
        #[schema(nullable = false)]
        e: Option<String>,
    }
}
