//! Compares every key lookup of the store with the model.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use keyswap::{
    domain::{
        access::owner_status::{OwnerPermissions, OwnerStatus},
        common::time::{Span, Timestamp},
        credentials::api_key::{self, ApiKey},
        exchange::{
            grant,
            key_context::{ExchangeParameters, KeyContext, Limits},
            refusal::{DenyReason, PermissionLimit, RemovedPermission, ScopeError},
        },
        signing::Algorithm,
    },
    store::{CredentialLookup, LookupDetail, Store},
};

use super::{
    lookups::{Lookup, alone, asked, by_credential, context_of, in_batch, listed, request},
    model::{Credential, DEFAULT_AUDIENCE, DEFAULT_TTL, Decision, Key, MAX_TTL, Model, Owner, Set, TokenRequest},
    random::Random,
};

/// The differences found, and how often each case occurred. A case that never occurs is not tested.
#[derive(Debug, Default)]
pub struct Compared {
    pub differences: Vec<String>,
    pub seen: BTreeMap<String, usize>,
}

/// The context of a comparison, used only in its failure message.
#[derive(Clone, Copy)]
struct LookupContext<'a> {
    way: &'a str,
    id: &'a str,
    key: &'a Key,
    asked: Option<&'a TokenRequest>,
}

impl Compared {
    fn same<T: PartialEq + fmt::Debug>(&mut self, about: LookupContext<'_>, part: &str, found: &T, wanted: &T) {
        if found != wanted {
            let LookupContext { way, id, key, asked } = about;
            self.differences
                .push(format!("{way}, {part}: found {found:?}, wanted {wanted:?}; {id}, {key:?}, {asked:?}"));
        }
    }

    fn saw(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }
}

fn limits(end_with_creator: bool) -> Limits {
    Limits {
        issuer: DEFAULT_AUDIENCE.to_owned(),
        default_audience: DEFAULT_AUDIENCE.parse().unwrap(),
        default_ttl: Span::from_secs(DEFAULT_TTL.unsigned_abs()),
        max_ttl: Span::from_secs(MAX_TTL.unsigned_abs()),
        end_with_creator,
        record_bound: false,
        algorithm: Algorithm::Es256,
        max_token_size: 8192,
    }
}

fn names<T: ToString>(all: impl IntoIterator<Item = T>) -> Set {
    all.into_iter().map(|name| name.to_string()).collect()
}

/// Generates one question per credential.
fn questions(model: &Model, seed: u64) -> Vec<Lookup> {
    let mut chance = Random::new(seed);
    let keys = model.keys.iter();
    keys.flat_map(|(id, key)| key.credentials.iter().map(move |credential| (id, credential)))
        .map(|(id, credential)| (id.clone(), credential.clone(), asked(&mut chance)))
        .collect()
}

/// Compares the view with the model, using lookups by credential.
pub async fn compare_the_view(store: &Store, model: &Model, seed: u64) -> Compared {
    let mut compared = Compared::default();
    let questions = questions(model, seed);
    let found = by_credential(store, &questions).await;
    compared.all(model, "by credential", &questions, found);
    compared
}

/// Compares every lookup with the model.
pub async fn compare(store: &Store, model: &Model, seed: u64) -> Compared {
    let mut compared = compare_the_view(store, model, seed).await;
    let questions = questions(model, seed);
    for (way, found) in alone(store, &questions).await {
        compared.all(model, way, &questions, found);
    }
    // The concurrent lookups are answered by a few queries of up to 128 credentials each.
    for (way, wants) in [("gathered", LookupDetail::Context), ("gathered whole", LookupDetail::Full)] {
        let mut found = Vec::new();
        for answer in in_batch(store, &questions, wants).await {
            found.push(answer.map(|CredentialLookup { record, details: whole }| {
                if let Some((key, _)) = whole.as_deref() {
                    compared.key(model, way, key);
                }
                context_of(record)
            }));
        }
        compared.all(model, way, &questions, found);
    }
    for key in listed(store, model).await {
        compared.key(model, "listed", &key);
    }
    compared
}

