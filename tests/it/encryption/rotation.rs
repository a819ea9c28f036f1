//! Rotation of the master key with two servers on the same database.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use serde_json::json;

use super::{Full, events, on_both, refused};
use crate::{
    faults::{
        process::{Deployment, LONG, Running, until},
        tables,
    },
    support::Kind,
};

/// Continuously exchanges existing and newly created keys, and counts the granted tokens in
/// `exchanged`.
async fn load(base: String, admin: String, keys: Vec<String>, stop: Arc<AtomicBool>, exchanged: Arc<AtomicUsize>) {
    let http = crate::faults::process::client();
    let exchange = async |key: &str| {
        let answer = http.post(format!("{base}/v1/exchange")).bearer_auth(key).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{key}: {}", answer.text().await.unwrap());
        exchanged.fetch_add(1, Ordering::SeqCst);
    };
    while !stop.load(Ordering::SeqCst) {
        for key in &keys {
            exchange(key).await;
        }
        let body = json!({ "name": "made meanwhile", "owner": { "type": "none" }, "permissions": [] });
        let made = http.post(format!("{base}/v1/api-keys")).bearer_auth(&admin).json(&body).send().await.unwrap();
        assert_eq!(made.status(), 201);
        let made: serde_json::Value = made.json().await.unwrap();
        exchange(made["value"].as_str().unwrap()).await;
    }
}

