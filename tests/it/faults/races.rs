//! Two servers on one database, and two concurrent changes in each order, which the test forces.
//! `scripts/prove races` runs a thousand unforced rounds of each on PostgreSQL and asserts that
//! both orders occurred.

mod forced;
mod shared_rows;

use std::{collections::BTreeSet, sync::Arc};

use reqwest::StatusCode;
use serde_json::json;

use keyswap::service::{
    caller::Caller,
    provisioning::{self, DesiredConfiguration, FileFormat},
};

use crate::{
    faults::process::LONG,
    support::{Kind, Server},
};

const SAMPLE: usize = 25;
const FULL: usize = 1000;

fn on_two_servers<F: Future<Output = ()>>(test: impl FnOnce(Arc<Server>, Arc<Server>) -> F) {
    Server::run(Kind::Postgres, &[], |server| async move {
        let replica = server.replica().await;
        test(Arc::new(server), Arc::new(replica)).await;
    });
}

/// No exchange that begins after the response to the revocation succeeds, on either server.
async fn revoke_against_exchange(server: Arc<Server>, replica: Arc<Server>, rounds: usize) {
    let mut granted_before = 0;
    for _ in 0..rounds {
        let key = server.generic_key(&["a:b"]).await;
        let swapping = {
            let (replica, value) = (Arc::clone(&replica), key.value.clone());
            tokio::spawn(async move {
                // Exchanges until the key is refused. Each one that succeeds must have begun before
                // the response to the revocation.
                let (mut last_good, begin) = (None, tokio::time::Instant::now());
                loop {
                    let began = tokio::time::Instant::now();
                    assert!(began - begin < LONG, "a key is granted though it was revoked long ago");
                    match replica.exchange(&value).await.status() {
                        StatusCode::OK => last_good = Some(began),
                        StatusCode::UNAUTHORIZED => return last_good,
                        other => panic!("{other}"),
                    }
                }
            })
        };
        tokio::task::yield_now().await;
        server.step(&key, "revoke").await;
        let answered = tokio::time::Instant::now();
        assert_eq!(server.exchange(&key.value).await.status(), StatusCode::UNAUTHORIZED);
        let last_good = swapping.await.unwrap();
        assert!(last_good.is_none_or(|began| began <= answered), "an exchange that began later succeeded");
        granted_before += usize::from(last_good.is_some());
    }
    eprintln!("exchanges were granted while the revoke was under way in {granted_before} of {rounds} rounds");
    assert!(granted_before > 0, "no exchange came before a revoke: nothing raced");
}

/// Once the user is blocked, none of their keys works, including one that is created concurrently,
/// in either order.
async fn block_against_create(server: Arc<Server>, replica: Arc<Server>, rounds: usize) {
    server.permissions_for_all(&["a:b"]).await;
    server.role("worker", &["a:b"]).await;
    let (mut made_first, mut blocked_first) = (0, 0);
    for round in 0..rounds {
        let user = format!("user-{round}");
        server.user(&user, &["worker"]).await;
        let body = json!({ "name": "k", "owner": { "type": "user", "id": user }, "permissions": ["a:b"] });
        let create = replica.post("/v1/api-keys").bearer_auth(&replica.admin).json(&body).send();
        let block = server.http.patch(server.url(&format!("/v1/users/{user}"))).bearer_auth(&server.admin);
        let (created, blocked) = tokio::join!(create, block.json(&json!({ "blocked": true })).send());
        assert_eq!(blocked.unwrap().status(), StatusCode::OK);
        let created = created.unwrap();
        match created.status() {
            StatusCode::CREATED => {
                made_first += 1;
                let key: serde_json::Value = created.json().await.unwrap();
                for server in [&server, &replica] {
                    assert_eq!(
                        server.exchange(key["value"].as_str().unwrap()).await.status(),
                        StatusCode::UNAUTHORIZED
                    );
                }
            }
            StatusCode::UNPROCESSABLE_ENTITY => blocked_first += 1,
            other => panic!("{other}"),
        }
    }
    eprintln!("the key was made first {made_first} times, the user was blocked first {blocked_first} times");
    assert!(made_first > 0 && blocked_first > 0, "only one order came: {made_first} and {blocked_first}");
}

