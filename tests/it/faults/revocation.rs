//! An acknowledged revocation survives SIGKILL of the process that acknowledged it.

use reqwest::Response;
use serde_json::{Value, json};

use super::process::{Deployment, Running, each};
use crate::support::wire::form;

const ROUNDS: usize = 5;

async fn post(server: &Running, path: &str, bearer: &str, token: &str) -> Response {
    form(server.http.post(server.url(path)).bearer_auth(bearer), &[("token", token)]).send().await.unwrap()
}

async fn is_active(server: &Running, admin: &str, token: &str) -> bool {
    let answer: Value = post(server, "/oauth/introspect", admin, token).await.json().await.unwrap();
    answer["active"].as_bool().unwrap()
}

async fn minted(server: &Running, key: &str) -> String {
    let body: Value = server.exchange(key).await.json().await.unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

each! {
    async fn t_7009_03_what_was_revoked_stays_so_after_kill_9(deployment: Deployment) {
        let mut server = deployment.serve();
        let admin = deployment.admin();
        let mut dead: Vec<String> = Vec::new();
        let (id, living) = server.key(&admin).await;
        for _ in 0..ROUNDS {
            let (_, key) = server.key(&admin).await;
            let (of_dead, of_living) = (minted(&server, &key).await, minted(&server, &living).await);
            // The response to the revocation is the last action of the process.
            for (bearer, token) in [(&living, &of_living), (&key, &key)] {
                assert!(is_active(&server, &admin, token).await);
                assert_eq!(post(&server, "/oauth/revoke", bearer, token).await.status(), 200);
                server.kill();
                server = deployment.serve();
                assert!(!is_active(&server, &admin, token).await);
            }
            assert!(!is_active(&server, &admin, &of_dead).await);
            dead.extend([of_dead, of_living, key]);
        }
        for token in &dead {
            assert!(!is_active(&server, &admin, token).await);
        }
        assert!(is_active(&server, &admin, &minted(&server, &living).await).await);
        let events = server.call(&admin, "GET", "/v1/events?type=token.revoked&limit=100&after=0", None).await;
        let events: Value = events.json().await.unwrap();
        let told = events["data"].as_array().unwrap();
        assert_eq!(told.len(), ROUNDS, "one for each");
        assert!(told.iter().all(|event| event["subject"] == json!({ "type": "api_key", "id": id })));
        // The log contains none of the presented values.
        let said = server.stop();
        for token in &dead {
            // The signature of a token or the secret of a key. A base64url signature can contain
            // `_`, so tokens are split at `.`.
            let secret = token.rsplit(if token.contains('.') { '.' } else { '_' }).next().unwrap();
            assert!(!said.err.contains(secret));
        }
        let doctor = deployment.run(&["doctor"]);
        assert!(doctor.code == Some(0) && doctor.out.contains("hash chain intact"), "{doctor:?}");
    }
}