on_both! {
    async fn requests_succeed_during_master_key_rotation(deployment: Deployment) {
        let (one, two) = (deployment.serve(), deployment.serve());
        let full = Full::on(deployment, &one, 30).await;
        let (stop, exchanged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let keys: Vec<_> = full.keys.iter().take(4).chain(full.imported.iter().take(2)).cloned().collect();
        let load: Vec<_> = [&one, &two]
            .map(|server: &Running| {
                let (stop, exchanged) = (Arc::clone(&stop), Arc::clone(&exchanged));
                tokio::spawn(load(server.base.clone(), full.admin.clone(), keys.clone(), stop, exchanged))
            })
            .into();
        let many = |count: usize| {
            let exchanged = Arc::clone(&exchanged);
            async move { until("tokens are given", LONG, || async { exchanged.load(Ordering::SeqCst) > count }).await }
        };
        many(20).await;
        let (full, report) = tokio::task::spawn_blocking(move || { let report = full.rotate(); (full, report) }).await.unwrap();
        many(exchanged.load(Ordering::SeqCst) + 20).await;
        stop.store(true, Ordering::SeqCst);
        for one in load {
            one.await.expect("no exchange failed, on either server");
        }

        assert!(report["waits_for"].is_null() && report["re_encrypted"]["undecryptable"] == json!([]), "{report}");
        let status = full.status();
        assert_eq!((status[0].1.as_str(), status[0].2), ("retired", 0), "{status:?}");
        assert!(status[1].1 == "current" && status[1].2 > 40, "{status:?}");
        for place in ["signing_keys", "credentials", "portal_sessions", "webhooks", "previous_webhook_secrets"] {
            assert!(report["re_encrypted"]["rows"][place].as_i64() > Some(0), "{place}: {report}");
        }
        full.opens(&one, "after").await;
        full.opens(&two, "after, on the other").await;

        let said = full.deployment.run(&["master-key", "remove", "1"]);
        assert!(said.code == Some(0) && said.out.contains("older backup") && said.out.contains("master.1"), "{said:?}");
        fs::remove_file(full.deployment.keys().join("master.1")).unwrap();
        full.opens(&two, "without the old one").await;
        // Unknown keys are still refused with 401.
        for server in [&one, &two] {
            for unknown in ["acme.live.absent-key-here", &crate::support::wire::unknown()] {
                assert_eq!(server.exchange(unknown).await.status(), 401);
            }
        }
        let expected = [("registered", "1"), ("registered", "2"), ("activated", "2"), ("retired", "1"), ("removed", "1")];
        assert_eq!(events(&one, &full.admin).await, expected.map(|(kind, version)| (kind.to_owned(), version.to_owned())));
        one.stop();
        two.stop();
        let again = full.deployment.serve();
        full.opens(&again, "started again").await;
        // A second rotation continues the version numbers.
        full.rotate();
        full.opens(&again, "rotated again").await;
        assert_eq!(full.status().iter().map(|row| row.0).collect::<Vec<_>>(), [2, 3]);
        again.stop();
        assert_eq!(full.deployment.run(&["doctor"]).code, Some(0));
    }

    async fn master_key_used_by_a_row_is_not_removed(deployment: Deployment) {
        let server = deployment.serve();
        let full = Full::on(deployment, &server, 3).await;
        let remove = |version: &str| full.deployment.run(&["master-key", "remove", version]);
        refused(&remove("1"), &["master.1 encrypts new rows", "keyswap master-key rotate"]);
        refused(&remove("7"), &["no such master key"]);
        // A row that cannot be decrypted stays under the old version, and the command reports it.
        let damage = if full.deployment.database.kind == Kind::Sqlite { "X'00'" } else { "'\\x00'" };
        let id = &full.keys[0][full.keys[0].len() - 55..full.keys[0].len() - 39];
        let encrypted = tables::bytes(&full.deployment, &format!("(SELECT encrypted_secret FROM credentials WHERE id = '{id}')"));
        full.deployment.database.sql(&format!("UPDATE credentials SET encrypted_secret = {damage} WHERE id = '{id}'"));
        full.deployment.run(&["master-key", "rotate"]);
        let said = full.deployment.run(&["master-key", "rotate", "--continue"]);
        refused(&said, &["credentials", id, "restore the rows"]);
        refused(&remove("1"), &["still needed by 1 credentials", "rotate --continue"]);
        assert!(server.exchange_succeeds(&full.keys[1]).await, "the others work");
        assert_eq!(full.status().iter().map(|row| row.1.as_str()).collect::<Vec<_>>(), ["retiring", "current"]);
        // With the row restored, the rotation completes. The database then refuses rows
        // under the removed version.
        let hex: String = encrypted.iter().map(|byte| format!("{byte:02x}")).collect();
        let literal = if full.deployment.database.kind == Kind::Sqlite { format!("X'{hex}'") } else { format!("'\\x{hex}'") };
        full.deployment.database.sql(&format!("UPDATE credentials SET encrypted_secret = {literal} WHERE id = '{id}'"));
        assert_eq!(full.deployment.run(&["master-key", "rotate", "--continue"]).code, Some(0));
        full.opens(&server, "with the row restored").await;
        assert_eq!(remove("1").code, Some(0));
        let database = Arc::clone(&full.deployment.database);
        let gone = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            database.sql("UPDATE credentials SET master_version = 1");
        }));
        assert!(gone.is_err(), "no row can be put under a key that was removed");
        assert_eq!(full.deployment.run(&["master-key", "rotate", "--continue"]).code, Some(0), "nothing to go on with");
        server.stop();
    }

    async fn externally_created_master_key_is_accepted(deployment: Deployment) {
        use base64::Engine;
        use std::os::unix::fs::PermissionsExt;
        let server = deployment.serve();
        let full = Full::on(deployment, &server, 1).await;
        let file = full.deployment.keys().join("master.2");
        // Refuses a file that other users can read, and a key that is already in use.
        fs::copy(full.deployment.keys().join("master.1"), &file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        refused(&full.deployment.run(&["master-key", "rotate"]), &["master.2 can be read by other users", "chmod 600"]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        refused(&full.deployment.run(&["master-key", "rotate"]), &["is or was in use already"]);
        let mine = base64::engine::general_purpose::STANDARD.encode([7; 32]);
        fs::write(&file, &mine).unwrap();
        full.rotate();
        assert_eq!(fs::read_to_string(&file).unwrap(), mine, "the file is as it was");
        full.opens(&server, "with a key from elsewhere").await;
        server.stop();
    }

    async fn undecryptable_signing_key_is_reported_before_its_rotation(deployment: Deployment) {
        let server = deployment.serve();
        let (_, key) = server.key(&deployment.admin()).await;
        server.stop();
        let bytes = tables::bytes(&deployment, "(SELECT encrypted_private_key FROM signing_keys WHERE state = 'next')");
        let kid = tables::lines(&deployment, "SELECT kid AS line FROM signing_keys WHERE state = 'next'").remove(0);
        let hex: String = bytes.iter().enumerate().map(|(at, byte)| format!("{:02x}", byte ^ u8::from(at == 40))).collect();
        let literal = if deployment.database.kind == Kind::Sqlite { format!("X'{hex}'") } else { format!("'\\x{hex}'") };
        deployment.database.sql(&format!("UPDATE signing_keys SET encrypted_private_key = {literal} WHERE state = 'next'"));
        let server = deployment.serve();
        assert!(server.exchange_succeeds(&key).await, "the other signs");
        until("it is ready", LONG, || async { server.get("/readyz").await.status() == 200 }).await;
        let ready: serde_json::Value = server.get("/readyz").await.json().await.unwrap();
        let note = ready["notes"][0].as_str().unwrap();
        assert!(note.contains(&kid) && note.contains("cannot be decrypted"), "{ready}");
        let doctor = deployment.run(&["doctor"]);
        assert!(doctor.out.contains(&kid) && doctor.out.contains("failed to decrypt"), "{doctor:?}");
        server.stop();
    }
}
