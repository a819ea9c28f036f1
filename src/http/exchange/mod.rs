//! `POST /v1/exchange`: the exchange for simple clients such as curl, with the API key in a header
//! and the request in an optional JSON body.

pub mod rate_limit;
pub mod token;

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, Responder, web::Data};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{audience::Identifier, permission::parse_scope},
        common::{json::deserialize_present, time::Span},
        exchange::{key_context::ExchangeParameters, refusal::ScopeError},
    },
    http::{
        api_keys::credential_end,
        exchange::token::{TokenResponse, token_response},
        extract::{OptionalJson, PresentedKey, request_source},
        openapi::responses::ExchangeResponse,
        problem::Problem,
        response::Unversioned,
    },
    service::{
        Services,
        credentials::{error::AuthError, verify::PresentedCredential},
        exchange::{self, Explanation},
    },
    telemetry::labels::RequestForm,
};

/// The requested token. All fields are optional.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ExchangeRequest)]
#[serde(deny_unknown_fields)]
pub struct ExchangeRequest {
    /// Requested permissions, separated by single spaces.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(
        nullable = false,
        pattern = "^([A-Za-z0-9._:-]{1,128}( [A-Za-z0-9._:-]{1,128})*)?$",
        example = "projects:read"
    )]
    scope: Option<String>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    audience: Option<AudienceList>,
    /// Requested lifetime of the token in seconds. A lifetime that exceeds `tokens.max_ttl`, that
    /// of the audience or that of the key is refused.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false, value_type = Option<i64>, minimum = 1, maximum = 4294967295_i64)]
    expires_in: Option<std::num::NonZeroU32>,
}

/// One audience or a list of audiences.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OneOrMoreAudiences)]
#[serde(untagged, expecting = "an audience or a list of audiences")]
enum AudienceList {
    One(Identifier),
    More(Vec<Identifier>),
}

impl ExchangeRequest {
    fn into_request(self) -> Result<ExchangeParameters, Problem> {
        let scope = self.scope.filter(|scope| !scope.is_empty()).map(|scope| parse_scope(&scope)).transpose();
        let scope = scope.map_err(|_| AuthError::Scope(ScopeError::Malformed))?;
        let targets = match self.audience {
            None => BTreeSet::new(),
            Some(AudienceList::One(one)) => [one].into(),
            Some(AudienceList::More(all)) => all.into_iter().collect(),
        };
        let requested_ttl = self.expires_in.map(|seconds| Span::from_secs(seconds.get().into()));
        Ok(ExchangeParameters { scope, targets, requested_ttl, client_id: None })
    }
}

/// Exchanges an API key for an access token.
#[utoipa::path(post, path = "", security(("bearer" = []), ("apiKey" = [])), responses(ExchangeResponse<TokenResponse<'static>>))]
pub async fn exchange(
    PresentedKey(key): PresentedKey,
    request: HttpRequest,
    OptionalJson(body): OptionalJson<ExchangeRequest>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (presented, exchange_request) = read(&request, &key, body, RequestForm::Exchange)?;
    let issued = exchange::exchange(&services, presented, &exchange_request).await?;
    Ok(token_response(&issued, None, false))
}

/// Explains what an exchange would grant, and which rule removes each other permission.
///
/// No token is signed.
#[utoipa::path(post, path = "", security(("bearer" = []), ("apiKey" = [])), responses(ExchangeResponse<Explanation>))]
pub async fn explain(
    PresentedKey(key): PresentedKey,
    request: HttpRequest,
    OptionalJson(body): OptionalJson<ExchangeRequest>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (presented, exchange_request) = read(&request, &key, body, RequestForm::Explain)?;
    let (explanation, end) = exchange::explain(&services, presented, &exchange_request).await?;
    Ok(credential_end::add_credential_end(Unversioned(explanation).respond_to(&request), &end))
}

/// Reads the key and the request. Both handlers use it, so that explain describes what exchange
/// would do.
fn read<'a>(
    request: &HttpRequest,
    key: &'a str,
    body: ExchangeRequest,
    form: RequestForm,
) -> Result<(PresentedCredential<'a>, ExchangeParameters), Problem> {
    let source = request_source(request);
    Ok((PresentedCredential { value: key, source, form: Some(form) }, body.into_request()?))
}
