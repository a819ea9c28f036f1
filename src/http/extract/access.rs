//! Access control in handler signatures. The first argument of every handler implements `Guard`: a
//! `Caller<Action>`, a client of the OAuth endpoints, or `Unauthenticated` for a handler without
//! authentication. `on`, the only function that builds a route, accepts no other handler, so a
//! handler without access control does not compile.

use std::{marker::PhantomData, ops::Deref};

use actix_web::{
    Error, Handler, HttpRequest, Responder as _, Route,
    dev::Payload,
    guard,
    http::{
        Method,
        header::{AUTHORIZATION, HeaderMap, HeaderName},
    },
    web::{self, Data},
};
use utoipa::Path as Attribute;
use zeroize::Zeroizing;

use crate::{
    domain::access::policy::Action,
    http::{
        error::ErrorFormat,
        extract::{
            argument_faults::ArgumentFaults,
            body::{self, MAX_JSON_SIZE},
            conditional,
            query::check_parameters,
            request::request_call,
        },
        oauth_error::OAuthError,
        openapi::{HandlerArgument, HandlerDescription, HandlerResponse, HandlerSignature, PermissionRequirement},
        portal::cookie::{self, SessionPage},
        problem::Problem,
    },
    service::{
        Services,
        credentials::caller::{self, CallerCredential, OnBehalfOf},
    },
};

// A header that is looked up by a text allocates its name, unless it is a standard one.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const DPOP: HeaderName = HeaderName::from_static("dpop");
pub const ON_BEHALF_OF: HeaderName = HeaderName::from_static("keyswap-on-behalf-of");

/// An authenticated caller that holds a permission for action `A`, with the services that it calls.
pub struct Caller<A: Action> {
    pub services: Data<Services>,
    pub identity: crate::service::caller::Caller,
    action: PhantomData<A>,
}

impl<A: Action> Deref for Caller<A> {
    type Target = crate::service::caller::Caller;
    fn deref(&self) -> &Self::Target {
        &self.identity
    }
}

/// No authentication: the handler verifies credentials itself, or its response is public.
#[derive(Debug)]
pub struct Unauthenticated;

/// The API key in a header of an exchange, which the handler verifies.
pub struct PresentedKey(pub Zeroizing<String>);

impl HandlerArgument for PresentedKey {
    async fn extract(request: &HttpRequest, _: &mut Payload) -> Result<Self, Error> {
        Ok(Self(Zeroizing::new(credential(request.headers())?.to_owned())))
    }
}

impl HandlerArgument for Unauthenticated {
    async fn extract(_: &HttpRequest, _: &mut Payload) -> Result<Self, Error> {
        Ok(Self)
    }
}

impl<A: Action> HandlerArgument for Caller<A> {
    async fn extract(request: &HttpRequest, _: &mut Payload) -> Result<Self, Error> {
        let headers = request.headers();
        let session = |page| cookie::find_session(page, headers);
        let presented = match (session(SessionPage::Portal), session(SessionPage::Console)) {
            (Some(session), _) => CallerCredential::Portal(session),
            (None, Some(session)) => CallerCredential::Console(session),
            (None, None) => CallerCredential::Header(credential(headers)?),
        };
        let services = request.app_data::<Data<Services>>().ok_or_else(Problem::not_found)?.clone();
        let on_behalf_of = parse_on_behalf_of(headers)?;
        let identity = caller::authenticate(&services, presented, on_behalf_of, &request_call(request))
            .await
            .map_err(Problem::from)?;
        if identity.authority.allows::<A>() {
            Ok(Self { services, identity, action: PhantomData })
        } else {
            Err(Problem::forbidden(&identity.authority.required_permissions::<A>()).into())
        }
    }
}

/// Returns the single credential of a request, from `Authorization: Bearer` (RFC 6750 §2.1) or
/// `X-API-Key`. Credentials in the query string are not accepted.
fn credential(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut bearer = headers.get_all(AUTHORIZATION);
    let mut plain = headers.get_all(&X_API_KEY);
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
    match credential.trim_ascii() {
        "" => Err(Problem::empty_credentials()),
        credential => Ok(credential),
    }
}

/// Parses `Keyswap-On-Behalf-Of`, which names the user on whose behalf a back end calls.
pub(super) fn parse_on_behalf_of(headers: &HeaderMap) -> Result<Option<OnBehalfOf>, Problem> {
    let mut values = headers.get_all(&ON_BEHALF_OF);
    let Some(value) = values.next() else { return Ok(None) };
    let text = if values.next().is_none() { value.to_str().unwrap_or_default() } else { "" };
    let malformed = "Keyswap-On-Behalf-Of must be one user, with or without an organization: <user>, or <user>; organization=<id>. Put an \
                     id with a space, comma, semicolon, quote or backslash in double quotes, and a backslash before each quote or \
                     backslash in it";
    OnBehalfOf::parse(text).map(Some).ok_or_else(|| Problem::bad_request(malformed))
}

