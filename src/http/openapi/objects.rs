//! Schemas of types that other layers serialize themselves, mirrored for the OpenAPI document. A
//! field that only the type or only its mirror has is a compile error.

use std::borrow::Cow;

use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    crypto::jwk::PublicJwk,
    domain::{
        access::{
            access_record::{AuthorizationDetail, AuthorizationDetailType},
            audience::Identifier,
            permission::{AssignableOwnerType, Permission, PermissionName, PermissionSet},
            resource::ResourcePattern,
            role::{Role, RoleName},
        },
        common::{
            derived_id::SigningKeyId,
            id::{EventId, KeyId, OrganizationId},
            json::Metadata,
            name::DisplayName,
            time::{Span, Timestamp},
        },
        events::{ActorRef, Event},
        exchange::{
            claims::AudienceClaim,
            introspection::{IntrospectionResponse, PresentedTokenType},
            refusal::{PermissionLimit, RemovedPermission},
        },
        signing::{
            Algorithm, SigningKeyMetadata, SigningKeyState,
            rotation::{RevocationBounds, WaitReason},
        },
    },
    http::openapi::schemas::Schemas,
    service::{
        InputFault,
        exchange::Explanation,
        health::Readiness,
        signing::{
            Revocation, Rotated,
            loaded::{EffectiveRulesView, Listed, ReplicaView, Timeline, Upcoming},
        },
    },
};

/// Gives a type of another layer the schema of its mirror, a struct of this module.
macro_rules! schema_of {
    ($type:ty, $mirror:ident) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $mirror::schema()
            }
        }
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $mirror::name()
            }
            fn schemas(schemas: &mut Schemas) {
                $mirror::schemas(schemas);
            }
        }
    };
}

