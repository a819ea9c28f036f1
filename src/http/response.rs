//! Success responses of `/v1`. Each type writes a response and describes it for the OpenAPI
//! document. None of them may be cached, because some objects contain a secret.

use actix_web::{
    HttpRequest, HttpResponse, Responder, ResponseError as _,
    body::BoxBody,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, ContentType, ETAG, HeaderName, LOCATION},
    },
    web::Data,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{ToSchema, openapi};

use crate::{
    crypto::sha256_hex,
    domain::common::{page::Page, preconditions::EntityTag},
    http::{
        openapi::{
            responses::{json_response, list_response},
            signature::{Responses, Success},
        },
        problem::Problem,
    },
    service::{Error, Services, common::idempotency::IdempotentOutcome},
};

/// An object with a version. Its tag is the version with a digest of its representation, some of
/// whose members move without a new version.
pub trait Resource: Serialize + ToSchema {
    /// Members that only the response to a change contains, such as a new secret. The tag does not
    /// cover them, so that it is that of the next GET.
    const SHOWN_ONCE: &'static [&'static str];
    fn version(&self) -> i64;
    /// The path of the object below the public URL.
    fn path(&self) -> String;
}

/// Implements `Resource` of a type with a `version`, with the format of its path, the fields that
/// are percent-encoded in it, and the members that are shown once.
macro_rules! impl_resource {
    ($type:ty, $path:literal $(, $field:ident)* $(; shown_once $($once:literal),+)?) => {
        impl crate::http::response::Resource for $type {
            const SHOWN_ONCE: &'static [&'static str] = &[$($($once),+)?];
            fn version(&self) -> i64 {
                self.version
            }
            fn path(&self) -> String {
                format!($path $(, crate::domain::common::percent_encoding::encode_segment(self.$field.as_str()))*)
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

/// 200 with an object and a new secret of it, from this request or without the secret from an
/// earlier one with the same `Idempotency-Key`.
pub struct Issued<T> {
    object: T,
    is_replayed: bool,
}

/// Marks the response to a request that an earlier one with the same `Idempotency-Key` performed.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// 200 or 201 with an object written by PUT.
pub struct Stored<T> {
    object: T,
    is_new: bool,
}

/// 200 with a page of a list.
pub struct Listing<T>(Page<T>);

/// 200 with a body that has no version.
pub struct Unversioned<T>(pub T);

/// 204 after a deletion.
pub struct Deleted;

impl<T, N: Into<T>, E: Into<T>> From<IdempotentOutcome<N, E>> for Created<T> {
    fn from(outcome: IdempotentOutcome<N, E>) -> Self {
        match outcome {
            IdempotentOutcome::New(new) => Self { object: new.into(), is_replayed: false },
            IdempotentOutcome::Existing(existing) => Self { object: existing.into(), is_replayed: true },
        }
    }
}

impl<T, N: Into<T>, E: Into<T>> From<IdempotentOutcome<N, E>> for Issued<T> {
    fn from(outcome: IdempotentOutcome<N, E>) -> Self {
        let Created { object, is_replayed } = outcome.into();
        Self { object, is_replayed }
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
    let body = match serde_json::to_vec(object) {
        Ok(body) => body,
        Err(error) => return Problem::from(Error::from(error)).error_response(),
    };
    let tag = EntityTag::new(Some(object.version()), &digest(&body, T::SHOWN_ONCE));
    let mut response = HttpResponse::build(status);
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((ETAG, tag.to_string()));
    if status == StatusCode::CREATED {
        let issuer = request.app_data::<Data<Services>>().map(|services| services.issuer()).unwrap_or_default();
        response.insert_header((LOCATION, format!("{issuer}{}", object.path())));
    }
    if is_replayed {
        response.insert_header((IDEMPOTENCY_REPLAYED, "true"));
    }
    response.insert_header(ContentType::json()).body(body)
}

/// A digest of a JSON object without some of its members.
fn digest(body: &[u8], without: &[&str]) -> String {
    let mut digest = if without.is_empty() {
        sha256_hex(body)
    } else {
        let mut members: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        members.retain(|name, _| !without.contains(&name.as_str()));
        sha256_hex(Value::Object(members).to_string().as_bytes())
    };
    digest.truncate(32);
    digest
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

impl<T: Resource> Responder for Issued<T> {
    type Body = BoxBody;
    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        write(StatusCode::OK, &self.object, request, self.is_replayed)
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
        Unversioned(self.0).respond_to(request)
    }
}

impl<T: Serialize> Responder for Unversioned<T> {
    type Body = BoxBody;
    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let body = match serde_json::to_vec(&self.0) {
            Ok(body) => body,
            Err(error) => return Problem::from(Error::from(error)).error_response(),
        };
        let mut response = HttpResponse::Ok();
        // The result of a change or of a question is no representation of its path.
        if request.method().is_safe() {
            response.insert_header((ETAG, EntityTag::new(None, &digest(&body, &[])).to_string()));
        }
        response.insert_header((CACHE_CONTROL, "no-store")).insert_header(ContentType::json()).body(body)
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

impl<T: Resource> Success for Issued<T> {
    fn responses() -> Responses {
        let text = "The object with its new secret, or without it if an earlier request with the same Idempotency-Key created the secret.";
        [json_response::<T>("200", text, &["ETag", "Idempotency-Replayed"])].into()
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

impl<T: Serialize + ToSchema> Success for Unversioned<T> {
    fn responses() -> Responses {
        [json_response::<T>("200", "The result.", &[])].into()
    }
}

impl Success for Deleted {
    fn responses() -> Responses {
        [("204".to_owned(), openapi::Response::new("The object was deleted.").into())].into()
    }
}