/// Two administrators revoke each other's key concurrently. Exactly one of the two succeeds.
async fn last_administrator(server: Arc<Server>, replica: Arc<Server>, rounds: usize) {
    let mut pair = two_administrators(&server).await;
    let (mut won, mut overlapped) = ([0, 0], 0);
    for _ in 0..rounds {
        let (one, other) =
            tokio::join!(revoke(&server, &pair[0], &pair[1]).send(), revoke(&replica, &pair[1], &pair[0]).send());
        let statuses = [one.unwrap().status(), other.unwrap().status()];
        assert_eq!(statuses.iter().filter(|status| **status == StatusCode::OK).count(), 1, "{statuses:?}");
        let (left, gone) = if statuses[0] == StatusCode::OK { (0, 1) } else { (1, 0) };
        // 409 if both were authenticated, because the last administrator cannot be revoked. 401 if
        // the other revocation was committed before this request was authenticated.
        match statuses[gone] {
            StatusCode::CONFLICT => overlapped += 1,
            StatusCode::UNAUTHORIZED => {}
            _ => panic!("{statuses:?}"),
        }
        won[left] += 1;
        pair[gone] = made_by(&server, &pair[left].value).await;
    }
    eprintln!("each came first {won:?} times, and {overlapped} times the other had been let in");
    assert!(won[0] > 0 && won[1] > 0, "only one order came: {won:?}");
    assert!(overlapped > 0, "the two never overlapped");
}

/// A request of `by` to revoke the key `whom`.
fn revoke(server: &Server, by: &crate::support::Key, whom: &crate::support::Key) -> reqwest::RequestBuilder {
    server.post(&format!("/v1/api-keys/{}/revoke", whom.id)).bearer_auth(&by.value)
}

