//! `POST /oauth/token`: three grant types for the same exchange.

use std::{borrow::Cow, collections::BTreeSet};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, PRAGMA},
    web::Data,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            access_record::AuthorizationDetail,
            audience::Identifier,
            permission::{PermissionSet, parse_scope},
        },
        exchange::key_context::ExchangeParameters,
    },
    http::{
        api_keys::replaced,
        credentials::client_authentication,
        exchange::rate_limit,
        extract::{Form, Unauthenticated, request_call},
        oauth_error::{OAuthError, RejectedKeyError},
        openapi::responses::ExchangeResponse,
    },
    service::{
        Services,
        credentials::verify::PresentedCredential,
        exchange::{self, IssuedToken},
        signing::metadata::{
            ACCESS_TOKEN_TYPE, API_KEY_TOKEN_TYPE, IBM_API_KEY_GRANT, JWT_TOKEN_TYPE, TOKEN_EXCHANGE_GRANT,
        },
    },
    telemetry::labels,
};

/// An access token response (RFC 6749 §5.1, RFC 8693 §2.2.1).
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenResponse<'a> {
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    issued_token_type: Option<&'static str>,
    token_type: &'static str,
    /// Lifetime of the token in seconds.
    expires_in: i64,
    /// Permissions granted, separated by spaces. Absent if none are granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    scope: Option<Cow<'a, str>>,
    /// Expiry of the token in seconds since 1970-01-01 UTC. Present for the IBM grant type only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expiration: Option<i64>,
    /// The `authorization_details` of the token (RFC 9396 §7). Absent if no access record applies.
    #[serde(skip_serializing_if = "<[AuthorizationDetail]>::is_empty")]
    #[schema(value_type = Option<Vec<AuthorizationDetail>>, nullable = false)]
    authorization_details: &'a [AuthorizationDetail],
}

/// The API key of a token request, with the properties that depend on the grant type.
struct TokenGrant {
    key: zeroize::Zeroizing<String>,
    client_id: Option<String>,
    form: labels::RequestForm,
    rejected_key_error: RejectedKeyError,
    issued_token_type: Option<&'static str>,
}

/// Exchanges an API key for an access token.
///
/// Supports three grant types: `client_credentials`, token exchange (RFC 8693), and that of IBM
/// clients.
#[utoipa::path(post, path = "", security((), ("basic" = [])), responses(ExchangeResponse<TokenResponse<'static>>))]
pub async fn token(
    _: Unauthenticated,
    request: HttpRequest,
    form: Form,
    services: Data<Services>,
) -> Result<HttpResponse, OAuthError> {
    let TokenGrant { key, client_id, form: label, rejected_key_error, issued_token_type } =
        parse_grant(&request, &form)?;
    let exchange_request = ExchangeParameters { client_id, ..parse_exchange_request(&form)? };
    let presented = PresentedCredential { value: &key, source: request_call(&request).source, form: Some(label) };
    let issued = exchange::exchange(&services, presented, &exchange_request)
        .await
        .map_err(|denied| OAuthError::from_denied(denied, rejected_key_error))?;
    Ok(token_response(&issued, issued_token_type, label == labels::RequestForm::IbmApiKey))
}

/// Builds the token response, which must not be cached.
pub fn token_response(issued: &IssuedToken, issued_token_type: Option<&'static str>, ibm: bool) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache"));
    for (name, value) in issued.window.iter().flat_map(rate_limit::headers) {
        response.insert_header((name, value));
    }
    let response = response.json(TokenResponse {
        access_token: issued.token.expose(),
        issued_token_type,
        token_type: "Bearer",
        expires_in: issued.claims.expires_in(),
        scope: issued.claims.scope_text(),
        expiration: ibm.then_some(issued.claims.exp),
        authorization_details: &issued.claims.authorization_details,
    });
    replaced::add_deprecation_headers(response, issued.replaced)
}

