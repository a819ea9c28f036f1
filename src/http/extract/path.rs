//! Ids in paths. Their names come from the route.

use std::{borrow::Cow, fmt::Display, str::FromStr};

use actix_web::{Error, FromRequest, HttpRequest, dev::Payload, web};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

use crate::{
    domain::common::percent_encoding::decode_segment,
    http::{
        openapi::signature::{HandlerArgument, HandlerSignature},
        problem::Problem,
    },
};

/// The id in the path. A malformed id gets the same bytes as an id that does not exist.
pub struct Path<T>(pub T);

/// Two ids in the path.
pub struct PathPair<A, B>(pub A, pub B);

/// The id in the path, which the caller chooses. The error for a malformed id describes the format.
pub struct NewPath<T>(pub T);

/// Returns the name of a parameter of the route and its decoded text. Actix decodes a path, but
/// leaves `%2F`, `%2B` and `%25` as they are.
fn parameter(request: &HttpRequest, position: usize) -> Option<(&str, Cow<'_, str>)> {
    let (name, text) = request.match_info().iter().nth(position)?;
    Some((name, decode_segment(text)?))
}

fn parse<T: FromStr>(request: &HttpRequest, position: usize) -> Result<T, Problem> {
    let id = parameter(request, position).and_then(|(_, text)| text.parse().ok());
    id.ok_or_else(Problem::not_found)
}

/// The parameter of an id. The OpenAPI document sets its name from the route.
fn id_parameter<T: ToSchema>() -> Parameter {
    ParameterBuilder::new().parameter_in(ParameterIn::Path).required(Required::True).schema(Some(T::schema())).build()
}

impl<T: FromStr + ToSchema> HandlerArgument for Path<T> {
    fn describe(signature: &mut HandlerSignature) {
        signature.parameters.push(id_parameter::<T>());
    }
    async fn extract(request: &HttpRequest, _: &mut Payload) -> Result<Self, Error> {
        Ok(Self(parse(request, 0)?))
    }
}

impl<A: FromStr + ToSchema, B: FromStr + ToSchema> HandlerArgument for PathPair<A, B> {
    fn describe(signature: &mut HandlerSignature) {
        signature.parameters.extend([id_parameter::<A>(), id_parameter::<B>()]);
    }
    async fn extract(request: &HttpRequest, _: &mut Payload) -> Result<Self, Error> {
        Ok(Self(parse(request, 0)?, parse(request, 1)?))
    }
}

impl<T: FromStr<Err: Display> + ToSchema> HandlerArgument for NewPath<T> {
    fn describe(signature: &mut HandlerSignature) {
        signature.parameters.push(id_parameter::<T>());
    }
    async fn extract(request: &HttpRequest, _: &mut Payload) -> Result<Self, Error> {
        let (name, text) = parameter(request, 0).unwrap_or_default();
        let invalid = |error: T::Err| Problem::invalid_field(name, error.to_string());
        Ok(Self(text.parse().map_err(invalid)?))
    }
}

/// The path of a file.
impl<T: serde::de::DeserializeOwned + IntoParams + 'static> HandlerArgument for web::Path<T> {
    fn describe(signature: &mut HandlerSignature) {
        signature.parameters.extend(T::into_params(|| Some(ParameterIn::Path)));
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        Self::from_request(request, payload).await
    }
}
