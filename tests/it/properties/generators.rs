//! Generators of arbitrary key contexts and requests, including combinations that no directory has.

use std::collections::BTreeSet;

use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        access::{
            access_record::EffectiveStatement,
            audience::{AcceptedPermissions, Audience, Identifier},
            claim_map::{ClaimMapping, ClaimSourceObject, ClaimSourceValues},
            owner::{Owner, OwnerScope},
            owner_status::{DirectorySnapshot, MembershipSnapshot, Ownership, ServiceClientSnapshot, UserSnapshot},
            permission::{PermissionName, PermissionSet},
            token_profile::{AudienceClaimFormat, TokenProfile},
        },
        common::{
            derived_id::CredentialId,
            id::{GeneratedId, GenerationId, KeyId, ServiceClientId, StatusListId},
            time::{Span, Timestamp},
        },
        credentials::api_key::KeyLifecycle,
        exchange::key_context::{ExchangeParameters, KeyContext, KeyProperties, Limits},
        signing::Algorithm,
        status_lists::StatusListIndex,
    },
};
use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::select,
};
use serde_json::json;

const NAMES: [&str; 6] =
    ["projects:read", "projects:write", "tasks:read", "tasks:write", "keyswap:keys", "keyswap:admin"];
pub const AUDIENCES: [&str; 4] = ["https://default.test", "https://api.test", "reports", "https://issuer.test/v1"];

fn permissions() -> impl Strategy<Value = PermissionSet> {
    btree_set(select(&NAMES), 0..NAMES.len())
        .prop_map(|names| names.into_iter().map(|name| name.parse::<PermissionName>().unwrap()).collect())
}

/// The permissions of a key. Keys without permissions, which only identify their owner, are
/// frequent.
fn permissions_of_key() -> impl Strategy<Value = PermissionSet> {
    prop_oneof![3 => permissions(), 1 => Just(PermissionSet::default())]
}

