//! `POST /oauth/token`: three grant types for the same exchange.

use std::collections::BTreeSet;

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
        exchange::facts::Request,
    },
    http::{
        api_keys::replaced,
        credentials::client_authentication::{self, ClientCredentials},
        exchange::rate_limit,
        extract::{access::Unauthenticated, form::Form, request::request_call},
        oauth_error::{OAuthError, RejectedKeyError},
        openapi::answers::Swapped,
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
    #[schema(nullable = false)]
    scope: Option<String>,
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
struct Presented {
    key: zeroize::Zeroizing<String>,
    client_id: Option<String>,
    form: labels::Form,
    rejected_key_error: RejectedKeyError,
    issued_token_type: Option<&'static str>,
}

/// Exchanges an API key for an access token.
///
/// Supports three grant types: `parse_client_credentials_grant`, token exchange (RFC 8693), and that of IBM
/// clients.
#[utoipa::path(post, path = "", security((), ("basic" = [])), responses(Swapped<TokenResponse<'static>>))]
pub async fn token(
    _: Unauthenticated,
    request: HttpRequest,
    form: Form,
    services: Data<Services>,
) -> Result<HttpResponse, OAuthError> {
    let presented = parse_grant(&request, &form)?;
    let asked = Request { client_id: presented.client_id.clone(), ..asked(&form)? };
    let attempt =
        PresentedCredential { key: &presented.key, source: request_call(&request).source, form: presented.form };
    let issued = exchange::exchange(&services, attempt, &asked)
        .await
        .map_err(|denied| OAuthError::from_denied(denied, presented.rejected_key_error))?;
    let ibm = presented.form == labels::Form::IbmApiKey;
    Ok(answer(&issued, presented.issued_token_type, ibm))
}

/// Builds the token response, which must not be cached.
pub fn answer(issued: &IssuedToken, issued_token_type: Option<&'static str>, ibm: bool) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache"));
    for (name, value) in issued.window.iter().flat_map(rate_limit::headers) {
        response.insert_header((name, value));
    }
    let response = response.json(TokenResponse {
        access_token: issued.token.expose(),
        issued_token_type,
        token_type: "Bearer",
        expires_in: issued.expires_in,
        scope: (!issued.scope.is_empty()).then(|| issued.scope.to_string()),
        expiration: ibm.then_some(issued.expires_at),
        authorization_details: &issued.access,
    });
    replaced::told(response, issued.replaced)
}

fn parse_grant(request: &HttpRequest, form: &Form) -> Result<Presented, OAuthError> {
    let grant_type = form.one("grant_type").ok_or(OAuthError::invalid_request("grant_type is missing"))?;
    if form.one("authorization_details").is_some() {
        // RFC 9396 §5: silently ignoring the parameter would mislead the client.
        return Err(OAuthError::invalid_request("authorization_details is not supported"));
    }
    let credentials = client_authentication::credentials(request.headers(), form)?;
    match grant_type {
        "client_credentials" => parse_client_credentials_grant(credentials),
        TOKEN_EXCHANGE_GRANT => {
            reject_client_credentials(credentials.as_ref())?;
            parse_token_exchange_grant(form)
        }
        IBM_API_KEY_GRANT => {
            reject_client_credentials(credentials.as_ref())?;
            let key = form.one("apikey").ok_or(OAuthError::invalid_request("apikey is missing"))?;
            Ok(Presented {
                key: key.to_owned().into(),
                client_id: None,
                form: labels::Form::IbmApiKey,
                rejected_key_error: RejectedKeyError::Grant,
                issued_token_type: None,
            })
        }
        _ => Err(OAuthError::unsupported_grant_type()),
    }
}

fn parse_client_credentials_grant(credentials: Option<ClientCredentials>) -> Result<Presented, OAuthError> {
    let credentials = credentials.ok_or(OAuthError::invalid_client())?;
    Ok(Presented {
        key: credentials.secret,
        client_id: Some(credentials.id),
        form: labels::Form::ClientCredentials,
        rejected_key_error: RejectedKeyError::Client,
        issued_token_type: None,
    })
}

/// Parses a token exchange request (RFC 8693 §2.1).
fn parse_token_exchange_grant(form: &Form) -> Result<Presented, OAuthError> {
    let missing = OAuthError::invalid_request("subject_token and subject_token_type are needed");
    let key = form.one("subject_token").ok_or(missing)?;
    let kind = form.one("subject_token_type").ok_or(missing)?;
    if ![API_KEY_TOKEN_TYPE, ACCESS_TOKEN_TYPE].contains(&kind) {
        return Err(OAuthError::invalid_request(
            "subject_token_type is urn:keyswap:params:oauth:token-type:api-key or urn:ietf:params:oauth:token-type:access_token",
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
                "requested_token_type is urn:ietf:params:oauth:token-type:access_token or urn:ietf:params:oauth:token-type:jwt",
            ));
        }
    };
    Ok(Presented {
        key: key.to_owned().into(),
        client_id: None,
        form: labels::Form::TokenExchange,
        rejected_key_error: RejectedKeyError::InvalidSubjectToken,
        issued_token_type: Some(issued),
    })
}

/// Refuses client credentials if the API key is the grant itself. They would have to be verified as
/// well (RFC 7521 §4.1), and no client needs both.
fn reject_client_credentials(credentials: Option<&ClientCredentials>) -> Result<(), OAuthError> {
    match credentials {
        None => Ok(()),
        Some(_) => {
            Err(OAuthError::invalid_request("the API key is the only credential of this grant: send no client secret"))
        }
    }
}

fn asked(form: &Form) -> Result<Request, OAuthError> {
    let scope: Option<PermissionSet> =
        form.one("scope").map(parse_scope).transpose().map_err(|_| OAuthError::invalid_scope())?;
    let mut targets = BTreeSet::new();
    let malformed =
        OAuthError::invalid_target("a resource is an absolute URI without a fragment, an audience a name or URI");
    for (name, must_be_uri) in [("audience", false), ("resource", true)] {
        for text in form.all(name) {
            let identifier: Identifier = text.parse().map_err(|_| malformed)?;
            if must_be_uri && !identifier.is_absolute_uri() {
                return Err(malformed);
            }
            targets.insert(identifier);
        }
    }
    Ok(Request { scope, targets, ..Request::default() })
}
