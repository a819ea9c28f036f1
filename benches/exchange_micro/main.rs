//! Benchmarks of the parts of an exchange, each alone and without HTTP, to show the effect of a
//! change.
//!
//!     cargo bench --bench exchange_micro
//!     cargo bench --bench exchange_micro -- sign
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot measure stops with a message; it reads the clock, and talks to a terminal"
)]

#[path = "../exchange_load/api.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod api;
#[path = "../exchange_load/baseline.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod baseline;
#[path = "../exchange_load/copies.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod copies;
#[path = "../exchange_load/databases.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod databases;
#[path = "../exchange_load/processes.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod processes;
#[path = "../exchange_load/response.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod response;
#[path = "../exchange_load/seed/mod.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod seed;
#[path = "../exchange_load/usage.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod usage;

mod timing;

use std::{
    collections::BTreeSet,
    env,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
};

use keyswap::{
    app::startup::{self, StartMode},
    config::Settings,
    crypto::{credential, random, sha256, signer::Signer},
    domain::{
        common::encryption::{Encrypted, RowCipher as _},
        credentials::format::PresentedKey,
        exchange::grant,
        signing::Algorithm,
    },
    service::{Services, credentials::verify::PresentedCredential, exchange::exchange},
    store::{LookupDetail, SystemClock},
    telemetry::labels::RequestForm,
};
use tokio::runtime::Runtime;

use databases::{Database, TemporaryDeployment};
use seed::{Keys, Population, fill};
use timing::Table;

/// Few enough for the CPU caches. `exchange_load` measures large databases.
const KEYS: u32 = 1_000;
/// The typical length of a token's signing input, in bytes.
const MESSAGE: usize = 600;
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::Ps256];

fn main() {
    let wanted = env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    let place = TemporaryDeployment::make(Database::Sqlite, Path::new(env!("CARGO_BIN_EXE_keyswap")));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let services = services(&runtime, &place);
    let keys = fill(&place, Population::Service, Algorithm::EdDsa, KEYS);
    place.settle();
    let table = runtime.block_on(measure(&services, &keys, Table::new(wanted)));
    println!("{table}");
}

fn services(runtime: &Runtime, place: &TemporaryDeployment) -> Services {
    let settings = [
        format!("database.url={}", place.url()),
        format!("keys.dir={}", place.keys_dir().display()),
        "keys.create=true".to_owned(),
        "server.public_url=http://keyswap.example".to_owned(),
        "signing_keys.algorithm=EdDSA".to_owned(),
    ];
    let config = Settings::load(None, &settings).expect("the settings");
    runtime.block_on(startup::start(config, StartMode::Serve, Arc::new(SystemClock))).expect("a start")
}

async fn measure(services: &Services, keys: &Keys, mut table: Table) -> Table {
    let text = std::str::from_utf8(keys.get(0)).expect("a key");
    let presented: Vec<_> = (0..keys.count())
        .map(|index| PresentedKey::parse(std::str::from_utf8(keys.get(index)).expect("a key")).expect("one of ours"))
        .collect();
    let (limits, request) =
        (&services.settings.limits, keyswap::domain::exchange::key_context::ExchangeParameters::default());
    let targets = BTreeSet::from([limits.default_audience.clone()]);
    let found =
        services.store.load_credential(presented[0].credential_id, targets.clone(), LookupDetail::Context).await;
    let record = found.expect("the key context").expect("a key").record;
    let encrypted = Encrypted { master_version: record.master_version, bytes: record.encrypted_secret.clone() };
    let jti = || random::generate_token_id(&services.entropy).expect("randomness");

    let checked = text.len() - 6;
    table.time("checksum", async || crc32fast::hash(black_box(&text.as_bytes()[..checked]))).await;
    table.time("parse, with the checksum", async || PresentedKey::parse(black_box(text))).await;
    table
        .time("proof: digest, decryption, comparison", async || {
            let row = record.context.key.credential_authority().encode(sha256);
            let stored = services.master_keys.decrypt(&row, black_box(&encrypted)).expect("an unaltered row");
            credential::is_correct(&stored, &presented[0])
        })
        .await;
    let mut next = 0;
    table
        .time("look-up, SQLite: from the request to the key context", async || {
            next = (next + 1) % presented.len();
            services
                .store
                .load_credential(presented[next].credential_id, black_box(&targets).clone(), LookupDetail::Context)
                .await
        })
        .await;
    table.time("decide", async || grant::decide(black_box(&record.context), &request, limits)).await;
    table.time("an id for the token", async || jti()).await;
    let granted = grant::decide(&record.context, &request, limits).expect("a grant");
    table
        .time("claims, from the grant to JSON", async || {
            serde_json::to_vec(&black_box(&granted).claims(services.issuer(), "0123456789012345678901"))
        })
        .await;
    for algorithm in ALGORITHMS {
        let name = format!("sign, {algorithm}");
        if table.wants(&name) {
            let private = Signer::generate(algorithm).expect("a key");
            let signer = Signer::from_pkcs8(algorithm, &private).expect("a signer");
            let message = [b'x'; MESSAGE];
            table.time(&name, async || signer.sign(black_box(&message)).await).await;
        }
    }
    let (mut next, source) = (0, IpAddr::V4(Ipv4Addr::LOCALHOST).into());
    table
        .time("all of it, EdDSA, without HTTP", async || {
            next = (next + 1) % keys.count();
            let key = std::str::from_utf8(keys.get(next)).expect("a key");
            let attempt = PresentedCredential { value: key, source, form: Some(RequestForm::Exchange) };
            exchange(services, attempt, &request).await.expect("a token")
        })
        .await;
    table
}
