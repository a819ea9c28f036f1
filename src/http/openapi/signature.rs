//! What the signature of a handler declares: who may call it, what it reads and how it fails. These
//! facts are not repeated in the attributes of handlers.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema, path::Operation},
};

use crate::{
    http::{oauth::error::OauthError, oauth::form::Form, problem::Problem, v1::import, v1::json},
    service::App,
};

/// Schemas by name, in the form in which utoipa collects them.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

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
impl Part for Data<super::pages::Pages> {}
impl Part for Data<crate::http::assets::Assets> {}

impl<T: ToSchema> Part for json::Json<T> {
    fn tell(signature: &mut Signature) {
        signature.body = Some(body::<T>("application/json", true));
    }
}

impl<T: ToSchema> Part for json::OptionalJson<T> {
    fn tell(signature: &mut Signature) {
        signature.body = Some(body::<T>("application/json", false));
    }
}

impl Part for import::Lines {
    fn tell(signature: &mut Signature) {
        signature.body = Some(body::<super::objects::ImportLines>("application/x-ndjson", true));
    }
}

impl Part for Form {
    fn tell(signature: &mut Signature) {
        signature.takes_form::<super::objects::TokenRequest>();
    }
}

impl Signature {
    pub fn takes_form<T: ToSchema>(&mut self) {
        let form = body::<T>("application/x-www-form-urlencoded", true);
        // RFC 6749 §3.2: unrecognized parameters are ignored.
        self.body = Some(Body { open: true, ..form });
    }
}

fn body<T: ToSchema>(content_type: &'static str, required: bool) -> Body {
    let (schema, schemas) = collected::<T>();
    Body { content_type, required, open: false, schema, schemas }
}

/// The name of a schema, with the schema and all schemas that it refers to.
pub fn collected<T: ToSchema>() -> (String, Schemas) {
    let name = T::name().into_owned();
    let mut schemas = vec![(name.clone(), T::schema())];
    T::schemas(&mut schemas);
    (name, schemas)
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
