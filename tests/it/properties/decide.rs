//! Properties of `grant::decide` for arbitrary key contexts and requests.

use keyswap::domain::{
    access::{
        claim_map::ClaimSourceObject,
        permission::{PermissionName, PermissionSet},
        token_profile::{AudienceClaimFormat, TokenProfile},
    },
    common::time::Span,
    credentials::error::CredentialError,
    exchange::{
        claims::AudienceClaim,
        grant,
        key_context::{ExchangeParameters, KeyContext, Limits},
        refusal::{DenyReason, PermissionLimit, ScopeError, TargetError},
    },
    signing::Algorithm,
};
use proptest::prelude::*;
use serde_json::json;

use super::{
    generators::{AUDIENCES, NOW, context, limits, request},
    oracle,
};

fn is_taken(context: &KeyContext, request: &ExchangeParameters, name: &PermissionName) -> bool {
    let limits = limits();
    let asked = grant::requested_targets(request, &limits);
    let targets = context.audiences.iter().filter(|audience| asked.contains(&&audience.identifier));
    targets.into_iter().all(|audience| audience.accepts.accepts(name))
}

/// Whether a token for the request is record-bound.
fn is_bound(context: &KeyContext, request: &ExchangeParameters) -> bool {
    let limits = limits();
    let asked = grant::requested_targets(request, &limits);
    let mut targets = context.audiences.iter().filter(|audience| asked.contains(&&audience.identifier));
    let is_management = asked.iter().any(|one| one.as_str() == AUDIENCES[3]);
    !is_management && (context.key.record_bound || targets.any(|audience| audience.record_bound))
}

