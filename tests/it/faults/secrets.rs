//! Secrets stay secret: the whole flow, and every mistake that people make with keys; then nothing that is kept or told has
//! twelve characters of any of them.

use std::{fs, path::Path, process::Command, sync::Arc};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use keyswap::{
    cli::compose,
    crypto::{
        random::SystemEntropy,
        seal::{Purpose, Sealed},
    },
    domain::api_key_value::{ApiKeyValue, PresentedKey, Secret},
    service::start::Mode,
    store::{self, SystemClock},
};
use serde_json::{Value, json};

use super::{
    leaks::Searcher,
    mistakes,
    process::{Deployment, Running, each},
};
use crate::support::Kind;

each! {
    async fn nothing_kept_or_told_holds_a_secret(deployment: Deployment) {
        for format in ["human", "json"] {
            let deployment = deployment.with(&["log.level=trace", &format!("log.format={format}")]);
            let server = deployment.serve();
            let limits = fs::read_to_string(format!("/proc/{}/limits", server.process.pid())).unwrap();
            let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
            assert!(core.contains(" 0 "), "a core dump would hold every secret: {core}");

            let mut flow = Flow { searcher: Searcher::default(), told: Vec::new() };
            flow.run(&server, &deployment).await;
            flow.watch_what_is_on_the_server(&deployment).await;
            let metrics = server.call(&deployment.admin(), "GET", "/metrics", None).await.text().await.unwrap();
            flow.tell("/metrics", metrics.as_bytes());
            // Before the stop, while the write-ahead log is there, and after it.
            flow.tell_database(&deployment);
            let said = server.stop();
            assert!(said.err.len() > 10_000, "the log should tell of every request at this level");
            flow.tell("the log", said.err.as_bytes());
            flow.tell("standard output", said.out.as_bytes());
            flow.tell_database(&deployment);

            let leaks: Vec<_> = flow
                .told
                .iter()
                .flat_map(|(place, bytes)| flow.searcher.find(bytes).into_iter().map(move |what| format!("{place}: {what}")))
                .collect();
            assert!(leaks.is_empty(), "log.format={format}:\n{}", leaks.join("\n"));
            // The search works on these very places: what is meant to be there is found.
            let mut known = Searcher::default();
            known.watch("a name", b"a key that was rotated");
            let places: Vec<_> =
                flow.told.iter().filter(|(_, bytes)| !known.find(bytes).is_empty()).map(|(place, _)| place.as_str()).collect();
            let kept = if deployment.database.kind == Kind::Sqlite { "keyswap.db" } else { "pg_dump" };
            assert!(places.iter().any(|place| place.ends_with(kept)), "{places:?}");
        }
    }
}

struct Flow {
    searcher: Searcher,
    /// What is kept or told, and where.
    told: Vec<(String, Vec<u8>)>,
}

impl Flow {
    fn tell(&mut self, place: &str, bytes: &[u8]) {
        self.told.push((place.to_owned(), bytes.to_vec()));
    }

    /// The 32 characters that make a key.
    fn watch_key(&mut self, name: &str, value: &str) {
        self.searcher.watch(name, &value.as_bytes()[value.len() - 38..value.len() - 6]);
    }

    fn watch_token(&mut self, answer: &Value) {
        let signature = answer["access_token"].as_str().unwrap().rsplit('.').next().unwrap();
        self.searcher.watch("a signature", signature.as_bytes());
        self.searcher.watch("a signature", &URL_SAFE_NO_PAD.decode(signature).unwrap());
    }

