//! Exhaustive searches: the containment of resource patterns, and the scope of `decide`.

use std::collections::BTreeSet;

use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        access::{
            access_record::EffectiveStatement,
            audience::{AcceptedPermissions, Audience},
            claim_map::ClaimSourceValues,
            owner::{Owner, OwnerScope},
            owner_status::{DirectorySnapshot, Ownership, ServiceClientSnapshot},
            permission::PermissionSet,
            resource::{Resource, ResourcePattern},
            token_profile::TokenProfile,
        },
        common::{derived_id::CredentialId, id::GeneratedId, time::Timestamp},
        credentials::api_key::KeyLifecycle,
        exchange::{
            claims::Claims,
            effective_access::{CredentialBounds, permissions_of},
            grant,
            key_context::{ExchangeParameters, KeyContext, KeyProperties, Limits},
            refusal::DenyReason,
            validation::{CredentialRequirements, validate},
        },
    },
};

use super::generators::{AUDIENCES, NOW, limits};

/// All texts of one to `longest` parts, each one of `parts`.
fn paths(parts: &[&str], longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..longest {
        last = last.iter().flat_map(|head| parts.iter().map(move |part| format!("{head}/{part}"))).collect();
        all.extend(last.clone());
    }
    all.remove(0);
    all
}

/// Patterns of up to four parts, and resources of up to five. A pattern compares a part only with
/// its own names, so one further name (`c`) represents all others, and a resource that is one part
/// longer than each pattern represents all longer ones.
#[test]
fn a_pattern_contains_another_if_it_matches_all_its_resources() {
    let resources: Vec<Resource> = paths(&["a", "b", "c"], 5).iter().map(|text| text.parse().unwrap()).collect();
    let patterns: Vec<(ResourcePattern, Vec<bool>)> = paths(&["a", "b", "*"], 4)
        .iter()
        .map(|text| {
            let pattern: ResourcePattern = text.parse().unwrap();
            let matched = resources.iter().map(|resource| pattern.matches(resource)).collect();
            (pattern, matched)
        })
        .collect();
    let mut contained = 0;
    for (one, matched) in &patterns {
        for (other, matched_by_other) in &patterns {
            let expected = matched_by_other.iter().zip(matched).all(|(other, own)| !other || *own);
            assert_eq!(one.contains(other), expected, "{one} contains {other}");
            contained += usize::from(expected);
        }
    }
    assert_eq!((patterns.len(), resources.len()), (120, 363));
    assert!(contained > 500, "hardly any pattern contains another: {contained}");
    for (one, other) in [("https://h/*", "/a"), ("/*", "https://h/a"), ("https://h/*", "https://i/a"), ("/a", "urn:a")]
    {
        assert!(!one.parse::<ResourcePattern>().unwrap().contains(&other.parse().unwrap()), "{one} {other}");
    }
}

/// One case of the search.
struct Case {
    key: PermissionSet,
    /// `None` is no limit.
    owner: Option<PermissionSet>,
    /// The accepted permissions of each audience; `None` is all of the product.
    audiences: Vec<Option<PermissionSet>>,
    statements: Vec<EffectiveStatement>,
    /// The key, the first audience and the deployment.
    bound: [bool; 3],
    scope: Option<PermissionSet>,
}

fn set(names: &str) -> PermissionSet {
    PermissionSet::from_stored(names).unwrap()
}

fn subsets() -> Vec<PermissionSet> {
    ["", "p", "q", "p q"].into_iter().map(set).collect()
}

/// The `authorization_details` of a token: actions and locations.
type Details = Vec<(BTreeSet<String>, Vec<String>)>;

