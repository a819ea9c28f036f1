//! Invariant 8 for services that ask about keys, and for browsers: a database outage is answered
//! with 503, never as an inactive key.

use futures_util::future::join_all;
use serde_json::json;

use super::{Named, presented_values};
use crate::{
    faults::{
        cluster::Cluster,
        process::{Deployment, Running},
    },
    support::{Kind, panics},
};

fn requests(server: &Running, admin: &str, key: &str, token: &str, code: &str) -> Vec<Named> {
    let mut all = Vec::new();
    for value in [key, token] {
        all.extend(presented_values::presented_forms(server, admin, value));
        for bearer in [admin, key] {
            let revoke = server.http.post(server.url("/oauth/revoke")).bearer_auth(bearer);
            all.push(("a revocation".into(), presented_values::form(revoke, &[("token", value)])));
        }
    }
    for (page, mark, body) in
        [("console", "console", json!({ "key": admin })), ("portal", "1", json!({ "code": code }))]
    {
        let enter = server.http.post(server.url(&format!("/{page}/sign-in"))).header("keyswap-page", mark).json(&body);
        all.push((format!("/{page}/sign-in"), enter));
    }
    all
}

#[test]
fn services_and_browsers_get_503_during_an_outage() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = Cluster::new();
        let url = format!("database.url={}", cluster.url(cluster.port));
        // The keys are in the directory of an unused SQLite database.
        let deployment = Deployment::new(Kind::Sqlite).with(&[&url]);
        let server = deployment.serve();
        let admin = deployment.admin();
        let (_, key) = server.key(&admin).await;
        let answer: serde_json::Value = server.exchange(&key).await.json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap();
        let user = server.call(&admin, "PUT", "/v1/users/someone", Some(json!({}))).await;
        assert!(user.status().is_success());
        let opened = server.call(&admin, "POST", "/v1/portal-sessions", Some(json!({ "user_id": "someone" }))).await;
        let opened: serde_json::Value = opened.json().await.unwrap();
        let (_, code) = opened["url"].as_str().unwrap().split_once("#code=").unwrap();
        cluster.stop();
        // Sent concurrently: each request waits until its connection attempt times out.
        let requests = requests(&server, &admin, &key, token, code).into_iter();
        let asked = requests.map(async |(what, request)| (what, request.send().await.unwrap()));
        for (what, answer) in join_all(asked).await {
            assert_eq!(answer.status(), 503, "{what}");
            assert!(answer.headers().contains_key("retry-after"), "{what}");
        }
        server.stop();
    });
    panics::assert_none();
}
