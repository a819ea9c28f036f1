//! `/v1/audiences`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
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
            time::{Span, Timestamp},
        },
        signing::Algorithm,
    },
    http::{
        extract::{
            access::Caller,
            json::{Body, Json, deserialize_nullable},
            query::{Query, id, parse_if_match},
        },
        openapi::{
            answers::{Deleted, Listing, Made, Object},
            params::{IfMatch, InPath, Once, Paging},
        },
        problem::Problem,
        response::{created_response, object, plain},
    },
    service::{
        Services,
        access::{
            audience_changes::{AudiencePatch, NewAudience},
            audiences::{self, Shown},
        },
        common::idempotency::CreateOutcome,
    },
};

/// An audience: a service that accepts tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Audience)]
struct AudienceBody {
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
    built_in: Option<BuiltIn>,
    created_at: Timestamp,
    version: i64,
}

impl From<Shown> for AudienceBody {
    fn from(Shown { audience, signs_with }: Shown) -> Self {
        Self {
            id: audience.id,
            identifier: audience.identifier,
            permissions: match audience.accepts {
                AcceptedPermissions::Product | AcceptedPermissions::Management => None,
                AcceptedPermissions::Listed(permissions) => Some(permissions),
            },
            token_ttl: audience.token_ttl,
            algorithm: audience.token_profile.algorithm,
            signs_with,
            typ: audience.token_profile.typ,
            scope_claim: audience.token_profile.scope_claim,
            aud_claim: audience.token_profile.aud_claim,
            claims: audience.token_profile.claims,
            status: audience.token_profile.status,
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
    #[serde(default)]
    pub(crate) permissions: Option<PermissionSet>,
    #[serde(default)]
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
}

/// Creates an audience, a service that accepts tokens.
#[utoipa::path(post, path = "", params(Once), responses(Made<AudienceBody>))]
pub async fn create(
    caller: Caller<ManageAudiences>,
    request: HttpRequest,
    body: Json<CreateBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let Body { value: body, once } = body.read().await?;
    Query::of(&request, &[])?;
    let shape = TokenProfilePatch {
        algorithm: body.algorithm,
        typ: body.typ,
        scope_claim: body.scope_claim,
        aud_claim: body.aud_claim,
        claims: body.claims,
        status: body.status,
    };
    let new =
        NewAudience { identifier: body.identifier, permissions: body.permissions, token_ttl: body.token_ttl, shape };
    let (audience, replayed) = match audiences::create(&services, &caller.identity, new, once).await? {
        CreateOutcome::New(audience) => (audience, false),
        CreateOutcome::Existing(audience) => (audience, true),
    };
    let location = format!("{}/v1/audiences/{}", services.issuer(), audience.audience.id);
    Ok(created_response(audience.audience.version, location, replayed, &AudienceBody::from(audience)))
}

/// Lists the audiences, newest first.
#[utoipa::path(get, path = "", params(Paging), responses(Listing<AudienceBody>))]
pub async fn list(
    _: Caller<ManageAudiences>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&audiences::list(&services, query.page()?).await?.map(AudienceBody::from)))
}

/// Retrieves an audience.
#[utoipa::path(get, path = "", params(InPath<AudienceId>), responses(Object<AudienceBody>))]
pub async fn get(
    _: Caller<ManageAudiences>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let audience = audiences::get(&services, id(&request, "id")?).await?;
    Ok(object(audience.audience.version, &AudienceBody::from(audience)))
}

/// Updates an audience.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "", params(InPath<AudienceId>, IfMatch), responses(Object<AudienceBody>))]
pub async fn patch(
    caller: Caller<ManageAudiences>,
    request: HttpRequest,
    body: Json<PatchBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let shape = TokenProfilePatch {
        algorithm: body.algorithm,
        typ: body.typ,
        scope_claim: body.scope_claim,
        aud_claim: body.aud_claim,
        claims: body.claims,
        status: body.status,
    };
    let patch = AudiencePatch { permissions: body.permissions, token_ttl: body.token_ttl, shape };
    let (id, if_version) = (id(&request, "id")?, parse_if_match(&request)?);
    let audience = audiences::patch(&services, &caller.identity, id, patch, if_version).await?;
    Ok(object(audience.audience.version, &AudienceBody::from(audience)))
}

/// Deletes an audience.
///
/// No more tokens are issued for it.
#[utoipa::path(delete, path = "", params(InPath<AudienceId>, IfMatch), responses(Deleted))]
pub async fn delete(
    caller: Caller<ManageAudiences>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    audiences::delete(&services, &caller.identity, id(&request, "id")?, parse_if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
