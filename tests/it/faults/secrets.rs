//! Secrets stay secret. The test runs the whole lifecycle of keys and every misplacement of one,
//! and then asserts that no stored data and no output contains twelve bytes of a secret.

mod lifecycle;
mod sessions;
mod storage;

use std::fs;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Response;
use serde_json::Value;

use super::{
    cluster::Cluster,
    process::{Deployment, Running},
    secret_search::Searcher,
};
use crate::{
    support::{Kind, panics},
    webhooks::LOOPBACK,
};

/// The name of a key. The search must find it wherever keys are stored or returned.
const MARKER: &str = "a key that was rotated";

/// The secrets of a run, and the results of the search for them.
#[derive(Default)]
struct Flow {
    searcher: Searcher,
    /// The responses, which are searched once all secrets are known.
    outputs: Vec<(String, Vec<u8>)>,
    /// Where a secret was found.
    leaks: Vec<String>,
    /// Where the marker was found.
    marked: Vec<String>,
}

impl Flow {
    fn add_output(&mut self, place: &str, bytes: &[u8]) {
        self.outputs.push((place.to_owned(), bytes.to_vec()));
    }

    /// Records the headers and the body of a response that must not contain a secret.
    async fn add_response(&mut self, what: &str, answer: Response) -> String {
        let head = format!("{:?}", answer.headers());
        let body = answer.text().await.unwrap();
        self.add_output(&format!("the answer to {what}"), format!("{head}\n{body}").as_bytes());
        body
    }

    /// Searches for every secret and the marker in one pass.
    fn search(&mut self, place: &str, bytes: &[u8]) {
        for what in self.searcher.find(bytes) {
            if what.starts_with(MARKER) {
                self.marked.push(place.to_owned());
            } else {
                self.leaks.push(format!("{place}: {what}"));
            }
        }
    }

    fn search_outputs(&mut self) {
        for (place, bytes) in std::mem::take(&mut self.outputs) {
            self.search(&place, &bytes);
        }
    }

    /// The 32 secret characters of a key, a session token or a code, which precede the six of the
    /// checksum.
    fn watch_key(&mut self, name: &str, value: &str) {
        self.searcher.watch(name, &value.as_bytes()[value.len() - 38..value.len() - 6]);
    }

    /// The signature, without which a token is invalid.
    fn watch_token(&mut self, name: &str, token: &str) {
        let signature = token.rsplit('.').next().unwrap();
        self.searcher.watch(name, signature.as_bytes());
        self.searcher.watch(name, &URL_SAFE_NO_PAD.decode(signature).unwrap());
    }

    fn watch_answer(&mut self, answer: &Value) {
        self.watch_token("a token", answer["access_token"].as_str().unwrap());
    }

    fn assert_marked(&self, wanted: &[&str]) {
        for place in wanted {
            assert!(self.marked.iter().any(|one| one.contains(place)), "not found in {place}: {:?}", self.marked);
        }
    }
}

fn no_core_is_dumped(server: &Running) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.process.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.contains(" 0 "), "a core dump would hold every secret: {core}");
}

async fn no_storage_or_output_contains_a_secret(kind: Kind, format: &str) {
    // A separate PostgreSQL server, because the WAL contains the changes of all databases of a
    // server.
    let cluster = (kind == Kind::Postgres).then(Cluster::new);
    let deployment = Deployment::new(Kind::Sqlite);
    let mut settings = vec![
        "log.level=trace".to_owned(),
        "brute_force.per_credential=100000".to_owned(),
        format!("log.format={format}"),
        "api_keys.imported=true".to_owned(),
    ];
    settings.extend(LOOPBACK.iter().map(|text| (*text).to_owned()));
    settings.extend(cluster.iter().map(|cluster| format!("database.url={}", cluster.url(cluster.port))));
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    let deployment = deployment.with(&settings);
    let server = deployment.serve();
    no_core_is_dumped(&server);

    let mut flow = Flow::default();
    flow.searcher.watch(MARKER, MARKER.as_bytes());
    flow.run(&server, &deployment).await;
    flow.watch_server_files(&deployment).await;
    // Searched before the stop, while the write-ahead log exists, and again after it.
    flow.search_database(&deployment, cluster.is_some());
    let said = server.stop();
    assert!(said.err.len() > 10_000, "the log should tell of every request at this level");
    flow.search("the log", said.err.as_bytes());
    flow.search("standard output", said.out.as_bytes());
    flow.search_database(&deployment, cluster.is_some());
    flow.search_outputs();

    assert!(flow.leaks.is_empty(), "log.format={format}:\n{}", flow.leaks.join("\n"));
    flow.assert_marked(&["the answer to GET /v1/api-keys"]);
    flow.assert_marked(if cluster.is_some() {
        &["pg_dump", "base/", "pg_wal/"]
    } else {
        &["keyswap.db", "keyswap.db-wal"]
    });
}

fn run(kind: Kind, format: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(no_storage_or_output_contains_a_secret(kind, format));
    panics::assert_none();
}

#[test]
fn no_storage_or_output_contains_a_secret_on_sqlite() {
    for format in ["human", "json"] {
        run(Kind::Sqlite, format);
    }
}

#[test]
fn no_storage_or_output_contains_a_secret_on_postgres() {
    for format in ["human", "json"] {
        run(Kind::Postgres, format);
    }
}
