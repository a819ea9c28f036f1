//! Authentication by an API key, or by a token for the management audience.

use crate::{
    domain::{
        access::{
            audience::Identifier,
            owner::OwnerScope,
            permission::{PermissionName, PermissionSet},
            policy::{CallerPermissions, GrantablePermissions, TenantScope},
        },
        credentials::error::CredentialError,
        events::Actor,
        exchange::{
            claims::Claims,
            grant,
            key_context::{ExchangeParameters, KeyContext},
            refusal::DenyReason,
        },
    },
    service::{
        Services,
        caller::Caller,
        credentials::{
            api_key::verify_api_key,
            error::AuthError,
            request_context::RequestContext,
            token::{find_key_of_token, has_token_format},
            verify::{PresentedCredential, verify},
        },
    },
    store::LookupDetail,
    telemetry::labels::RequestForm,
};

/// A caller that authenticated with a key, or with a token of a key.
#[derive(Debug)]
pub struct AuthenticatedClient {
    pub caller: Caller,
    /// The `client_id` claim of tokens that are issued for its key.
    pub id: String,
    /// The audiences of its key. `None` means any audience.
    pub audiences: Option<Vec<Identifier>>,
}

impl AuthenticatedClient {
    /// Authenticates an API key, or a token for the management audience.
    pub async fn authenticate_key_or_token(
        services: &Services,
        credential: &str,
        call: &RequestContext,
    ) -> Result<Self, AuthError> {
        if has_token_format(credential) {
            Self::authenticate_token(services, credential, call).await
        } else {
            Self::authenticate_key(services, credential, None, call).await
        }
    }

    /// Authenticates an API key. If a `client_id` is given (RFC 6749 §2.3.1), the key must match
    /// it.
    pub async fn authenticate_key(
        services: &Services,
        key: &str,
        client_id: Option<String>,
        call: &RequestContext,
    ) -> Result<Self, AuthError> {
        let request = ExchangeParameters { client_id, ..management_exchange_request(services) };
        let presented = PresentedCredential { value: key, source: call.source, form: Some(RequestForm::Management) };
        let verified = verify_api_key(services, presented, &request, LookupDetail::Context, async |context| {
            Self::new(services, context, &request, None, call)
        });
        Ok(verified.await?.decision)
    }

    /// Authenticates a token for the management audience. Its key must still be in force, so a
    /// revoked key or token is refused immediately.
    pub(crate) async fn authenticate_token(
        services: &Services,
        token: &str,
        call: &RequestContext,
    ) -> Result<Self, AuthError> {
        let request = management_exchange_request(services);
        let presented = PresentedCredential { value: token, source: call.source, form: None };
        let audience = services.settings.management_audience.as_str();
        let parse = |text: &str| Some((services.keys.view().verify(text, services.issuer(), audience)?, None));
        verify(services, presented, parse, async |claims: Claims| {
            let found = find_key_of_token(services, &claims, request.targets.clone(), LookupDetail::Context).await?;
            let scope = claims.scope.as_deref().map(PermissionSet::from_stored).transpose();
            let scope = scope.map_err(|_| CredentialError::Malformed)?.unwrap_or_default();
            Self::new(services, &found.record.context, &request, Some(scope), call)
        })
        .await
    }

    /// `token_scope` is the scope of a token, which limits the permissions of its key. A token with
    /// a reduced scope grants no management permission outside of that scope, even if its key holds
    /// the permission.
    fn new(
        services: &Services,
        context: &KeyContext,
        request: &ExchangeParameters,
        token_scope: Option<PermissionSet>,
        call: &RequestContext,
    ) -> Result<Self, AuthError> {
        let (key, limits) = (&context.key, &services.settings.limits);
        let scope = match grant::decide(context, request, limits) {
            Ok(grant) => grant.scope,
            Err(DenyReason::Credential(fault)) => return Err(AuthError::Credential(fault)),
            // The key is valid but has no permission here: the caller is authenticated with an
            // empty scope.
            Err(DenyReason::Scope(_) | DenyReason::Target(_)) => PermissionSet::default(),
        };
        let scope = match token_scope {
            None => scope,
            Some(token_scope) => token_scope.intersection(&scope),
        };
        let holdings = match GrantablePermissions::of(scope.clone()) {
            GrantablePermissions::WholeCatalog => GrantablePermissions::WholeCatalog,
            GrantablePermissions::Only(_) => {
                let grantable = key.grantable_permissions(limits);
                let is_within = |name: &&PermissionName| !name.is_management() || scope.contains(name);
                GrantablePermissions::Only(grantable.iter().filter(is_within).cloned().collect())
            }
        };
        let (owner_scope, limits) = (&key.ownership.owner_scope, key.limits());
        Ok(Self {
            id: key.subject().client_id(&key.id).to_owned(),
            audiences: limits.audiences.clone(),
            caller: Caller {
                origin: call.origin(Actor::Key(key.id.clone()), None),
                authority: CallerPermissions { scope, tenant_scope: TenantScope::of(owner_scope) },
                holdings,
                limits: (*owner_scope != OwnerScope::Account).then_some(limits),
                on_behalf_of: owner_scope.user().is_some().then(|| owner_scope.clone()),
            },
        })
    }
}

/// The request of which the scope is the management permissions of a key.
pub(crate) fn management_exchange_request(services: &Services) -> ExchangeParameters {
    ExchangeParameters {
        targets: [services.settings.management_audience.clone()].into(),
        ..ExchangeParameters::default()
    }
}
