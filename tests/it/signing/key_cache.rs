//! The key ring of a server and its refreshes.

use std::{sync::Arc, time::Duration};

use keyswap::service::signing::key_cache::KeyCache;

use crate::support::{Server, both};

/// Another key ring on the same keys, which no job refreshes.
async fn ring(server: &Server, fresh_for: Duration) -> KeyCache {
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
    async fn what_was_accepted_is_good_for_one_look(server: Server) {
        let ring = ring(&server, Duration::from_secs(30)).await;
        let looks = async || ring.refresh().await.is_ok();
        let put_back = || server.database.sql("UPDATE signing_keys SET version = version - 1 WHERE state = 'active'");
        ring.set_halted(true);
        ring.set_halted(false);
        assert!(looks().await, "the database knew as much as before");
        put_back();
        assert!(!looks().await, "nobody has accepted this one");
        ring.set_halted(true);
        ring.set_halted(false);
        assert!(looks().await);
        put_back();
        assert!(!looks().await);
    }

    async fn a_machine_that_was_suspended_hands_out_nothing_to_keep(server: Server) {
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

    async fn nobody_waits_for_a_look_that_has_just_failed(server: Server) {
        // The snapshot is stale immediately.
        let ring = ring(&server, Duration::ZERO).await;
        let now = server.services.store.now().await.unwrap();
        let view = async || ring.snapshot_at(now).await;
        let moment = || server.advance(2);
        let first = ring.view();
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
        ring.set_halted(true);
        assert!(Arc::ptr_eq(&second, &view().await), "while an operator is asked, nothing is signed by any view");
    }
}
