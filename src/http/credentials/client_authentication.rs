//! Client authentication with an API key as client secret: HTTP Basic or the request body
//! (RFC 6749 §2.3.1), but not both.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use crate::http::{extract::Form, oauth_error::OAuthError};

/// A client id and a complete API key.
pub struct ClientCredentials {
    pub id: String,
    pub secret: Zeroizing<String>,
}

/// The credentials of a client at introspection and revocation.
pub enum PresentedClient {
    Secret(ClientCredentials),
    /// An API key or token as bearer credential, as at `/v1` (RFC 7662 §2.1).
    Bearer(Zeroizing<String>),
}

/// Padding is optional because some clients omit it.
const BASE64_OPTIONAL_PADDING: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the client credentials of a request, or `None` if it has none.
pub fn parse_credentials(headers: &HeaderMap, form: &Form) -> Result<Option<ClientCredentials>, OAuthError> {
    let mismatch = OAuthError::invalid_request("client_id in the body differs from the one in the header");
    parse_credentials_or(headers, form, mismatch)
}

/// `mismatch` is the error for a `client_id` in the body that differs from the one in the header.
fn parse_credentials_or(
    headers: &HeaderMap,
    form: &Form,
    mismatch: OAuthError,
) -> Result<Option<ClientCredentials>, OAuthError> {
    if form.one("client_assertion").is_some() || form.one("client_assertion_type").is_some() {
        return Err(OAuthError::invalid_request(
            "client assertions are not supported: send the API key as client_secret",
        ));
    }
    let (id, secret) = (form.one("client_id"), form.one("client_secret"));
    let mut authorization = headers.get_all(AUTHORIZATION);
    let header = authorization.next();
    if authorization.next().is_some() {
        return Err(OAuthError::invalid_request("send one Authorization header"));
    }
    match (header, secret) {
        (Some(_), Some(_)) => {
            Err(OAuthError::invalid_request("send the client's credentials in the header or in the body, not in both"))
        }
        (Some(header), None) if has_no_value(header.as_bytes()) => Err(OAuthError::missing_client()),
        (Some(header), None) => {
            let found = parse_basic(header.as_bytes()).ok_or(OAuthError::invalid_client())?;
            if found.secret.trim_ascii().is_empty() {
                return Err(OAuthError::missing_client());
            }
            if id.is_some_and(|id| id != found.id) {
                return Err(mismatch);
            }
            Ok(Some(found))
        }
        (None, Some(secret)) => Ok(Some(ClientCredentials {
            id: id.ok_or(OAuthError::invalid_client())?.to_owned(),
            secret: Zeroizing::new(secret.to_owned()),
        })),
        (None, None) => Ok(None),
    }
}

/// Like `parse_credentials`, but credentials are required and may be a bearer credential. Different
/// client ids in the header and the body fail with `invalid_client`.
pub fn parse_client(headers: &HeaderMap, form: &Form) -> Result<PresentedClient, OAuthError> {
    match parse_bearer(headers) {
        None => {
            let found = parse_credentials_or(headers, form, OAuthError::invalid_client())?;
            found.map(PresentedClient::Secret).ok_or(OAuthError::missing_client())
        }
        Some(_) if ["client_secret", "client_assertion"].iter().any(|name| form.one(name).is_some()) => {
            Err(OAuthError::invalid_request("send one kind of credentials: in the header or in the body, not in both"))
        }
        Some(credential) if credential.is_empty() => Err(OAuthError::empty_bearer()),
        Some(credential) => Ok(PresentedClient::Bearer(credential)),
    }
}

/// The bearer credential, if there is exactly one `Authorization` header and it has that scheme.
fn parse_bearer(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let mut authorization = headers.get_all(AUTHORIZATION);
    let (header, None) = (authorization.next()?, authorization.next()) else { return None };
    let text = header.to_str().ok()?;
    let (scheme, credential) = text.split_once(' ').unwrap_or((text, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| Zeroizing::new(credential.trim_ascii().to_owned()))
}

/// Whether a header is a scheme without credentials, as from a variable that is not set.
fn has_no_value(header: &[u8]) -> bool {
    ["", "basic", "bearer"].iter().any(|scheme| header.trim_ascii().eq_ignore_ascii_case(scheme.as_bytes()))
}

/// Decodes `Basic` credentials (RFC 6749 §2.3.1). The value is base64-decoded and split at the
/// first colon, and both parts are then form-decoded, in that order.
fn parse_basic(header: &[u8]) -> Option<ClientCredentials> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(BASE64_OPTIONAL_PADDING.decode(encoded.trim_ascii()).ok()?);
    let text = std::str::from_utf8(&decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some(ClientCredentials { id: form_decode(id)?.to_string(), secret: form_decode(secret)? })
}

fn form_decode(text: &str) -> Option<Zeroizing<String>> {
    // Decoded as the value of a dummy parameter, with `&` escaped, so that `=` and `&` in the text
    // remain part of the value.
    let pair = Zeroizing::new(format!("v={}", text.replace('&', "%26")));
    let mut pairs = form_urlencoded::parse(pair.as_bytes());
    pairs.next().map(|(_, value)| Zeroizing::new(value.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_6749_06_basic_is_decoded_in_the_right_order() {
        let secret = ": + % / = é space&";
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let header = format!("bAsIc {}", BASE64_OPTIONAL_PADDING.encode(format!("a%3Ab+c:{encoded}")));
        let found = parse_basic(header.as_bytes()).unwrap();
        assert_eq!((found.id.as_str(), found.secret.as_str()), ("a:b c", secret));
        assert!(parse_basic(b"Basic !!!").is_none());
        assert!(has_no_value(b"bAsIc ") && has_no_value(b"Bearer") && !has_no_value(b"Basic !"));
        assert!(parse_basic(b"Bearer abc").is_none());
        assert!(parse_basic(format!("Basic {}", BASE64_OPTIONAL_PADDING.encode("no colon")).as_bytes()).is_none());
    }
}
