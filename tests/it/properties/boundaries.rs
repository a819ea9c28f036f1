//! The rules of `decide` by example, each on both sides of its boundary.

use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        access::{
            access_record::{EffectiveStatement, MAX_BYTES},
            claim_map::ClaimSourceObject,
            owner::{Owner, OwnerScope},
            owner_status::ServiceClientSnapshot,
            permission::PermissionSet,
            token_profile::{AudienceClaimFormat, ScopeClaimFormat, StatusSubject},
        },
        common::{
            id::{GeneratedId, ServiceClientId},
            time::{Span, Timestamp},
        },
        credentials::error::CredentialError,
        exchange::{
            claims::AudienceClaim,
            grant::{self, Grant, MAX_TARGETS},
            key_context::{ExchangeParameters, KeyContext, Limits},
            refusal::{DenyReason, PermissionLimit, ScopeError, TargetError},
        },
        status_lists::StatusListIndex,
    },
};
use serde_json::json;

use super::{
    exhaustive::template,
    generators::{AUDIENCES, NOW, limits},
};

fn set(names: &str) -> PermissionSet {
    PermissionSet::from_stored(names).unwrap()
}

/// A key of the account with the permissions `p` and `q`.
fn context() -> KeyContext {
    let mut context = template();
    context.key.ownership.owner = Owner::Unowned;
    context.key.permissions = set("p q");
    context
}

fn request(targets: &[&str]) -> ExchangeParameters {
    let targets = targets.iter().map(|target| target.parse().unwrap()).collect();
    ExchangeParameters { targets, ..ExchangeParameters::default() }
}

fn decide(context: &KeyContext) -> Result<Grant, DenyReason> {
    grant::decide(context, &request(&[]), &limits())
}

const fn span(seconds: u64) -> Option<Span> {
    Some(Span::from_secs(seconds))
}

const fn after(millis: i64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(NOW + millis))
}

/// `NOW` is 123 ms after the second in which the token is issued.
#[test]
fn lifetime_is_exactly_the_shortest_of_its_limits() {
    type Change = fn(&mut KeyContext, &mut ExchangeParameters, &mut Limits);
    let cases: [(Change, i64); 10] = [
        (|_, _, _| {}, 600),
        (|context, _, _| context.audiences[0].token_ttl = span(700), 700),
        (|context, _, _| context.audiences[0].token_ttl = span(9000), 3600),
        (|_, _, limits| limits.max_ttl = Span::from_secs(500), 500),
        (|context, _, _| context.key.max_token_ttl = span(400), 400),
        (|_, request, _| request.requested_ttl = span(300), 300),
        (|_, request, _| request.requested_ttl = span(3600), 3600),
        (|context, _, _| context.audiences[1].token_ttl = span(60), 600),
        (|context, _, _| context.key.lifecycle.expires_at = after(200_000), 200),
        (|context, _, _| context.key.credential_expires_at = after(100_000), 100),
    ];
    for (place, (change, expected)) in cases.into_iter().enumerate() {
        let (mut context, mut request, mut limits) = (context(), request(&[]), limits());
        change(&mut context, &mut request, &mut limits);
        let grant = grant::decide(&context, &request, &limits).unwrap();
        assert_eq!((grant.issued_at, grant.expires_at), (NOW / 1000, NOW / 1000 + expected), "case {place}");
        assert_eq!(grant.expires_in(), expected, "case {place}");
    }
    let refused: [(Change, u64); 6] = [
        (|_, _, _| {}, 3600),
        (|context, _, _| context.audiences[0].token_ttl = span(700), 700),
        (|_, _, limits| limits.max_ttl = Span::from_secs(500), 500),
        (|context, _, _| context.key.max_token_ttl = span(400), 400),
        (|context, _, _| context.key.lifecycle.expires_at = after(200_000), 200),
        (|context, _, _| context.key.credential_expires_at = after(100_000), 100),
    ];
    for (place, (change, longest)) in refused.into_iter().enumerate() {
        let (mut context, mut request, mut limits) = (context(), request(&[]), limits());
        change(&mut context, &mut request, &mut limits);
        request.requested_ttl = span(longest + 1);
        let decided = grant::decide(&context, &request, &limits);
        assert_eq!(decided, Err(DenyReason::Lifetime(Span::from_secs(longest))), "case {place}");
        request.requested_ttl = span(longest);
        assert_eq!(grant::decide(&context, &request, &limits).unwrap().expires_in(), longest.cast_signed());
    }
    let mut both = context();
    both.audiences[1].token_ttl = span(60);
    let grant = grant::decide(&both, &request(&AUDIENCES[..2]), &limits()).unwrap();
    assert_eq!(grant.expires_in(), 60, "the shorter of two audiences");
}