impl Compared {
    fn all(&mut self, model: &Model, way: &str, questions: &[Lookup], found: Vec<Option<KeyContext>>) {
        for ((id, credential, asked), context) in questions.iter().zip(found) {
            let Some(context) = context else {
                self.differences.push(format!("{way}: {id} is not found by {}", credential.id));
                continue;
            };
            let key = &model.keys[id];
            // A lookup by key id returns the newest working credential, or an
            // arbitrary one if none works.
            let newest = key.credentials.iter().rev().find(|credential| model.works(credential));
            let credential = if way == "by key" { newest.or(key.credentials.last()).unwrap() } else { credential };
            self.compare_context(
                model,
                LookupContext { way, id, key, asked: Some(asked) },
                credential,
                asked,
                &context,
            );
        }
    }

    fn compare_context(
        &mut self,
        model: &Model,
        about: LookupContext<'_>,
        credential: &Credential,
        asked: &TokenRequest,
        context: &KeyContext,
    ) {
        let (id, key, found) = (about.id, about.key, &context.key);
        self.same(about, "now", &context.now.millis(), &model.now);
        self.same(about, "id", &found.id.to_string(), &id.to_owned());
        self.same(about, "credential", &found.credential_id.to_string(), &credential.id);
        let millis = |time: Option<Timestamp>| time.map(|time| time.millis());
        self.same(about, "end of credential", &millis(found.credential_expires_at), &credential.ends_at);
        self.same(
            about,
            "replaced",
            &found.credential_end().replaced_at.and(found.credential_expires_at).map(Timestamp::millis),
            &credential.ends_at,
        );
        self.same(about, "permissions", &names(found.permissions.iter()), &key.permissions);
        let audiences = found.audiences.as_ref().map(|all| all.iter().map(ToString::to_string).collect());
        self.same(about, "audiences", &audiences, &key.audiences);
        let ttl = found.max_token_ttl.map(|span| i64::try_from(span.as_secs()).unwrap());
        self.same(about, "token lifetime", &ttl, &key.max_token_ttl);
        self.same(about, "rate", &found.exchanges_per_minute, &key.exchanges_per_minute);
        let life = [found.lifecycle.suspended_at, found.lifecycle.revoked_at].map(|time| time.is_some());
        self.same(about, "life", &life, &[key.suspended, key.revoked]);
        self.same(about, "expiry", &millis(found.lifecycle.expires_at), &key.expires_at);
        let organization = found.ownership.owner_scope.organization().map(ToString::to_string);
        self.same(about, "organization", &organization.as_ref(), &key.owner_scope.organization());
        self.same(about, "client", &found.ownership.client.is_some(), &key.client.is_some());
        for end_with_maker in [false, true] {
            self.status_of_owner(model, about, end_with_maker, &found.ownership.owner_status(end_with_maker));
            let decided = decision(context, &request(asked), &limits(end_with_maker));
            let wanted = model.decide(id, credential, asked, end_with_maker);
            self.same(about, "decision", &decided, &wanted);
            self.saw(match wanted {
                Decision::Granted { access, .. } if !access.is_empty() => "granted with access records".to_owned(),
                Decision::Granted { .. } => "granted".to_owned(),
                Decision::BadKey => format!("bad key: {}", model.state(key, end_with_maker)),
                Decision::BadTarget => "bad target".to_owned(),
                Decision::BadScope(removed) => format!("bad scope: {:?}", removed.values().collect::<BTreeSet<_>>()),
            });
        }
        // The access rules of a deleted or blocked owner are not compared, because the key is
        // refused.
        if !matches!(model.owner(key, false), Owner::Gone | Owner::Blocked) {
            let rules = found.access_statements.iter().map(|rule| {
                (names(rule.permissions.iter()), rule.resources.iter().map(ToString::to_string).collect::<Vec<_>>())
            });
            let mut rules: Vec<_> = rules.collect();
            rules.sort();
            self.same(about, "access", &rules, &model.access(id));
        }
    }

