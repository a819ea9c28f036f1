//! When the presented key value stops working, in responses to an exchange. `Deprecation` (RFC
//! 9745) and `Sunset` (RFC 8594) are not used: they are about the resource, and clients would
//! report the token endpoint as going away.

use actix_web::{
    HttpResponse,
    http::header::{HeaderName, HeaderValue},
};

use crate::domain::exchange::key_context::CredentialEnd;

/// A date (RFC 9651 §3.3.7), with the parameter `replaced` if a rotation replaced the value.
pub const CREDENTIAL_END: HeaderName = HeaderName::from_static("keyswap-credential-end");

/// Adds the header to a response if the presented value has an end.
pub fn add_credential_end(mut response: HttpResponse, end: &CredentialEnd) -> HttpResponse {
    let Some(expires_at) = end.expires_at else { return response };
    let replaced = end.replaced_at.map(|at| format!(";replaced=@{}", at.seconds())).unwrap_or_default();
    if let Ok(value) = HeaderValue::from_str(&format!("@{}{replaced}", expires_at.seconds())) {
        response.headers_mut().insert(CREDENTIAL_END, value);
    }
    response
}
