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
            grant,
            key_context::{ExchangeParameters, KeyContext, Limits},
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
            token::{SignedToken, find_key_of_token, has_token_format},
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
        let audience = &services.settings.management_audience;
        let parse = |text: &str| Some((SignedToken::verify_for(services, text, audience)?, None));
        verify(services, presented, parse, async |token: SignedToken| {
            let targets = request.targets.clone();
            let (context, _) = find_key_of_token(services, &token, targets, LookupDetail::Context).await?;
            let scope = token.claims.scope.as_deref().map(PermissionSet::from_stored).transpose();
            let scope = scope.map_err(|_| CredentialError::Malformed)?.unwrap_or_default();
            Self::new(services, &context, &request, Some(scope), call)
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
        let owner_scope = &key.ownership.owner_scope;
        let tenant_scope = TenantScope::of(owner_scope);
        let scope = tenant_scope.restrict(&management_scope(context, request, limits)?);
        let scope = match token_scope {
            None => scope,
            Some(token_scope) => token_scope.intersection(&scope),
        };
        let holdings = match GrantablePermissions::of(scope.clone()) {
            GrantablePermissions::WholeCatalog => GrantablePermissions::WholeCatalog,
            GrantablePermissions::Only(_) => {
                let grantable = tenant_scope.restrict(&key.grantable_permissions(limits));
                let is_within = |name: &&PermissionName| !name.is_management() || scope.contains(name);
                GrantablePermissions::Only(grantable.iter().filter(is_within).cloned().collect())
            }
        };
        let is_in_tenant = *owner_scope != OwnerScope::Account;
        let mut limits = key.limits();
        // Services may read the access records of a key that is not record-bound as well.
        limits.record_bound =
            !services.settings.limits.record_bound && (key.record_bound || !key.access_statements.is_empty());
        Ok(Self {
            id: key.subject().client_id(&key.id).to_owned(),
            audiences: limits.audiences.clone(),
            caller: Caller {
                origin: call.origin(Actor::Key(key.id.clone()), None),
                authority: CallerPermissions { scope, tenant_scope },
                holdings,
                limits: is_in_tenant.then_some(limits),
                key_access: is_in_tenant.then(|| key.access_statements.clone()),
                user_scope: owner_scope.user().is_some().then(|| owner_scope.clone()),
            },
        })
    }
}

/// Returns the management permissions that a key has now. A key that is in force and has none
/// yields an empty scope.
pub(crate) fn management_scope(
    context: &KeyContext,
    request: &ExchangeParameters,
    limits: &Limits,
) -> Result<PermissionSet, CredentialError> {
    match grant::decide(context, request, limits) {
        Ok(grant) => Ok(grant.scope),
        Err(DenyReason::Credential(fault)) => Err(fault),
        Err(DenyReason::Scope(_) | DenyReason::Target(_) | DenyReason::Lifetime(_)) => Ok(PermissionSet::default()),
    }
}

/// The request of which the scope is the management permissions of a key.
pub(crate) fn management_exchange_request(services: &Services) -> ExchangeParameters {
    ExchangeParameters {
        targets: [services.settings.management_audience.clone()].into(),
        ..ExchangeParameters::default()
    }
}