    /// Compares the owner status, and the permissions of the owner that the key carries.
    fn status_of_owner(&mut self, model: &Model, about: LookupContext<'_>, end_with_maker: bool, found: &OwnerStatus) {
        let key = about.key;
        let of_key = |set: &Set| Owner::Holds(set.intersection(&key.permissions).cloned().collect());
        let found = match found {
            OwnerStatus::Active(OwnerPermissions::Unlimited) => Owner::Unbounded,
            OwnerStatus::Active(OwnerPermissions::Permissions(set)) => of_key(&names(set.iter())),
            OwnerStatus::Blocked => Owner::Blocked,
            OwnerStatus::Deleted(_) => Owner::Gone,
        };
        let wanted = match model.owner(key, end_with_maker) {
            Owner::Holds(set) => of_key(&set),
            other => other,
        };
        self.same(about, "owner", &found, &wanted);
        let kind = format!("{:?}", key.owner_scope).split([' ', '{']).next().unwrap_or_default().to_owned();
        let state = format!("{wanted:?}").split('(').next().unwrap_or_default().to_owned();
        let owner = if key.client.is_some() { "client of " } else { "" };
        self.saw(format!("{owner}{kind}: {state}"));
    }

    /// Compares the listed key: its state and its currently valid credentials.
    fn key(&mut self, model: &Model, way: &str, found: &ApiKey) {
        let id = found.id.as_str();
        let key = &model.keys[id];
        let about = LookupContext { way, id, key, asked: None };
        for end_with_maker in [false, true] {
            let status_of_owner = found.ownership.owner_status(end_with_maker);
            let (state, _) = api_key::state(&found.lifecycle(), &status_of_owner, Timestamp::from_millis(model.now));
            self.same(about, "state", &state.as_str(), &model.state(key, end_with_maker));
        }
        let working = key.credentials.iter().rev().filter(|credential| model.works(credential));
        let working: Vec<_> = working.map(|credential| credential.id.clone()).collect();
        let proving: Vec<_> = found.credentials.iter().map(|credential| credential.id.to_string()).collect();
        self.same(about, "credentials", &proving, &working);
    }
}

/// Returns the result of `decide`, and asserts that `explain` agrees with it.
fn decision(context: &KeyContext, request: &ExchangeParameters, limits: &Limits) -> Decision {
    let removed_by = |removed: &[RemovedPermission]| {
        let by = |removed: &RemovedPermission| match removed.by {
            PermissionLimit::Key => "key",
            PermissionLimit::Owner => "owner",
            PermissionLimit::Audience => "audience",
            PermissionLimit::AccessRecords => "access_records",
        };
        removed.iter().map(|one| (one.permission.to_string(), by(one))).collect::<BTreeMap<_, _>>()
    };
    let explained = grant::explain(context, request, limits);
    match grant::decide(context, request, limits) {
        Ok(grant) => {
            let explained = explained.unwrap();
            assert_eq!(
                (&explained.granted, &explained.authorization_details),
                (&grant.scope, &grant.authorization_details)
            );
            let access = grant.authorization_details.iter().flatten().map(|detail| {
                (names(detail.actions.iter()), detail.locations.iter().map(ToString::to_string).collect())
            });
            Decision::Granted {
                scope: names(grant.scope.iter()),
                access: access.collect(),
                expires_at: grant.expires_at,
            }
        }
        Err(DenyReason::Credential(_)) => Decision::BadKey,
        Err(DenyReason::Target(_)) => Decision::BadTarget,
        Err(DenyReason::Scope(ScopeError::ExceedsGrantable(removed) | ScopeError::Empty(removed))) => {
            assert_eq!(removed_by(&explained.unwrap().removed), removed_by(&removed));
            Decision::BadScope(removed_by(&removed))
        }
        Err(DenyReason::Scope(ScopeError::Malformed | ScopeError::TokenTooLarge(_)) | DenyReason::Lifetime(_)) => {
            panic!("the request is well-formed")
        }
    }
}
