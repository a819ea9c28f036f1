//! Rules that hold for every input, tried on many.

use std::collections::BTreeSet;

use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        access::Rule,
        api_key::{Life, Owner},
        api_key_value::{ApiKeyValue, Malformed, Prefix, PresentedKey, Secret},
        audience::{Audience, Identifier, Takes},
        claim_map::Sources,
        claims::AudienceClaim,
        grant::{self, Facts, KeyFacts, Limits, Refusal, RemovedBy, Request, ScopeFault, TargetFault},
        id::{CredentialId, Generated, Incarnation, KeyId, ServiceClientId},
        permission::{PermissionName, PermissionSet},
        signing::Algorithm,
        standing::{ClientNow, Directory, Home, MembershipNow, Ownership, Standing, UserNow},
        time::{Span, Timestamp},
        token_shape::{AudClaim, TokenShape},
    },
};
use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::select,
};

fn prefix() -> impl Strategy<Value = Prefix> {
    "[a-z0-9]([a-z0-9_]{0,14}[a-z0-9])?".prop_map(|text| text.parse().unwrap())
}

fn new_key(prefix: &Prefix) -> (CredentialId, Secret, ApiKeyValue) {
    let entropy = SystemEntropy::default();
    let (id, secret) = (CredentialId::generate(&entropy).unwrap(), Secret::generate(&entropy).unwrap());
    let value = ApiKeyValue::format(prefix, &id, &secret);
    (id, secret, value)
}

