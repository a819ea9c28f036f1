//! What the rooms within write as JSON themselves, told once more for the document. A member that is missing here, or is there no
//! longer, does not compile.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    crypto::jwk::PublicJwk,
    domain::{
        access::{Detail, DetailType},
        audience::Identifier,
        claims::AudienceClaim,
        event::{ActorRef, Event},
        grant::{Removed, RemovedBy},
        id::{EventId, KeyId, OrganizationId, SigningKeyId},
        introspection::{Introspection, TokenType},
        json::Metadata,
        name::DisplayName,
        permission::{AssignableTo, Permission, PermissionName, PermissionSet},
        resource::ResourcePattern,
        role::{Role, RoleName},
        rotation::{Bounds, Wait},
        signing::{Algorithm, SigningKeyInfo, SigningKeyState},
        time::{Span, Timestamp},
    },
    service::{
        Fault,
        exchange::Explanation,
        health::Readiness,
        signing_keys::{Listed, ReplicaTold, Revoked, Rotated, RulesTold, Timeline, Upcoming},
    },
};

use super::{answers::Kept, signature::Schemas, words::schema};

/// A type of another room takes its schema from a mirror of it that is a struct of this room.
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

/// Only names and `Option`s of them: the attributes and comments of a member are utoipa's.
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
    /// Who did a thing, or what it was done to.
    ActorShape as Actor for ActorRef {
        #[serde(rename = "type")]
        kind: String,
        id: Option<String>,
    }
    /// A permission in the catalog.
    PermissionShape as Permission for Permission {
        name: PermissionName,
        description: Option<DisplayName>,
        assignable_to: Vec<AssignableTo>,
        /// It governs Keyswap itself, and cannot be changed or removed.
        built_in: bool,
        created_at: Timestamp,
        version: i64,
    }
    /// A role: permissions under a name.
    RoleShape as Role for Role {
        name: RoleName,
        description: Option<DisplayName>,
        permissions: PermissionSet,
        created_at: Timestamp,
        version: i64,
    }
    /// A line of the audit trail.
    EventShape as Event for Event {
        id: EventId,
        /// The place in the trail: the order of commit, without gaps.
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
        /// Ids, numbers and states; never secrets, never profile fields.
        #[schema(value_type = Metadata)]
        data: Map<String, Value>,
        /// SHA-256 in hex of the event before this one; 64 zeros on the first.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        prev_hash: String,
    }
    /// A permission that is not granted, and the first rule that removed it.
    RemovedShape as Removed for Removed {
        permission: PermissionName,
        by: RemovedBy,
    }
    /// What a token may do, and over which resources (RFC 9396 §2).
    DetailShape as AuthorizationDetail for Detail {
        #[serde(rename = "type")]
        kind: DetailType,
        actions: PermissionSet,
        locations: Vec<ResourcePattern>,
    }
    /// What an exchange would do.
    ExplanationShape as Explanation for Explanation {
        /// Whether the exchange would give a token.
        granted: bool,
        audience: Vec<Identifier>,
        /// The permissions that pass every rule.
        scope: PermissionSet,
        /// Those that do not.
        removed: Vec<Removed>,
        /// What of the scope applies to which resources, where access records say so.
        #[schema(nullable = false)]
        authorization_details: Option<Vec<Detail>>,
        /// Seconds; null when there would be no token.
        expires_in: Option<i64>,
        /// What the exchange would answer instead.
        error: Option<String>,
        /// What is wrong with the audiences, where they are why.
        #[schema(pattern = "^(malformed|too_many|unknown|not_allowed|shape|claims|access)$")]
        reason: Option<String>,
    }
    /// Whether requests may be sent here.
    ReadinessShape as Readiness for Readiness {
        ready: bool,
        database: bool,
        signing_key: bool,
        /// What an operator has to see to, whether requests may be sent here or not.
        #[schema(nullable = false)]
        notes: Option<Vec<String>>,
    }
    /// One thing that is wrong with what was sent.
    FaultShape as Fault for Fault {
        /// Where: a member of the body, a parameter or a header.
        field: String,
        /// What, and what to do about it.
        message: String,
    }
    /// What a rotation did.
    RotatedShape as Rotated for Rotated {
        activated: Listed,
        /// Null where it was only planned: it is not made yet.
        next: Option<Listed>,
        retired: Vec<Listed>,
    }
    /// The signing keys and what will happen to them.
    TimelineShape as SigningKeys for Timeline {
        data: Vec<Listed>,
        next: Option<String>,
        /// The next step of each key, soonest first.
        plan: Vec<Upcoming>,
        /// Who is up.
        replicas: Vec<ReplicaTold>,
        /// The rules that hold: where replicas differ, the stricter ones.
        rules: RulesTold,
    }
    /// A step to come.
    UpcomingShape as RotationStep for Upcoming {
        #[schema(pattern = "^(publish|see|activate|retire|destroy_private_half|remove)$")]
        step: String,
        /// Null for a key that is not made yet.
        kid: Option<SigningKeyId>,
        algorithm: Option<Algorithm>,
        at: Timestamp,
        waits_for: Wait,
    }
    /// A server as it told of itself.
    ReplicaShape as Replica for ReplicaTold {
        id: String,
        name: String,
        started_at: Timestamp,
        seen_at: Timestamp,
        /// The kids in its JWKS.
        published: Vec<String>,
    }
    /// The settings that hold for the rotation.
    RulesShape as RotationRules for RulesTold {
        rotation_period: Option<Span>,
        verifier_cache_ttl: Span,
        replica_staleness: Span,
        verifier_leeway: Span,
        clock_skew: Span,
        max_ttl: Span,
        /// Since when the database's clock has gone at its pace; null: it never jumped.
        steady_since: Option<Timestamp>,
    }
}

