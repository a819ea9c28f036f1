//! `resource_metadata` in the Bearer challenges of `/v1` (RFC 9728 §5.1). Errors are built without
//! the public URL, so the parameter is added to their responses.

use actix_web::{
    body::MessageBody,
    dev::ServiceResponse,
    http::header::{HeaderValue, WWW_AUTHENTICATE},
};

use crate::{
    http::problem::is_oauth_path,
    service::{Services, signing::metadata::resource_metadata_url},
};

/// Adds the URL of the metadata of `/v1` to a Bearer challenge.
pub fn add_resource_metadata(response: &mut ServiceResponse<impl MessageBody>, services: &Services) {
    if is_oauth_path(response.request()) {
        return;
    }
    let challenge = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    let Some(challenge) = challenge.filter(|challenge| challenge.starts_with("Bearer ")) else { return };
    let url = resource_metadata_url(services.issuer());
    if let Ok(challenge) = HeaderValue::from_str(&format!(r#"{challenge}, resource_metadata="{url}""#)) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
}
