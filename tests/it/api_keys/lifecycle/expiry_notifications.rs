//! Expiry notifications: events before the expiry of a key and at its expiry.

use chrono::{Duration, SecondsFormat, Utc};
use diesel::{Connection, QueryableByName, RunQueryDsl, sql_query, sql_types::Text};
use serde_json::{Value, json};

use super::{acme, events_after_jobs, events_of, personal, put};
use crate::support::{Key, Kind, Server, both, run_jobs_of, sqlite};

const DAY: i64 = 24 * 3600;
const BOTH: &str = "api_key.expiring,api_key.expired";

/// The time in `seconds` seconds, according to a clock that was advanced by `moved` seconds.
fn end(moved: i64, seconds: i64) -> String {
    (Utc::now() + Duration::seconds(moved + seconds)).to_rfc3339_opts(SecondsFormat::Millis, true)
}

async fn ending_in(server: &Server, seconds: i64) -> Key {
    let body = json!({ "name": "ends", "owner": { "type": "none" }, "expires_at": end(0, seconds) });
    server.key(body).await
}

/// The days of each notification, or null for the expiry itself.
fn days(events: &[Value]) -> Vec<Value> {
    events.iter().map(|event| event["data"]["days"].clone()).collect()
}

both! {
    // Features: P13.
    async fn expiry_is_notified_14_7_and_1_days_before_and_when_it_occurs(server: Server, "jobs=by_hand") {
        let replica = server.replica().await;
        let key = ending_in(&server, 30 * DAY).await;
        let revoked = ending_in(&server, 30 * DAY).await;
        server.step(&revoked, "revoke").await;
        run_jobs_of(&[&server, &replica]).await;
        assert_eq!(events_of(&server, &key, BOTH).await.len(), 0);
        for (count, advance) in [(1, 16 * DAY + 60), (2, 7 * DAY), (3, 6 * DAY), (4, DAY)] {
            server.advance(advance);
            run_jobs_of(&[&server, &replica]).await;
            let found = events_of(&replica, &key, BOTH).await;
            assert_eq!(days(&found), [json!(14), json!(7), json!(1), Value::Null][..count], "each once, from any replica");
        }
        let all = events_of(&server, &key, BOTH).await;
        let kinds: Vec<_> = all.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["api_key.expiring", "api_key.expiring", "api_key.expiring", "api_key.expired"]);
        let shown = server.manage("GET", &format!("/v1/api-keys/{}", key.id), None, 200).await;
        for event in &all {
            assert_eq!(event["data"]["expires_at"], shown["expires_at"]);
            assert_eq!(event["actor"]["type"], "system");
        }
        assert_eq!(shown["version"], 1, "nothing has changed about the key");
        assert_eq!(events_of(&server, &revoked, BOTH).await.len(), 0, "its end came before");
    }

    // Features: P13.
    async fn short_lived_key_gets_only_future_notifications(server: Server, "jobs=by_hand") {
        let (ten_days, hours) = (ending_in(&server, 10 * DAY).await, ending_in(&server, 3600).await);
        server.advance(3 * DAY + 60);
        assert_eq!(days(&events_after_jobs(&server, &ten_days, BOTH, 1).await), [json!(7)]);
        assert_eq!(days(&events_after_jobs(&server, &hours, BOTH, 1).await), [Value::Null]);
        server.advance(6 * DAY);
        assert_eq!(days(&events_after_jobs(&server, &ten_days, BOTH, 2).await), [json!(7), json!(1)]);
        server.run_jobs().await;
        assert_eq!(events_of(&server, &hours, BOTH).await.len(), 1);
        assert_eq!(events_of(&server, &ten_days, BOTH).await.len(), 2);
    }

    // Features: P13.
    async fn changed_expiry_is_notified_again(server: Server, "jobs=by_hand") {
        let key = ending_in(&server, 30 * DAY).await;
        let patch = async |expires_at: Value| {
            server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(json!({ "expires_at": expires_at })), 200).await
        };
        server.advance(26 * DAY);
        let found = events_after_jobs(&server, &key, BOTH, 1).await;
        assert_eq!(days(&found), [json!(7)], "fourteen days is no longer true");
        patch(json!(end(26 * DAY, 20 * DAY))).await;
        server.advance(6 * DAY + 60);
        assert_eq!(days(&events_after_jobs(&server, &key, BOTH, 2).await)[1..], [json!(14)]);
        // An expiry in the past can be removed. A later expiry is reported again.
        server.advance(20 * DAY);
        assert_eq!(days(&events_after_jobs(&server, &key, BOTH, 3).await)[2..], [Value::Null]);
        patch(Value::Null).await;
        server.run_jobs().await;
        assert_eq!(events_of(&server, &key, BOTH).await.len(), 3);
        patch(json!(end(52 * DAY + 60, DAY / 2))).await;
        server.advance(DAY);
        assert_eq!(days(&events_after_jobs(&server, &key, BOTH, 4).await)[3..], [Value::Null]);
    }

    // Features: P1.
    async fn ended_key_is_not_revoked_again_with_its_owner(server: Server, "jobs=by_hand") {
        acme(&server).await;
        let key = personal(&server, Some("acme")).await;
        let other = personal(&server, Some("acme")).await;
        let ends = json!({ "expires_at": end(0, 3600) });
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(ends), 200).await;
        server.advance(3601);
        let found = events_after_jobs(&server, &key, BOTH, 1).await;
        assert_eq!((&found[0]["type"], &found[0]["organization_id"]), (&json!("api_key.expired"), &json!("acme")));
        server.manage("DELETE", "/v1/organizations/acme", None, 204).await;
        events_after_jobs(&server, &other, "api_key.revoked", 1).await;
        assert_eq!(events_of(&server, &key, "api_key.revoked").await.len(), 0);
    }

    // Features: P13.
    async fn expiry_notifications_use_an_index(server: Server) {
        let looks = [
            "SELECT id FROM api_keys WHERE revoked_at IS NULL AND expires_at <= 5 AND notified_days = 7 ORDER BY expires_at LIMIT 1",
            "SELECT id FROM api_keys WHERE revoked_at IS NULL AND expires_at <= 5 AND notified_days IS NULL ORDER BY expires_at LIMIT 1",
        ];
        for look in looks {
            let plan = plan(&server, look);
            assert!(plan.contains("api_keys_notifications"), "{plan}");
        }
        let usage = plan(&server, "DELETE FROM key_usage WHERE day < 5");
        assert!(usage.contains("key_usage_day"), "{usage}");
    }

    async fn expired_rows_are_deleted(server: Server, "jobs=by_hand") {
        acme(&server).await;
        for day in [0, 1_000_000] {
            server.database.sql(&format!("INSERT INTO key_usage (key_id, day, uses) VALUES ('key', {day}, 1)"));
            server.database.sql(&format!("INSERT INTO rate_limit_windows (key_id, minute, exchanges) VALUES ('key_{day}', {}, 1)", day * 1440));
        }
        server.manage("DELETE", "/v1/organizations/acme", None, 204).await;
        put_other(&server).await;
        let system = || keyswap::domain::events::Origin::of(keyswap::domain::events::Actor::System);
        let store = &server.services.store;
        let forgotten = store.run_transaction(system(), |tx| {
            let rows = keyswap::store::common::retention::delete_expired(tx)?;
            let members = keyswap::store::directory::members::delete_orphaned(tx, 10)?;
            Ok::<_, keyswap::store::StoreError>(keyswap::store::Outcome::without_event((rows, members), keyswap::store::NoEvent::Cleanup))
        });
        assert_eq!(forgotten.await.unwrap(), (2, 1));
        assert_eq!(server.manage("GET", "/v1/organizations/beta/members", None, 200).await["data"][0]["user_id"], "ada");
    }
}