/// A signing key, with the times that matter to whoever rotates.
#[derive(ToSchema)]
#[schema(as = SigningKey)]
#[expect(dead_code, reason = "read by utoipa alone")]
struct ListedShape {
    kid: SigningKeyId,
    algorithm: Algorithm,
    state: SigningKeyState,
    published_at: Timestamp,
    /// When another transaction saw it published: its time counts from here.
    seen_at: Option<Timestamp>,
    activated_at: Option<Timestamp>,
    retired_at: Option<Timestamp>,
    removed_at: Option<Timestamp>,
    /// When the private half was destroyed.
    destroyed_at: Option<Timestamp>,
    /// The longest life of any token it may have signed.
    longest_ttl: Span,
    version: i64,
    /// From when it may sign, or could have.
    may_sign_from: Timestamp,
    /// From when it may leave the JWKS; null while it signs.
    may_be_removed_from: Option<Timestamp>,
    /// How many of its tokens are not over yet, as far as replicas have told: they tell every ten seconds.
    live_tokens: i64,
}
schema_of!(Listed, ListedShape);
const _: fn(Listed) = |Listed { info, may_sign_from: _, may_be_removed_from: _, live_tokens: _ }| {
    let SigningKeyInfo {
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

/// What was done in an emergency, and what follows from it, at worst.
#[derive(ToSchema)]
#[schema(as = RevokedSigningKey)]
#[expect(dead_code, reason = "read by utoipa alone")]
struct RevokedShape {
    revoked: Listed,
    /// What signs in its place; null when it did not sign.
    activated: Option<Listed>,
    /// From when no replica serves the key in its JWKS, or signs by it.
    unpublished_by: Timestamp,
    /// Until when a verifier may accept a token by the revoked key, forged ones among them.
    accepted_until: Timestamp,
    /// Until when the last token that Keyswap itself signed by it is out of its life.
    last_token_ends: Timestamp,
    /// Until when a verifier may refuse tokens by the key that signs now, if it does not fetch the JWKS anew for a kid it does not know.
    successor_known_by: Timestamp,
}
schema_of!(Revoked, RevokedShape);
const _: fn(Revoked) = |Revoked { revoked: _, activated: _, bounds }| {
    let Bounds { unpublished_by: _, accepted_until: _, last_token_ends: _, successor_known_by: _ } = bounds;
};

/// What `POST /oauth/token` takes; other parameters are passed over (RFC 6749 §3.2).
#[derive(Debug, ToSchema)]
#[schema(as = TokenRequest)]
#[expect(dead_code, reason = "read by utoipa alone")]
pub struct TokenRequest {
    /// `client_credentials`, `urn:ietf:params:oauth:grant-type:token-exchange` or `urn:ibm:params:oauth:grant-type:apikey`.
    #[schema(example = "client_credentials")]
    grant_type: String,
    /// Of `client_credentials`, where the header has no credentials: the id of the key or its service client, or `<prefix>_<id>`.
    client_id: Option<String>,
    /// With it: the whole API key.
    client_secret: Option<String>,
    /// Of a token exchange: the whole API key.
    subject_token: Option<String>,
    /// `urn:keyswap:params:oauth:token-type:api-key`.
    subject_token_type: Option<String>,
    /// The kind of token to get.
    requested_token_type: Option<String>,
    /// Of IBM's grant: the whole API key.
    apikey: Option<String>,
    /// Permissions with one space between them; all of the key's without it.
    scope: Option<String>,
    /// For which services; the default audience without it.
    audience: Option<Vec<Identifier>>,
    /// The same, by absolute URIs.
    resource: Option<Vec<Identifier>>,
}

/// What `POST /oauth/introspect` and `POST /oauth/revoke` take; other parameters are passed over.
#[derive(Debug, ToSchema)]
#[schema(as = PresentedToken)]
#[expect(dead_code, reason = "read by utoipa alone")]
pub struct PresentedToken {
    /// An API key or a token.
    #[schema(pattern = "^[!-~]+$")]
    token: String,
    /// Passed over: what it is can be seen.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
    /// Where the header has no credentials: the id of the key or its service client, or `<prefix>_<id>`.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// With it: the whole API key.
    #[schema(nullable = false)]
    client_secret: Option<String>,
}

mirrors! {
    /// Whether a key or a token is in force, and what it is worth to the one who asks (RFC 7662 §2.2). What is not active has no other
    /// member.
    IntrospectionShape as Introspection for Introspection {
        active: bool,
        /// `Bearer` for a token, `api_key` for a key.
        #[schema(value_type = Option<String>, pattern = "^(Bearer|api_key)$", nullable = false)]
        token_type: Option<TokenType>,
        /// What is in effect now; absent when there is nothing.
        #[schema(nullable = false)]
        scope: Option<String>,
        #[schema(nullable = false)]
        client_id: Option<String>,
        #[schema(nullable = false)]
        sub: Option<String>,
        #[schema(nullable = false)]
        sub_type: Option<String>,
        /// One, or a list of them.
        #[schema(value_type = Option<OneOrMore>, nullable = false)]
        aud: Option<AudienceClaim>,
        #[schema(nullable = false)]
        iss: Option<String>,
        /// Seconds since 1970; absent for a key without an end.
        #[schema(nullable = false)]
        exp: Option<i64>,
        /// When it was made.
        #[schema(nullable = false)]
        iat: Option<i64>,
        #[schema(nullable = false)]
        jti: Option<String>,
        #[schema(nullable = false)]
        key_id: Option<KeyId>,
        #[schema(nullable = false)]
        org_id: Option<OrganizationId>,
        #[schema(value_type = Option<Vec<Detail>>, nullable = false)]
        authorization_details: Vec<Detail>,
    }
}

/// The audience of a token.
#[derive(ToSchema)]
#[schema(as = AudienceClaim)]
#[serde(untagged)]
#[expect(dead_code, reason = "read by utoipa alone")]
enum OneOrMore {
    One(Identifier),
    More(Vec<Identifier>),
}

/// What `POST /v1/import` takes.
#[derive(Debug)]
pub struct ImportLines;

impl PartialSchema for ImportLines {
    fn schema() -> RefOr<Schema> {
        schema(json!({
            "type": "string",
            "contentMediaType": "application/x-ndjson",
            "pattern": r"^(\{[^\r\n]*\}\r?\n)*$",
            "description": "A JSON object on each line, at most 64 KiB long: `type` is `organization`, with `id` and the members of \
                OrganizationPut; `user`, with `id` and those of UserPut; or `member`, with `organization_id`, `user_id` and those of \
                MemberPut. A line may refer to what a line before it brought.",
            "examples": ["{\"type\":\"organization\",\"id\":\"acme\"}\n{\"type\":\"user\",\"id\":\"auth0|alice\"}\n"],
        }))
    }
}

impl ToSchema for ImportLines {
    fn name() -> Cow<'static, str> {
        "ImportLines".into()
    }
}

/// The public keys that verify tokens.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "read by utoipa alone")]
pub struct Jwks {
    keys: Vec<PublicJwk>,
}

impl Kept for Jwks {
    const CONTENT_TYPE: &'static str = "application/jwk-set+json";
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

/// A signed status list.
#[derive(Debug)]
pub struct StatusListToken;

impl PartialSchema for StatusListToken {
    fn schema() -> RefOr<Schema> {
        schema(json!({
            "type": "string",
            "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$",
            "description": "A JWT with `typ: statuslist+jwt`, signed by a key of the JWKS: `sub` is the URL of the list, `ttl` the seconds \
                for which it may be used, `status_list` has `bits` (2) and `lst` (zlib, in base64url).",
            "examples": ["eyJ0eXAiOiJzdGF0dXNsaXN0K2p3dCJ9.eyJ0dGwiOjYwfQ.c2lnbmF0dXJl"],
        }))
    }
}

impl ToSchema for StatusListToken {
    fn name() -> Cow<'static, str> {
        "StatusListToken".into()
    }
}

impl Kept for StatusListToken {
    const CONTENT_TYPE: &'static str = "application/statuslist+jwt";
}

/// What clients and verifiers need to know of this issuer (RFC 8414 §2).
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "read by utoipa alone")]
pub struct ServerMetadata {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    grant_types_supported: Vec<String>,
    response_types_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Vec<String>,
    subject_types_supported: Vec<String>,
    id_token_signing_alg_values_supported: Vec<Algorithm>,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: Vec<String>,
    introspection_signing_alg_values_supported: Vec<Algorithm>,
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: Vec<String>,
}

impl Kept for ServerMetadata {
    const CONTENT_TYPE: &'static str = "application/json";
}
