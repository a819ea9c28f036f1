//! What the signature of a handler declares: who may call it, what it reads and how it fails. These
//! facts are not repeated in the attributes of handlers.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::Value;
use utoipa::{ToSchema, openapi::path::Operation};

use crate::{
    http::{
        oauth_error::OAuthError,
        openapi::schemas::{Schemas, collect_schemas},
        problem::Problem,
    },
    service::Services,
};

/// The properties of a handler that follow from its signature alone.
#[derive(Debug, Default)]
pub struct HandlerSignature {
    /// The action and its permissions. `None` for a handler that requires no permission.
    pub needs: Option<PermissionRequirement>,
    pub body: Option<Body>,
    pub failures: ErrorFormat,
}

/// An entry of the action table in `domain/policy.rs`.
#[derive(Debug, Clone, Copy)]
pub struct PermissionRequirement {
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
pub enum ErrorFormat {
    /// The handler cannot fail.
    #[default]
    None,
    Problems,
    Oauth,
}

/// An argument of a handler after its `Guard`.
pub trait Part {
    fn tell(_: &mut HandlerSignature) {}
}

impl Part for HttpRequest {}
impl Part for Data<Services> {}
impl HandlerSignature {
    pub fn set_form_body<T: ToSchema>(&mut self) {
        let form = body::<T>("application/x-www-form-urlencoded", true);
        // RFC 6749 §3.2: unrecognized parameters are ignored.
        self.body = Some(Body { open: true, ..form });
    }
}

pub(crate) fn body<T: ToSchema>(content_type: &'static str, required: bool) -> Body {
    let (schema, schemas) = collect_schemas::<T>();
    Body { content_type, required, open: false, schema, schemas }
}

/// The return type of a handler.
pub trait HandlerResponse {
    const FAILURES: ErrorFormat;
}

impl HandlerResponse for HttpResponse {
    const FAILURES: ErrorFormat = ErrorFormat::None;
}

impl HandlerResponse for Result<HttpResponse, Problem> {
    const FAILURES: ErrorFormat = ErrorFormat::Problems;
}

impl HandlerResponse for Result<HttpResponse, OAuthError> {
    const FAILURES: ErrorFormat = ErrorFormat::Oauth;
}

/// A handler as the OpenAPI document describes it.
#[derive(Debug)]
pub struct Described {
    /// Module and name of the handler, joined by an underscore.
    pub name: &'static str,
    pub signature: HandlerSignature,
    /// The HTTP method in the attribute of the handler.
    pub method: Option<String>,
    pub operation: Value,
}

impl Described {
    pub fn new<D: utoipa::Path>(name: &'static str, signature: HandlerSignature) -> Self {
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