/// The scope claim and the details of the token, or `None` if the scope is refused. This is written
/// from the documents, independently of the code under test.
fn expected(case: &Case) -> Option<(BTreeSet<String>, Option<Details>)> {
    let names = |set: &PermissionSet| set.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let accepts = |name: &String| {
        case.audiences.iter().all(|accepted| accepted.as_ref().is_none_or(|accepted| names(accepted).contains(name)))
    };
    let allows = |name: &String| {
        names(&case.key).contains(name)
            && case.owner.as_ref().is_none_or(|owner| names(owner).contains(name))
            && accepts(name)
    };
    let is_recorded = |name: &String| case.statements.iter().any(|one| names(&one.permissions).contains(name));
    let bound = case.bound.contains(&true);
    let granted: BTreeSet<String> = match &case.scope {
        Some(scope) => {
            if !names(scope).iter().all(|name| allows(name) && (!bound || is_recorded(name))) {
                return None;
            }
            names(scope)
        }
        None => {
            let allowed: BTreeSet<_> = names(&case.key).into_iter().filter(allows).collect();
            if allowed.is_empty() && !case.key.is_empty() {
                return None;
            }
            allowed.into_iter().filter(|name| !bound || is_recorded(name)).collect()
        }
    };
    let mut details = Details::new();
    for statement in &case.statements {
        let actions: BTreeSet<_> = names(&statement.permissions).intersection(&granted).cloned().collect();
        let detail = (actions, statement.resources.iter().map(ToString::to_string).collect());
        if !detail.0.is_empty() && !details.contains(&detail) {
            details.push(detail);
        }
    }
    let details = (bound || !details.is_empty()).then_some(details);
    Some((if bound { BTreeSet::new() } else { granted }, details))
}

/// A key of a service client of the account, and what never changes.
pub fn template() -> KeyContext {
    let (entropy, now) = (SystemEntropy::default(), Timestamp::from_millis(NOW));
    let client = GeneratedId::generate(now, &entropy).unwrap();
    KeyContext {
        now,
        key: KeyProperties {
            id: GeneratedId::generate(now, &entropy).unwrap(),
            credential_id: CredentialId::generate(&entropy).unwrap(),
            credential_expires_at: None,
            credential_replaced_at: None,
            ownership: Ownership {
                owner: Owner::ServiceClient(client),
                owner_scope: OwnerScope::Account,
                creator_membership: None,
                client: None,
                directory: DirectorySnapshot::default(),
            },
            permissions: PermissionSet::default(),
            audiences: None,
            max_token_ttl: None,
            exchanges_per_minute: None,
            record_bound: false,
            lifecycle: KeyLifecycle { suspended_at: None, revoked_at: None, expires_at: None },
            created_at: now,
            version: 1,
            access_statements: Vec::new(),
            metadata: "{}".to_owned(),
            status: None,
        },
        audiences: AUDIENCES[..2]
            .iter()
            .map(|identifier| Audience {
                id: GeneratedId::generate(now, &entropy).unwrap(),
                identifier: identifier.parse().unwrap(),
                accepts: AcceptedPermissions::Product,
                token_ttl: None,
                token_profile: TokenProfile::default(),
                record_bound: false,
                built_in: None,
                created_at: now,
                version: 1,
            })
            .collect(),
        sources: ClaimSourceValues::new(),
    }
}

impl Case {
    fn context(&self, template: &KeyContext) -> KeyContext {
        let mut context = template.clone();
        let key = &mut context.key;
        key.permissions = self.key.clone();
        key.record_bound = self.bound[0];
        key.access_statements = self.statements.clone();
        match &self.owner {
            Some(permissions) => {
                let client = ServiceClientSnapshot { permissions: permissions.clone(), deleted: false };
                key.ownership.client = Some(client);
            }
            None => key.ownership.owner = Owner::Unowned,
        }
        for (audience, accepted) in context.audiences.iter_mut().zip(&self.audiences) {
            audience.accepts = accepted.clone().map_or(AcceptedPermissions::Product, AcceptedPermissions::Only);
        }
        context.audiences[0].record_bound = self.bound[1];
        context
    }

