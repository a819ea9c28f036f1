//! What the signature of a handler declares: who may call it, what it reads and how it fails. These
//! facts are not repeated in the attributes of handlers.

use std::collections::BTreeMap;

use actix_web::{Error, FromRequest, HttpRequest, HttpResponse, Responder, dev::Payload, web::Data};
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{
        RefOr, Response,
        path::{Parameter, ParameterIn},
    },
};

use crate::{
    domain::access::policy::Action,
    http::{
        error::{ErrorBody, ErrorFormat, ErrorResponse},
        openapi::schemas::{Schemas, collect_schemas},
    },
};

/// The properties of a handler that follow from its signature alone.
#[derive(Default)]
pub struct HandlerSignature {
    /// The action and its permissions. `None` for a handler that requires no permission.
    pub needs: Option<PermissionRequirement>,
    pub parameters: Vec<Parameter>,
    pub body: Option<Body>,
    pub error_format: ErrorFormat,
    /// Whether anyone may call the handler. It then ignores unknown parameters.
    pub is_public: bool,
}

/// An entry of the action table in `domain/policy.rs`.
#[derive(Debug, Clone, Copy)]
pub struct PermissionRequirement {
    pub action: &'static str,
    /// Any one of these permissions is sufficient.
    pub permissions: &'static [&'static str],
}

impl PermissionRequirement {
    pub const fn of<A: Action>() -> Self {
        Self { action: A::NAME, permissions: A::PERMISSIONS }
    }
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

/// An argument of a handler: what it extracts from a request, and how the OpenAPI document
/// describes it.
pub trait HandlerArgument: Sized {
    /// Whether the argument reads the body of the request.
    const READS_BODY: bool = false;
    /// Adds the body and the parameters that the argument reads.
    fn describe(_: &mut HandlerSignature) {}
    fn extract(request: &HttpRequest, payload: &mut Payload) -> impl Future<Output = Result<Self, Error>>;
}

impl HandlerArgument for HttpRequest {
    async fn extract(request: &HttpRequest, _: &mut Payload) -> Result<Self, Error> {
        Ok(request.clone())
    }
}

impl<T: 'static> HandlerArgument for Data<T> {
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        Self::from_request(request, payload).await
    }
}

impl HandlerSignature {
    /// The names of the query parameters.
    pub fn query_parameters(&self) -> Vec<String> {
        let in_query = self.parameters.iter().filter(|one| one.parameter_in == ParameterIn::Query);
        in_query.map(|one| one.name.clone()).collect()
    }

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

/// A header, which is optional unless `parameter` says otherwise.
pub(crate) fn header_parameter(mut parameter: Value) -> Option<Parameter> {
    parameter["in"] = "header".into();
    parameter["required"] = parameter["required"].as_bool().unwrap_or_default().into();
    serde_json::from_value(parameter).ok()
}

/// Responses by status.
pub type Responses = BTreeMap<String, RefOr<Response>>;

/// A successful response. A handler that returns an `HttpResponse` describes it in its attribute.
pub trait Success: Responder {
    fn responses() -> Responses {
        Responses::new()
    }
}

impl Success for HttpResponse {}

/// The return type of a handler.
pub trait HandlerResponse: Responder {
    const ERROR_FORMAT: ErrorFormat;
    fn responses() -> Responses;
}

impl HandlerResponse for HttpResponse {
    const ERROR_FORMAT: ErrorFormat = ErrorFormat::None;
    fn responses() -> Responses {
        Responses::new()
    }
}

impl<S: Success, B: ErrorBody + 'static> HandlerResponse for Result<S, ErrorResponse<B>> {
    const ERROR_FORMAT: ErrorFormat = B::FORMAT;
    fn responses() -> Responses {
        S::responses()
    }
}

/// A handler as the OpenAPI document describes it.
pub struct HandlerDescription {
    pub signature: HandlerSignature,
    pub operation: Value,
}

impl HandlerDescription {
    /// Merges the attribute of a handler with the description of its arguments and its result. The
    /// method in the attribute is not used: it is that of the route.
    pub fn new<D: utoipa::Path>(signature: HandlerSignature, responses: Responses) -> Self {
        let mut operation = D::operation();
        operation.parameters.get_or_insert_default().extend(signature.parameters.iter().cloned().map(RefOr::T));
        operation.parameters.take_if(|parameters| parameters.is_empty());
        operation.responses.responses.extend(responses);
        Self { signature, operation: serde_json::to_value(operation).unwrap_or_default() }
    }
}
