//! Success responses of `/v1`. Each type writes a response and describes it for the OpenAPI
//! document. None of them may be cached, because some objects contain a secret.

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    body::BoxBody,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, ETAG, LOCATION},
    },
    web::Data,
};
use serde::Serialize;
use utoipa::{ToSchema, openapi};

use crate::{
    domain::common::page::Page,
    http::openapi::{
        responses::{json_response, list_response},
        signature::{Responses, Success},
    },
    service::{Services, common::idempotency::CreateOutcome},
};

/// An object with a version, which its responses contain as the ETag.
pub trait Resource: Serialize + ToSchema {
    fn version(&self) -> i64;
    /// The path of the object below the public URL.
    fn path(&self) -> String;
}

/// Implements `Resource` of a type with a `version`, with the format of its path and the fields in
/// it.
macro_rules! impl_resource {
    ($type:ty, $path:literal $(, $field:ident)*) => {
        impl crate::http::response::Resource for $type {
            fn version(&self) -> i64 {
                self.version
            }
            fn path(&self) -> String {
                format!($path $(, self.$field)*)
            }
        }
    };
}
pub(crate) use impl_resource;

/// 200 with an object.
pub struct Object<T>(pub T);

/// 201 with an object created by this request, or by an earlier one with the same
/// `Idempotency-Key`.
pub struct Created<T> {
    object: T,
    is_replayed: bool,
}

/// 200 or 201 with an object written by PUT.
pub struct Stored<T> {
    object: T,
    is_new: bool,
}

/// 200 with a page of a list.
pub struct Listing<T>(Page<T>);

/// 200 with a body that has no version.
pub struct Plain<T>(pub T);

/// 204 after a deletion.
pub struct Deleted;

impl<T, N: Into<T>, E: Into<T>> From<CreateOutcome<N, E>> for Created<T> {
    fn from(outcome: CreateOutcome<N, E>) -> Self {
        match outcome {
            CreateOutcome::New(new) => Self { object: new.into(), is_replayed: false },
            CreateOutcome::Existing(existing) => Self { object: existing.into(), is_replayed: true },
        }
    }
}

impl<T, U: Into<T>> From<(U, bool)> for Stored<T> {
    fn from((object, is_new): (U, bool)) -> Self {
        Self { object: object.into(), is_new }
    }
}

impl<T, U: Into<T>> From<Page<U>> for Listing<T> {
    fn from(page: Page<U>) -> Self {
        Self(page.map(Into::into))
    }
}

/// Writes an object with its version, and its location if it is new.
fn write<T: Resource>(status: StatusCode, object: &T, request: &HttpRequest, is_replayed: bool) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((ETAG, format!("\"{}\"", object.version())));
    if status == StatusCode::CREATED {
        let issuer = request.app_data::<Data<Services>>().map(|services| services.issuer()).unwrap_or_default();
        response.insert_header((LOCATION, format!("{issuer}{}", object.path())));
    }
    if is_replayed {
        response.insert_header(("idempotency-replayed", "true"));
    }
    response.json(object)
}

impl<T: Resource> Responder for Object<T> {
    type Body = BoxBody;
    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        write(StatusCode::OK, &self.0, request, false)
    }
}

impl<T: Resource> Responder for Created<T> {
    type Body = BoxBody;
    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        write(StatusCode::CREATED, &self.object, request, self.is_replayed)
    }
}

impl<T: Resource> Responder for Stored<T> {
    type Body = BoxBody;
    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let status = if self.is_new { StatusCode::CREATED } else { StatusCode::OK };
        write(status, &self.object, request, false)
    }
}

impl<T: Serialize> Responder for Listing<T> {
    type Body = BoxBody;
    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        Plain(self.0).respond_to(request)
    }
}

impl<T: Serialize> Responder for Plain<T> {
    type Body = BoxBody;
    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(self.0)
    }
}

impl Responder for Deleted {
    type Body = BoxBody;
    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::NoContent().finish()
    }
}

impl<T: Resource> Success for Object<T> {
    fn responses() -> Responses {
        [json_response::<T>("200", "The object.", &["ETag"])].into()
    }
}

impl<T: Resource> Success for Created<T> {
    fn responses() -> Responses {
        let text = "The object was created, by this request or by an earlier one with the same Idempotency-Key.";
        [json_response::<T>("201", text, &["ETag", "Location", "Idempotency-Replayed"])].into()
    }
}

impl<T: Resource> Success for Stored<T> {
    fn responses() -> Responses {
        [
            json_response::<T>("200", "The object existed and was replaced.", &["ETag"]),
            json_response::<T>("201", "The object was created.", &["ETag", "Location"]),
        ]
        .into()
    }
}

impl<T: Serialize + ToSchema> Success for Listing<T> {
    fn responses() -> Responses {
        [list_response::<T>()].into()
    }
}

impl<T: Serialize + ToSchema> Success for Plain<T> {
    fn responses() -> Responses {
        [json_response::<T>("200", "The result.", &[])].into()
    }
}

impl Success for Deleted {
    fn responses() -> Responses {
        [("204".to_owned(), openapi::Response::new("The object was deleted.").into())].into()
    }
}
