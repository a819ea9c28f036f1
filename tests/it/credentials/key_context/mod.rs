//! Compares the key contexts, as the SQL of both databases returns them, with an in-memory
//! model of the design (invariants 1 and 2), for every key of random directories and for every
//! lookup. `KEYSWAP_KEY_CONTEXT_SEED` runs a single seed.

mod compare;
mod history;
mod lookups;
mod model;
mod narrow;
pub mod random;
mod rules;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use keyswap::{
    crypto::{master_key_file::MasterKey, master_keys::MasterKeys, random::SystemEntropy, sha256},
    domain::{
        common::{
            derived_id::CredentialId,
            encoding::EncodedRow,
            encryption::{Encrypted, EncryptionError, Plaintext, RowCipher},
            entropy::Entropy,
            time::Timestamp,
        },
        events::{Actor, Origin},
    },
    store::{Clock, CreationPolicy, DatabaseSettings, NoEvent, Outcome, Store, StoreError},
};

use crate::support::{Database, Kind, panics};
use compare::{Compared, compare, compare_the_view};
use history::Builder;
use model::Model;
use random::{Ids, Random};

/// The fixed current time, in milliseconds since 1970. A fixed clock allows expiry times equal to
/// it.
const NOW: i64 = 1_900_000_000_123;
const STEPS: usize = 900;

#[derive(Debug)]
struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW)
    }

    fn monotonic_elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

struct Fixture {
    database: Database,
    store: Store,
    model: Model,
}

impl Fixture {
    async fn new(kind: Kind, seed: u64, steps: usize) -> Self {
        let database = Database::new(kind);
        // The fingerprint does not matter here: the comparison reads no file of a master key.
        database
            .sql("INSERT INTO master_keys (version, fingerprint, created_at, state) VALUES (1, 'none', 0, 'current')");
        if kind == Kind::Postgres {
            database.sql(&format!(
                "CREATE OR REPLACE FUNCTION keyswap_now() RETURNS BIGINT LANGUAGE SQL VOLATILE AS 'SELECT {NOW}::BIGINT'"
            ));
        }
        let store = open(&database, seed);
        let built = store.run_transaction(Origin::of(Actor::Operator), move |tx| {
            Ok::<_, StoreError>(Outcome::without_event(Builder::run(tx, seed, steps)?, NoEvent::InternalState))
        });
        let model = built.await.unwrap();
        // The changes have no events, so the store knows no version of what they changed.
        database.sql("UPDATE event_chain_head SET authority_event = 'built'");
        Self { database, store, model }
    }
}

/// The lookup value of an imported key is `lookup-` and the id of its credential, with which its
/// digest begins: the model knows nothing of master keys.
#[derive(Debug)]
struct ReadableLookups(MasterKeys);

impl RowCipher for ReadableLookups {
    fn current_version(&self) -> i32 {
        self.0.current_version()
    }

    fn encrypt(&self, row: &EncodedRow, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Encrypted, EncryptionError> {
        self.0.encrypt(row, plaintext, entropy)
    }

    fn decrypt(&self, row: &EncodedRow, encrypted: &Encrypted) -> Result<Plaintext, EncryptionError> {
        self.0.decrypt(row, encrypted)
    }

    fn imported_key_lookup(&self, _: i32, digest: &[u8]) -> Result<String, EncryptionError> {
        Ok(format!("lookup-{}", String::from_utf8_lossy(&digest[..CredentialId::LENGTH])))
    }
}

/// Opens a store with new connections, so that no PostgreSQL plan for a previous view is reused.
fn open(database: &Database, seed: u64) -> Store {
    let settings = DatabaseSettings {
        url: database.url.parse().unwrap(),
        pool_size: 2,
        connect_timeout: Duration::from_secs(60),
        statement_timeout: Duration::from_secs(60),
        lease: Duration::from_secs(30),
    };
    let ids = Arc::new(Ids(Mutex::new(Random::new(seed))));
    let store = Store::open(&settings, CreationPolicy::Fail, Arc::new(Frozen), ids, sha256).unwrap();
    let master_key = MasterKey::generate(&SystemEntropy::default()).unwrap();
    store.set_cipher(Arc::new(ReadableLookups(MasterKeys::single(1, master_key))));
    store
}

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { test().await });
    panics::assert_none();
}

