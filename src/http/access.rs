//! Who may call a handler stands in its signature: the first argument is a `Caller<Action>` or, on purpose, `Anyone`. The
//! functions here that make routes take no other handler, so one that forgot does not compile.

use std::{future::Future, marker::PhantomData, pin::Pin};

use actix_web::{
    FromRequest, Handler, HttpRequest, Responder, Route,
    dev::Payload,
    http::{
        Method,
        header::{AUTHORIZATION, HeaderMap},
    },
    web::{self, Data},
};

use crate::{
    domain::policy::Action,
    service::{
        App,
        caller::{self, OnBehalfOf},
    },
};

use super::{problem::Problem, request::call};

/// Someone who may do `A`.
#[derive(Debug)]
pub struct Caller<A: Action> {
    pub identity: caller::Caller,
    action: PhantomData<A>,
}

/// No credentials are asked for: the handler checks what it is given, or what it serves is public.
#[derive(Debug)]
pub struct Anyone;

impl FromRequest for Anyone {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;
    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(Ok(Self))
    }
}

impl<A: Action> FromRequest for Caller<A> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let credential = credential(request.headers())?;
            let app = request.app_data::<Data<App>>().ok_or_else(Problem::not_found)?;
            let on_behalf_of = on_behalf_of(request.headers())?;
            let identity = caller::authenticate(app, credential, on_behalf_of, &call(&request)).await?;
            if identity.authority.allows::<A>() {
                Ok(Self { identity, action: PhantomData })
            } else {
                Err(Problem::forbidden(&identity.authority.needed::<A>()))
            }
        })
    }
}

/// The one credential a request carries, in one of two headers (RFC 6750 §2.1); never in the query string.
pub fn credential(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut bearer = headers.get_all(AUTHORIZATION);
    let mut plain = headers.get_all("x-api-key");
    let credential = match (bearer.next(), plain.next()) {
        (None, None) => return Err(Problem::no_credentials()),
        (Some(_), Some(_)) => return Err(Problem::two_credentials()),
        (Some(value), None) => {
            let text = value.to_str().unwrap_or_default();
            let (scheme, credential) = text.split_once(' ').unwrap_or((text, ""));
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Problem::no_credentials());
            }
            credential
        }
        (None, Some(value)) => value.to_str().unwrap_or_default(),
    };
    if bearer.next().is_some() || plain.next().is_some() {
        return Err(Problem::two_credentials());
    }
    Ok(credential.trim_matches(' '))
}

/// For whom a back end calls.
fn on_behalf_of(headers: &HeaderMap) -> Result<Option<OnBehalfOf>, Problem> {
    let mut values = headers.get_all("keyswap-on-behalf-of");
    let Some(value) = values.next() else { return Ok(None) };
    let text = if values.next().is_none() { value.to_str().unwrap_or_default() } else { "" };
    let malformed = "Keyswap-On-Behalf-Of names one user, and where they act: <user>, or <user>; organization=<id>";
    text.parse().map(Some).map_err(|_| Problem::bad_request(malformed))
}

/// Arguments that begin with who may call.
pub trait Guarded {}
/// The first of them.
pub trait Guard {}
impl<A: Action> Guard for Caller<A> {}
impl Guard for Anyone {}
impl<G: Guard> Guarded for (G,) {}
impl<G: Guard, B> Guarded for (G, B) {}
impl<G: Guard, B, C> Guarded for (G, B, C) {}
impl<G: Guard, B, C, D> Guarded for (G, B, C, D) {}
impl<G: Guard, B, C, D, E> Guarded for (G, B, C, D, E) {}

/// A method of a path, and its handler.
pub fn on<F, Args>(method: Method, handler: F) -> (Method, Route)
where
    F: Handler<Args>,
    Args: FromRequest + Guarded + 'static,
    F::Output: Responder + 'static,
{
    (method.clone(), web::method(method).to(handler))
}
