//! `POST /oauth/token`: three grant types for the same exchange.

use std::{collections::BTreeSet, num::NonZeroU32};

use actix_web::{
    HttpRequest, HttpResponse,
    error::JsonPayloadError,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA},
    web::Data,
};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            access_record::AuthorizationDetail,
            audience::Identifier,
            permission::{PermissionSet, parse_scope},
        },
        common::time::{Span, Timestamp},
        exchange::key_context::ExchangeParameters,
    },
    http::{
        api_keys::credential_end,
        credentials::client_authentication::{self, ClientCredentials},
        exchange::rate_limit,
        extract::{Form, Unauthenticated, request_source},
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
    scope: Option<ScopeText<'a>>,
    /// Expiry of the token in seconds since 1970-01-01 UTC. Present for the IBM grant type only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expiration: Option<i64>,
    /// The `authorization_details` of the token (RFC 9396 §7). Absent if no access record applies
    /// and the token is not record-bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<AuthorizationDetail>>, nullable = false)]
    authorization_details: Option<&'a [AuthorizationDetail]>,
    /// When the presented key value stops working. Absent if it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credential_expires_at: Option<Timestamp>,
    /// When a rotation replaced the presented key value. Absent if none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credential_replaced_at: Option<Timestamp>,
}

/// A scope as one string (RFC 6749 §3.3).
struct ScopeText<'a>(&'a PermissionSet);

impl Serialize for ScopeText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// Bytes of a token response besides its token, unless the scope is long.
const USUAL_REST_LENGTH: usize = 512;

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
    let presented = PresentedCredential { value: &key, source: request_source(&request), form: Some(label) };
    let issued = exchange::exchange(&services, presented, &exchange_request)
        .await
        .map_err(|denied| OAuthError::from_denied(denied, rejected_key_error))?;
    Ok(token_response(&issued, issued_token_type, label == labels::RequestForm::IbmApiKey))
}

/// Builds the token response, which must not be cached.
pub fn token_response(issued: &IssuedToken, issued_token_type: Option<&'static str>, ibm: bool) -> HttpResponse {
    let IssuedToken { token, grant, window, credential_end, .. } = issued;
    let content = TokenResponse {
        access_token: token.expose(),
        issued_token_type,
        token_type: "Bearer",
        expires_in: grant.expires_in(),
        scope: grant.token_scope().map(ScopeText),
        expiration: ibm.then_some(grant.expires_at),
        authorization_details: grant.authorization_details.as_deref(),
        credential_expires_at: credential_end.expires_at,
        credential_replaced_at: credential_end.replaced_at,
    };
    let mut body = Vec::with_capacity(token.expose().len() + USUAL_REST_LENGTH);
    if let Err(error) = serde_json::to_writer(&mut body, &content) {
        return HttpResponse::from_error(JsonPayloadError::Serialize(error));
    }
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .insert_header((PRAGMA, HeaderValue::from_static("no-cache")));
    for (name, value) in window.iter().flat_map(rate_limit::headers) {
        response.insert_header((name, value));
    }
    credential_end::add_credential_end(response.body(body), credential_end)
}

fn parse_grant(request: &HttpRequest, form: &Form) -> Result<TokenGrant, OAuthError> {
    let grant_type = form.one("grant_type").ok_or(OAuthError::invalid_request("grant_type is missing"))?;
    if form.one("authorization_details").is_some() {
        // RFC 9396 §5: silently ignoring the parameter would mislead the client.
        return Err(OAuthError::invalid_authorization_details());
    }
    let credentials = client_authentication::parse_credentials(request.headers(), form)?;
    let grant = match grant_type {
        "client_credentials" => {
            let client = credentials.ok_or(OAuthError::missing_client())?;
            return Ok(TokenGrant {
                key: client.secret,
                client_id: Some(client.id),
                form: labels::RequestForm::ClientCredentials,
                rejected_key_error: RejectedKeyError::Client,
                issued_token_type: None,
            });
        }
        TOKEN_EXCHANGE_GRANT => parse_token_exchange_grant(form)?,
        IBM_API_KEY_GRANT => {
            let key = form.one("apikey").ok_or(OAuthError::invalid_request("apikey is missing"))?;
            TokenGrant {
                key: key.to_owned().into(),
                client_id: None,
                form: labels::RequestForm::IbmApiKey,
                rejected_key_error: RejectedKeyError::Grant,
                issued_token_type: None,
            }
        }
        _ => return Err(OAuthError::unsupported_grant_type()),
    };
    check_client_of_grant(grant, credentials, form)
}

/// Adds the client of a grant in which the API key is the subject token or the IBM parameter. The
/// client secret, if any, must be the same API key, which many libraries send by default.
fn check_client_of_grant(
    grant: TokenGrant,
    credentials: Option<ClientCredentials>,
    form: &Form,
) -> Result<TokenGrant, OAuthError> {
    let is_ibm = grant.form == labels::RequestForm::IbmApiKey;
    match credentials {
        None => Ok(TokenGrant { client_id: form.one("client_id").map(str::to_owned), ..grant }),
        // IBM's command line authenticates with this public pair.
        Some(client) if is_ibm && client.id == "bx" && client.secret.as_str() == "bx" => Ok(grant),
        Some(client) if client.secret.trim_ascii() == grant.key.trim_ascii() => {
            Ok(TokenGrant { client_id: Some(client.id), rejected_key_error: RejectedKeyError::Client, ..grant })
        }
        Some(_) => Err(OAuthError::invalid_request(
            "the client secret is not the API key of this grant: send the same API key as both, or no client secret",
        )),
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
    let requested_ttl = form.one("expires_in").map(parse_expires_in).transpose()?;
    Ok(ExchangeParameters { scope, targets, requested_ttl, ..ExchangeParameters::default() })
}

fn parse_expires_in(text: &str) -> Result<Span, OAuthError> {
    // `parse` accepts a plus sign.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse::<NonZeroU32>().ok().filter(|_| is_number).ok_or_else(|| {
        OAuthError::invalid_request("expires_in must be a number of seconds, from 1 to the longest lifetime of a token")
    })?;
    Ok(Span::from_secs(seconds.get().into()))
}
