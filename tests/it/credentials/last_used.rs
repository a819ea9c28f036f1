//! Last-use times are written in batches under load, and none is lost.

use diesel::{QueryableByName, RunQueryDsl, sql_types::BigInt};
use futures_util::FutureExt;
use keyswap::{
    domain::common::{
        derived_id::CredentialId,
        id::{GeneratedId, KeyId},
        time::Timestamp,
    },
    store::StoreError,
};

use crate::support::{Server, both};

/// More than the number that may be pending.
const USED: usize = 60_000;

#[derive(QueryableByName, Debug, PartialEq, Eq)]
struct Written {
    #[diesel(sql_type = BigInt)]
    times: i64,
    #[diesel(sql_type = BigInt)]
    first: i64,
    #[diesel(sql_type = BigInt)]
    last: i64,
    #[diesel(sql_type = BigInt)]
    keys: i64,
    #[diesel(sql_type = BigInt)]
    uses: i64,
}

async fn written(server: &Server) -> Written {
    let read = server.services.store.read(|connection| {
        let query = "SELECT (SELECT count(*) FROM credential_uses) AS times, \
                     (SELECT coalesce(min(last_used_at), 0) FROM credential_uses) AS first, \
                     (SELECT coalesce(max(last_used_at), 0) FROM credential_uses) AS last, \
                     (SELECT count(*) FROM key_usage) AS keys, \
                     (SELECT CAST(coalesce(sum(uses), 0) AS BIGINT) FROM key_usage) AS uses";
        diesel::sql_query(query).get_result(connection).map_err(StoreError::from)
    });
    read.await.unwrap()
}

/// Asserts that `count` keys were last used at `at`, with `uses` uses in total, and that none is
/// pending.
async fn has_row(server: &Server, count: usize, at: Timestamp, uses: usize) {
    let [count, uses] = [count, uses].map(|number| i64::try_from(number).unwrap());
    let expected = Written { times: count, first: at.millis(), last: at.millis(), keys: count, uses };
    assert_eq!(written(server).await, expected);
    assert_eq!(server.services.last_used.count_waiting(), 0);
}

/// Records uses of `count` keys that do not exist. Writing uses does not require the keys.
fn use_keys(server: &Server, count: usize, at: Timestamp) -> Vec<(KeyId, CredentialId)> {
    let entropy = &server.services.entropy;
    let one = || (KeyId::generate(at, entropy).unwrap(), CredentialId::generate(entropy).unwrap());
    let keys: Vec<_> = (0..count).map(|_| one()).collect();
    for (key, credential) in &keys {
        server.services.last_used.record_credential_use(key, *credential, at, true);
    }
    keys
}

both! {
    async fn full_use_buffer_is_flushed_early(server: Server, "jobs=by_hand") {
        let now = server.services.store.now().await.unwrap();
        use_keys(&server, 39_999, now);
        assert_eq!(server.services.last_used.early_flush().now_or_never(), None);
        use_keys(&server, USED - 39_999, now);
        assert_eq!(server.services.last_used.early_flush().now_or_never(), Some(()), "the job is called");
        server.services.last_used.flush_excess().await.unwrap();
        // The backlog falls below the threshold by at most one batch.
        let left = server.services.last_used.count_waiting();
        assert!((35_000..40_000).contains(&left), "{left}");
        server.services.last_used.flush().await.unwrap();
        has_row(&server, USED, now, USED).await;
    }

    async fn failed_flush_is_retried_and_counted_once(server: Server, "jobs=by_hand") {
        let now = server.services.store.now().await.unwrap();
        let keys = use_keys(&server, 6_000, now);
        // The last-use times can be written, but the usage counts cannot.
        server.database.sql("ALTER TABLE key_usage RENAME TO away");
        for _ in 0..2 {
            assert!(server.services.last_used.flush().await.is_err());
        }
        let later = Timestamp::from_millis(now.millis() + 1);
        for (key, credential) in &keys {
            server.services.last_used.record_credential_use(key, *credential, later, true);
            server.services.last_used.record_credential_use(key, *credential, now, false);
        }
        server.database.sql("ALTER TABLE away RENAME TO key_usage");
        server.services.last_used.flush().await.unwrap();
        has_row(&server, keys.len(), later, 2 * keys.len()).await;
    }
}
