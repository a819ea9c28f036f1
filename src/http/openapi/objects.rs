//! Mirrors of objects that other layers serialize.

use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            access_record::{AuthorizationDetail, AuthorizationDetailType},
            audience::Identifier,
            permission::{AssignableOwnerType, Permission, PermissionName, PermissionSet},
            resource::ResourcePattern,
            role::{Role, RoleName},
        },
        common::{
            id::{EventId, KeyId, OrganizationId},
            json::Metadata,
            name::DisplayName,
            time::Timestamp,
        },
        events::{ActorRef, Event},
        exchange::{
            claims::AudienceClaim,
            introspection::{IntrospectionResponse, PresentedTokenType},
            refusal::{PermissionLimit, RemovedPermission},
        },
    },
    http::openapi::mirror::mirrors,
    service::{InputFault, exchange::Explanation, health::Readiness},
};

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
}

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