/// The arguments of a handler: a `Guard` followed by up to four `HandlerArgument`s. They describe
/// the handler for the OpenAPI document.
pub trait HandlerArguments: Sized {
    /// Whether an argument reads the body of the request.
    const READS_BODY: bool;
    /// Whether anyone may call the handler.
    const IS_PUBLIC: bool;
    fn signature() -> HandlerSignature;
    /// Extracts the arguments in order, so that nothing else of a request is examined before its
    /// caller is authenticated. Faults in the fields of several arguments are reported together. If
    /// `is_strict`, a query or a body that no argument reads is refused.
    fn extract(
        request: &HttpRequest,
        payload: &mut Payload,
        is_strict: bool,
    ) -> impl Future<Output = Result<Self, Error>>;
}
/// The first argument of a handler, which decides who may call it.
pub trait Guard: HandlerArgument {
    /// Whether it lets everyone call the handler.
    const IS_PUBLIC: bool = false;
    /// The permissions that the caller must hold. `None` if no permission is required.
    fn needs() -> Option<PermissionRequirement> {
        None
    }
}
impl<A: Action> Guard for Caller<A> {
    fn needs() -> Option<PermissionRequirement> {
        Some(PermissionRequirement::of::<A>())
    }
}
impl Guard for Unauthenticated {
    const IS_PUBLIC: bool = true;
}
impl Guard for PresentedKey {}
macro_rules! impl_handler_arguments {
    ($($argument:ident $value:ident)*) => {
        impl<G: Guard, $($argument: HandlerArgument),*> HandlerArguments for (G, $($argument),*) {
            const READS_BODY: bool = G::READS_BODY $(|| $argument::READS_BODY)*;
            const IS_PUBLIC: bool = G::IS_PUBLIC;

            fn signature() -> HandlerSignature {
                let mut signature = HandlerSignature { needs: G::needs(), ..HandlerSignature::default() };
                G::describe(&mut signature);
                $($argument::describe(&mut signature);)*
                signature
            }

            async fn extract(
                request: &HttpRequest,
                payload: &mut Payload,
                is_strict: bool,
            ) -> Result<Self, Error> {
                let guard = G::extract(request, payload).await?;
                let mut faults = ArgumentFaults::default();
                if is_strict {
                    faults.collect(require_documented::<Self>(request, payload).await.map_err(Error::from))?;
                }
                $(let $value = faults.collect($argument::extract(request, payload).await)?;)*
                faults.finish(|| Some((guard, $($value?),*)))
            }
        }
    };
}
impl_handler_arguments!();
impl_handler_arguments!(B b);
impl_handler_arguments!(B b C c);
impl_handler_arguments!(B b C c D d);
impl_handler_arguments!(B b C c D d E e);

/// Refuses query parameters and bodies that the handler does not read, instead of ignoring what the
/// client may rely on.
async fn require_documented<Args: HandlerArguments>(
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<(), Problem> {
    // Caches and proxies add parameters of their own to public documents and pages.
    let ignores_unknown = Args::IS_PUBLIC && request.method().is_safe();
    if !request.query_string().is_empty() {
        check_parameters(request.query_string(), &Args::signature().query_parameters(), ignores_unknown)?;
    }
    // Many clients send an empty object with every POST. It has no member that could be ignored.
    if Args::READS_BODY || ignores_unknown {
        return Ok(());
    }
    let body = body::read(payload, MAX_JSON_SIZE).await?;
    let is_empty_object =
        || serde_json::from_slice::<serde_json::Map<_, _>>(&body).is_ok_and(|object| object.is_empty());
    if body.trim_ascii().is_empty() || is_empty_object() {
        Ok(())
    } else {
        Err(Problem::bad_request("this operation takes no body: send none, or an empty JSON object"))
    }
}

/// RFC 9449 §5 permits a bearer token in response to a proof. The client would take it for a bound
/// one, so the request is refused instead.
fn refuse_dpop(is_oauth: bool) -> Error {
    let text = "DPoP (RFC 9449) is not supported; remove the DPoP header and use a bearer token";
    if is_oauth { OAuthError::invalid_request(text).into() } else { Problem::bad_request(text).into() }
}

/// An HTTP method with its handler and the description of the handler for the OpenAPI document. GET
/// also answers HEAD.
pub struct Endpoint {
    pub method: Method,
    pub route: Route,
    /// The operation id of the OpenAPI document: a verb and its object, such as `list_api_keys`.
    pub id: &'static str,
    pub describe: fn() -> HandlerDescription,
}

/// Builds an `Endpoint`; there is no other constructor. The `on!` macro supplies `D`, the
/// `utoipa::path` attribute of the handler.
pub fn on<D, F, Args>(method: Method, id: &'static str, handler: F) -> Endpoint
where
    D: Attribute,
    F: Handler<Args>,
    Args: HandlerArguments + 'static,
    F::Output: HandlerResponse + 'static,
{
    // Operations of OAuth ignore unknown parameters (RFC 6749 §3.2).
    let is_strict = F::Output::ERROR_FORMAT == ErrorFormat::Problems;
    let is_read = method == Method::GET;
    let is_oauth = F::Output::ERROR_FORMAT == ErrorFormat::Oauth;
    // Public documents and pages neither take a credential nor issue a token.
    let takes_credentials = !(Args::IS_PUBLIC && method.is_safe());
    let serve = move |request: HttpRequest, payload: web::Payload| {
        let handler = handler.clone();
        async move {
            if takes_credentials && request.headers().contains_key(&DPOP) {
                return Err(refuse_dpop(is_oauth));
            }
            let arguments = Args::extract(&request, &mut payload.into_inner(), is_strict).await?;
            let response = handler.call(arguments).await.respond_to(&request).map_into_boxed_body();
            let evaluate = |response| conditional::evaluate_read(&request, response, Args::IS_PUBLIC);
            Ok::<_, Error>(if is_read { evaluate(response) } else { response })
        }
    };
    let describe = || {
        let signature =
            HandlerSignature { error_format: F::Output::ERROR_FORMAT, is_public: Args::IS_PUBLIC, ..Args::signature() };
        HandlerDescription::new::<D>(signature, F::Output::responses())
    };
    // HEAD is answered like GET: the server omits the body (RFC 9110 §9.3.2).
    let route = if is_read {
        web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
    } else {
        web::method(method.clone())
    };
    Endpoint { method, route: route.to(serve), id, describe }
}
