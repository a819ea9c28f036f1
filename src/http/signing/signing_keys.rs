//! `/v1/signing-keys`.

use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    domain::{
        access::policy::{ImportSigningKeys, ManageSigningKeys},
        common::{derived_id::SigningKeyId, json::deserialize_present},
    },
    http::{
        extract::{Caller, Json, OptionalJson, Path, deserialize_secret},
        problem::Problem,
        response::Unversioned,
    },
    service::signing::{
        self, Revocation, RotationResult,
        rotation_state::{SigningKeyItem, Timeline},
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

/// Parameters of a rotation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RotationRequest)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    /// Whether to return the planned rotation without performing it.
    #[serde(default)]
    dry_run: bool,
    /// The key to activate, as named by a dry run. If another key is next, the rotation is refused.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    activate: Option<SigningKeyId>,
}

/// Lists all current and former signing keys, their planned transitions and the running replicas.
#[utoipa::path(get, path = "")]
pub async fn list(caller: Caller<ManageSigningKeys>) -> Result<Unversioned<Timeline>, Problem> {
    Ok(Unversioned(signing::timeline(&caller.services).await?))
}

/// Publishes an imported private key as the next signing key of the configured algorithm.
///
/// Only the administrator may introduce a key, because it can sign any token.
#[utoipa::path(post, path = "")]
pub async fn import(
    caller: Caller<ImportSigningKeys>,
    Json(body): Json<ImportBody>,
) -> Result<Unversioned<SigningKeyItem>, Problem> {
    Ok(Unversioned(signing::import(&caller.services, &caller, &body.key).await?))
}

/// Activates the next signing key.
///
/// The old key stays published, and a new next key is published.
#[utoipa::path(post, path = "")]
pub async fn rotate(
    caller: Caller<ManageSigningKeys>,
    OptionalJson(body): OptionalJson<RotateBody>,
) -> Result<Unversioned<RotationResult>, Problem> {
    Ok(Unversioned(if body.dry_run {
        signing::preview_rotation(&caller.services).await?.0?
    } else {
        signing::rotate(&caller.services, &caller, body.activate).await?
    }))
}

/// Revokes a signing key in an emergency.
///
/// The response states what verifiers may still accept, and until when.
#[utoipa::path(post, path = "")]
pub async fn revoke(
    caller: Caller<ManageSigningKeys>,
    Path(kid): Path<SigningKeyId>,
) -> Result<Unversioned<Revocation>, Problem> {
    Ok(Unversioned(signing::revoke(&caller.services, &caller, kid).await?))
}
