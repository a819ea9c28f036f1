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
            access_record::Detail,
            audience::Identifier,
            permission::{PermissionSet, parse_scope},
        },
        exchange::facts::Request,
    },
    http::{
        api_keys::replaced,
        credentials::client_authentication::{self, ClientCredentials},
        exchange::rate_limit,
        extract::{access::Anyone, form::Form, request::call},
        oauth_error::{BadKey, OauthError},
        openapi::answers::Swapped,
    },
    service::{
        App,
        credentials::verify::Attempt,
        exchange::{self, Issued},
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
    #[serde(skip_serializing_if = "<[Detail]>::is_empty")]
    #[schema(value_type = Option<Vec<Detail>>, nullable = false)]
    authorization_details: &'a [Detail],
}

/// The API key of a token request, with the properties that depend on the grant type.
struct Presented {
    key: zeroize::Zeroizing<String>,
    client_id: Option<String>,
    form: labels::Form,
    bad_key: BadKey,
    issued_token_type: Option<&'static str>,
}

/// Exchanges an API key for an access token.
///
/// Supports three grant types: `client_credentials`, token exchange (RFC 8693), and that of IBM
/// clients.
#[utoipa::path(post, path = "", security((), ("basic" = [])), responses(Swapped<TokenResponse<'static>>))]
pub async fn token(_: Anyone, request: HttpRequest, form: Form, app: Data<App>) -> Result<HttpResponse, OauthError> {
    let presented = presented(&request, &form)?;
    let asked = Request { client_id: presented.client_id.clone(), ..asked(&form)? };
    let attempt = Attempt { key: &presented.key, source: call(&request).source, form: presented.form };
    let issued = exchange::exchange(&app, attempt, &asked)
        .await
        .map_err(|denied| OauthError::denied(denied, presented.bad_key))?;
    let ibm = presented.form == labels::Form::IbmApiKey;
    Ok(answer(&issued, presented.issued_token_type, ibm))
}

/// Builds the token response, which must not be cached.
pub fn answer(issued: &Issued, issued_token_type: Option<&'static str>, ibm: bool) -> HttpResponse {
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

fn presented(request: &HttpRequest, form: &Form) -> Result<Presented, OauthError> {
    let grant_type = form.one("grant_type").ok_or(OauthError::invalid_request("grant_type is missing"))?;
    if form.one("authorization_details").is_some() {
        // RFC 9396 §5: silently ignoring the parameter would mislead the client.
        return Err(OauthError::invalid_request("authorization_details is not supported"));
    }
    let credentials = client_authentication::credentials(request.headers(), form)?;
    match grant_type {
        "client_credentials" => client_credentials(credentials),
        TOKEN_EXCHANGE_GRANT => {
            refuse_credentials(credentials.as_ref())?;
            token_exchange(form)
        }
        IBM_API_KEY_GRANT => {
            refuse_credentials(credentials.as_ref())?;
            let key = form.one("apikey").ok_or(OauthError::invalid_request("apikey is missing"))?;
            Ok(Presented {
                key: key.to_owned().into(),
                client_id: None,
                form: labels::Form::IbmApiKey,
                bad_key: BadKey::Grant,
                issued_token_type: None,
            })
        }
        _ => Err(OauthError::unsupported_grant_type()),
    }
}

fn client_credentials(credentials: Option<ClientCredentials>) -> Result<Presented, OauthError> {
    let credentials = credentials.ok_or(OauthError::invalid_client())?;
    Ok(Presented {
        key: credentials.secret,
        client_id: Some(credentials.id),
        form: labels::Form::ClientCredentials,
        bad_key: BadKey::Client,
        issued_token_type: None,
    })
}

/// Parses a token exchange request (RFC 8693 §2.1).
fn token_exchange(form: &Form) -> Result<Presented, OauthError> {
    let missing = OauthError::invalid_request("subject_token and subject_token_type are needed");
    let key = form.one("subject_token").ok_or(missing)?;
    let kind = form.one("subject_token_type").ok_or(missing)?;
    if ![API_KEY_TOKEN_TYPE, ACCESS_TOKEN_TYPE].contains(&kind) {
        return Err(OauthError::invalid_request(
            "subject_token_type is urn:keyswap:params:oauth:token-type:api-key or urn:ietf:params:oauth:token-type:access_token",
        ));
    }
    if form.one("actor_token").is_some() || form.one("actor_token_type").is_some() {
        return Err(OauthError::invalid_request("actor tokens are not supported"));
    }
    let issued = match form.one("requested_token_type") {
        None | Some(ACCESS_TOKEN_TYPE) => ACCESS_TOKEN_TYPE,
        Some(JWT_TOKEN_TYPE) => JWT_TOKEN_TYPE,
        Some(_) => {
            return Err(OauthError::invalid_request(
                "requested_token_type is urn:ietf:params:oauth:token-type:access_token or urn:ietf:params:oauth:token-type:jwt",
            ));
        }
    };
    Ok(Presented {
        key: key.to_owned().into(),
        client_id: None,
        form: labels::Form::TokenExchange,
        bad_key: BadKey::SubjectToken,
        issued_token_type: Some(issued),
    })
}

/// Refuses client credentials if the API key is the grant itself. They would have to be verified as
/// well (RFC 7521 §4.1), and no client needs both.
fn refuse_credentials(credentials: Option<&ClientCredentials>) -> Result<(), OauthError> {
    match credentials {
        None => Ok(()),
        Some(_) => {
            Err(OauthError::invalid_request("the API key is the only credential of this grant: send no client secret"))
        }
    }
}

fn asked(form: &Form) -> Result<Request, OauthError> {
    let scope: Option<PermissionSet> =
        form.one("scope").map(parse_scope).transpose().map_err(|_| OauthError::invalid_scope())?;
    let mut targets = BTreeSet::new();
    let malformed =
        OauthError::invalid_target("a resource is an absolute URI without a fragment, an audience a name or URI");
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
