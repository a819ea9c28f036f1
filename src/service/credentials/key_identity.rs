//! Callers that authenticate with an API key or with a token for the management audience.

use crate::{
    domain::{
        access::{
            owner::OwnerScope,
            permission::{PermissionName, PermissionSet},
            policy::{CallerPermissions, GrantablePermissions, TenantScope},
        },
        common::id::KeyId,
        credentials::{api_key::KeyLimits, error::CredentialError},
        events::Actor,
        exchange::{
            claims::Claims,
            grant,
            key_context::{KeyContext, Request},
            refusal::DenyReason,
        },
    },
    service::{
        Services,
        caller::Caller,
        credentials::{
            api_key::verify_api_key,
            brute_force::Source,
            error::AuthError,
            request_context::RequestContext,
            token::{find_key_of_token, has_token_format},
            verify::{PresentedCredential, verify},
        },
    },
    store::LookupDetail,
    telemetry::labels::Form,
};

/// An authenticated key, or the key of an authenticated token.
pub(crate) struct KeyIdentity {
    key: KeyId,
    /// The `client_id` claim of tokens that are issued for the key.
    pub client_id: String,
    home: OwnerScope,
    /// The management permissions in effect.
    scope: PermissionSet,
    holdings: GrantablePermissions,
    pub limits: KeyLimits,
}

impl KeyIdentity {
    /// Authenticates an API key, or a token for the management audience.
    pub async fn of_key_or_token(services: &Services, credential: &str, source: Source) -> Result<Self, AuthError> {
        if has_token_format(credential) {
            Self::of_token(services, credential, source).await
        } else {
            Self::of_key(services, credential, source, None).await
        }
    }

    /// Authenticates an API key. If a `client_id` is given, the key must match it.
    pub async fn of_key(
        services: &Services,
        key: &str,
        source: Source,
        client_id: Option<String>,
    ) -> Result<Self, AuthError> {
        let request = Request { client_id, ..management_exchange_request(services) };
        let presented = PresentedCredential { value: key, source, form: Some(Form::Management) };
        let verified = verify_api_key(services, presented, &request, LookupDetail::Context, async |context| {
            Self::new(services, context, &request, None)
        });
        Ok(verified.await?.decision)
    }

    /// Authenticates a token for the management audience. Its key must still be in force, so a
    /// revoked key or token is refused immediately.
    pub async fn of_token(services: &Services, token: &str, source: Source) -> Result<Self, AuthError> {
        let request = management_exchange_request(services);
        let presented = PresentedCredential { value: token, source, form: None };
        let audience = services.settings.management_audience.as_str();
        let parse = |text: &str| Some((services.keys.view().verify(text, services.issuer(), audience)?, None));
        verify(services, presented, parse, async |claims: Claims| {
            let found = find_key_of_token(services, &claims, request.targets.clone(), LookupDetail::Context).await?;
            let scope = claims.scope.as_deref().map(PermissionSet::from_stored).transpose();
            let scope = scope.map_err(|_| AuthError::Credential(CredentialError::Malformed))?.unwrap_or_default();
            Self::new(services, &found.record.context, &request, Some(scope))
        })
        .await
    }

    /// `token_scope` is the scope of a token, which limits the permissions of its key. A token with
    /// a reduced scope grants no management permission outside of that scope, even if its key holds
    /// the permission.
    fn new(
        services: &Services,
        context: &KeyContext,
        request: &Request,
        token_scope: Option<PermissionSet>,
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
            GrantablePermissions::Listed(_) => {
                let grantable = key.grantable_permissions(limits);
                let is_within = |name: &&PermissionName| !name.is_management() || scope.contains(name);
                GrantablePermissions::Listed(grantable.iter().filter(is_within).cloned().collect())
            }
        };
        Ok(Self {
            key: key.id.clone(),
            client_id: key.subject().client_id(&key.id).to_owned(),
            home: key.ownership.home.clone(),
            scope,
            holdings,
            limits: key.limits(),
        })
    }

    pub fn into_caller(self, call: &RequestContext) -> Caller {
        Caller {
            origin: call.origin(Actor::Key(self.key), None),
            authority: CallerPermissions { scope: self.scope, tenant_scope: TenantScope::of(&self.home) },
            holdings: self.holdings,
            limits: matches!(self.home, OwnerScope::Organization { .. } | OwnerScope::User { .. })
                .then_some(self.limits),
            on_behalf_of: self.home.user().is_some().then_some(self.home),
        }
    }
}

/// The request of which the scope is the management permissions of a key.
pub(crate) fn management_exchange_request(services: &Services) -> Request {
    Request { targets: [services.settings.management_audience.clone()].into(), ..Request::default() }
}
