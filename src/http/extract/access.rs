//! Access control in handler signatures. The first argument of every handler implements `Guard`: a
//! `Caller<Action>`, a client of the OAuth endpoints, or `Unauthenticated` for a handler without
//! authentication. `on`, the only function that builds a route, accepts no other handler, so a
//! handler without access control does not compile.

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
use utoipa::Path as Attribute;

use crate::{
    domain::access::policy::Action,
    http::{
        extract::request::request_call,
        openapi::{Described, HandlerResponse, HandlerSignature, Part, PermissionRequirement},
        portal::cookie::{self, Page},
        problem::Problem,
    },
    service::{
        Services,
        credentials::caller::{self, CallerCredential, OnBehalfOf},
    },
};

/// An authenticated caller that holds a permission for action `A`.
#[derive(Debug)]
pub struct Caller<A: Action> {
    pub identity: crate::service::caller::Caller,
    action: PhantomData<A>,
}

/// No authentication: the handler verifies credentials itself, or its response is public.
#[derive(Debug)]
pub struct Unauthenticated;

impl FromRequest for Unauthenticated {
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
            let headers = request.headers();
            let session = |page| cookie::of(page, headers);
            let presented = match (session(Page::Portal), session(Page::Console)) {
                (Some(session), _) => CallerCredential::Portal(session),
                (None, Some(session)) => CallerCredential::Console(session),
                (None, None) => CallerCredential::Header(credential(headers)?),
            };
            let services = request.app_data::<Data<Services>>().ok_or_else(Problem::not_found)?;
            let on_behalf_of = parse_on_behalf_of(headers)?;
            let identity = caller::authenticate(services, presented, on_behalf_of, &request_call(&request)).await?;
            if identity.authority.allows::<A>() {
                Ok(Self { identity, action: PhantomData })
            } else {
                Err(Problem::forbidden(&identity.authority.required_permissions::<A>()))
            }
        })
    }
}

/// Returns the single credential of a request, from `Authorization: Bearer` (RFC 6750 §2.1) or
/// `X-API-Key`. Credentials in the query string are not accepted.
pub fn credential(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut bearer = headers.get_all(AUTHORIZATION);
    let mut plain = headers.get_all("x-api-key");
    let credential = match (bearer.next(), plain.next()) {
        (None, None) => return Err(Problem::missing_credentials()),
        (Some(_), Some(_)) => return Err(Problem::multiple_credentials()),
        (Some(value), None) => {
            let text = value.to_str().unwrap_or_default();
            let (scheme, credential) = text.split_once(' ').unwrap_or((text, ""));
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Problem::missing_credentials());
            }
            credential
        }
        (None, Some(value)) => value.to_str().unwrap_or_default(),
    };
    if bearer.next().is_some() || plain.next().is_some() {
        return Err(Problem::multiple_credentials());
    }
    Ok(credential.trim_matches(' '))
}

/// Parses `Keyswap-On-Behalf-Of`, which names the user on whose behalf a back end calls.
fn parse_on_behalf_of(headers: &HeaderMap) -> Result<Option<OnBehalfOf>, Problem> {
    let mut values = headers.get_all("keyswap-on-behalf-of");
    let Some(value) = values.next() else { return Ok(None) };
    let text = if values.next().is_none() { value.to_str().unwrap_or_default() } else { "" };
    let malformed =
        "Keyswap-On-Behalf-Of must be one user, with or without an organization: <user>, or <user>; organization=<id>";
    text.parse().map(Some).map_err(|_| Problem::bad_request(malformed))
}

/// The arguments of a handler: a `Guard` followed by up to four `Part`s. They describe the handler
/// for the OpenAPI document.
pub trait HandlerArguments {
    fn signature() -> HandlerSignature;
}
/// The first argument of a handler, which decides who may call it.
pub trait Guard {
    /// The permissions that the caller must hold. `None` if no permission is required.
    fn needs() -> Option<PermissionRequirement>;
    /// Adds what the argument reads from the request besides its headers.
    fn tell(_: &mut HandlerSignature) {}
}
impl<A: Action> Guard for Caller<A> {
    fn needs() -> Option<PermissionRequirement> {
        Some(PermissionRequirement { action: A::NAME, permissions: A::PERMISSIONS })
    }
}
impl Guard for Unauthenticated {
    fn needs() -> Option<PermissionRequirement> {
        None
    }
}
macro_rules! guarded {
    ($($part:ident)*) => {
        impl<G: Guard, $($part: Part),*> HandlerArguments for (G, $($part),*) {
            fn signature() -> HandlerSignature {
                let mut signature = HandlerSignature { needs: G::needs(), ..HandlerSignature::default() };
                G::tell(&mut signature);
                $($part::tell(&mut signature);)*
                signature
            }
        }
    };
}
guarded!();
guarded!(B);
guarded!(B C);
guarded!(B C D);
guarded!(B C D E);

/// An HTTP method with its handler and the description of the handler for the OpenAPI document.
pub struct Endpoint {
    pub method: Method,
    pub route: Route,
    /// Module and name of the handler, joined by an underscore.
    pub name: &'static str,
    pub describe: fn(&'static str) -> Described,
}

/// Builds an `Endpoint`; there is no other constructor. The `on!` macro supplies `D`, the
/// `utoipa::path` attribute of the handler.
pub fn on<D, F, Args>(method: Method, name: &'static str, handler: F) -> Endpoint
where
    D: Attribute,
    F: Handler<Args>,
    Args: FromRequest + HandlerArguments + 'static,
    F::Output: Responder + HandlerResponse + 'static,
{
    let describe =
        |name| Described::new::<D>(name, HandlerSignature { failures: F::Output::FAILURES, ..Args::signature() });
    Endpoint { method: method.clone(), route: web::method(method).to(handler), name, describe }
}
