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

both! {
    async fn accepted_rollback_is_valid_for_one_refresh(server: Server) {
        let cache = key_cache_of(&server, Duration::from_secs(30)).await;
        let looks = async || cache.refresh().await.is_ok();
        let put_back = || server.database.sql("UPDATE signing_keys SET version = version - 1 WHERE state = 'active'");
        cache.set_halted(true);
        cache.set_halted(false);
        assert!(looks().await, "the database knew as much as before");
        put_back();
        assert!(!looks().await, "this rollback was not accepted");
        cache.set_halted(true);
        cache.set_halted(false);
        assert!(looks().await);
        put_back();
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
        server.database.sql("UPDATE signing_keys SET version = version - 1 WHERE state = 'active'");
        assert!(Arc::ptr_eq(&second, &view().await));
        server.database.sql("UPDATE signing_keys SET version = version + 1 WHERE state = 'active'");
        moment();
        cache.set_halted(true);
        assert!(Arc::ptr_eq(&second, &view().await), "while an operator is asked, nothing is signed by any view");
    }
}
