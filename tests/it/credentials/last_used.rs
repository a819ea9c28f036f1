//! Last-used times and uses are written in batches under load. None is lost or counted twice, also
//! not when a day ends.

use std::collections::BTreeMap;

use diesel::{QueryableByName, RunQueryDsl, sql_types::BigInt};
use futures_util::{FutureExt, future::join3};
use keyswap::{
    domain::{
        common::{derived_id::CredentialId, id::KeyId, time::Timestamp},
        exchange::usage::UtcDay,
    },
    service::retention,
    store::{StoreError, api_keys::usage},
};

use crate::support::{Server, both};

/// The number of waiting rows at which some are written early.
const EARLY: usize = 131_072;
/// More than the number that may be pending.
const USED: usize = 150_000;

#[derive(QueryableByName, Debug, PartialEq, Eq)]
struct Written {
    #[diesel(sql_type = BigInt)]
    times: i64,
    #[diesel(sql_type = BigInt)]
    first: i64,
    #[diesel(sql_type = BigInt)]
    last: i64,
    #[diesel(sql_type = BigInt)]
    uses: i64,
    /// The uses that were moved to the keys.
    #[diesel(sql_type = BigInt)]
    moved: i64,
}

async fn written(server: &Server) -> Written {
    let read = server.services.store.read(|connection| {
        let query = "SELECT (SELECT count(*) FROM credential_usage) AS times, \
                     (SELECT coalesce(min(last_used_at), 0) FROM credential_usage) AS first, \
                     (SELECT coalesce(max(last_used_at), 0) FROM credential_usage) AS last, \
                     (SELECT CAST(coalesce(sum(uses), 0) AS BIGINT) FROM credential_usage) AS uses, \
                     (SELECT CAST(coalesce(sum(uses), 0) AS BIGINT) FROM key_usage) AS moved";
        diesel::sql_query(query).get_result(connection).map_err(StoreError::from)
    });
    read.await.unwrap()
}

/// Asserts that `count` credentials were last used at `at`, with `uses` uses in total, and that
/// none is pending.
async fn has_row(server: &Server, count: usize, at: Timestamp, uses: usize) {
    let [count, uses] = [count, uses].map(|number| i64::try_from(number).unwrap());
    let expected = Written { times: count, first: at.millis(), last: at.millis(), uses, moved: 0 };
    assert_eq!(written(server).await, expected);
    assert_eq!(server.services.last_used.count_waiting(), 0);
}

/// Records uses of `count` credentials that do not exist. Writing uses does not require them.
fn use_credentials(server: &Server, count: usize, at: Timestamp) -> Vec<CredentialId> {
    let used: Vec<_> = (0..count).map(|_| CredentialId::generate(&server.services.entropy).unwrap()).collect();
    for credential in &used {
        server.services.last_used.record_credential_use(*credential, at, true);
    }
    used
}

/// A key that exists.
struct UsedKey {
    id: KeyId,
    credential: CredentialId,
}

impl UsedKey {
    async fn create(server: &Server) -> Self {
        let key = server.generic_key(&[]).await;
        Self { id: key.id.parse().unwrap(), credential: key.value.split('_').nth(1).unwrap().parse().unwrap() }
    }

    fn record(&self, server: &Server, at: Timestamp, count: i64) {
        for _ in 0..count {
            server.services.last_used.record_credential_use(self.credential, at, true);
        }
    }

    /// The days with uses, and the uses.
    async fn uses_by_day(&self, server: &Server) -> BTreeMap<UtcDay, i64> {
        let id = self.id.clone();
        let read =
            server.services.store.read(move |connection| usage::list_since(connection, &id, UtcDay::from_number(0)));
        read.await.unwrap().into_iter().filter(|(_, uses)| *uses > 0).collect()
    }

    async fn last_used_at(&self, server: &Server) -> String {
        let key = server.manage("GET", &format!("/v1/api-keys/{}", self.id), None, 200).await;
        key["last_used_at"].as_str().unwrap().to_owned()
    }
}

/// Advances the clock to the start of a day, so that the day does not end during the test. Returns
/// this day and the next one. Writes what waits: the use of the administrator's key.
async fn two_days(server: &Server) -> [UtcDay; 2] {
    let gone = server.services.store.now().await.unwrap().millis().rem_euclid(86_400_000);
    server.database.move_clock(86_400_000 - gone);
    flush(server).await;
    let today = UtcDay::of(server.services.store.now().await.unwrap());
    [today, today.minus(-1)]
}