/// Creates two administrators and revokes the first administrator's key.
async fn two_administrators(server: &Server) -> [crate::support::Key; 2] {
    let pair = [administrator(server).await, administrator(server).await];
    let all = server.manage("GET", "/v1/api-keys?limit=100", None, 200).await;
    let first = all["data"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    let answer = server.post(&format!("/v1/api-keys/{first}/revoke")).bearer_auth(&pair[0].value).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    pair
}

async fn administrator(server: &Server) -> crate::support::Key {
    made_by(server, &server.admin).await
}

async fn made_by(server: &Server, admin: &str) -> crate::support::Key {
    let client = json!({ "name": "an administrator", "permissions": ["keyswap:admin"] });
    let client: serde_json::Value =
        server.post("/v1/service-clients").bearer_auth(admin).json(&client).send().await.unwrap().json().await.unwrap();
    let owner = json!({ "type": "service_client", "id": client["id"] });
    let body = json!({ "name": "k", "owner": owner, "permissions": ["keyswap:admin"] });
    let answer = server.post("/v1/api-keys").bearer_auth(admin).json(&body).send().await.unwrap();
    let key = crate::support::body_of(answer, StatusCode::CREATED).await;
    crate::support::Key {
        id: key["id"].as_str().unwrap().to_owned(),
        value: key["value"].as_str().unwrap().to_owned(),
        client: client["id"].as_str().unwrap().to_owned(),
    }
}

/// Two consumers follow the audit log, each on its own server, while both servers write. Each sees
/// every event once, in the same order.
async fn two_consumers(server: Arc<Server>, replica: Arc<Server>, rounds: usize) {
    let begin = server.events().await.len();
    let total = rounds * 2;
    let follow = |server: Arc<Server>| {
        tokio::spawn(async move {
            let (mut seen, mut after) = (Vec::new(), begin);
            // Three consecutive long polls of five seconds without an event mean that the writers
            // are done and events are missing.
            let mut empty = 0;
            while seen.len() < total {
                assert!(empty < 3, "{} of {total} events are seen", seen.len());
                let page =
                    server.manage("GET", &format!("/v1/events?after={after}&wait=5s&limit=100"), None, 200).await;
                let events = page["data"].as_array().unwrap();
                empty = if events.is_empty() { empty + 1 } else { 0 };
                for event in events {
                    after = usize::try_from(event["seq"].as_i64().unwrap()).unwrap();
                    seen.push((after, event["subject"]["id"].as_str().unwrap().to_owned()));
                }
            }
            seen
        })
    };
    let readers = [follow(Arc::clone(&server)), follow(Arc::clone(&replica))];
    let writers: Vec<_> = [(server, "one"), (replica, "two")]
        .into_iter()
        .map(|(server, name)| {
            tokio::spawn(async move {
                for round in 0..rounds {
                    let path = format!("/v1/permissions/{name}:{round}");
                    server.manage("PUT", &path, Some(json!({ "assignable_to": [] })), 201).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let [one, other] = readers;
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    assert_eq!(one, other);
    assert!(one.iter().enumerate().all(|(place, (seq, _))| *seq == begin + place + 1), "no gaps, nothing twice");
    assert_eq!(one.iter().map(|(_, subject)| subject).collect::<BTreeSet<_>>().len(), total);
}

/// A configuration file that differs from the other one of its round in every object.
fn file(round: usize, name: &str) -> DesiredConfiguration {
    let text = format!(
        r#"
        permission = [{{ name = "round:{round}", description = "{name}", assignable_to = ["service_client"] }}, {{ name = "shared:{name}", assignable_to = [] }}]
        role = [{{ name = "worker", permissions = ["round:{round}", "shared:{name}"] }}]
        audience = [{{ identifier = "api", permissions = ["shared:{name}"] }}]
        service_client = [{{ name = "ci", permissions = ["round:{round}"], metadata = {{ by = "{name}" }} }}]
        "#
    );
    provisioning::read(&text, FileFormat::Toml).unwrap()
}

/// Two configuration files are applied concurrently. One is applied after the other, and the result
/// equals exactly one of the two files.
async fn two_applies(server: Arc<Server>, replica: Arc<Server>, rounds: usize) {
    let cli = Caller::cli();
    let (mut first_won, mut second_won) = (0, 0);
    for round in 0..rounds {
        let (one, other) = (file(round, "one"), file(round, "other"));
        let apply = |server: &Arc<Server>, wanted: &DesiredConfiguration| {
            let (services, wanted) = (Arc::clone(&server.services), wanted.clone());
            async move { provisioning::apply(&services, &Caller::cli(), wanted, false).await }
        };
        let (done, too) = tokio::join!(apply(&server, &one), apply(&replica, &other));
        assert!(!done.unwrap().is_empty() && !too.unwrap().is_empty(), "each changed what the other had written");
        let left = |wanted: DesiredConfiguration| provisioning::plan(&server.services, &cli, wanted, false);
        match (left(one).await.unwrap().is_empty(), left(other).await.unwrap().is_empty()) {
            (true, false) => first_won += 1,
            (false, true) => second_won += 1,
            both => panic!("half of each: {both:?}"),
        }
    }
    eprintln!("two applies: the first was last {first_won} times, the second {second_won} times");
    assert!(first_won > 0 && second_won > 0, "only one order came: {first_won} and {second_won}");
}

/// Changes with different rules that lock the same rows must not deadlock. PostgreSQL would abort
/// one of them with an error.
async fn changes_that_share_rows(server: Arc<Server>, replica: Arc<Server>, rounds: usize) {
    let cli = Caller::cli();
    server.permissions_for_all(&["a:b", "c:d", "e:f"]).await;
    server.role("worker", &["a:b", "c:d"]).await;
    let client =
        server.manage("POST", "/v1/service-clients", Some(json!({ "name": "c", "permissions": ["a:b", "c:d"] })), 201);
    let client = client.await["id"].as_str().unwrap().to_owned();
    for round in 0..rounds {
        let outfitted = json!({
            "name": "with a record",
            "permissions": ["e:f", "a:b"],
            "access_record": { "name": "r", "statements": [{ "roles": ["worker"], "resources": ["app://x"] }] },
            "api_key": { "name": "k", "permissions": ["a:b"] },
        });
        let role = json!({ "permissions": if round % 2 == 0 { ["a:b", "e:f"] } else { ["c:d", "a:b"] } });
        let key =
            json!({ "name": "k", "owner": { "type": "service_client", "id": client }, "permissions": ["a:b", "c:d"] });
        let file = format!(
            r#"
            permission = [{{ name = "e:f", description = "round {round}", assignable_to = ["user", "organization", "service_client"] }}]
            role = [{{ name = "reader", permissions = ["{}"] }}]
            service_client = [{{ name = "c", permissions = ["c:d", "a:b"], metadata = {{ round = "{round}" }} }}]
            "#,
            if round % 2 == 0 { "a:b" } else { "c:d" }
        );
        let wanted = provisioning::read(&file, FileFormat::Toml).unwrap();
        let (.., applied) = tokio::join!(
            server.manage("POST", "/v1/service-clients", Some(outfitted), 201),
            replica.manage("PUT", "/v1/roles/worker", Some(role), 200),
            replica.manage("POST", "/v1/api-keys", Some(key), 201),
            provisioning::apply(&server.services, &cli, wanted, false)
        );
        applied.unwrap();
    }
}

macro_rules! sample {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            super::on_two_servers(|server, replica| super::$name(server, replica, super::SAMPLE));
        }
    )*};
}

/// Tests without a forced order: the result is checked in whatever order the changes occur.
mod sample {
    sample! { changes_that_share_rows two_consumers }

    #[test]
    fn pairs_of_changes() {
        super::on_two_servers(|server, replica| super::shared_rows::pairs_of_changes(server, replica, 3));
    }
}

macro_rules! full_run {
    ($($name:ident)*) => {$(
        #[test]
        #[ignore = "takes minutes: scripts/prove races"]
        fn $name() {
            let began = std::time::Instant::now();
            super::on_two_servers(|server, replica| super::$name(server, replica, super::FULL));
            eprintln!("{}: {} rounds in {} s", stringify!($name), super::FULL, began.elapsed().as_secs());
        }
    )*};
}

mod full_run {
    full_run! {
        revoke_against_exchange block_against_create two_applies changes_that_share_rows last_administrator two_consumers
    }
}