/// Returns the `fixed` seeds and `of_the_day` seeds derived from the date, unless
/// `KEYSWAP_KEY_CONTEXT_SEED` is set.
fn seeds(fixed: &[u64], of_the_day: u64) -> Vec<u64> {
    if let Ok(seed) = std::env::var("KEYSWAP_KEY_CONTEXT_SEED") {
        return vec![seed.parse().unwrap()];
    }
    let day = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400;
    fixed.iter().copied().chain((0..of_the_day).map(|number| day * 1000 + number)).collect()
}

/// Cases that must occur in a comparison for it to be meaningful.
const SEEN: [&str; 21] = [
    "granted",
    "granted with access records",
    "bad target",
    "bad scope: {\"key\"}",
    "bad scope: {\"owner\"}",
    "bad scope: {\"audience\"}",
    "bad key: active",
    "bad key: suspended",
    "bad key: expired",
    "bad key: revoked",
    "Account: Unbounded",
    "Organization: Holds",
    "Organization: Gone",
    "User: Holds",
    "User: Blocked",
    "User: Gone",
    "Member: Holds",
    "Member: Blocked",
    "Member: Gone",
    "client of Account: Holds",
    "client of Member: Gone",
];

fn compare_with_the_model(kind: Kind, seeds: Vec<u64>) {
    run(|| async move {
        let mut seen = std::collections::BTreeMap::<String, usize>::new();
        for seed in &seeds {
            eprintln!("seed {seed} on {kind:?}");
            let fixture = Fixture::new(kind, *seed, STEPS).await;
            let Compared { differences, seen: here } = compare(&fixture.store, &fixture.model, *seed).await;
            let first: Vec<_> = differences.iter().take(5).collect();
            assert!(
                differences.is_empty(),
                "KEYSWAP_KEY_CONTEXT_SEED={seed}: {} differences, such as {first:#?}",
                differences.len()
            );
            let narrow = narrow::compare(&fixture.store, &fixture.model).await;
            assert!(narrow > 20, "KEYSWAP_KEY_CONTEXT_SEED={seed}: only {narrow} credentials have narrow rows");
            for (what, count) in here {
                *seen.entry(what).or_default() += count;
            }
        }
        let missing: Vec<_> = SEEN.into_iter().filter(|what| !seen.contains_key(*what)).collect();
        assert!(missing.is_empty() || seeds.len() == 1, "never seen: {missing:?}; seen: {seen:#?}");
    });
}

mod key_contexts_match_the_model {
    use super::*;

    #[test]
    fn sqlite() {
        compare_with_the_model(Kind::Sqlite, seeds(&[1, 2], 1));
    }

    #[test]
    fn postgres() {
        compare_with_the_model(Kind::Postgres, seeds(&[1, 2], 1));
    }
}

mod key_contexts_of_many_directories_match_the_model {
    use super::*;

    #[test]
    #[ignore = "takes minutes: scripts/prove key_context"]
    fn sqlite() {
        compare_with_the_model(Kind::Sqlite, seeds(&[], 100));
    }

    #[test]
    #[ignore = "takes minutes: scripts/prove key_context"]
    fn postgres() {
        compare_with_the_model(Kind::Postgres, seeds(&[], 100));
    }
}

/// Reads the definition of the view that all lookups use from the baseline migration.
fn view(kind: Kind) -> String {
    let folder = if kind == Kind::Sqlite { "sqlite" } else { "postgres" };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
    let text = fs::read_to_string(root.join("2026-11-22-000001_baseline/up.sql")).unwrap();
    let begin = text.find("CREATE VIEW key_owner_status").unwrap();
    let end = begin + text[begin..].find(";\n").unwrap();
    text[begin..=end].to_owned()
}