#[test]
fn key_and_credential_end_at_their_time() {
    for of_credential in [false, true] {
        for (end, expected) in [(-1, None), (0, None), (876, None), (877, Some(1)), (1877, Some(2))] {
            let mut context = context();
            let of_key = &mut context.key.lifecycle.expires_at;
            *if of_credential { &mut context.key.credential_expires_at } else { of_key } = after(end);
            let expected = expected.ok_or(DenyReason::Credential(CredentialError::Expired));
            assert_eq!(decide(&context).map(|grant| grant.expires_in()), expected, "{end} {of_credential}");
            // The key is in force up to its last millisecond, also if no token fits.
            let in_force = context.key.check_in_force(context.now, &limits()).is_ok();
            assert_eq!(in_force, end > 0, "{end} {of_credential}");
        }
    }
}

#[test]
fn targets_are_counted_known_and_allowed() {
    let mut context = context();
    let names: Vec<String> = (0..=MAX_TARGETS).map(|number| format!("https://{number}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    context.audiences = names
        .iter()
        .map(|name| {
            let mut audience = context.audiences[0].clone();
            audience.identifier = name.parse().unwrap();
            audience
        })
        .collect();
    let decide = |context: &KeyContext, targets: &[&str]| grant::decide(context, &request(targets), &limits());
    let most = decide(&context, &names[..MAX_TARGETS]).unwrap();
    assert_eq!(most.audience.all().len(), MAX_TARGETS);
    assert_eq!(decide(&context, &names), Err(DenyReason::Target(TargetError::TooMany)));
    assert_eq!(decide(&context, &["https://x.test"]), Err(DenyReason::Target(TargetError::Unknown)));
    assert_eq!(decide(&context, &[]), Err(DenyReason::Target(TargetError::Unknown)), "the default is none of them");
    context.key.audiences = Some(vec![names[0].parse().unwrap()]);
    assert!(decide(&context, &names[..1]).is_ok());
    assert_eq!(decide(&context, &names[..2]), Err(DenyReason::Target(TargetError::NotAllowed)));
}

#[test]
fn audience_claim_is_a_string_only_for_one_audience_that_wants_it() {
    let mut context = context();
    let decide = |context: &KeyContext, targets| grant::decide(context, &request(targets), &limits()).unwrap().audience;
    let [first, second] = [0, 1].map(|place| context.audiences[place].identifier.clone());
    assert_eq!(decide(&context, &AUDIENCES[..1]), AudienceClaim::One(first.clone()));
    assert_eq!(decide(&context, &AUDIENCES[..2]), AudienceClaim::Multiple(vec![second, first.clone()]));
    context.audiences[0].token_profile.aud_claim = AudienceClaimFormat::Array;
    assert_eq!(decide(&context, &AUDIENCES[..1]), AudienceClaim::Multiple(vec![first]));
}

#[test]
fn one_audience_is_enough_for_a_status_of_the_token() {
    for (wanted, expected) in [
        ([StatusSubject::Credential; 2], StatusSubject::Credential),
        ([StatusSubject::Token, StatusSubject::Credential], StatusSubject::Token),
        ([StatusSubject::Credential, StatusSubject::Token], StatusSubject::Token),
        ([StatusSubject::Token; 2], StatusSubject::Token),
    ] {
        let mut context = context();
        for (audience, wanted) in context.audiences.iter_mut().zip(wanted) {
            audience.token_profile.status = wanted;
        }
        let grant = grant::decide(&context, &request(&AUDIENCES[..2]), &limits()).unwrap();
        assert_eq!(grant.status_subject, expected, "{wanted:?}");
    }
}

#[test]
fn client_id_names_the_key_its_client_or_its_credential() {
    let mut context = context();
    let client: ServiceClientId = GeneratedId::generate(context.now, &SystemEntropy::default()).unwrap();
    let credential = context.key.credential_id;
    let accepts = |context: &KeyContext, id: &str| context.key.accepts_client_id(id);
    assert!(accepts(&context, context.key.id.as_str()));
    assert!(accepts(&context, &format!("ks_{credential}")) && accepts(&context, &format!("a_b_{credential}")));
    for other in ["", "ks", "ks_", &format!("_{credential}"), credential.as_str(), client.as_str()] {
        assert!(!accepts(&context, other), "{other}");
    }
    context.key.ownership.owner = Owner::ServiceClient(client.clone());
    assert!(accepts(&context, client.as_str()) && !accepts(&context, "svc_01ARZ3NDEKTSV4RRFFQ69G5FAV"));
    context.key.ownership.owner = Owner::Unowned;
    for (id, expected) in [
        (context.key.id.to_string(), Ok(())),
        (client.to_string(), Err(DenyReason::Credential(CredentialError::ClientIdMismatch))),
    ] {
        let request = ExchangeParameters { client_id: Some(id), ..request(&[]) };
        assert_eq!(grant::decide(&context, &request, &limits()).map(|_| ()), expected);
    }
}

#[test]
fn claims_are_those_of_the_grant() {
    let mut context = context();
    let client: ServiceClientId = GeneratedId::generate(context.now, &SystemEntropy::default()).unwrap();
    let list: StatusListIndex = StatusListIndex { list: "stl_01JD0000000000000000000000".parse().unwrap(), index: 7 };
    context.key.status = Some(list.clone());
    let (key, generation_id) = (context.key.id.clone(), "inc_01JDB00000000000000000000A".parse().unwrap());
    context.key.ownership.directory.organization = Some(generation_id);
    context.key.ownership.directory.permissions = set("p q");
    context.key.ownership.client = Some(ServiceClientSnapshot { permissions: set("p q"), deleted: false });
    let generation_id = context.key.ownership.directory.organization.clone().unwrap();
    let organization = OwnerScope::Organization { id: "acme".parse().unwrap(), generation_id };
    for (owner, scope, expected) in [
        (Owner::Unowned, OwnerScope::Account, (key.as_str(), "api_key", key.as_str(), None)),
        (
            Owner::Organization("acme".parse().unwrap()),
            organization.clone(),
            ("organization:acme", "organization", key.as_str(), Some("acme")),
        ),
        (
            Owner::ServiceClient(client.clone()),
            organization,
            (client.as_str(), "service_client", client.as_str(), Some("acme")),
        ),
    ] {
        (context.key.ownership.owner, context.key.ownership.owner_scope) = (owner, scope);
        let grant = decide(&context).unwrap();
        let claims = grant.claims("https://issuer.test", "j");
        let found = (&*claims.sub, &*claims.sub_type, &*claims.client_id, claims.org_id.as_ref().map(|id| id.as_str()));
        assert_eq!(found, expected);
        assert_eq!((&*claims.iss, &*claims.jti, &claims.key_id), ("https://issuer.test", "j", &key));
        assert_eq!((claims.iat, claims.exp), (NOW / 1000, NOW / 1000 + 600));
        assert_eq!((claims.scope.as_deref(), &claims.scp), (Some("p q"), &None));
        assert_eq!(claims.status_list_index(), Some(list.clone()));
    }
    context.audiences[0].token_profile.scope_claim = ScopeClaimFormat::Scp;
    let grant = decide(&context).unwrap();
    let claims = grant.claims("https://issuer.test", "j");
    assert_eq!((claims.scope, claims.scp), (None, Some(vec!["p".into(), "q".into()])));
}

#[test]
fn scope_claim_is_absent_if_it_is_empty_or_the_token_is_record_bound() {
    let resources = vec!["/x/*".parse().unwrap()];
    for format in [ScopeClaimFormat::Scope, ScopeClaimFormat::Scp] {
        for (record_bound, permissions) in [(true, "p q"), (false, ""), (true, "")] {
            let mut context = context();
            context.audiences[0].token_profile.scope_claim = format;
            context.key.record_bound = record_bound;
            context.key.permissions = set(permissions);
            let statement = EffectiveStatement { permissions: set("p q"), resources: resources.clone() };
            context.key.access_statements = vec![statement];
            let grant = decide(&context).unwrap();
            let claims = grant.claims("https://issuer.test", "j");
            assert_eq!((claims.scope, claims.scp), (None, None), "{record_bound} {permissions}");
            assert_eq!(claims.authorization_details.is_some(), record_bound);
        }
    }
}

#[test]
fn a_scope_may_be_empty_only_if_the_key_has_none() {
    let mut context = context();
    context.audiences[0].accepts = keyswap::domain::access::audience::AcceptedPermissions::Only(set("r"));
    assert!(matches!(decide(&context), Err(DenyReason::Scope(ScopeError::Empty(removed))) if removed.len() == 2));
    context.key.permissions = PermissionSet::default();
    assert!(decide(&context).unwrap().scope.is_empty());
    let asked = ExchangeParameters { scope: Some(PermissionSet::default()), ..request(&[]) };
    let decided = grant::decide(&context, &asked, &limits());
    assert_eq!(decided, Err(DenyReason::Scope(ScopeError::Empty(Vec::new()))), "a scope was requested");
}

/// The details and the mapped claims share the limit; an object without claims takes nothing.
#[test]
fn details_may_take_all_bytes_of_their_limit() {
    let with_length = |length: usize, claims: &str, team: Option<&str>| {
        let mut context = context();
        context.audiences[0].token_profile.claims = claims.parse().unwrap();
        let metadata = team.map(|team| json!({ "team": team }).as_object().unwrap().clone());
        context.sources = metadata.map(|map| (ClaimSourceObject::ApiKeyMetadata, map)).into_iter().collect();
        let resource = |length: usize| format!("/{}", "a".repeat(length - 1)).parse().unwrap();
        let resources = (0..7).map(|_| resource(500)).chain([resource(length)]).collect();
        context.key.access_statements = vec![EffectiveStatement { permissions: set("p"), resources }];
        context
    };
    let json_length = |context: &KeyContext| {
        let grant = decide(context).unwrap();
        let mapped = &grant.mapped_claims;
        let mapped = if mapped.is_empty() { 0 } else { serde_json::to_string(mapped).unwrap().len() };
        serde_json::to_string(&grant.authorization_details.unwrap()).unwrap().len() + mapped
    };
    let mapping = r#"{"team":"api_key.metadata.team"}"#;
    for (claims, team) in [("{}", None), (mapping, None), (mapping, Some("blue"))] {
        let rest = MAX_BYTES - json_length(&with_length(2, claims, team));
        assert_eq!(json_length(&with_length(2 + rest, claims, team)), MAX_BYTES, "{claims}");
        let decided = decide(&with_length(3 + rest, claims, team));
        assert_eq!(decided, Err(DenyReason::Target(TargetError::AuthorizationDetailsTooLarge)), "{claims}");
    }
}

#[test]
fn grantable_are_the_permissions_that_the_owner_still_has() {
    let mut context = context();
    let of = |context: &KeyContext| context.key.grantable_permissions(&limits()).to_string();
    assert_eq!(of(&context), "p q");
    let client = GeneratedId::generate(context.now, &SystemEntropy::default()).unwrap();
    context.key.ownership.owner = Owner::ServiceClient(client);
    context.key.ownership.client = Some(ServiceClientSnapshot { permissions: set("q r"), deleted: false });
    assert_eq!(of(&context), "q");
    context.key.ownership.client = Some(ServiceClientSnapshot { permissions: set("q r"), deleted: true });
    assert_eq!(of(&context), "");
}

#[test]
fn access_needs_a_key_in_force_a_permission_and_a_record() {
    let mut context = context();
    let statement =
        |permissions| EffectiveStatement { permissions: set(permissions), resources: vec!["/x/*".parse().unwrap()] };
    context.key.access_statements = vec![statement("p r")];
    let permits = |context: &KeyContext, name: &str, resource: &str| {
        context.key.permits_access(context.now, &limits(), &name.parse().unwrap(), &resource.parse().unwrap())
    };
    assert!(permits(&context, "p", "/x/1"));
    for (name, resource) in [("p", "/y"), ("q", "/x/1"), ("r", "/x/1")] {
        assert!(!permits(&context, name, resource), "{name} {resource}");
    }
    let client = GeneratedId::generate(context.now, &SystemEntropy::default()).unwrap();
    let mut limited = context.clone();
    limited.key.ownership.owner = Owner::ServiceClient(client);
    limited.key.ownership.client = Some(ServiceClientSnapshot { permissions: set("q r"), deleted: false });
    assert!(!permits(&limited, "p", "/x/1"), "the owner has lost the permission");
    context.key.lifecycle.suspended_at = Some(context.now);
    assert!(!permits(&context, "p", "/x/1"));
}

#[test]
fn limits_of_a_key_are_its_own() {
    let mut context = context();
    context.key.lifecycle.expires_at = after(1);
    context.key.max_token_ttl = span(2);
    context.key.exchanges_per_minute = Some(3);
    context.key.audiences = Some(vec!["a".parse().unwrap()]);
    let limits = context.key.limits();
    assert_eq!((limits.expires_at, limits.max_token_ttl), (after(1), span(2)));
    assert_eq!((limits.exchanges_per_minute, limits.audiences), (Some(3), Some(vec!["a".parse().unwrap()])));
}

#[test]
fn explanation_states_what_is_granted_and_what_is_removed() {
    let context = context();
    let asked = ExchangeParameters { scope: Some(set("p r")), ..request(&[]) };
    let report = grant::explain(&context, &asked, &limits()).unwrap();
    let removed: Vec<_> = report.removed.iter().map(|one| (one.permission.as_str(), one.by)).collect();
    assert_eq!((report.granted, removed), (set("p"), vec![("r", PermissionLimit::Key)]));
}
