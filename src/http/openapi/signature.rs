//! What the signature of a handler declares: who may call it, what it reads and how it fails. These
//! facts are not repeated in the attributes of handlers.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::Value;
use utoipa::{ToSchema, openapi::path::Operation};

use crate::{
    http::{
        oauth_error::OauthError,
        openapi::schemas::{Schemas, collected},
        problem::Problem,
    },
    service::App,
};

/// The properties of a handler that follow from its signature alone.
#[derive(Debug, Default)]
pub struct Signature {
    /// The action and its permissions. `None` for a handler that requires no permission.
    pub needs: Option<Needs>,
    pub body: Option<Body>,
    pub failures: Failures,
}

/// An entry of the action table in `domain/policy.rs`.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    pub action: &'static str,
    /// Any one of these permissions is sufficient.
    pub permissions: &'static [&'static str],
}

/// The request body that a handler reads.
pub struct Body {
    pub content_type: &'static str,
    pub required: bool,
    /// Whether unknown members are ignored instead of refused.
    pub open: bool,
    pub schema: String,
    pub schemas: Schemas,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({})", self.schema)
    }
}

/// The error format of a handler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Failures {
    /// The handler cannot fail.
    #[default]
    None,
    Problems,
    Oauth,
}

/// An argument of a handler after its `Guard`.
pub trait Part {
    fn tell(_: &mut Signature) {}
}

impl Part for HttpRequest {}
impl Part for Data<App> {}
impl Signature {
    pub fn takes_form<T: ToSchema>(&mut self) {
        let form = body::<T>("application/x-www-form-urlencoded", true);
        // RFC 6749 §3.2: unrecognized parameters are ignored.
        self.body = Some(Body { open: true, ..form });
    }
}

pub(crate) fn body<T: ToSchema>(content_type: &'static str, required: bool) -> Body {
    let (schema, schemas) = collected::<T>();
    Body { content_type, required, open: false, schema, schemas }
}

/// The return type of a handler.
pub trait Failing {
    const FAILURES: Failures;
}

impl Failing for HttpResponse {
    const FAILURES: Failures = Failures::None;
}

impl Failing for Result<HttpResponse, Problem> {
    const FAILURES: Failures = Failures::Problems;
}

impl Failing for Result<HttpResponse, OauthError> {
    const FAILURES: Failures = Failures::Oauth;
}

/// A handler as the OpenAPI document describes it.
#[derive(Debug)]
pub struct Described {
    /// Module and name of the handler, joined by an underscore.
    pub name: &'static str,
    pub signature: Signature,
    /// The HTTP method in the attribute of the handler.
    pub method: Option<String>,
    pub operation: Value,
}

impl Described {
    pub fn new<D: utoipa::Path>(name: &'static str, signature: Signature) -> Self {
        let method = D::methods().first().and_then(|method| serde_json::to_value(method).ok());
        Self {
            name,
            signature,
            method: method.and_then(|method| method.as_str().map(str::to_owned)),
            operation: operation(D::operation()),
        }
    }
}

fn operation(operation: Operation) -> Value {
    serde_json::to_value(operation).unwrap_or_default()
}
