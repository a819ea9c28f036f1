//! Authentication of the callers of introspection and revocation: a client with an API key, as at
//! the token endpoint, or a caller of `/v1` with an API key or token as bearer credential. Handlers
//! declare them in their signatures, like callers of `/v1`. The parsed form is part of the argument
//! because it may contain the credentials.

use std::marker::PhantomData;

use actix_web::{Error, HttpRequest, dev::Payload, web::Data};

use crate::{
    domain::access::{
        policy::Action,
        resource::{InvalidResource, Resource},
    },
    http::{
        credentials::client_authentication::{self, PresentedClient},
        extract::{
            Form,
            access::{Guard, ON_BEHALF_OF},
            request_call,
        },
        oauth_error::{OAuthError, RejectedKeyError},
        openapi::{
            HandlerArgument, HandlerSignature, PermissionRequirement,
            documents::{IntrospectionParameters, TokenParameters},
        },
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
        let token = self.form.one("token").map(str::trim_ascii).filter(|token| !token.is_empty());
        token.ok_or(OAuthError::invalid_request("token is missing"))
    }

    /// The `resource` parameter of introspection: the resource that a request concerns.
    pub fn resource(&self) -> Result<Option<Resource>, OAuthError> {
        let invalid = |error: InvalidResource| OAuthError::invalid_request(error.to_string());
        self.form.at_most_one("resource")?.map(|text| text.parse().map_err(invalid)).transpose()
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
        if request.headers().contains_key(&ON_BEHALF_OF) {
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
        signature.set_form_body::<IntrospectionParameters>();
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