/// A point in time of a day.
fn within(day: UtcDay, millis: i64) -> Timestamp {
    Timestamp::from_millis(day.start_time().millis() + millis)
}

async fn flush(server: &Server) {
    server.services.last_used.flush().await.unwrap();
}

both! {
    async fn full_use_buffer_is_flushed_early(server: Server, "jobs=by_hand") {
        let now = server.services.store.now().await.unwrap();
        use_credentials(&server, EARLY - 1, now);
        assert_eq!(server.services.last_used.early_flush().now_or_never(), None);
        use_credentials(&server, USED - EARLY + 1, now);
        assert_eq!(server.services.last_used.early_flush().now_or_never(), Some(()), "the job is called");
        server.services.last_used.flush_excess().await.unwrap();
        // The backlog falls below the threshold by at most one batch.
        let left = server.services.last_used.count_waiting();
        assert!((EARLY - 5_000..EARLY).contains(&left), "{left}");
        flush(&server).await;
        has_row(&server, USED, now, USED).await;
    }

    async fn failed_flush_is_retried_and_counted_once(server: Server, "jobs=by_hand") {
        let now = server.services.store.now().await.unwrap();
        let used = use_credentials(&server, 6_000, now);
        server.database.sql("ALTER TABLE credential_usage RENAME TO away");
        for _ in 0..2 {
            assert!(server.services.last_used.flush().await.is_err());
        }
        assert_eq!(server.services.last_used.count_waiting(), used.len());
        let later = Timestamp::from_millis(now.millis() + 1);
        for credential in &used {
            server.services.last_used.record_credential_use(*credential, later, true);
            server.services.last_used.record_credential_use(*credential, now, false);
        }
        server.database.sql("ALTER TABLE away RENAME TO credential_usage");
        flush(&server).await;
        has_row(&server, used.len(), later, 2 * used.len()).await;
    }

    async fn failed_move_of_uses_is_retried_and_counted_once(server: Server, "jobs=by_hand") {
        let key = UsedKey::create(&server).await;
        let [today, tomorrow] = two_days(&server).await;
        key.record(&server, within(today, 5), 2);
        flush(&server).await;
        key.record(&server, within(tomorrow, 5), 1);
        // The row of the credential can be written, but not that of the key.
        server.database.sql("ALTER TABLE key_usage RENAME TO away");
        assert!(server.services.last_used.flush().await.is_err());
        assert_eq!(server.services.last_used.count_waiting(), 1);
        server.database.sql("ALTER TABLE away RENAME TO key_usage");
        assert_eq!(key.uses_by_day(&server).await, BTreeMap::from([(today, 2)]));
        flush(&server).await;
        assert_eq!(key.uses_by_day(&server).await, BTreeMap::from([(today, 2), (tomorrow, 1)]));
    }

    async fn uses_of_both_sides_of_midnight_wait_together(server: Server, "jobs=by_hand") {
        let key = UsedKey::create(&server).await;
        let [today, tomorrow] = two_days(&server).await;
        let midnight = tomorrow.start_time();
        key.record(&server, Timestamp::from_millis(midnight.millis() - 1), 2);
        key.record(&server, midnight, 3);
        // A request that began before midnight.
        key.record(&server, Timestamp::from_millis(midnight.millis() - 2), 1);
        assert_eq!(server.services.last_used.count_waiting(), 2);
        flush(&server).await;
        assert_eq!(server.services.last_used.count_waiting(), 0);
        assert_eq!(key.uses_by_day(&server).await, BTreeMap::from([(today, 3), (tomorrow, 3)]));
        assert_eq!(key.last_used_at(&server).await, midnight.to_string());
    }

    async fn late_use_counts_on_its_day(server: Server, "jobs=by_hand") {
        let replica = server.replica().await;
        let key = UsedKey::create(&server).await;
        let [today, tomorrow] = two_days(&server).await;
        key.record(&server, within(today, 5), 2);
        key.record(&replica, within(today, 9), 4);
        flush(&server).await;
        key.record(&server, within(tomorrow, 5), 1);
        flush(&server).await;
        assert_eq!(key.uses_by_day(&server).await, BTreeMap::from([(today, 2), (tomorrow, 1)]));
        flush(&replica).await;
        assert_eq!(key.uses_by_day(&server).await, BTreeMap::from([(today, 6), (tomorrow, 1)]));
        assert_eq!(key.last_used_at(&server).await, within(tomorrow, 5).to_string(), "the time never decreases");
        // A use that does not count changes nothing but the time.
        replica.services.last_used.record_credential_use(key.credential, within(tomorrow, 7), false);
        flush(&replica).await;
        assert_eq!(key.uses_by_day(&server).await, BTreeMap::from([(today, 6), (tomorrow, 1)]));
        assert_eq!(key.last_used_at(&server).await, within(tomorrow, 7).to_string());
    }

    async fn past_days_are_rolled_up(server: Server, "jobs=by_hand") {
        let keys = [UsedKey::create(&server).await, UsedKey::create(&server).await];
        let [today, tomorrow] = two_days(&server).await;
        let others = written(&server).await.times;
        for key in &keys {
            key.record(&server, within(today, 5), 2);
        }
        use_credentials(&server, 6_000, within(today, 5));
        flush(&server).await;
        retention::roll_up_usage(&server.services).await.unwrap();
        let before = written(&server).await;
        assert_eq!((before.uses, before.moved), (6_004, 0), "the day is not over");

        server.advance(86_400);
        // The first use of the next day moves the uses of its credential.
        keys[0].record(&server, within(tomorrow, 5), 1);
        flush(&server).await;
        let between = written(&server).await;
        assert_eq!((between.uses, between.moved), (6_003, 2));
        for _ in 0..2 {
            retention::roll_up_usage(&server.services).await.unwrap();
            let after = written(&server).await;
            // The uses of credentials that do not exist are dropped.
            assert_eq!((after.times, after.uses, after.moved), (others + 6_002, 1, 4));
        }
        assert_eq!(keys[0].uses_by_day(&server).await, BTreeMap::from([(today, 2), (tomorrow, 1)]));
        assert_eq!(keys[1].uses_by_day(&server).await, BTreeMap::from([(today, 2)]));
        assert_eq!(keys[1].last_used_at(&server).await, within(today, 5).to_string());

        // Another replica writes uses of the past day after the roll-up.
        keys[1].record(&server, within(today, 9), 3);
        flush(&server).await;
        assert_eq!(keys[1].uses_by_day(&server).await, BTreeMap::from([(today, 5)]));
        let replica = server.replica().await;
        retention::roll_up_usage(&replica.services).await.unwrap();
        assert_eq!(keys[1].uses_by_day(&server).await, BTreeMap::from([(today, 5)]));
        assert_eq!(written(&server).await.moved, 7);
    }

    async fn concurrent_replicas_count_each_use_once(server: Server, "jobs=by_hand") {
        const ROUNDS_OF_DAY: i64 = 8;
        let replica = server.replica().await;
        let mut keys = Vec::new();
        for _ in 0..12 {
            keys.push((UsedKey::create(&server).await, BTreeMap::<UtcDay, i64>::new()));
        }
        let [today, _] = two_days(&server).await;
        for round in 0..3 * ROUNDS_OF_DAY {
            let day = today.minus(-(round / ROUNDS_OF_DAY));
            if round > 0 && round % ROUNDS_OF_DAY == 0 {
                server.advance(86_400);
            }
            for (number, (key, expected)) in (0..).zip(&mut keys) {
                // The replica is late every other time.
                let late = day.minus((round + number) % 2);
                for (user, day, count) in [(&server, day, 1 + number % 2), (&replica, late, 1)] {
                    key.record(user, within(day, round), count);
                    *expected.entry(day).or_default() += count;
                }
            }
            let (ours, theirs) = (&server.services.last_used, &replica.services.last_used);
            let (one, two, moved) =
                join3(ours.flush(), theirs.flush(), retention::roll_up_usage(&replica.services)).await;
            one.unwrap();
            two.unwrap();
            moved.unwrap();
        }
        for (key, expected) in &keys {
            assert_eq!(key.uses_by_day(&server).await, *expected);
        }
        assert_eq!(server.services.last_used.count_waiting() + replica.services.last_used.count_waiting(), 0);
    }
}