fn parse_grant(request: &HttpRequest, form: &Form) -> Result<TokenGrant, OAuthError> {
    let grant_type = form.one("grant_type").ok_or(OAuthError::invalid_request("grant_type is missing"))?;
    if form.one("authorization_details").is_some() {
        // RFC 9396 §5: silently ignoring the parameter would mislead the client.
        return Err(OAuthError::invalid_request("authorization_details is not supported"));
    }
    let credentials = client_authentication::parse_credentials(request.headers(), form)?;
    match (grant_type, credentials) {
        ("client_credentials", None) => Err(OAuthError::invalid_client()),
        ("client_credentials", Some(client)) => Ok(TokenGrant {
            key: client.secret,
            client_id: Some(client.id),
            form: labels::RequestForm::ClientCredentials,
            rejected_key_error: RejectedKeyError::Client,
            issued_token_type: None,
        }),
        // Client credentials would have to be verified as well as the key that is the grant itself
        // (RFC 7521 §4.1), and no client needs both.
        (TOKEN_EXCHANGE_GRANT | IBM_API_KEY_GRANT, Some(_)) => {
            Err(OAuthError::invalid_request("the API key is the only credential of this grant: send no client secret"))
        }
        (TOKEN_EXCHANGE_GRANT, None) => parse_token_exchange_grant(form),
        (IBM_API_KEY_GRANT, None) => {
            let key = form.one("apikey").ok_or(OAuthError::invalid_request("apikey is missing"))?;
            Ok(TokenGrant {
                key: key.to_owned().into(),
                client_id: None,
                form: labels::RequestForm::IbmApiKey,
                rejected_key_error: RejectedKeyError::Grant,
                issued_token_type: None,
            })
        }
        _ => Err(OAuthError::unsupported_grant_type()),
    }
}

/// Parses a token exchange request (RFC 8693 §2.1).
fn parse_token_exchange_grant(form: &Form) -> Result<TokenGrant, OAuthError> {
    let missing = || OAuthError::invalid_request("subject_token and subject_token_type are required");
    let key = form.one("subject_token").ok_or_else(missing)?;
    let kind = form.one("subject_token_type").ok_or_else(missing)?;
    if ![API_KEY_TOKEN_TYPE, ACCESS_TOKEN_TYPE].contains(&kind) {
        return Err(OAuthError::invalid_request(
            "subject_token_type must be urn:keyswap:params:oauth:token-type:api-key or urn:ietf:params:oauth:token-type:access_token",
        ));
    }
    if form.one("actor_token").is_some() || form.one("actor_token_type").is_some() {
        return Err(OAuthError::invalid_request("actor tokens are not supported"));
    }
    let issued = match form.one("requested_token_type") {
        None | Some(ACCESS_TOKEN_TYPE) => ACCESS_TOKEN_TYPE,
        Some(JWT_TOKEN_TYPE) => JWT_TOKEN_TYPE,
        Some(_) => {
            return Err(OAuthError::invalid_request(
                "requested_token_type must be urn:ietf:params:oauth:token-type:access_token or urn:ietf:params:oauth:token-type:jwt",
            ));
        }
    };
    Ok(TokenGrant {
        key: key.to_owned().into(),
        client_id: None,
        form: labels::RequestForm::TokenExchange,
        rejected_key_error: RejectedKeyError::InvalidSubjectToken,
        issued_token_type: Some(issued),
    })
}

fn parse_exchange_request(form: &Form) -> Result<ExchangeParameters, OAuthError> {
    let scope: Option<PermissionSet> =
        form.one("scope").map(parse_scope).transpose().map_err(|_| OAuthError::invalid_scope())?;
    let mut targets = BTreeSet::new();
    let malformed = || {
        OAuthError::invalid_target(
            "a resource must be an absolute URI without a fragment, and an audience a name or a URI",
        )
    };
    for (name, must_be_uri) in [("audience", false), ("resource", true)] {
        for text in form.all(name) {
            let identifier: Identifier = text.parse().map_err(|_| malformed())?;
            if must_be_uri && !identifier.is_absolute_uri() {
                return Err(malformed());
            }
            targets.insert(identifier);
        }
    }
    Ok(ExchangeParameters { scope, targets, ..ExchangeParameters::default() })
}
