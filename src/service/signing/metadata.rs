//! Public documents: the JWKS (RFC 7517 §5) and the metadata (RFC 8414, OpenID Connect Discovery
//! 1.0).

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    domain::{access::audience::Identifier, signing::Algorithm},
    service::{
        Error, Services,
        common::document::CachedDocument,
        encryption::database_progress::GuardState,
        signing::key_snapshot::{KeySnapshot, build_jwks},
    },
};

/// The token type of an API key as a subject token (RFC 8693 §3). There is no registered URN for
/// it.
pub const API_KEY_TOKEN_TYPE: &str = "urn:keyswap:params:oauth:token-type:api-key";
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
pub const JWT_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
pub const TOKEN_EXCHANGE_GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const IBM_API_KEY_GRANT: &str = "urn:ibm:params:oauth:grant-type:apikey";

/// Returns the JWKS to serve while an operator must decide about a rolled back database. The
/// database alone would withdraw published keys and restore revoked ones. Returns `None` if the
/// rollback guard has detected no rollback, and if its file is corrupt.
pub fn build_jwks_after_rollback(
    services: &Services,
    view: &KeySnapshot,
    requested: Option<Algorithm>,
) -> Option<CachedDocument> {
    let state = services.rollback_guard.state();
    let GuardState::RolledBack(rollback) = &*state else { return None };
    let keys = rollback.select_published(view.published.iter().map(|(_, jwk)| jwk));
    build_jwks(keys.into_iter().filter(|jwk| requested.is_none_or(|algorithm| jwk.alg == algorithm))).ok()
}

/// Metadata of the authorization server (RFC 8414 §2).
// Both well-known paths serve the same members, so that they cannot contradict each other (RFC 9068
// §4).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ServerMetadata<'a> {
    issuer: &'a str,
    token_endpoint: String,
    jwks_uri: String,
    grant_types_supported: &'static [&'static str],
    // REQUIRED. There is no authorization endpoint: `none` is a registered value and requests
    // nothing.
    response_types_supported: &'static [&'static str],
    token_endpoint_auth_methods_supported: &'static [&'static str],
    subject_types_supported: &'static [&'static str],
    // Required by OpenID Connect Discovery. Keyswap issues no ID tokens. The values are the
    // algorithms of the keys in the JWKS.
    #[schema(value_type = Vec<Algorithm>)]
    id_token_signing_alg_values_supported: BTreeSet<Algorithm>,
    introspection_endpoint: String,
    // RFC 8414 §2 permits access token types here as well.
    introspection_endpoint_auth_methods_supported: &'static [&'static str],
    // RFC 9701 §7.
    #[schema(value_type = Vec<Algorithm>)]
    introspection_signing_alg_values_supported: BTreeSet<Algorithm>,
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: &'static [&'static str],
    // draft-ietf-oauth-status-list §9.1.
    status_list_aggregation_endpoint: String,
    service_documentation: String,
}

/// Metadata of `/v1` as a protected resource (RFC 9728 §2).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ResourceMetadata {
    /// The identifier of the management audience.
    #[schema(value_type = Identifier)]
    resource: String,
    authorization_servers: [String; 1],
    bearer_methods_supported: &'static [&'static str],
    resource_name: &'static str,
    resource_documentation: String,
}

/// The URL of the metadata of `/v1`: the well-known part is between the host and the path of
/// the resource (RFC 9728 §3.1).
pub fn resource_metadata_url(issuer: &str) -> String {
    let path_begins = issuer.find("://").and_then(|scheme| issuer[scheme + 3..].find('/').map(|at| scheme + 3 + at));
    let (origin, path) = issuer.split_at(path_begins.unwrap_or(issuer.len()));
    format!("{origin}/.well-known/oauth-protected-resource{path}/v1")
}

pub fn resource_metadata(services: &Services) -> Result<CachedDocument, Error> {
    let issuer = services.issuer();
    CachedDocument::new(&ResourceMetadata {
        resource: services.settings.management_audience.to_string(),
        authorization_servers: [issuer.to_owned()],
        bearer_methods_supported: &["header"],
        resource_name: "Keyswap management API",
        resource_documentation: format!("{issuer}/docs"),
    })
}

pub fn metadata(services: &Services) -> Result<CachedDocument, Error> {
    let issuer = services.issuer();
    let view = services.keys.view();
    // Another algorithm signs until a key of the configured one may sign.
    let configured = services.settings.signing_keys.algorithm;
    let signing = view.select_signer_at_refresh(configured).map(|signer| signer.jwk().alg);
    let algorithms: BTreeSet<_> = view.published.iter().map(|(info, _)| info.algorithm).collect();
    CachedDocument::new(&ServerMetadata {
        issuer,
        token_endpoint: format!("{issuer}/oauth/token"),
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        grant_types_supported: &["client_credentials", TOKEN_EXCHANGE_GRANT, IBM_API_KEY_GRANT],
        response_types_supported: &["none"],
        // `none`: the API key is the subject token or the IBM parameter, and no other client
        // authentication takes place.
        token_endpoint_auth_methods_supported: &["client_secret_basic", "client_secret_post", "none"],
        subject_types_supported: &["public"],
        id_token_signing_alg_values_supported: algorithms,
        introspection_endpoint: format!("{issuer}/oauth/introspect"),
        introspection_endpoint_auth_methods_supported: &["client_secret_basic", "client_secret_post", "Bearer"],
        introspection_signing_alg_values_supported: signing.into_iter().chain([configured]).collect(),
        revocation_endpoint: format!("{issuer}/oauth/revoke"),
        revocation_endpoint_auth_methods_supported: &["client_secret_basic", "client_secret_post"],
        status_list_aggregation_endpoint: format!("{issuer}/v1/status-lists"),
        service_documentation: format!("{issuer}/docs"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_part_precedes_the_path() {
        for (issuer, url) in [
            ("https://keys.test", "https://keys.test/.well-known/oauth-protected-resource/v1"),
            ("https://keys.test/t1", "https://keys.test/.well-known/oauth-protected-resource/t1/v1"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/.well-known/oauth-protected-resource/v1"),
        ] {
            assert_eq!(resource_metadata_url(issuer), url);
        }
    }
}
