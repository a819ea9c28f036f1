//! Authentication of the callers of introspection and revocation: a client with an API key, as at
//! the token endpoint, or a caller of `/v1` with an API key or token as bearer credential. Handlers
//! declare them in their signatures, like callers of `/v1`. The parsed form is part of the argument
//! because it may contain the credentials.

use std::marker::PhantomData;

use actix_web::{Error, HttpRequest, dev::Payload, web::Data};

use crate::{
    domain::access::policy::Action,
    http::{
        credentials::client_authentication::{self, PresentedClient},
        extract::{Form, access::Guard, request_call},
        oauth_error::{OAuthError, RejectedKeyError},
        openapi::{HandlerArgument, HandlerSignature, PermissionRequirement, documents::TokenParameters},
    },
    service::{Services, credentials::client::AuthenticatedClient},
};

/// An authenticated client and the form that it sent.
pub struct ClientRequest {
    pub identity: AuthenticatedClient,
    form: Form,
}

/// A client that holds a permission for action `A`.
pub struct AuthorizedClient<A: Action> {
    pub client: ClientRequest,
    action: PhantomData<A>,
}

impl ClientRequest {
    /// The `token` parameter. `token_type_hint` is ignored because the type follows from the value.
    pub fn token(&self) -> Result<&str, OAuthError> {
        self.form.one("token").ok_or(OAuthError::invalid_request("token is missing"))
    }
}

impl HandlerArgument for ClientRequest {
    const READS_BODY: bool = true;
    fn describe(signature: &mut HandlerSignature) {
        signature.set_form_body::<TokenParameters>();
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        let form = Form::extract(request, payload).await?;
        let services = request.app_data::<Data<Services>>().ok_or_else(OAuthError::not_found)?;
        if request.headers().contains_key("keyswap-on-behalf-of") {
            return Err(OAuthError::invalid_request("Keyswap-On-Behalf-Of is accepted by paths below /v1 only").into());
        }
        let call = request_call(request);
        let (identity, rejected) = match client_authentication::parse_client(request.headers(), &form)? {
            PresentedClient::Secret(client) => (
                AuthenticatedClient::authenticate_key(services, &client.secret, Some(client.id), &call).await,
                RejectedKeyError::Client,
            ),
            PresentedClient::Bearer(credential) => (
                AuthenticatedClient::authenticate_key_or_token(services, &credential, &call).await,
                RejectedKeyError::Bearer,
            ),
        };
        Ok(Self { identity: identity.map_err(|error| OAuthError::from_denied(error, rejected))?, form })
    }
}

impl<A: Action> HandlerArgument for AuthorizedClient<A> {
    const READS_BODY: bool = true;
    fn describe(signature: &mut HandlerSignature) {
        ClientRequest::describe(signature);
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        let client = ClientRequest::extract(request, payload).await?;
        if client.identity.caller.authority.allows::<A>() {
            Ok(Self { client, action: PhantomData })
        } else {
            Err(OAuthError::insufficient_scope(A::PERMISSIONS).into())
        }
    }
}

impl Guard for ClientRequest {}

impl<A: Action> Guard for AuthorizedClient<A> {
    fn needs() -> Option<PermissionRequirement> {
        Some(PermissionRequirement::of::<A>())
    }
}