/// Declares mirrors and checks their field names against the mirrored types. Attributes and doc
/// comments of the fields are passed to utoipa.
macro_rules! mirrors {
    ($($(#[$meta:meta])* $mirror:ident as $name:ident for $type:ident { $($(#[$of_member:meta])* $member:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(ToSchema)]
        #[schema(as = $name)]
        #[expect(dead_code, reason = "read by utoipa alone")]
        struct $mirror { $($(#[$of_member])* $member: $kind),* }
        schema_of!($type, $mirror);
        const _: fn($type) = |object| { let $type { $($member: _),* } = object; };
    )*};
}

mirrors! {
    /// The actor that performed an action, or the object it was performed on.
    ActorShape as Actor for ActorRef {
        #[serde(rename = "type")]
        kind: String,
        id: Option<String>,
    }
    /// A permission in the catalog.
    PermissionShape as Permission for Permission {
        name: PermissionName,
        description: Option<DisplayName>,
        assignable_to: Vec<AssignableOwnerType>,
        /// Whether the permission governs Keyswap itself. If so, it cannot be changed or deleted.
        built_in: bool,
        created_at: Timestamp,
        version: i64,
    }
    /// A role: a named set of permissions.
    RoleShape as Role for Role {
        name: RoleName,
        description: Option<DisplayName>,
        permissions: PermissionSet,
        created_at: Timestamp,
        version: i64,
    }
    /// An event of the audit log.
    EventShape as Event for Event {
        id: EventId,
        /// Position in the audit log, in commit order and without gaps.
        seq: i64,
        #[serde(rename = "type")]
        #[schema(example = "api_key.created")]
        kind: String,
        at: Timestamp,
        actor: ActorRef,
        on_behalf_of: Option<String>,
        subject: ActorRef,
        organization_id: Option<String>,
        cause: Option<String>,
        request_id: Option<String>,
        address: Option<String>,
        /// Ids, numbers and states. Never contains secrets or profile fields.
        #[schema(value_type = Metadata)]
        data: Map<String, Value>,
        /// SHA-256 hash of the previous event in hexadecimal. 64 zeros for the first event.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        prev_hash: String,
    }
    /// A permission that is not granted, with the first rule that removed it.
    RemovedShape as Removed for RemovedPermission {
        permission: PermissionName,
        by: PermissionLimit,
    }
    /// What a token authorizes, and on which resources (RFC 9396 §2).
    DetailShape as AuthorizationDetail for AuthorizationDetail {
        #[serde(rename = "type")]
        kind: AuthorizationDetailType,
        actions: PermissionSet,
        locations: Vec<ResourcePattern>,
    }
    /// The result that an exchange would have.
    ExplanationShape as Explanation for Explanation {
        /// Whether the exchange would return a token.
        granted: bool,
        audience: Vec<Identifier>,
        /// Permissions that pass every rule.
        scope: PermissionSet,
        /// Permissions that do not pass every rule.
        removed: Vec<RemovedPermission>,
        /// Permissions of the scope with the resources they apply to, as defined by access records.
        /// Absent if no access record applies.
        #[schema(nullable = false)]
        authorization_details: Option<Vec<AuthorizationDetail>>,
        /// Lifetime of the token in seconds. Null if the exchange would not return a token.
        expires_in: Option<i64>,
        /// The error code that the exchange would return. Null if it would return a token.
        error: Option<String>,
        /// Why the audiences are not accepted. Null if they are not the cause of the error.
        #[schema(pattern = "^(malformed|too_many|unknown|not_allowed|shape|claims|access)$")]
        reason: Option<String>,
    }
    /// Whether this instance can serve requests.
    ReadinessShape as Readiness for Readiness {
        ready: bool,
        database: bool,
        signing_key: bool,
        /// Conditions that require the attention of an operator, whether or not the instance is
        /// ready. Absent if there are none.
        #[schema(nullable = false)]
        notes: Option<Vec<String>>,
    }
    /// An error in one part of the request.
    FaultShape as Fault for InputFault {
        /// The body member, parameter or header that is wrong.
        field: String,
        /// What is wrong, and how to correct it.
        message: String,
    }
    /// The result of a rotation.
    RotatedShape as Rotated for Rotated {
        activated: Listed,
        /// Null in a dry run, which does not create the next key.
        next: Option<Listed>,
        retired: Vec<Listed>,
    }
    /// The signing keys and their planned transitions.
    TimelineShape as SigningKeys for Timeline {
        data: Vec<Listed>,
        next: Option<String>,
        /// The next step of each key, earliest first.
        plan: Vec<Upcoming>,
        /// The running replicas.
        replicas: Vec<ReplicaView>,
        /// The rotation rules in effect. If replicas differ, the stricter setting applies.
        rules: EffectiveRulesView,
    }
    /// A planned step of a rotation.
    UpcomingShape as RotationStep for Upcoming {
        #[schema(pattern = "^(publish|see|activate|retire|destroy_private_half|remove)$")]
        step: String,
        /// Null for a key that does not exist yet.
        kid: Option<SigningKeyId>,
        algorithm: Option<Algorithm>,
        at: Timestamp,
        waits_for: WaitReason,
    }
    /// A replica, as it last reported itself.
    ReplicaShape as Replica for ReplicaView {
        id: String,
        name: String,
        started_at: Timestamp,
        seen_at: Timestamp,
        /// The key ids in the JWKS of the replica.
        published: Vec<String>,
    }
    /// The settings that govern rotation.
    RulesShape as RotationRules for EffectiveRulesView {
        rotation_period: Option<Span>,
        verifier_cache_ttl: Span,
        replica_staleness: Span,
        verifier_leeway: Span,
        clock_skew: Span,
        max_ttl: Span,
        /// The time from which waiting periods count: when a jump of the database clock was
        /// detected, or when a rolled back database was accepted. Null if neither has happened.
        steady_since: Option<Timestamp>,
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
schema_of!(Listed, ListedShape);
const _: fn(Listed) = |Listed { info, may_sign_from: _, may_be_removed_from: _, live_tokens: _ }| {
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
    revoked: Listed,
    /// The key that signs instead. Null if the revoked key was not signing.
    activated: Option<Listed>,
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
    /// Whether an API key or token is active, and what it authorizes at the caller (RFC 7662 §2.2).
    /// An inactive response has no member besides `active`.
    IntrospectionShape as Introspection for IntrospectionResponse {
        active: bool,
        /// `Bearer` for a token, `api_key` for an API key.
        #[schema(value_type = Option<String>, pattern = "^(Bearer|api_key)$", nullable = false)]
        token_type: Option<PresentedTokenType>,
        /// Permissions in effect now, separated by spaces. Absent if there are none.
        #[schema(nullable = false)]
        scope: Option<String>,
        #[schema(nullable = false)]
        client_id: Option<String>,
        #[schema(nullable = false)]
        sub: Option<String>,
        #[schema(nullable = false)]
        sub_type: Option<String>,
        /// One audience or a list of audiences.
        #[schema(value_type = Option<AudienceClaimSchema>, nullable = false)]
        aud: Option<AudienceClaim>,
        #[schema(nullable = false)]
        iss: Option<String>,
        /// Expiry in seconds since 1970-01-01 UTC. Absent for an API key that does not expire.
        #[schema(nullable = false)]
        exp: Option<i64>,
        /// When the token was issued or the API key created, in seconds since 1970-01-01 UTC.
        #[schema(nullable = false)]
        iat: Option<i64>,
        #[schema(nullable = false)]
        jti: Option<String>,
        #[schema(nullable = false)]
        key_id: Option<KeyId>,
        #[schema(nullable = false)]
        org_id: Option<OrganizationId>,
        #[schema(value_type = Option<Vec<AuthorizationDetail>>, nullable = false)]
        authorization_details: Vec<AuthorizationDetail>,
    }
}

/// The audience of a token: one identifier or a list.
#[derive(ToSchema)]
#[schema(as = AudienceClaim)]
#[serde(untagged)]
#[expect(dead_code, reason = "read by utoipa alone")]
enum AudienceClaimSchema {
    One(Identifier),
    More(Vec<Identifier>),
}

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
