//! An acknowledged revocation survives SIGKILL of the process that acknowledged it.

use reqwest::Response;
use serde_json::{Value, json};

use super::process::{Deployment, Running, each};
use crate::support::wire::form;

const ROUNDS: usize = 5;

async fn post(server: &Running, path: &str, bearer: &str, token: &str) -> Response {
    form(server.http.post(server.url(path)).bearer_auth(bearer), &[("token", token)]).send().await.unwrap()
}

async fn issued_token(server: &Running, key: &str) -> String {
    let body: Value = server.exchange(key).await.json().await.unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

each! {
    // Requirements: 7009-03.
    async fn acknowledged_revocation_survives_sigkill(deployment: Deployment) {
        let mut server = deployment.serve();
        let admin = deployment.admin();
        let mut dead: Vec<String> = Vec::new();
        let (id, living) = server.key(&admin).await;
        for _ in 0..ROUNDS {
            let (_, key) = server.key(&admin).await;
            let (of_dead, of_living) = (issued_token(&server, &key).await, issued_token(&server, &living).await);
            // The response to the revocation is the last action of the process.
            for (bearer, token) in [(&living, &of_living), (&key, &key)] {
                assert!(server.is_active(&admin, token).await);
                assert_eq!(post(&server, "/oauth/revoke", bearer, token).await.status(), 200);
                server.kill();
                server = deployment.serve();
                assert!(!server.is_active(&admin, token).await);
            }
            assert!(!server.is_active(&admin, &of_dead).await);
            dead.extend([of_dead, of_living, key]);
        }
        for token in &dead {
            assert!(!server.is_active(&admin, token).await);
        }
        assert!(server.is_active(&admin, &issued_token(&server, &living).await).await);
        let events = server.call(&admin, "GET", "/v1/events?type=token.revoked&limit=100&after=0", None).await;
        let events: Value = events.json().await.unwrap();
        let reported = events["data"].as_array().unwrap();
        assert_eq!(reported.len(), ROUNDS, "one for each");
        assert!(reported.iter().all(|event| event["subject"] == json!({ "type": "api_key", "id": id })));
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