/// Conditions of the view and their replacements. The comparison must detect every single
/// replacement.
const MUTANTS: [(&str, &str); 20] = [
    ("    k.suspended_at,", "    CAST(NULL AS BIGINT) AS suspended_at,"),
    ("    k.revoked_at,", "    CAST(NULL AS BIGINT) AS revoked_at,"),
    ("    k.expires_at,", "    CAST(NULL AS BIGINT) AS expires_at,"),
    ("    k.audiences,", "    CAST(NULL AS TEXT) AS audiences,"),
    ("    k.max_token_ttl,", "    CAST(NULL AS BIGINT) AS max_token_ttl,"),
    ("s.permissions AS client_permissions", "CASE WHEN s.id IS NOT NULL THEN k.permissions END AS client_permissions"),
    ("s.deleted_at AS client_deleted_at", "CAST(NULL AS BIGINT) AS client_deleted_at"),
    (
        "u.generation_id AS user_generation_id",
        "CASE WHEN u.id IS NOT NULL THEN k.generation_id END AS user_generation_id",
    ),
    ("COALESCE(u.blocked_at, u.locked_at) AS user_blocked_at", "u.blocked_at AS user_blocked_at"),
    ("COALESCE(u.blocked_at, u.locked_at) AS user_blocked_at", "u.locked_at AS user_blocked_at"),
    (
        "m.generation_id AS member_generation_id",
        "CASE WHEN m.user_id IS NOT NULL THEN k.generation_id END AS member_generation_id",
    ),
    (
        "m.organization_generation_id AS member_organization_generation_id",
        "CASE WHEN m.user_id IS NOT NULL THEN o.generation_id END AS member_organization_generation_id",
    ),
    (
        "o.generation_id AS organization_generation_id",
        "CASE WHEN o.id IS NOT NULL AND k.user_id IS NULL THEN k.generation_id ELSE o.generation_id END AS organization_generation_id",
    ),
    ("c.generation_id AS creator_member_generation_id", "k.creator_generation_id AS creator_member_generation_id"),
    ("SELECT COALESCE(v.blocked_at, v.locked_at) FROM users v", "SELECT v.blocked_at FROM users v"),
    (" AND ' ' || p.assignable_to || ' ' LIKE '% organization %'", ""),
    ("WHERE q.organization_id = k.organization_id AND q.user_id = k.user_id", "WHERE q.user_id = k.user_id"),
    ("WHERE y.unique_id = k.id)", "WHERE y.unique_id = '')"),
    ("CASE k.owner_type WHEN 'service_client' THEN k.owner_id WHEN", "CASE k.owner_type WHEN"),
    (" WHEN 'user' THEN k.generation_id END)\n    THEN 1", " END)\n    THEN 1"),
];

fn every_condition_is_needed(kind: Kind) {
    run(|| async move {
        let mut worlds: Vec<Fixture> = Vec::new();
        let view = view(kind);
        for (condition, instead) in MUTANTS {
            let mutant = view.replace(condition, instead);
            assert_ne!(mutant, view, "the view has no {condition}");
            let mut found = 0;
            // Rare cases do not occur in every directory.
            for number in 0..24 {
                let seed = number as u64 + 1;
                if worlds.len() == number {
                    worlds.push(Fixture::new(kind, seed, STEPS).await);
                }
                found += differences_with(&worlds[number], seed, &mutant).await;
                if found > 0 {
                    eprintln!("seed {seed} shows {found} differences with {instead:?} in place of {condition:?}");
                    break;
                }
            }
            assert!(found > 0, "nothing would show {instead:?} in place of {condition:?}");
        }
        // The original view shows no differences, so no mutation persists.
        assert_eq!(differences_with(&worlds[0], 1, &view).await, 0);
    });
}

async fn differences_with(fixture: &Fixture, seed: u64, view: &str) -> usize {
    fixture.database.sql(&format!("DROP VIEW key_owner_status; {view}"));
    let store = open(&fixture.database, seed);
    let found = compare_the_view(&store, &fixture.model, seed).await.differences.len();
    store.close().await;
    found
}

mod every_condition_of_the_view_is_covered {
    use super::*;

    #[test]
    fn sqlite() {
        every_condition_is_needed(Kind::Sqlite);
    }

    #[test]
    fn postgres() {
        every_condition_is_needed(Kind::Postgres);
    }
}
