//! Authentication of the callers of introspection and revocation: a client with an API key, as at
//! the token endpoint, or a caller of `/v1` with an API key or token as bearer credential. Handlers
//! declare them in their signatures, like callers of `/v1`. The parsed form is part of the argument
//! because it may contain the credentials.

use std::{future::Future, marker::PhantomData, pin::Pin};

use actix_web::{Error, FromRequest, HttpRequest, dev::Payload, web::Data};

use crate::{
    domain::access::policy::Action,
    http::{
        credentials::client_authentication::{self, PresentedClient},
        extract::{access::Guard, form::Form, request::request_call},
        oauth_error::{OAuthError, RejectedKeyError},
        openapi::{HandlerArgument, HandlerSignature, PermissionRequirement, documents::TokenParameters},
    },
    service::{
        Services,
        credentials::{client, request_context::RequestContext},
    },
};

/// An authenticated client and the form that it sent.
#[derive(Debug)]
pub struct Client {
    pub identity: client::Client,
    form: Form,
}

/// A client that holds a permission for action `A`.
#[derive(Debug)]
pub struct AuthorizedClient<A: Action> {
    pub client: Client,
    action: PhantomData<A>,
}

impl Client {
    /// The `token` parameter. `token_type_hint` is ignored because the type follows from the value.
    pub fn token(&self) -> Result<&str, OAuthError> {
        self.form.one("token").ok_or(OAuthError::invalid_request("token is missing"))
    }

    async fn of(request: &HttpRequest, form: Form) -> Result<Self, OAuthError> {
        let services = request.app_data::<Data<Services>>().ok_or_else(OAuthError::not_found)?;
        if request.headers().contains_key("keyswap-on-behalf-of") {
            return Err(OAuthError::invalid_request("Keyswap-On-Behalf-Of is accepted by paths below /v1 only"));
        }
        let presented = client_authentication::parse_client(request.headers(), &form)?;
        let identity = authenticate(services, presented, &request_call(request)).await?;
        Ok(Self { identity, form })
    }
}

async fn authenticate(
    services: &Services,
    presented: PresentedClient,
    call: &RequestContext,
) -> Result<client::Client, OAuthError> {
    let (client, rejected) = match presented {
        PresentedClient::Secret(client) => {
            (client::Client::of_key(services, &client.secret, Some(client.id), call).await, RejectedKeyError::Client)
        }
        PresentedClient::Bearer(credential) => {
            (client::Client::of_key_or_token(services, &credential, call).await, RejectedKeyError::Bearer)
        }
    };
    client.map_err(|error| OAuthError::from_denied(error, rejected))
}

impl FromRequest for Client {
    type Error = OAuthError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, OAuthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, form) = (request.clone(), Form::from_request(request, payload));
        Box::pin(async move { Self::of(&request, form.await?).await })
    }
}

impl<A: Action> FromRequest for AuthorizedClient<A> {
    type Error = OAuthError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, OAuthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let client = Client::from_request(request, payload);
        Box::pin(async move {
            let client = client.await?;
            if client.identity.caller.authority.allows::<A>() {
                Ok(Self { client, action: PhantomData })
            } else {
                Err(OAuthError::insufficient_scope(A::PERMISSIONS))
            }
        })
    }
}

impl HandlerArgument for Client {
    const READS_BODY: bool = true;
    fn describe(signature: &mut HandlerSignature) {
        signature.set_form_body::<TokenParameters>();
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        Ok(Self::from_request(request, payload).await?)
    }
}

impl<A: Action> HandlerArgument for AuthorizedClient<A> {
    const READS_BODY: bool = true;
    fn describe(signature: &mut HandlerSignature) {
        Client::describe(signature);
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        Ok(Self::from_request(request, payload).await?)
    }
}

impl Guard for Client {}

impl<A: Action> Guard for AuthorizedClient<A> {
    fn needs() -> Option<PermissionRequirement> {
        Some(PermissionRequirement { action: A::NAME, permissions: A::PERMISSIONS })
    }
}