/// Claim mappings. Most are empty, because the audiences of one token must have equal mappings.
fn claims() -> impl Strategy<Value = ClaimMapping> {
    let of = |text: &str| Just(text.parse::<ClaimMapping>().unwrap());
    prop_oneof![
        4 => of("{}"),
        2 => of(r#"{"team":"api_key.metadata.team"}"#),
        1 => of(r#"{"team":"api_key.metadata.team","plan":"organization.metadata.billing.plan"}"#),
    ]
}

/// The data of the objects that claims are mapped from.
fn sources() -> impl Strategy<Value = ClaimSourceValues> {
    let word = || option::of("[a-z]{1,8}");
    (word(), word()).prop_map(|(team, plan)| {
        let object = |value: serde_json::Value| value.as_object().unwrap().clone();
        let team = team.map(|team| (ClaimSourceObject::ApiKeyMetadata, object(json!({ "team": team, "secret": "x" }))));
        let plan =
            plan.map(|plan| (ClaimSourceObject::OrganizationMetadata, object(json!({ "billing": { "plan": plan } }))));
        team.into_iter().chain(plan).collect()
    })
}

fn place() -> impl Strategy<Value = StatusListIndex> {
    any::<u32>().prop_map(|index| {
        let list = StatusListId::generate(Timestamp::from_millis(NOW), &SystemEntropy::default()).unwrap();
        StatusListIndex { list, index }
    })
}

fn identifiers(range: std::ops::Range<usize>) -> impl Strategy<Value = BTreeSet<Identifier>> {
    btree_set(select(&AUDIENCES), range).prop_map(|all| all.into_iter().map(|text| text.parse().unwrap()).collect())
}

fn span(up_to: u64) -> impl Strategy<Value = Span> {
    (1..up_to).prop_map(Span::from_secs)
}

/// Times within 5000 seconds of `NOW`.
fn time() -> impl Strategy<Value = Timestamp> {
    (-5_000_000_i64..5_000_000).prop_map(|apart| Timestamp::from_millis(NOW + apart))
}

pub const NOW: i64 = 1_800_000_000_123;

/// Mostly the default profile. `limits()` signs with ES256, so naming ES256 changes nothing.
fn shape() -> impl Strategy<Value = TokenProfile> {
    let of = |algorithm, aud_claim| TokenProfile { algorithm, aud_claim, ..TokenProfile::default() };
    prop_oneof![
        4 => Just(TokenProfile::default()),
        2 => Just(of(Some(Algorithm::Es256), AudienceClaimFormat::String)),
        1 => Just(of(Some(Algorithm::Rs256), AudienceClaimFormat::String)),
        1 => Just(of(None, AudienceClaimFormat::Array)),
    ]
}

prop_compose! {
    fn audience(identifier: &'static str)(
        listed in option::of(permissions()),
        token_ttl in option::of(span(7200)),
        shape in shape(),
        claims in claims(),
        record_bound in proptest::bool::weighted(0.2),
    ) -> Audience {
        let shape = TokenProfile { claims, ..shape };
        let accepts = match (identifier.ends_with("/v1"), listed) {
            (true, _) => AcceptedPermissions::Management,
            (false, None) => AcceptedPermissions::Product,
            (false, Some(listed)) => AcceptedPermissions::Only(listed),
        };
        let entropy = SystemEntropy::default();
        Audience {
            id: GeneratedId::generate(Timestamp::from_millis(NOW), &entropy).unwrap(),
            identifier: identifier.parse().unwrap(),
            accepts,
            token_ttl,
            token_profile: if identifier.ends_with("/v1") { TokenProfile::default() } else { shape },
            record_bound,
            built_in: None,
            created_at: Timestamp::from_millis(NOW),
            version: 1,
        }
    }
}

/// One of two generation ids, so that the one at the creation of a key may differ from the current
/// one.
fn generation_id() -> impl Strategy<Value = GenerationId> {
    select(vec!["inc_01JDB00000000000000000000A", "inc_01JDB00000000000000000000B"])
        .prop_map(|text| text.parse().unwrap())
}

prop_compose! {
    fn membership()(generation_id in generation_id(), organization in generation_id()) -> MembershipSnapshot {
        MembershipSnapshot { generation_id, organization }
    }
}

prop_compose! {
    fn directory()(
        user in option::weighted(0.9, (generation_id(), proptest::bool::weighted(0.2))),
        membership in option::weighted(0.9, membership()),
        organization in option::weighted(0.9, generation_id()),
        creator_membership in option::weighted(0.9, membership()),
        creator_blocked in proptest::bool::weighted(0.2),
        permissions in permissions(),
    ) -> DirectorySnapshot {
        let user = user.map(|(generation_id, blocked)| UserSnapshot { generation_id, blocked });
        DirectorySnapshot { user, membership, organization, creator_membership, creator_blocked, permissions }
    }
}

fn owner_scope() -> impl Strategy<Value = OwnerScope> {
    prop_oneof![
        Just(OwnerScope::Account),
        generation_id()
            .prop_map(|generation_id| OwnerScope::Organization { id: "acme".parse().unwrap(), generation_id }),
        (any::<bool>(), generation_id()).prop_map(|(within, generation_id)| OwnerScope::User {
            id: "alice".parse().unwrap(),
            organization: within.then(|| "acme".parse().unwrap()),
            generation_id,
        }),
    ]
}

prop_compose! {
    fn ownership()(
        owner_scope in owner_scope(),
        of_client in any::<bool>(),
        client in option::weighted(0.9, (permissions(), proptest::bool::weighted(0.1))),
        creator in option::of(generation_id()),
        directory in directory(),
    ) -> Ownership {
        let id = ServiceClientId::generate(Timestamp::from_millis(NOW), &SystemEntropy::default()).unwrap();
        let owner = match &owner_scope {
            _ if of_client => Owner::ServiceClient(id),
            OwnerScope::Account => Owner::Unowned,
            OwnerScope::Organization { id, .. } => Owner::Organization(id.clone()),
            OwnerScope::User { id, .. } => Owner::User(id.clone()),
        };
        let creator = creator.filter(|_| matches!(owner, Owner::Organization(_)));
        Ownership {
            owner,
            owner_scope,
            creator_membership: creator.map(|generation_id| ("bob".parse().unwrap(), generation_id)),
            client: client.filter(|_| of_client).map(|(permissions, deleted)| ServiceClientSnapshot { permissions, deleted }),
            directory,
        }
    }
}

prop_compose! {
    fn rule()(permissions in permissions(), length in 1..4000_usize) -> EffectiveStatement {
        // Eight resources of 500 bytes exceed the size limit of the details.
        let resources = (0..length / 500 + 1).map(|place| format!("/{place}/{}", "a".repeat(length % 500 + 1)));
        EffectiveStatement { permissions, resources: resources.map(|text| text.parse().unwrap()).collect() }
    }
}

prop_compose! {
    pub fn context()(
        permissions in permissions_of_key(),
        ownership in ownership(),
        audiences in option::of(identifiers(1..3)),
        max_token_ttl in option::of(span(7200)),
        suspended_at in option::weighted(0.1, time()),
        revoked_at in option::weighted(0.1, time()),
        expires_at in option::of(time()),
        credential_expires_at in option::of(time()),
        known in (audience(AUDIENCES[0]), audience(AUDIENCES[1]), audience(AUDIENCES[2]), audience(AUDIENCES[3])),
        missing in option::weighted(0.2, 0..4_usize),
        access_statements in vec(rule(), 0..4),
        (replaced_at, exchanges_per_minute, record_bound, status, sources) in
            (option::of(time()), option::of(1..1000_u32), proptest::bool::weighted(0.3), option::of(place()), sources()),
    ) -> KeyContext {
        let entropy = SystemEntropy::default();
        let now = Timestamp::from_millis(NOW);
        let mut all = vec![known.0, known.1, known.2, known.3];
        if let Some(missing) = missing {
            all.remove(missing);
        }
        KeyContext {
            now,
            key: KeyProperties {
                id: KeyId::generate(now, &entropy).unwrap(),
                credential_id: CredentialId::generate(&entropy).unwrap(),
                credential_expires_at,
                credential_replaced_at: replaced_at,
                ownership,
                permissions,
                audiences: audiences.map(|all| all.into_iter().collect()),
                max_token_ttl,
                exchanges_per_minute,
                record_bound,
                lifecycle: KeyLifecycle { suspended_at, revoked_at, expires_at },
                created_at: now,
                version: 1,
                access_statements,
                metadata: "{}".to_owned(),
                status,
            },
            audiences: all,
            sources,
        }
    }
}

prop_compose! {
    pub fn request()(
        scope in option::of(permissions()),
        targets in identifiers(0..3),
        requested_ttl in option::of(span(5_000)),
    ) -> ExchangeParameters {
        ExchangeParameters { scope: scope.filter(|scope| !scope.is_empty()), targets, requested_ttl, client_id: None }
    }
}

pub fn limits() -> Limits {
    Limits {
        issuer: "https://issuer.test".to_owned(),
        default_audience: AUDIENCES[0].parse().unwrap(),
        default_ttl: Span::from_secs(600),
        max_ttl: Span::from_secs(3600),
        end_with_creator: true,
        record_bound: false,
        algorithm: Algorithm::Es256,
        max_token_size: 8192,
    }
}
