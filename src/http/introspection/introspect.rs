//! `POST /oauth/introspect` (RFC 7662), with a response in JSON or as a JWT (RFC 9701).

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, PRAGMA},
    web::Data,
};

use crate::{
    domain::{access::policy::ValidateCredentials, exchange::introspection::IntrospectionResponse},
    http::{
        credentials::client::AuthorizedClient,
        oauth_error::{OAuthError, RejectedKeyError},
        openapi::responses::{INTROSPECTION_JWT_TYPE, IntrospectionResponses},
    },
    service::{Services, introspection::introspect},
};

/// Returns whether an API key or token is active, and its permissions at the calling service.
///
/// Responses must not be cached.
#[utoipa::path(post, path = "", responses(IntrospectionResponses<IntrospectionResponse>))]
pub async fn introspect(
    permitted: AuthorizedClient<ValidateCredentials>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, OAuthError> {
    let client = &permitted.client;
    let to_oauth_error = |error| OAuthError::from_denied(error, RejectedKeyError::Client);
    let body = introspect::introspect(&services, &client.identity, client.token()?).await.map_err(to_oauth_error)?;
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache"));
    if !prefers_jwt(request.headers()) {
        return Ok(response.json(body));
    }
    let signed = introspect::sign(&services, &client.identity, &body).await.map_err(to_oauth_error)?;
    Ok(response.insert_header((CONTENT_TYPE, INTROSPECTION_JWT_TYPE)).body(signed.expose().to_owned()))
}

/// Returns whether `Accept` names the JWT media type with a non-zero weight that is not lower than
/// the weight of JSON.
fn prefers_jwt(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let (mut jwt, mut json) = (0.0, 0.0);
    for value in values {
        let (name, parameters) = value.split_once(';').unwrap_or((value, ""));
        let weight = parameters.split(';').find_map(|one| one.trim().strip_prefix("q=")?.parse().ok());
        let weight: f32 = weight.unwrap_or(1.0);
        if name.trim().eq_ignore_ascii_case(INTROSPECTION_JWT_TYPE) {
            jwt = weight;
        } else if name.trim().eq_ignore_ascii_case("application/json") {
            json = weight;
        }
    }
    jwt > 0.0 && jwt >= json
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn jwt_is_returned_only_if_accept_prefers_it() {
        for (accept, expected) in [
            ("application/token-introspection+jwt", true),
            ("Application/Token-Introspection+JWT; q=0.5", true),
            ("application/json, application/token-introspection+jwt", true),
            ("application/json;q=0.9,application/token-introspection+jwt;q=0.8", false),
            ("application/token-introspection+jwt;q=0", false),
            ("application/json", false),
            ("*/*", false),
            ("application/jwt", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(prefers_jwt(&headers), expected, "{accept}");
        }
        assert!(!prefers_jwt(&HeaderMap::new()));
    }
}
