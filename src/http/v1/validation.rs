//! `POST /v1/api-keys/validate`.

use std::fmt;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Serialize};
use utoipa::{
    ToSchema,
    openapi::schema::{Object, ObjectBuilder, SchemaType, Type},
};
use zeroize::Zeroizing;

use crate::{
    domain::{
        api_key::OwnerType,
        audience::Identifier,
        id::{OrganizationId, UserId},
        json::Metadata,
        name::DisplayName,
        permission::PermissionSet,
        policy::Validate,
        validation::{OrganizationBehind, Question, UserBehind},
    },
    http::{access::Caller, openapi::answers::Plain, problem::Problem},
    service::{App, validation},
};

use super::{api_keys::KeyBody, json::Json, params::Query, plain};

/// What a service was shown, and what it needs to know of it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ValidationRequest)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// An API key or a token of ours, bare or with `Bearer` before it.
    #[schema(value_type = String)]
    value: Presented,
    /// What the request at hand takes: the answer names those that are missing.
    #[serde(default)]
    required_permissions: Option<PermissionSet>,
    /// Keys of other owners are not accepted.
    #[serde(default)]
    owner_type: Option<OwnerType>,
    /// The service that asks: a token must be for it, and a key allowed for it. Without it, tokens for any audience are accepted but for
    /// Keyswap's own.
    #[serde(default)]
    audience: Option<Identifier>,
}

/// What somebody showed as a key. It may be one.
#[derive(Deserialize)]
#[serde(from = "String")]
struct Presented(Zeroizing<String>);

impl From<String> for Presented {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(…)")
    }
}

/// A key or token that is accepted, or none.
#[derive(Serialize, ToSchema)]
#[schema(as = Validation)]
#[serde(untagged)]
pub enum Answer {
    Accepted(Box<Accepted>),
    Refused(Refused),
}

/// A key that is in force, and those behind it.
#[derive(Serialize, ToSchema)]
#[schema(as = AcceptedApiKey)]
pub struct Accepted {
    /// Its `permissions` are those assigned to it.
    api_key: KeyBody,
    /// The user who holds it, or whose service client does.
    user: Option<UserBody>,
    /// The organization that holds it, or within which its user does.
    organization: Option<OrganizationBody>,
    /// Those of the required permissions that are not in effect now: taken from the key, its owner or the audience, or not in the token.
    missing_permissions: PermissionSet,
}

/// Not accepted: malformed, unknown, wrong, suspended, expired, revoked, of a blocked owner, or not for this service.
#[derive(Serialize, ToSchema)]
#[schema(as = RefusedApiKey)]
pub struct Refused {
    #[schema(schema_with = null)]
    api_key: (),
}

fn null() -> Object {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::Null)).build()
}

/// A user, as the product wrote them down.
#[derive(Serialize, ToSchema)]
#[schema(as = UserOfApiKey)]
struct UserBody {
    id: UserId,
    blocked: bool,
    profile: Metadata,
    metadata: Metadata,
}

/// An organization, as the product wrote it down.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationOfApiKey)]
struct OrganizationBody {
    id: OrganizationId,
    name: Option<DisplayName>,
    metadata: Metadata,
}

impl From<UserBehind> for UserBody {
    fn from(user: UserBehind) -> Self {
        Self { id: user.id, blocked: user.blocked, profile: user.profile, metadata: user.metadata }
    }
}

impl From<OrganizationBehind> for OrganizationBody {
    fn from(organization: OrganizationBehind) -> Self {
        Self { id: organization.id, name: organization.name, metadata: organization.metadata }
    }
}

/// Says whether a key or a token is in force, and whose it is. An answer is never to be kept: the next one may be another.
#[utoipa::path(post, path = "", responses(Plain<Answer>))]
pub async fn validate(
    _: Caller<Validate>,
    request: HttpRequest,
    body: Json<Body>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    Query::of(&request, &[])?;
    let question = Question {
        required: body.required_permissions.unwrap_or_default(),
        owner_type: body.owner_type,
        audience: body.audience,
    };
    let found = validation::validate(&app, &body.value.0, &question).await?;
    Ok(plain(&found.map_or(Answer::Refused(Refused { api_key: () }), |validated| {
        Answer::Accepted(Box::new(Accepted {
            api_key: KeyBody::new(validated.shown, None),
            user: validated.behind.user.map(UserBody::from),
            organization: validated.behind.organization.map(OrganizationBody::from),
            missing_permissions: validated.missing,
        }))
    })))
}
