//! The form parameters of an OAuth request (RFC 6749 §3.2). A parameter appears at most once,
//! unless its own RFC lets it repeat. An empty parameter counts as absent. `web::Form` is not used
//! because it reports errors in plain text and refuses a second `resource`.

use std::{borrow::Cow, collections::BTreeMap};

use actix_web::{Error, HttpRequest, dev::Payload};
use zeroize::Zeroizing;

use crate::http::{
    extract::{
        body,
        parameter_names::{RESTRICTING, find_resembled},
    },
    oauth_error::OAuthError,
    openapi::{
        documents::TokenRequest,
        signature::{HandlerArgument, HandlerSignature},
    },
};

/// Maximum size of a form in bytes. Legitimate requests are far smaller.
const LIMIT: usize = 16 * 1024;
const REPEATABLE_PARAMETERS: [&str; 2] = ["resource", "audience"];

/// A parsed form. Its values may be secrets and are zeroized on drop.
pub struct Form(BTreeMap<String, Vec<Zeroizing<String>>>);

impl Form {
    fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        let mut values: BTreeMap<String, Vec<Zeroizing<String>>> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            values.entry(name.into_owned()).or_default().push(Zeroizing::new(Cow::into_owned(value)));
        }
        if let Some(known) = values.keys().find_map(|name| find_resembled(&RESTRICTING, name)) {
            return Err(OAuthError::misspelled_parameter(known));
        }
        if values.iter().any(|(name, all)| all.len() > 1 && !REPEATABLE_PARAMETERS.contains(&name.as_str())) {
            return Err(OAuthError::invalid_request("a parameter is repeated"));
        }
        for all in values.values_mut() {
            all.retain(|value| !value.is_empty());
        }
        Ok(Self(values))
    }

    pub fn one(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Returns a parameter whose absence widens the answer: an empty or repeated one is an error.
    pub fn at_most_one(&self, name: &str) -> Result<Option<&str>, OAuthError> {
        match self.0.get(name).map(Vec::as_slice) {
            None => Ok(None),
            Some([value]) => Ok(Some(value.as_str())),
            Some(_) => Err(OAuthError::invalid_request(format!("{name} must have one value"))),
        }
    }

    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.get(name).into_iter().flatten().map(|value| value.as_str())
    }
}

impl HandlerArgument for Form {
    const READS_BODY: bool = true;
    fn describe(signature: &mut HandlerSignature) {
        signature.set_form_body::<TokenRequest>();
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        if !request.query_string().is_empty() {
            // RFC 6749 §2.3.1: logs and caches keep URLs, so credentials must not appear there.
            return Err(OAuthError::invalid_request("send every parameter in the body, not in the URL").into());
        }
        if !body::has_media_type(request, "application/x-www-form-urlencoded") {
            return Err(OAuthError::media_type().into());
        }
        let body = body::read(payload, LIMIT).await.map_err(OAuthError::from)?;
        Ok(Self::parse(&body)?)
    }
}
