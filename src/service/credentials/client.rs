//! Authentication of OAuth clients at introspection and revocation.

use crate::{
    domain::access::audience::Identifier,
    service::{
        Services,
        caller::Caller,
        credentials::{error::AuthError, key_identity::KeyIdentity, request_context::RequestContext},
    },
};

/// A caller that authenticates as an OAuth client or resource server.
#[derive(Debug, Clone)]
pub struct Client {
    pub caller: Caller,
    /// The `client_id` claim of tokens that are issued for its key.
    pub id: String,
    /// The audiences of its key. `None` means any audience.
    pub audiences: Option<Vec<Identifier>>,
}

/// Authenticates a client by a key or a token alone.
pub async fn authenticate_bearer(
    services: &Services,
    credential: &str,
    call: &RequestContext,
) -> Result<Client, AuthError> {
    Ok(Client::new(KeyIdentity::of_key_or_token(services, credential, call.source).await?, call))
}

/// Authenticates a client by its `client_id` and key (RFC 6749 §2.3.1). The key must match the
/// `client_id`.
pub async fn authenticate_client(
    services: &Services,
    id: String,
    key: &str,
    call: &RequestContext,
) -> Result<Client, AuthError> {
    Ok(Client::new(KeyIdentity::of_key(services, key, call.source, Some(id)).await?, call))
}

impl Client {
    fn new(identity: KeyIdentity, call: &RequestContext) -> Self {
        Self {
            id: identity.client_id.clone(),
            audiences: identity.limits.audiences.clone(),
            caller: identity.into_caller(call),
        }
    }
}
