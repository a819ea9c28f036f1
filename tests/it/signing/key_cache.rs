//! The key cache of a server and its refreshes.

use std::{sync::Arc, time::Duration};

use keyswap::service::signing::key_cache::KeyCache;

use crate::support::{Server, both};

/// Another key cache on the same keys, which no job refreshes.
async fn key_cache_of(server: &Server, fresh_for: Duration) -> KeyCache {
    KeyCache::open(
        server.services.store.clone(),
        server.services.master_keys.clone(),
        fresh_for,
        server.database.clock(),
    )
    .await
    .unwrap()
}

/// Saves the signing keys with their manifest under a name.
fn save(server: &Server, name: &str) {
    server.database.sql(&format!(
        "CREATE TABLE keys_{name} AS SELECT * FROM signing_keys; CREATE TABLE manifest_{name} AS SELECT * FROM signing_key_manifest"
    ));
}

/// Restores what was saved, as a restored backup does.
fn restore(server: &Server, name: &str) {
    server.database.sql(&format!(
        "DELETE FROM signing_keys; INSERT INTO signing_keys SELECT * FROM keys_{name}; \
         DELETE FROM signing_key_manifest; INSERT INTO signing_key_manifest SELECT * FROM manifest_{name}"
    ));
}

/// Makes a change of the signing keys.
async fn change(server: &Server) {
    server.database.sql("UPDATE signing_keys SET longest_ttl = longest_ttl + 1 WHERE state = 'active'");
    server.accept_altered_rows().await;
}

both! {
    async fn accepted_rollback_is_valid_for_one_refresh(server: Server) {
        let cache = key_cache_of(&server, Duration::from_secs(30)).await;
        let looks = async || cache.refresh().await.is_ok();
        for name in ["first", "second"] {
            save(&server, name);
            change(&server).await;
        }
        cache.set_halted(true);
        cache.set_halted(false);
        assert!(looks().await, "the database knew as much as before");
        restore(&server, "second");
        assert!(!looks().await, "this rollback was not accepted");
        cache.set_halted(true);
        cache.set_halted(false);
        assert!(looks().await);
        restore(&server, "first");
        assert!(!looks().await);
    }

    async fn resumed_machine_serves_no_cacheable_jwks_before_a_refresh(server: Server) {
        let kept = async || {
            let answer = server.get("/.well-known/jwks.json").send().await.unwrap();
            answer.headers()["cache-control"].to_str().unwrap().to_owned()
        };
        assert!(kept().await.starts_with("public"));
        server.database.sql("ALTER TABLE signing_keys RENAME TO hidden");
        // One hour, which the monotonic clock of a suspended machine does not count.
        server.advance(3600);
        assert_eq!(kept().await, "no-cache", "it could not look again");
        server.database.sql("ALTER TABLE hidden RENAME TO signing_keys");
        server.advance(2);
        assert!(kept().await.starts_with("public"), "it has looked again");
    }

    async fn failed_refresh_is_not_awaited_again(server: Server) {
        save(&server, "older");
        change(&server).await;
        save(&server, "newer");
        // The snapshot is stale immediately.
        let cache = key_cache_of(&server, Duration::ZERO).await;
        let now = server.services.store.now().await.unwrap();
        let view = async || cache.snapshot_at(now).await;
        let moment = || server.advance(2);
        let first = cache.view();
        server.database.sql("ALTER TABLE signing_keys RENAME TO hidden");
        assert!(Arc::ptr_eq(&first, &view().await), "the look fails");
        server.database.sql("ALTER TABLE hidden RENAME TO signing_keys");
        assert!(Arc::ptr_eq(&first, &view().await), "and is not tried again for a moment");
        moment();
        let second = view().await;
        assert!(!Arc::ptr_eq(&first, &second), "then it is");
        // An older database state does not cause repeated refreshes.
        restore(&server, "older");
        assert!(Arc::ptr_eq(&second, &view().await));
        restore(&server, "newer");
        moment();
        cache.set_halted(true);
        assert!(Arc::ptr_eq(&second, &view().await), "while an operator is asked, nothing is signed by any view");
    }
}