/// Whether an access record grants the permission somewhere.
fn is_recorded(context: &KeyContext, name: &PermissionName) -> bool {
    context.key.access_statements.iter().any(|rule| rule.permissions.contains(name))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Invariant 1.
    #[test]
    fn granted_scope_is_within_each_of_its_limits(context in context(), request in request()) {
        let Ok(grant) = grant::decide(&context, &request, &limits()) else { return Ok(()) };
        for name in grant.scope.iter() {
            prop_assert!(context.key.permissions.contains(name));
            prop_assert!(oracle::is_within_owner(&context, name, true));
            prop_assert!(is_taken(&context, &request, name));
        }
        if let Some(asked) = &request.scope {
            prop_assert_eq!(&grant.scope, asked, "never a silent cut");
        } else {
            // Without a requested scope, all permitted permissions are granted.
            let all = context.key.permissions.iter();
            let all: PermissionSet = all
                .filter(|name| oracle::is_within_owner(&context, name, true) && is_taken(&context, &request, name))
                .filter(|name| !is_bound(&context, &request) || is_recorded(&context, name))
                .cloned()
                .collect();
            prop_assert_eq!(&grant.scope, &all);
        }
    }

    /// Access records never extend a scope, and the details are never truncated to fit.
    #[test]
    fn details_are_within_the_scope_and_complete(context in context(), request in request()) {
        let left = |scope: &PermissionSet| {
            context.key.access_statements.iter().filter(|rule| rule.permissions.iter().any(|name| scope.contains(name))).count()
        };
        match grant::decide(&context, &request, &limits()) {
            Ok(grant) => {
                let details = grant.authorization_details.clone().unwrap_or_default();
                for detail in &details {
                    prop_assert!(!detail.actions.is_empty() && detail.actions.iter().all(|name| grant.scope.contains(name)));
                    prop_assert!(context.key.access_statements.iter().any(|rule| rule.resources == detail.locations
                        && detail.actions.iter().all(|name| rule.permissions.contains(name))));
                }
                let is_ours = grant.audience.contains(AUDIENCES[3]);
                prop_assert!(is_ours == details.is_empty() || left(&grant.scope) == 0);
                prop_assert!(details.len() <= left(&grant.scope));
                prop_assert!(details.is_empty() || serde_json::to_string(&details).unwrap().len() <= 4096);
                // A record-bound token always has details, and no scope.
                prop_assert_eq!(grant.record_bound, is_bound(&context, &request));
                prop_assert_eq!(grant.authorization_details.is_some(), grant.record_bound || !details.is_empty());
                let (is_scope_empty, record_bound) = (grant.scope.is_empty(), grant.record_bound);
                let claims = grant.claims("https://issuer.test", "jti");
                prop_assert_eq!(claims.scope.is_none() && claims.scp.is_none(), record_bound || is_scope_empty);
                prop_assert_eq!(claims.is_record_bound(), record_bound);
            }
            Err(refusal) => {
                let long: usize = context.key.access_statements.iter().flat_map(|rule| &rule.resources).map(|one| one.as_str().len()).sum();
                prop_assert!(refusal != DenyReason::Target(TargetError::AuthorizationDetailsTooLarge) || long > 2500, "{} is not too long", long);
            }
        }
    }

    /// Invariant 5: a token outlives neither its key nor its credential, and every
    /// lifetime only shortens it.
    #[test]
    fn token_never_outlives_its_dependencies(context in context(), request in request()) {
        let Ok(grant) = grant::decide(&context, &request, &limits()) else { return Ok(()) };
        prop_assert!(grant.expires_at > grant.issued_at);
        prop_assert!(grant.issued_at * 1000 <= NOW);
        for end in [context.key.lifecycle.expires_at, context.key.credential_expires_at].into_iter().flatten() {
            prop_assert!(grant.expires_at * 1000 <= end.millis());
        }
        let longest = [Some(Span::from_secs(3600)), context.key.max_token_ttl, request.requested_ttl];
        for longest in longest.into_iter().flatten() {
            prop_assert!(grant.expires_in() <= i64::try_from(longest.as_secs()).unwrap());
        }
        if let Some(requested) = request.requested_ttl {
            prop_assert_eq!(grant.expires_in(), i64::try_from(requested.as_secs()).unwrap());
        }
    }

    /// In both directions: an invalid key is refused, and a valid key is not refused because of the
    /// key.
    #[test]
    fn ended_key_gets_no_grant(
        context in context(), request in request(), end_with_creator in any::<bool>(), client in 0..5_u8,
    ) {
        let client_id = match client {
            0 => Some(context.key.id.to_string()),
            1 => Some(format!("ks_{}", context.key.credential_id)),
            2 => Some("key_01JD8V3T6Q4Z9R7M2N5K8P1XYA".to_owned()),
            _ => None,
        };
        let (request, limits) = (ExchangeParameters { client_id, ..request }, Limits { end_with_creator, ..limits() });
        let faults = oracle::faults(&context, end_with_creator);
        match grant::decide(&context, &request, &limits) {
            Err(DenyReason::Credential(CredentialError::ClientIdMismatch)) => prop_assert!(client == 2 && faults.is_empty()),
            Err(DenyReason::Credential(fault)) => {
                let is_short = fault == CredentialError::Expired && oracle::ends_within_a_second(&context);
                prop_assert!(faults.contains(&fault) || is_short, "{:?} of {:?}", fault, faults);
            }
            decided => prop_assert!(faults.is_empty() && client != 2, "{:?}, and {:?}", faults, decided),
        }
    }

    /// Apart from the scope, a grant contains only data of this key and the claims
    /// that the audience maps.
    #[test]
    fn grant_describes_its_key(context in context(), request in request()) {
        let Ok(grant) = grant::decide(&context, &request, &limits()) else { return Ok(()) };
        prop_assert_eq!(&grant.status, &context.key.status);
        prop_assert_eq!((&grant.key, &grant.credential_id), (&context.key.id, &context.key.credential_id));
        let maps = serde_json::to_value(&grant.token_profile.claims).unwrap();
        let of = |holder: ClaimSourceObject, path: &str| context.sources.get(&holder).and_then(|map| json!(map).pointer(path).cloned());
        let known = [("team", of(ClaimSourceObject::ApiKeyMetadata, "/team")), ("plan", of(ClaimSourceObject::OrganizationMetadata, "/billing/plan"))];
        let expected: serde_json::Map<_, _> = known.into_iter().filter(|(name, _)| maps.get(name).is_some())
            .filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        prop_assert_eq!(&grant.mapped_claims, &expected);
    }

    /// The reported end is the first one of the credential and its key, and only a replaced credential reports when it
    /// was replaced.
    #[test]
    fn end_of_the_credential_is_reported(context in context()) {
        let (key, end) = (&context.key, context.key.credential_end());
        prop_assert_eq!(end.expires_at, [key.lifecycle.expires_at, key.credential_expires_at].into_iter().flatten().min());
        prop_assert_eq!(end.replaced_at, key.credential_replaced_at.filter(|_| key.credential_expires_at.is_some()));
    }

    #[test]
    fn audience_is_requested_and_permitted(context in context(), request in request()) {
        let Ok(grant) = grant::decide(&context, &request, &limits()) else { return Ok(()) };
        let limits = limits();
        let asked: Vec<_> = grant::requested_targets(&request, &limits);
        for target in AUDIENCES {
            let named = grant.audience.contains(target);
            prop_assert_eq!(named, asked.iter().any(|asked| asked.as_str() == target));
            if let (true, Some(allowed)) = (named, &context.key.audiences) {
                prop_assert!(allowed.iter().any(|allowed| allowed.as_str() == target));
            }
        }
    }

    /// All audiences of a token have the same token profile.
    #[test]
    fn audiences_of_a_token_share_a_profile(context in context(), request in request()) {
        let limits = limits();
        let asked = grant::requested_targets(&request, &limits);
        let shapes: Vec<_> =
            context.audiences.iter().filter(|one| asked.contains(&&one.identifier)).map(|one| &one.token_profile).collect();
        let effective = |shape: &TokenProfile| (shape.algorithm.unwrap_or(Algorithm::Es256), shape.aud_claim, shape.claims.clone());
        let alike = shapes.windows(2).all(|pair| effective(pair[0]) == effective(pair[1]));
        match grant::decide(&context, &request, &limits) {
            Ok(grant) => {
                prop_assert!(alike && shapes.iter().all(|shape| effective(shape) == effective(&grant.token_profile)));
                let is_text = matches!(grant.audience, AudienceClaim::One(_));
                prop_assert_eq!(is_text, asked.len() == 1 && grant.token_profile.aud_claim == AudienceClaimFormat::String);
            }
            Err(refusal) => prop_assert!(!alike || refusal != DenyReason::Target(TargetError::ProfileMismatch)),
        }
    }

    /// Management permissions are granted only for the management audience, which accepts no
    /// others.
    #[test]
    fn management_permissions_are_in_no_token_for_others(context in context(), request in request()) {
        let Ok(grant) = grant::decide(&context, &request, &limits()) else { return Ok(()) };
        for name in grant.scope.iter() {
            prop_assert_eq!(name.is_management(), grant.audience.contains(AUDIENCES[3]));
        }
    }

    #[test]
    fn the_size_of_a_token_is_known_before_it_is_signed(context in context(), request in request()) {
        let Ok(grant) = grant::decide(&context, &request, &limits()) else { return Ok(()) };
        let (size, issuer, jti) = (grant.token_size(&limits()), limits().issuer, "x".repeat(22));
        // Beside the claims there are a header and a signature, and perhaps a status of the token's own.
        let claims = serde_json::to_vec(&grant.claims(&issuer, &jti)).unwrap().len();
        let rest = size - (claims * 4).div_ceil(3);
        prop_assert!((150..1200).contains(&rest), "{} beside {}", rest, claims);
        for (max_token_size, fits) in [(size, true), (size - 1, false)] {
            let checked = grant.check_token_size(&Limits { max_token_size, ..limits() });
            prop_assert_eq!(checked.is_ok(), fits, "{} of {}", max_token_size, size);
        }
    }

    #[test]
    fn explain_and_decide_agree(context in context(), request in request()) {
        let decision = grant::decide(&context, &request, &limits());
        match (grant::explain(&context, &request, &limits()), decision) {
            (Ok(report), Ok(grant)) => prop_assert_eq!(report.granted, grant.scope),
            (Ok(report), Err(DenyReason::Scope(ScopeError::ExceedsGrantable(removed) | ScopeError::Empty(removed)))) => {
                for one in &removed {
                    let rule = match one.by {
                        PermissionLimit::Key => context.key.permissions.contains(&one.permission),
                        PermissionLimit::Owner => oracle::is_within_owner(&context, &one.permission, true),
                        PermissionLimit::Audience => is_taken(&context, &request, &one.permission),
                        PermissionLimit::AccessRecords => {
                            !is_bound(&context, &request) || is_recorded(&context, &one.permission)
                        }
                    };
                    prop_assert!(!rule, "{:?} did not remove it", one);
                }
                prop_assert_eq!(report.removed, removed);
            }
            (Ok(_), Err(DenyReason::Lifetime(longest))) => {
                prop_assert!(request.requested_ttl.is_some_and(|requested| requested > longest));
                let granted = ExchangeParameters { requested_ttl: Some(longest), ..request.clone() };
                let decided = grant::decide(&context, &granted, &limits());
                prop_assert!(!matches!(decided, Err(DenyReason::Lifetime(_))), "{:?}", decided);
            }
            // Less than one second is left, which is detected only when the lifetime is computed.
            (Ok(_), Err(DenyReason::Credential(_))) => {}
            (Err(explained), Err(decided)) => prop_assert_eq!(explained, decided),
            (explained, decided) => prop_assert!(false, "{:?} but {:?}", explained, decided),
        }
    }
}
