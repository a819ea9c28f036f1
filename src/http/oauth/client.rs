//! Who calls introspection and revocation: a client with its key, as at the token endpoint, or whoever calls `/v1`, with a key or a token
//! as bearer. They stand in a handler's signature as callers of `/v1` do; the form comes with them, since credentials may stand in it.

use std::{future::Future, marker::PhantomData, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Data};

use crate::{
    domain::policy::Action,
    http::{
        access::Guard,
        openapi::{Needs, Signature, objects::PresentedToken},
        request::call,
    },
    service::{
        App,
        caller::{self, Call},
    },
};

use super::{
    client_auth::{self, Shown},
    error::{BadKey, OauthError},
    form::Form,
};

/// Someone who is known, and what they sent.
#[derive(Debug)]
pub struct Client {
    pub identity: caller::Client,
    form: Form,
}

/// A client that may do `A`.
#[derive(Debug)]
pub struct Permitted<A: Action> {
    pub client: Client,
    action: PhantomData<A>,
}

impl Client {
    /// What was shown. What kind of token it might be is told by looking at it: a hint could only be wrong.
    pub fn token(&self) -> Result<&str, OauthError> {
        self.form.one("token").ok_or(OauthError::invalid_request("token is missing"))
    }

    async fn of(request: &HttpRequest, form: Form) -> Result<Self, OauthError> {
        let app = request.app_data::<Data<App>>().ok_or_else(OauthError::not_found)?;
        if request.headers().contains_key("keyswap-on-behalf-of") {
            return Err(OauthError::invalid_request("Keyswap-On-Behalf-Of is for the paths below /v1"));
        }
        let shown = client_auth::shown(request.headers(), &form)?;
        let identity = identity(app, shown, &call(request)).await?;
        Ok(Self { identity, form })
    }
}

async fn identity(app: &App, shown: Shown, call: &Call) -> Result<caller::Client, OauthError> {
    match shown {
        Shown::Client(client) => {
            let known = caller::client(app, client.id, &client.secret, call).await;
            known.map_err(|denied| OauthError::denied(denied, BadKey::Client))
        }
        Shown::Bearer(credential) => {
            let known = caller::bearer(app, &credential, call).await;
            known.map_err(|denied| OauthError::denied(denied, BadKey::Bearer))
        }
    }
}

impl FromRequest for Client {
    type Error = OauthError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, OauthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, form) = (request.clone(), Form::from_request(request, payload));
        Box::pin(async move { Self::of(&request, form.await?).await })
    }
}

impl<A: Action> FromRequest for Permitted<A> {
    type Error = OauthError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, OauthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let client = Client::from_request(request, payload);
        Box::pin(async move {
            let client = client.await?;
            if client.identity.caller.authority.allows::<A>() {
                Ok(Self { client, action: PhantomData })
            } else {
                Err(OauthError::insufficient_scope(A::PERMISSIONS))
            }
        })
    }
}

impl Guard for Client {
    fn needs() -> Option<Needs> {
        None
    }

    fn tell(signature: &mut Signature) {
        signature.takes_form::<PresentedToken>();
    }
}

impl<A: Action> Guard for Permitted<A> {
    fn needs() -> Option<Needs> {
        Some(Needs { action: A::NAME, permissions: A::PERMISSIONS })
    }

    fn tell(signature: &mut Signature) {
        Client::tell(signature);
    }
}