proptest! {
    #[test]
    fn parse_after_format_is_identity(prefix in prefix()) {
        let (id, secret, value) = new_key(&prefix);
        let parsed = PresentedKey::parse(value.expose()).unwrap();
        prop_assert_eq!(parsed, PresentedKey { prefix, credential: id, secret });
    }

    #[test]
    fn no_text_panics_the_parser(text in any::<String>()) {
        let _ = PresentedKey::parse(&text);
    }

    #[test]
    fn no_text_of_the_right_alphabet_panics_the_parser(text in "[0-9A-Za-z_]{0,100}") {
        prop_assert!(PresentedKey::parse(&text).is_err(), "the chance is 2⁻³²");
    }

    #[test]
    fn no_bytes_panic_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = PresentedKey::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_key_is_only_letters_digits_and_underscores(prefix in prefix()) {
        let (_, _, value) = new_key(&prefix);
        prop_assert!(value.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }
}

/// Exhaustive on samples: every place, every other character.
#[test]
fn every_changed_character_and_every_swap_is_caught() {
    let alphabet: Vec<u8> = (b'0'..=b'9').chain(b'A'..=b'Z').chain(b'a'..=b'z').chain([b'_']).collect();
    for prefix in ["ks", "sk_live", "a", "abcdefghijklmno1"] {
        let (_, _, value) = new_key(&prefix.parse().unwrap());
        let key = value.expose().as_bytes();
        for at in 0..key.len() {
            for other in alphabet.iter().filter(|other| **other != key[at]) {
                let mut changed = key.to_vec();
                changed[at] = *other;
                assert_refused(&changed);
            }
            if at + 1 < key.len() && key[at] != key[at + 1] {
                let mut swapped = key.to_vec();
                swapped.swap(at, at + 1);
                assert_refused(&swapped);
            }
        }
    }
}

fn assert_refused(key: &[u8]) {
    let text = std::str::from_utf8(key).unwrap();
    assert_eq!(PresentedKey::parse(text), Err(Malformed::Checksum), "{text}");
}

const NAMES: [&str; 6] =
    ["projects:read", "projects:write", "tasks:read", "tasks:write", "keyswap:keys", "keyswap:admin"];
const AUDIENCES: [&str; 4] = ["https://default.test", "https://api.test", "reports", "https://issuer.test/v1"];

fn permissions() -> impl Strategy<Value = PermissionSet> {
    btree_set(select(&NAMES), 0..NAMES.len())
        .prop_map(|names| names.into_iter().map(|name| name.parse::<PermissionName>().unwrap()).collect())
}

fn identifiers(range: std::ops::Range<usize>) -> impl Strategy<Value = BTreeSet<Identifier>> {
    btree_set(select(&AUDIENCES), range).prop_map(|all| all.into_iter().map(|text| text.parse().unwrap()).collect())
}

fn span(up_to: u64) -> impl Strategy<Value = Span> {
    (1..up_to).prop_map(Span::from_secs)
}

/// Times around `NOW`, in milliseconds.
fn time() -> impl Strategy<Value = Timestamp> {
    (-5_000_000_i64..5_000_000).prop_map(|apart| Timestamp::from_millis(NOW + apart))
}

const NOW: i64 = 1_800_000_000_123;

/// Mostly the default; ES256 is what limits() signs with, so naming it changes nothing.
fn shape() -> impl Strategy<Value = TokenShape> {
    let of = |algorithm, aud_claim| TokenShape { algorithm, aud_claim, ..TokenShape::default() };
    prop_oneof![
        4 => Just(TokenShape::default()),
        2 => Just(of(Some(Algorithm::Es256), AudClaim::Text)),
        1 => Just(of(Some(Algorithm::Rs256), AudClaim::Text)),
        1 => Just(of(None, AudClaim::Array)),
    ]
}

prop_compose! {
    fn audience(identifier: &'static str)(
        listed in option::of(permissions()),
        token_ttl in option::of(span(7200)),
        shape in shape(),
    ) -> Audience {
        let takes = match (identifier.ends_with("/v1"), listed) {
            (true, _) => Takes::Management,
            (false, None) => Takes::Product,
            (false, Some(listed)) => Takes::Listed(listed),
        };
        let entropy = SystemEntropy::default();
        Audience {
            id: Generated::generate(Timestamp::from_millis(NOW), &entropy).unwrap(),
            identifier: identifier.parse().unwrap(),
            takes,
            token_ttl,
            shape: if identifier.ends_with("/v1") { TokenShape::default() } else { shape },
            built_in: None,
            created_at: Timestamp::from_millis(NOW),
            version: 1,
        }
    }
}

/// Two lives of everything in the directory: what a key was made under, and what is there now.
fn incarnation() -> impl Strategy<Value = Incarnation> {
    select(vec!["inc_01JDB00000000000000000000A", "inc_01JDB00000000000000000000B"])
        .prop_map(|text| text.parse().unwrap())
}

prop_compose! {
    fn membership()(incarnation in incarnation(), organization in incarnation()) -> MembershipNow {
        MembershipNow { incarnation, organization }
    }
}

prop_compose! {
    fn directory()(
        user in option::weighted(0.9, (incarnation(), proptest::bool::weighted(0.2))),
        membership in option::weighted(0.9, membership()),
        organization in option::weighted(0.9, incarnation()),
        creator in option::weighted(0.9, membership()),
        permissions in permissions(),
    ) -> Directory {
        let user = user.map(|(incarnation, blocked)| UserNow { incarnation, blocked });
        Directory { user, membership, organization, creator, permissions }
    }
}

fn home() -> impl Strategy<Value = Home> {
    prop_oneof![
        Just(Home::Account),
        incarnation().prop_map(|incarnation| Home::Organization { id: "acme".parse().unwrap(), incarnation }),
        (any::<bool>(), incarnation()).prop_map(|(within, incarnation)| Home::User {
            id: "alice".parse().unwrap(),
            organization: within.then(|| "acme".parse().unwrap()),
            incarnation,
        }),
    ]
}

prop_compose! {
    fn ownership()(
        home in home(),
        of_client in any::<bool>(),
        client in option::weighted(0.9, (permissions(), proptest::bool::weighted(0.1))),
        creator in option::of(incarnation()),
        directory in directory(),
    ) -> Ownership {
        let id = ServiceClientId::generate(Timestamp::from_millis(NOW), &SystemEntropy::default()).unwrap();
        let owner = match &home {
            _ if of_client => Owner::ServiceClient(id),
            Home::Account => Owner::Nobody,
            Home::Organization { id, .. } => Owner::Organization(id.clone()),
            Home::User { id, .. } => Owner::User(id.clone()),
        };
        let creator = creator.filter(|_| matches!(owner, Owner::Organization(_)));
        Ownership {
            owner,
            home,
            creator: creator.map(|incarnation| ("bob".parse().unwrap(), incarnation)),
            client: client.filter(|_| of_client).map(|(permissions, deleted)| ClientNow { permissions, deleted }),
            directory,
        }
    }
}

prop_compose! {
    fn rule()(permissions in permissions(), length in 1..4000_usize) -> Rule {
        // Eight of 500 do not fit a token.
        let resources = (0..length / 500 + 1).map(|place| format!("/{place}/{}", "a".repeat(length % 500 + 1)));
        Rule { permissions, resources: resources.map(|text| text.parse().unwrap()).collect() }
    }
}

prop_compose! {
    fn facts()(
        permissions in permissions(),
        ownership in ownership(),
        audiences in option::of(identifiers(1..3)),
        max_token_ttl in option::of(span(7200)),
        suspended_at in option::weighted(0.1, time()),
        revoked_at in option::weighted(0.1, time()),
        expires_at in option::of(time()),
        credential_expires_at in option::of(time()),
        known in (audience(AUDIENCES[0]), audience(AUDIENCES[1]), audience(AUDIENCES[2]), audience(AUDIENCES[3])),
        missing in option::weighted(0.2, 0..4_usize),
        access in vec(rule(), 0..4),
    ) -> Facts {
        let entropy = SystemEntropy::default();
        let now = Timestamp::from_millis(NOW);
        let mut all = vec![known.0, known.1, known.2, known.3];
        if let Some(missing) = missing {
            all.remove(missing);
        }
        Facts {
            now,
            key: KeyFacts {
                id: KeyId::generate(now, &entropy).unwrap(),
                credential: CredentialId::generate(&entropy).unwrap(),
                credential_expires_at,
                credential_replaced_at: None,
                ownership,
                permissions,
                audiences: audiences.map(|all| all.into_iter().collect()),
                max_token_ttl,
                exchanges_per_minute: None,
                life: Life { suspended_at, revoked_at, expires_at },
                access,
                status: None,
            },
            audiences: all,
            sources: Sources::new(),
        }
    }
}

prop_compose! {
    fn request()(
        scope in option::of(permissions()),
        targets in identifiers(0..3),
        expires_in in option::of(span(100_000)),
    ) -> Request {
        Request { scope: scope.filter(|scope| !scope.is_empty()), targets, expires_in, client_id: None }
    }
}

fn limits() -> Limits {
    Limits {
        issuer: "https://issuer.test".to_owned(),
        default_audience: AUDIENCES[0].parse().unwrap(),
        default_ttl: Span::from_secs(600),
        max_ttl: Span::from_secs(3600),
        ends_with_creator: true,
        algorithm: Algorithm::Es256,
    }
}

/// What the owner can do, told again from the words of design §2 and not by the code under test; nothing when it is blocked or gone.
fn is_within_owner(facts: &Facts, name: &PermissionName) -> bool {
    let Ownership { owner, home, creator, client, directory } = &facts.key.ownership;
    let member = |membership: &Option<MembershipNow>, of: &Incarnation| {
        membership.as_ref().is_some_and(|found| {
            found.incarnation == *of && Some(&found.organization) == directory.organization.as_ref()
        })
    };
    let home_can = match home {
        Home::Account => true,
        Home::Organization { incarnation, .. } => {
            directory.organization.as_ref() == Some(incarnation) && directory.permissions.contains(name)
        }
        Home::User { organization, incarnation, .. } => {
            let user = directory.user.as_ref().filter(|user| !user.blocked);
            let there = match organization {
                None => user.is_some_and(|user| user.incarnation == *incarnation),
                Some(_) => user.is_some() && member(&directory.membership, incarnation),
            };
            there && directory.permissions.contains(name)
        }
    };
    let owner_can = match owner {
        Owner::ServiceClient(_) => {
            client.as_ref().is_some_and(|client| !client.deleted && client.permissions.contains(name))
        }
        Owner::Organization(_) => {
            creator.as_ref().is_none_or(|(_, incarnation)| member(&directory.creator, incarnation))
        }
        Owner::User(_) | Owner::Nobody => true,
    };
    home_can && owner_can
}

fn is_gone(facts: &Facts) -> bool {
    !matches!(facts.key.ownership.standing(true), Standing::Good(_))
}

fn is_taken(facts: &Facts, request: &Request, name: &PermissionName) -> bool {
    let limits = limits();
    let asked = grant::targets_asked(request, &limits);
    let targets = facts.audiences.iter().filter(|audience| asked.contains(&&audience.identifier));
    targets.into_iter().all(|audience| audience.takes.takes(name))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Design rule 1.
    #[test]
    fn granted_scope_is_within_each_of_its_limits(facts in facts(), request in request()) {
        let Ok(grant) = grant::decide(&facts, &request, &limits()) else { return Ok(()) };
        for name in grant.scope.iter() {
            prop_assert!(facts.key.permissions.contains(name));
            prop_assert!(is_within_owner(&facts, name));
            prop_assert!(is_taken(&facts, &request, name));
        }
        if let Some(asked) = &request.scope {
            prop_assert_eq!(&grant.scope, asked, "never a silent cut");
        } else {
            // Not asking gives all of it.
            let all = facts.key.permissions.iter();
            let all: PermissionSet =
                all.filter(|name| is_within_owner(&facts, name) && is_taken(&facts, &request, name)).cloned().collect();
            prop_assert_eq!(&grant.scope, &all);
        }
    }

    /// Access records never add to a scope, and are never cut to fit.
    #[test]
    fn access_is_within_the_scope_and_whole(facts in facts(), request in request()) {
        let left = |scope: &PermissionSet| {
            facts.key.access.iter().filter(|rule| rule.permissions.iter().any(|name| scope.contains(name))).count()
        };
        match grant::decide(&facts, &request, &limits()) {
            Ok(grant) => {
                for detail in &grant.access {
                    prop_assert!(!detail.actions.is_empty() && detail.actions.iter().all(|name| grant.scope.contains(name)));
                    prop_assert!(facts.key.access.iter().any(|rule| rule.resources == detail.locations
                        && detail.actions.iter().all(|name| rule.permissions.contains(name))));
                }
                let is_ours = grant.audience.contains(AUDIENCES[3]);
                prop_assert!(is_ours == grant.access.is_empty() || left(&grant.scope) == 0);
                prop_assert!(grant.access.len() <= left(&grant.scope));
                prop_assert!(serde_json::to_string(&grant.access).unwrap().len() <= 4096);
            }
            Err(refusal) => {
                let long: usize = facts.key.access.iter().flat_map(|rule| &rule.resources).map(|one| one.as_str().len()).sum();
                prop_assert!(refusal != Refusal::Target(TargetFault::Access) || long > 2500, "{} is not too long", long);
            }
        }
    }

    /// Design rule 5, and a lifetime that can only be shortened.
    #[test]
    fn a_token_outlives_nothing_it_hangs_on(facts in facts(), request in request()) {
        let Ok(grant) = grant::decide(&facts, &request, &limits()) else { return Ok(()) };
        prop_assert!(grant.expires_at > grant.issued_at);
        prop_assert!(grant.issued_at * 1000 <= NOW);
        for end in [facts.key.life.expires_at, facts.key.credential_expires_at].into_iter().flatten() {
            prop_assert!(grant.expires_at * 1000 <= end.millis());
        }
        let longest = [Some(Span::from_secs(3600)), facts.key.max_token_ttl, request.expires_in];
        for longest in longest.into_iter().flatten() {
            prop_assert!(grant.expires_in() <= i64::try_from(longest.as_secs()).unwrap());
        }
    }

    #[test]
    fn what_is_over_grants_nothing(facts in facts(), request in request()) {
        let now = Timestamp::from_millis(NOW);
        let ended = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        let life = facts.key.life;
        let over = life.revoked_at.is_some() || life.suspended_at.is_some() || ended(life.expires_at)
            || ended(facts.key.credential_expires_at) || is_gone(&facts);
        let decision = grant::decide(&facts, &request, &limits());
        if over {
            prop_assert!(matches!(decision, Err(Refusal::Key(_))));
        }
    }

    #[test]
    fn a_token_is_for_what_was_asked_and_allowed(facts in facts(), request in request()) {
        let Ok(grant) = grant::decide(&facts, &request, &limits()) else { return Ok(()) };
        let limits = limits();
        let asked: Vec<_> = grant::targets_asked(&request, &limits);
        for target in AUDIENCES {
            let named = grant.audience.contains(target);
            prop_assert_eq!(named, asked.iter().any(|asked| asked.as_str() == target));
            if let (true, Some(allowed)) = (named, &facts.key.audiences) {
                prop_assert!(allowed.iter().any(|allowed| allowed.as_str() == target));
            }
        }
    }

    /// One token has one shape: that of each of its audiences.
    #[test]
    fn audiences_of_a_token_look_alike(facts in facts(), request in request()) {
        let limits = limits();
        let asked = grant::targets_asked(&request, &limits);
        let shapes: Vec<_> =
            facts.audiences.iter().filter(|one| asked.contains(&&one.identifier)).map(|one| &one.shape).collect();
        let effective = |shape: &TokenShape| (shape.algorithm.unwrap_or(Algorithm::Es256), shape.aud_claim);
        let alike = shapes.windows(2).all(|pair| effective(pair[0]) == effective(pair[1]));
        match grant::decide(&facts, &request, &limits) {
            Ok(grant) => {
                prop_assert!(alike && shapes.iter().all(|shape| effective(shape) == effective(&grant.shape)));
                let is_text = matches!(grant.audience, AudienceClaim::One(_));
                prop_assert_eq!(is_text, asked.len() == 1 && grant.shape.aud_claim == AudClaim::Text);
            }
            Err(refusal) => prop_assert!(!alike || refusal != Refusal::Target(TargetFault::Shape)),
        }
    }

    /// Management permissions are for the management audience alone, and it takes no others.
    #[test]
    fn management_permissions_never_leave(facts in facts(), request in request()) {
        let Ok(grant) = grant::decide(&facts, &request, &limits()) else { return Ok(()) };
        for name in grant.scope.iter() {
            prop_assert_eq!(name.is_management(), grant.audience.contains(AUDIENCES[3]));
        }
    }

    #[test]
    fn explain_and_decide_agree(facts in facts(), request in request()) {
        let decision = grant::decide(&facts, &request, &limits());
        match (grant::explain(&facts, &request, &limits()), decision) {
            (Ok(report), Ok(grant)) => prop_assert_eq!(report.granted, grant.scope),
            (Ok(report), Err(Refusal::Scope(ScopeFault::Exceeds(removed) | ScopeFault::NothingLeft(removed)))) => {
                for one in &removed {
                    let rule = match one.by {
                        RemovedBy::Key => facts.key.permissions.contains(&one.permission),
                        RemovedBy::Owner => is_within_owner(&facts, &one.permission),
                        RemovedBy::Audience => is_taken(&facts, &request, &one.permission),
                    };
                    prop_assert!(!rule, "{:?} did not remove it", one);
                }
                prop_assert_eq!(report.removed, removed);
            }
            // Less than a second is left: known only once the lifetime is computed.
            (Ok(_), Err(Refusal::Key(_))) => {}
            (Err(explained), Err(decided)) => prop_assert_eq!(explained, decided),
            (explained, decided) => prop_assert!(false, "{:?} but {:?}", explained, decided),
        }
    }
}
