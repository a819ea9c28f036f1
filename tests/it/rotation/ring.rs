//! What a server knows of the keys, as it looks again and again.

use std::{sync::Arc, time::Duration};

use keyswap::service::key_ring::KeyRing;

use crate::support::{Server, both};

/// Another ring on the same keys, at which no job looks.
async fn ring(server: &Server, fresh_for: Duration) -> KeyRing {
    KeyRing::open(&server.app.store, &server.app.master, fresh_for).await.unwrap()
}

both! {
    async fn what_was_accepted_is_good_for_one_look(server: Server) {
        let ring = ring(&server, Duration::from_secs(30)).await;
        let looks = async || ring.refresh(&server.app.store, &server.app.master).await.is_ok();
        let put_back = || server.database.sql("UPDATE signing_keys SET version = version - 1 WHERE state = 'active'");
        ring.halt(true);
        ring.halt(false);
        assert!(looks().await, "the database knew as much as before");
        put_back();
        assert!(!looks().await, "nobody has accepted this one");
        ring.halt(true);
        ring.halt(false);
        assert!(looks().await);
        put_back();
        assert!(!looks().await);
    }
}