async fn put_other(server: &Server) {
    put(server, "/v1/organizations/beta", json!({})).await;
    put(server, "/v1/organizations/beta/members/ada", json!({})).await;
}

#[derive(QueryableByName)]
struct SqlitePlan {
    #[diesel(sql_type = Text)]
    detail: String,
}

#[derive(QueryableByName)]
struct PostgresPlan {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    line: String,
}

/// The query plan of a statement.
fn plan(server: &Server, statement: &str) -> String {
    match server.database.kind {
        Kind::Sqlite => {
            let plan = sql_query(format!("EXPLAIN QUERY PLAN {statement}"));
            let rows: Vec<SqlitePlan> = plan.load(&mut sqlite(&server.database.url)).unwrap();
            rows.into_iter().map(|row| row.detail).collect::<Vec<_>>().join("\n")
        }
        Kind::Postgres => {
            let mut connection = diesel::PgConnection::establish(&server.database.url).unwrap();
            // The planner prefers a sequential scan for a table of this size.
            sql_query("SET enable_seqscan = off").execute(&mut connection).unwrap();
            let rows: Vec<PostgresPlan> = sql_query(format!("EXPLAIN {statement}")).load(&mut connection).unwrap();
            rows.into_iter().map(|row| row.line).collect::<Vec<_>>().join("\n")
        }
    }
}
