//! `/v1/signing-keys`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    domain::{access::policy::ManageSigningKeys, common::derived_id::SigningKeyId},
    http::{
        extract::{
            access::Caller,
            json::{Json, OptionalJson},
            query::{Query, id},
        },
        openapi::{answers::Plain, params::InPath},
        problem::Problem,
        response::plain,
    },
    service::{
        Services,
        signing::{
            self, Revocation, Rotated,
            loaded::{Listed, Timeline},
        },
    },
};

/// A signing key that was generated elsewhere.
#[derive(Deserialize, ToSchema)]
#[schema(as = SigningKeyImport)]
#[serde(deny_unknown_fields)]
pub struct ImportBody {
    /// The private key: PEM (PKCS#8, PKCS#1 or SEC 1), or a private JWK as text.
    #[serde(deserialize_with = "deserialize_secret")]
    #[schema(value_type = String, max_length = 16384)]
    key: Zeroizing<String>,
}

fn deserialize_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// Parameters of a rotation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RotationRequest)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    /// Whether to return the planned rotation without performing it.
    #[serde(default)]
    dry_run: bool,
    /// The key to activate, as named by a dry run. If another key is next, the rotation is refused.
    #[serde(default)]
    activate: Option<SigningKeyId>,
}

/// Lists all current and former signing keys, their planned transitions and the running replicas.
#[utoipa::path(get, path = "", responses(Plain<Timeline>))]
pub async fn list(
    _: Caller<ManageSigningKeys>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    Ok(plain(&signing::timeline(&services).await?))
}

/// Publishes an imported private key as the next signing key of the configured algorithm.
#[utoipa::path(post, path = "", responses(Plain<Listed>))]
pub async fn import(
    caller: Caller<ManageSigningKeys>,
    request: HttpRequest,
    body: Json<ImportBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    Query::of(&request, &[])?;
    Ok(plain(&signing::import(&services, &caller.identity, &body.key).await?))
}

/// Activates the next signing key.
///
/// The old key stays published, and a new next key is published.
#[utoipa::path(post, path = "", responses(Plain<Rotated>))]
pub async fn rotate(
    caller: Caller<ManageSigningKeys>,
    request: HttpRequest,
    body: OptionalJson<RotateBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?;
    Query::of(&request, &[])?;
    if body.dry_run {
        return Ok(plain(&signing::preview_rotation(&services).await?.0?));
    }
    Ok(plain(&signing::rotate(&services, &caller.identity, body.activate).await?))
}

/// Revokes a signing key in an emergency.
///
/// The response states what verifiers may still accept, and until when.
#[utoipa::path(post, path = "", params(InPath<SigningKeyId>), responses(Plain<Revocation>))]
pub async fn revoke(
    caller: Caller<ManageSigningKeys>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    let kid: SigningKeyId = id(&request, "kid")?;
    Ok(plain(&signing::revoke(&services, &caller.identity, kid).await?))
}