    async fn run(&mut self, server: &Running, deployment: &Deployment) {
        let admin = deployment.admin();
        self.watch_key("the administrator's key", &admin);
        let body = json!({ "name": "a key that was rotated", "owner": { "type": "none" }, "permissions": [] });
        let made: Value = server.call(&admin, "POST", "/v1/api-keys", Some(body)).await.json().await.unwrap();
        let (id, old) = (made["id"].as_str().unwrap(), made["value"].as_str().unwrap());
        self.watch_key("a created key", old);
        let path = format!("/v1/api-keys/{id}");
        let rotated = server.call(&admin, "POST", &format!("{path}/rotate"), Some(json!({ "grace": "1h" }))).await;
        let rotated: Value = rotated.json().await.unwrap();
        let new = rotated["value"].as_str().unwrap();
        self.watch_key("a rotated key", new);

        for key in [old, new] {
            for (form, request) in mistakes::forms(server, id, key) {
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), 200, "{form}");
                self.watch_token(&answer.json().await.unwrap());
            }
        }
        let presented = PresentedKey::parse(new).unwrap();
        let other = Secret::generate(&SystemEntropy::default()).unwrap();
        let wrong = ApiKeyValue::format(&presented.prefix, &presented.credential, &other).expose().to_owned();
        self.watch_key("a wrong key", &wrong);
        for key in [old, new, wrong.as_str(), &new[..new.len() - 1], &new.to_lowercase()] {
            let mut all = mistakes::mistakes(server, &admin, &path, key);
            if key != new && key != old {
                all.extend(mistakes::forms(server, id, key));
            }
            for (mistake, request) in all {
                let answer = request.send().await.unwrap();
                let status = answer.status();
                assert!(!status.is_success() || mistake.ends_with("(harmless)"), "{mistake}: {status}");
                assert_ne!(status, 500, "{mistake}");
                let headers = format!("{:?}", answer.headers());
                let body = answer.text().await.unwrap();
                self.tell(&format!("the answer to {mistake}"), format!("{headers}\n{body}").as_bytes());
            }
        }
        for path in ["/v1/api-keys", "/v1/events?limit=100", "/v1/permissions", "/v1/audiences", &path] {
            let shown = server.call(&admin, "GET", path, None).await.text().await.unwrap();
            self.tell(path, shown.as_bytes());
        }
    }

    /// The master key, and the private halves of the signing keys, opened with it.
    async fn watch_what_is_on_the_server(&mut self, deployment: &Deployment) {
        let file = fs::read_to_string(deployment.keys().join("master.1")).unwrap();
        self.searcher.watch("the master key", file.trim().as_bytes());
        self.searcher.watch("the master key", &STANDARD.decode(file.trim()).unwrap());
        let config = compose::config(None, &deployment.settings).unwrap();
        let app = compose::app(&config, Mode::Command, Arc::new(SystemClock)).await.unwrap();
        let keys = app.store.read(|connection| store::signing_keys::list(connection, false)).await.unwrap();
        assert_eq!(keys.len(), 2);
        for key in keys {
            let (bytes, master_version) = key.sealed.unwrap();
            let sealed = Sealed { master_version, bytes };
            let der = app.master.open(Purpose::SigningKey, key.info.kid.as_str(), &sealed).unwrap();
            // SEC 1 within PKCS#8: version 1, then 32 bytes of scalar.
            let at = der.windows(5).position(|bytes| bytes == [2, 1, 1, 4, 32]).unwrap() + 5;
            self.searcher.watch("a private signing key", &der[at..at + 32]);
        }
    }

    /// All that the database keeps: its files, its log, and a dump.
    fn tell_database(&mut self, deployment: &Deployment) {
        let url = &deployment.database.url;
        match deployment.database.kind {
            Kind::Sqlite => {
                let dir = deployment.database.dir.path().join("data");
                self.tell_files(&dir);
            }
            Kind::Postgres => {
                let bin = std::env::var("KEYSWAP_TEST_PGBIN").unwrap();
                let dump = Command::new(Path::new(&bin).join("pg_dump")).args(["--inserts", url]).output().unwrap();
                assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
                self.tell("pg_dump", &dump.stdout);
                // bytea is dumped in hex: as it is, too.
                deployment.database.sql("CHECKPOINT");
                let name = url.rsplit('/').next().unwrap();
                let data = std::env::var("KEYSWAP_TEST_PGDATA").unwrap();
                let oid = oid(&bin, url, name);
                // Readable by root and by the user who runs PostgreSQL; the dump has said the rest.
                self.tell_files(&Path::new(&data).join("base").join(oid));
                self.tell_files(&Path::new(&data).join("pg_wal"));
            }
        }
    }

    fn tell_files(&mut self, dir: &Path) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            // PostgreSQL may take a segment away meanwhile.
            if let Ok(bytes) = fs::read(&path) {
                self.tell(&path.display().to_string(), &bytes);
            }
        }
    }
}

fn oid(bin: &str, url: &str, name: &str) -> String {
    let query = format!("SELECT oid FROM pg_database WHERE datname = '{name}'");
    let output = Command::new(Path::new(bin).join("psql")).args(["-At", "-c", &query, url]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
