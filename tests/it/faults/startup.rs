//! Starts that must be refused with the name of the file and with advice, and starts after an
//! interrupted one. No start overwrites existing data.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use diesel::{Connection, PgConnection, connection::SimpleConnection};
use serde_json::{Value, json};

use super::{
    process::{Deployment, LONG, each},
    tables,
};
use crate::support::Kind;

/// The files in a directory, with their content and mode. Subdirectories are not read.
fn files(dir: &Path) -> BTreeMap<String, (Vec<u8>, u32)> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        found.insert(path.display().to_string(), (fs::read(&path).unwrap(), mode));
    }
    found
}

fn write(file: &Path, bytes: &[u8], mode: u32) {
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

each! {
    async fn invalid_master_key_file_prevents_the_start(deployment: Deployment) {
        let file = deployment.keys().join("master.1");
        let server = deployment.serve();
        let admin = deployment.admin();
        server.stop();
        let right = fs::read(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let rows = tables::contents(&deployment);
        assert!(rows.len() > 8, "the tables were found: {}", rows.len());

        let mut imported = right.clone();
        imported[3] = if imported[3] == b'A' { b'B' } else { b'A' };
        type Change<'a> = Box<dyn Fn() + 'a>;
        let corrupted: [(&str, &str, Change<'_>); 7] = [
            ("imported", "is not the key that the database was encrypted with", Box::new(|| write(&file, &imported, 0o600))),
            ("truncated", "holds no master key", Box::new(|| write(&file, &right[..20], 0o600))),
            ("empty", "holds no master key", Box::new(|| write(&file, b"", 0o600))),
            ("binary", "failed to read", Box::new(|| write(&file, &[0xff; 32], 0o600))),
            ("world-readable", "chmod 600", Box::new(|| write(&file, &right, 0o644))),
            ("group-writable", "chmod 600", Box::new(|| write(&file, &right, 0o660))),
            ("missing", "is missing", Box::new(|| fs::remove_file(&file).unwrap())),
        ];
        for (what, words, spoil) in corrupted {
            spoil();
            let before = files(&deployment.keys());
            for command in [&["serve"][..], &["api-key", "list"], &["signing-key", "rotate"], &["master-key", "init"]] {
                let said = deployment.run(command);
                assert_eq!(said.code, Some(1), "{what}, {command:?}: {said:?}");
                let named = said.err.contains(&file.display().to_string());
                assert!(named && said.err.contains(words), "{what}, {command:?}: {}", said.err);
            }
            assert_eq!(files(&deployment.keys()), before, "{what}: the directory is as it was");
            assert_eq!(tables::contents(&deployment), rows, "{what}: the database is as it was");
            if what == "imported" || what == "missing" {
                let status = deployment.json(&["master-key", "status"]);
                let expected = if what == "imported" { "contains another key" } else { "missing" };
                assert_eq!(status[0]["file"], expected);
            }
        }
        // The group is one of the process, as in a Secret of Kubernetes.
        write(&file, &right, 0o600);
        for mode in [0o400, 0o440, 0o600] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(deployment.json(&["master-key", "status"])[0]["file"], "present", "{mode:o}");
        }
        let server = deployment.serve();
        assert!(server.knows(&admin).await, "with the right file all is as before");
        server.stop();
    }

    async fn start_uses_the_key_of_master_key_init(deployment: Deployment) {
        let deployment = deployment.with(&["keys.create=false"]);
        let said = deployment.run(&["master-key", "init"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        let file = deployment.keys().join("master.1");
        let made = fs::read(&file).unwrap();
        assert!(said.out.contains(&file.display().to_string()) && said.out.contains("Back it up"), "{}", said.out);
        assert_eq!(deployment.run(&["master-key", "init"]).code, Some(0), "again: nothing to do");
        assert_eq!(fs::read(&file).unwrap(), made);
        let server = deployment.serve();
        assert!(server.knows(&deployment.admin()).await, "the administrator is made by the first start");
        server.stop();
        assert_eq!(fs::read(&file).unwrap(), made);
    }

    async fn interrupted_start_succeeds_on_retry(deployment: Deployment) {
        assert_eq!(deployment.run(&["migrate"]).code, Some(0));
        let admin_file = deployment.keys().join("administrator.key");
        for _ in 0..3 {
            // On PostgreSQL the start blocks at its last step, where it numbers its events: all
            // files are written, and no change is committed. On SQLite the process is killed as
            // soon as the file exists, which may be before or after the commit.
            let held = lock_events(&deployment);
            let process = deployment.start();
            let started = Instant::now();
            while !admin_file.exists() {
                assert!(started.elapsed() < LONG, "{}", process.log());
                std::thread::sleep(Duration::from_micros(200));
            }
            drop(process);
            drop(held);
            let master = fs::read(deployment.keys().join("master.1")).unwrap();
            let server = deployment.serve();
            assert!(server.knows(&deployment.admin()).await, "the key on disk is the one that works");
            let clients = server.call(&deployment.admin(), "GET", "/v1/service-clients", None).await;
            let clients: Value = clients.json().await.unwrap();
            assert_eq!(clients["data"].as_array().unwrap().len(), 1, "one administrator");
            server.stop();
            assert_eq!(fs::read(deployment.keys().join("master.1")).unwrap(), master);
            assert_eq!(deployment.run(&["doctor"]).code, Some(0));
            // The next round is a new deployment that finds the master key of the previous one on
            // disk.
            tables::start_over(&deployment);
            fs::remove_file(&admin_file).unwrap();
        }
    }

    async fn altered_rows_fail_authentication(deployment: Deployment) {
        let server = deployment.serve();
        let admin = deployment.admin();
        let (_, first) = server.key(&admin).await;
        let (_, second) = server.key(&admin).await;
        let (_, third) = server.key(&admin).await;
        let id = |key: &str| key[key.len() - 55..key.len() - 39].to_owned();
        let secret_of = |key: &str| format!("(SELECT encrypted_secret FROM credentials WHERE id = '{}')", id(key));
        let (one, two) = (tables::bytes(&deployment, &secret_of(&first)), tables::bytes(&deployment, &secret_of(&second)));
        let set = |key: &str, bytes: &[u8]| {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let literal = if deployment.database.kind == Kind::Sqlite { format!("X'{hex}'") } else { format!("'\\x{hex}'") };
            deployment.database.sql(&format!("UPDATE credentials SET encrypted_secret = {literal} WHERE id = '{}'", id(key)));
        };
        set(&first, &two);
        set(&second, &one);
        for key in [&first, &second] {
            let status = server.exchange(key).await.status();
            assert!(!status.is_success(), "encrypted bytes moved to another row: {status}");
        }
        set(&first, &one);
        set(&second, &two);
        assert!(server.exchange_succeeds(&first).await && server.exchange_succeeds(&second).await, "back in their places");
        for position in [0, 12, one.len() - 1] {
            let mut altered = one.clone();
            altered[position] ^= 1;
            set(&first, &altered);
            assert!(!server.exchange_succeeds(&first).await, "a flipped bit in byte {position}");
        }
        assert!(server.exchange_succeeds(&third).await, "the others work");
        server.stop();
    }

    async fn damaged_signing_key_is_excluded_and_reported(deployment: Deployment) {
        let server = deployment.serve();
        let admin = deployment.admin();
        let (_, key) = server.key(&admin).await;
        server.stop();
        let bytes = tables::bytes(&deployment, "(SELECT encrypted_private_key FROM signing_keys WHERE state = 'active')");
        let hex: String = bytes.iter().enumerate().map(|(at, byte)| format!("{:02x}", byte ^ u8::from(at == 40))).collect();
        let literal = if deployment.database.kind == Kind::Sqlite { format!("X'{hex}'") } else { format!("'\\x{hex}'") };
        deployment.database.sql(&format!("UPDATE signing_keys SET encrypted_private_key = {literal} WHERE state = 'active'"));
        let server = deployment.serve();
        let ready = server.get("/readyz").await;
        assert_eq!(ready.status(), 503);
        let ready: Value = ready.json().await.unwrap();
        let kid = tables::lines(&deployment, "SELECT kid AS line FROM signing_keys WHERE state = 'active'").remove(0);
        let note = format!("the signing key {kid} cannot be decrypted");
        assert_eq!(ready, json!({ "ready": false, "database": true, "signing_key": false, "notes": [note] }));
        let answer = server.exchange(&key).await;
        assert_eq!(answer.status(), 503, "nothing signs, and the key is not to blame");
        let jwks: Value = server.get("/.well-known/jwks.json").await.json().await.unwrap();
        assert_eq!(jwks["keys"].as_array().unwrap().len(), 2, "tokens that it signed are still good");
        assert!(server.stop().err.contains("failed to prepare a signing key"));
    }
}

/// Locks the table from which events take their numbers, so that no change can commit. PostgreSQL
/// only.
fn lock_events(deployment: &Deployment) -> Option<PgConnection> {
    if deployment.database.kind == Kind::Sqlite {
        return None;
    }
    let mut connection = PgConnection::establish(&deployment.database.url).unwrap();
    connection.batch_execute("BEGIN; LOCK TABLE event_chain_head IN ACCESS EXCLUSIVE MODE").unwrap();
    Some(connection)
}

#[test]
fn first_start_on_postgres_without_master_keys_is_refused_with_advice() {
    let deployment = Deployment::new(Kind::Postgres).with(&["keys.create=false"]);
    let said = deployment.refuses();
    for words in ["no master key in", "keyswap master-key init", "keys.create = true", "every replica"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(files(&deployment.keys()).is_empty());
    assert!(tables::contents(&deployment).iter().all(|(table, rows)| {
        ["event_chain_head", "signing_key_manifest", "clock_monitor", "status_list_build", "branding"]
            .contains(&table.as_str())
            || rows.is_empty()
    }));
}