    fn request(&self) -> ExchangeParameters {
        let targets = AUDIENCES[..self.audiences.len()].iter().map(|identifier| identifier.parse().unwrap()).collect();
        ExchangeParameters { scope: self.scope.clone(), targets, ..ExchangeParameters::default() }
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let statement = |permissions: &str, pattern: &str| EffectiveStatement {
        permissions: set(permissions),
        resources: vec![pattern.parse().unwrap()],
    };
    let mut statements = vec![Vec::new()];
    for one in ["p", "q", "p q"] {
        statements.push(vec![statement(one, "/x/*")]);
        statements.extend(["p", "q", "p q"].map(|other| vec![statement(one, "/x/*"), statement(other, "/y")]));
    }
    let accepted = || subsets().into_iter().map(Some).chain([None]);
    let mut audiences: Vec<_> = accepted().map(|one| vec![one]).collect();
    audiences.extend(accepted().map(|other| vec![None, other]));
    let scopes: Vec<_> = [None, Some("p"), Some("q"), Some("p q"), Some("r")].map(|scope| scope.map(set)).into();
    let bounds = (0..8_u8).map(|bits| [bits & 1 > 0, bits & 2 > 0, bits & 4 > 0]);
    let mut all = Vec::new();
    for key in subsets() {
        for owner in accepted() {
            for audiences in &audiences {
                for statements in &statements {
                    for bound in bounds.clone() {
                        for scope in &scopes {
                            let (key, owner, scope) = (key.clone(), owner.clone(), scope.clone());
                            let (audiences, statements) = (audiences.clone(), statements.clone());
                            all.push(Case { key, owner, audiences, statements, bound, scope });
                        }
                    }
                }
            }
        }
    }
    all.into_iter()
}

fn details_of(claims: &Claims<'_>) -> Option<Details> {
    let details = claims.authorization_details.as_ref()?;
    let names = |set: &PermissionSet| set.iter().map(ToString::to_string).collect();
    Some(
        details
            .iter()
            .map(|one| (names(&one.actions), one.locations.iter().map(ToString::to_string).collect()))
            .collect(),
    )
}

/// Two permissions and a foreign one, one or two audiences, up to two statements with two patterns,
/// and every combination of what can be record-bound. The rules compare permissions one by one, so
/// that two stand for any number, and every audience and statement by itself, so that two do as
/// well.
#[test]
fn decide_and_validate_agree_with_the_documents() {
    let template = template();
    let (mut granted, mut refused) = (0, 0);
    for case in cases() {
        let context = case.context(&template);
        let limits = Limits { record_bound: case.bound[2], ..limits() };
        let about =
            || format!("{:?} {:?} {:?} {:?} {:?}", case.key, case.owner, case.audiences, case.bound, case.scope);
        match (grant::decide(&context, &case.request(), &limits), expected(&case)) {
            (Err(DenyReason::Scope(_)), None) => refused += 1,
            (Ok(grant), Some((scope, details))) => {
                granted += 1;
                let claims = grant.claims("https://issuer.test", "jti");
                let found = claims.scope.as_deref().unwrap_or_default().split_ascii_whitespace();
                assert_eq!(found.map(str::to_owned).collect::<BTreeSet<_>>(), scope, "{}", about());
                assert_eq!(details_of(&claims), details, "{}", about());
                compare_validation(&context, &limits, &claims, &case);
            }
            (decided, expected) => panic!("{decided:?}, expected {expected:?}: {}", about()),
        }
    }
    eprintln!("{granted} granted, {refused} refused");
    assert!(granted > 10_000 && refused > 10_000);
}

/// A token is valid for what it states: its scope without a resource, its details with one.
fn compare_validation(context: &KeyContext, limits: &Limits, claims: &Claims<'_>, case: &Case) {
    let scope = set(claims.scope.as_deref().unwrap_or_default());
    let details = claims.authorization_details.as_deref().map(<[_]>::to_vec);
    let bounds = CredentialBounds {
        scope: Some(if claims.is_record_bound() { permissions_of(details.as_deref().unwrap()) } else { scope.clone() }),
        authorization_details: details.clone(),
        record_bound: claims.is_record_bound(),
        audiences: case.request().targets,
    };
    for name in ["p", "q", "r"] {
        for resource in [None, Some("/x/1"), Some("/y"), Some("/z")] {
            let resource: Option<Resource> = resource.map(|text| text.parse().unwrap());
            let is_expected = match &resource {
                None => scope.contains(&name.parse().unwrap()),
                Some(resource) => details.iter().flatten().any(|one| {
                    one.actions.contains(&name.parse().unwrap())
                        && one.locations.iter().any(|pattern| pattern.matches(resource))
                }),
            };
            let required = CredentialRequirements {
                required_permissions: set(name),
                resource: resource.clone(),
                ..CredentialRequirements::default()
            };
            let validated = validate(context, &required, &bounds, limits).unwrap();
            assert_eq!(validated.missing.is_empty(), is_expected, "{name} {resource:?} {claims:?}");
        }
    }
}
