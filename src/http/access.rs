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
use utoipa::Path as Attribute;

use crate::{
    domain::policy::Action,
    service::{
        App,
        caller::{self, OnBehalfOf, Shown},
    },
};

use super::{
    openapi::{Described, Failing, Needs, Part, Signature},
    pages::cookie::{self, Page},
    problem::Problem,
    request::call,
};

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
            let headers = request.headers();
            let session = |page| cookie::of(page, headers);
            let shown = match (session(Page::Portal), session(Page::Console)) {
                (Some(session), _) => Shown::Portal(session),
                (None, Some(session)) => Shown::Console(session),
                (None, None) => Shown::Header(credential(headers)?),
            };
            let app = request.app_data::<Data<App>>().ok_or_else(Problem::not_found)?;
            let on_behalf_of = on_behalf_of(headers)?;
            let identity = caller::authenticate(app, shown, on_behalf_of, &call(&request)).await?;
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

/// Arguments that begin with who may call, and what they tell of the handler.
pub trait Guarded {
    fn signature() -> Signature;
}
/// The first of them.
pub trait Guard {
    /// What the caller must hold; nothing for `Anyone`.
    fn needs() -> Option<Needs>;
    /// What it reads beside the headers.
    fn tell(_: &mut Signature) {}
}
impl<A: Action> Guard for Caller<A> {
    fn needs() -> Option<Needs> {
        Some(Needs { action: A::NAME, permissions: A::PERMISSIONS })
    }
}
impl Guard for Anyone {
    fn needs() -> Option<Needs> {
        None
    }
}
macro_rules! guarded {
    ($($part:ident)*) => {
        impl<G: Guard, $($part: Part),*> Guarded for (G, $($part),*) {
            fn signature() -> Signature {
                let mut signature = Signature { needs: G::needs(), ..Signature::default() };
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

/// A method of a path, its handler, and what the OpenAPI document says of it.
pub struct Endpoint {
    pub method: Method,
    pub route: Route,
    /// The handler's module and name.
    pub name: &'static str,
    pub describe: fn(&'static str) -> Described,
}

/// The one way to make an `Endpoint`; `on!` finds the attribute of a handler and names it.
pub fn on<D, F, Args>(method: Method, name: &'static str, handler: F) -> Endpoint
where
    D: Attribute,
    F: Handler<Args>,
    Args: FromRequest + Guarded + 'static,
    F::Output: Responder + Failing + 'static,
{
    let describe = |name| Described::new::<D>(name, Signature { failures: F::Output::FAILURES, ..Args::signature() });
    Endpoint { method: method.clone(), route: web::method(method).to(handler), name, describe }
}
