//! `/v1/audiences`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            audience::{AcceptedPermissions, BuiltIn, Identifier},
            claim_map::{ClaimMapping, UnvalidatedClaimMapping},
            permission::PermissionSet,
            policy::ManageAudiences,
            token_profile::{AudienceClaimFormat, ScopeClaimFormat, StatusSubject, TokenProfilePatch, TokenTypeHeader},
        },
        common::{
            id::AudienceId,
            json::{deserialize_nullable, deserialize_present},
            preconditions::Preconditions,
            time::{Span, Timestamp},
        },
        signing::Algorithm,
    },
    http::{
        extract::{Caller, Idempotent, Json, Paging, Path, Query},
        problem::Problem,
        response::{Created, Deleted, Listing, Object, impl_resource},
    },
    service::access::{
        audience_changes::{AudiencePatch, NewAudience},
        audiences::{self, AudienceView},
    },
};

/// An audience: a service that accepts tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Audience)]
pub struct AudienceBody {
    id: AudienceId,
    identifier: Identifier,
    /// Permissions that the audience accepts. Null for every permission of the product, or, in the
    /// management audience, for every management permission.
    permissions: Option<PermissionSet>,
    token_ttl: Option<Span>,
    /// Null for the algorithm of the deployment.
    algorithm: Option<Algorithm>,
    /// The algorithm with which its tokens are signed now. It differs from `algorithm` until a key
    /// of that algorithm may sign. Null if no key can sign.
    signs_with: Option<Algorithm>,
    typ: TokenTypeHeader,
    scope_claim: ScopeClaimFormat,
    aud_claim: AudienceClaimFormat,
    claims: ClaimMapping,
    /// The status to which its tokens refer: `credential`, shared by all tokens of a credential, or
    /// `token`, one for each token.
    status: StatusSubject,
    /// Whether its tokens have `authorization_details` instead of a scope.
    record_bound: bool,
    built_in: Option<BuiltIn>,
    created_at: Timestamp,
    version: i64,
}

impl_resource!(AudienceBody, "/v1/audiences/{}", id);

impl From<AudienceView> for AudienceBody {
    fn from(AudienceView { audience, signs_with }: AudienceView) -> Self {
        Self {
            id: audience.id,
            identifier: audience.identifier,
            permissions: match audience.accepts {
                AcceptedPermissions::Product | AcceptedPermissions::Management => None,
                AcceptedPermissions::Only(permissions) => Some(permissions),
            },
            token_ttl: audience.token_ttl,
            algorithm: audience.token_profile.algorithm,
            signs_with,
            typ: audience.token_profile.typ,
            scope_claim: audience.token_profile.scope_claim,
            aud_claim: audience.token_profile.aud_claim,
            claims: audience.token_profile.claims,
            status: audience.token_profile.status,
            record_bound: audience.record_bound,
            built_in: audience.built_in,
            created_at: audience.created_at,
            version: audience.version,
        }
    }
}

/// An audience to create.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewAudience)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    identifier: Identifier,
    pub(crate) permissions: Option<PermissionSet>,
    token_ttl: Option<Span>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    #[schema(value_type = Option<Algorithm>)]
    algorithm: Option<Option<String>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    #[schema(value_type = Option<TokenTypeHeader>)]
    typ: Option<Option<String>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    #[schema(value_type = Option<ScopeClaimFormat>)]
    scope_claim: Option<Option<String>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    #[schema(value_type = Option<AudienceClaimFormat>)]
    aud_claim: Option<Option<String>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    claims: Option<Option<UnvalidatedClaimMapping>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    #[schema(value_type = Option<StatusSubject>)]
    status: Option<Option<String>>,
    #[serde(default)]
    record_bound: bool,
}

/// Changes to an audience.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AudiencePatch)]
#[serde(deny_unknown_fields)]
pub struct PatchBody {
    #[serde(default, deserialize_with = "deserialize_nullable")]
    pub(crate) permissions: Option<Option<PermissionSet>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    token_ttl: Option<Option<Span>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    #[schema(value_type = Option<Algorithm>)]
    algorithm: Option<Option<String>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    #[schema(value_type = Option<TokenTypeHeader>)]
    typ: Option<Option<String>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    #[schema(value_type = Option<ScopeClaimFormat>)]
    scope_claim: Option<Option<String>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    #[schema(value_type = Option<AudienceClaimFormat>)]
    aud_claim: Option<Option<String>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    claims: Option<Option<UnvalidatedClaimMapping>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    #[schema(value_type = Option<StatusSubject>)]
    status: Option<Option<String>>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    record_bound: Option<bool>,
}

/// Creates an audience, a service that accepts tokens.
#[utoipa::path(post, path = "")]
pub async fn create(
    caller: Caller<ManageAudiences>,
    Idempotent { body: Json(body), idempotency }: Idempotent<Json<CreateBody>>,
) -> Result<Created<AudienceBody>, Problem> {
    let token_profile = TokenProfilePatch {
        algorithm: body.algorithm,
        typ: body.typ,
        scope_claim: body.scope_claim,
        aud_claim: body.aud_claim,
        claims: body.claims,
        status: body.status,
    };
    let new = NewAudience {
        identifier: body.identifier,
        permissions: body.permissions,
        token_ttl: body.token_ttl,
        token_profile,
        record_bound: body.record_bound,
    };
    Ok(audiences::create(&caller.services, &caller, new, idempotency).await?.into())
}

/// Lists the audiences, newest first.
#[utoipa::path(get, path = "")]
pub async fn list(
    caller: Caller<ManageAudiences>,
    Query(page): Query<Paging>,
) -> Result<Listing<AudienceBody>, Problem> {
    Ok(audiences::list(&caller.services, page.into()).await?.into())
}

/// Retrieves an audience.
#[utoipa::path(get, path = "")]
pub async fn get(caller: Caller<ManageAudiences>, Path(id): Path<AudienceId>) -> Result<Object<AudienceBody>, Problem> {
    Ok(Object(audiences::get(&caller.services, id).await?.into()))
}

/// Updates an audience.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "")]
pub async fn patch(
    caller: Caller<ManageAudiences>,
    Json(body): Json<PatchBody>,
    Path(id): Path<AudienceId>,
    preconditions: Preconditions,
) -> Result<Object<AudienceBody>, Problem> {
    let token_profile = TokenProfilePatch {
        algorithm: body.algorithm,
        typ: body.typ,
        scope_claim: body.scope_claim,
        aud_claim: body.aud_claim,
        claims: body.claims,
        status: body.status,
    };
    let patch = AudiencePatch {
        permissions: body.permissions,
        token_ttl: body.token_ttl,
        token_profile,
        record_bound: body.record_bound,
    };
    Ok(Object(audiences::patch(&caller.services, &caller, id, patch, preconditions).await?.into()))
}

/// Deletes an audience.
///
/// No more tokens are issued for it.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageAudiences>,
    Path(id): Path<AudienceId>,
    preconditions: Preconditions,
) -> Result<Deleted, Problem> {
    audiences::delete(&caller.services, &caller, id, preconditions).await?;
    Ok(Deleted)
}
