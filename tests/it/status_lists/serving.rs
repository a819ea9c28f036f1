//! Serving of status lists: identical bytes on all replicas, HTTP caching, and no use as a
//! credential.

use keyswap::{
    app::startup::{self, StartMode},
    domain::common::time::Span,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    faults::process::{LONG, until},
    support::{Raw, both},
};

async fn raw(server: &Server, uri: &str) -> (String, String) {
    let answer = server.get(path(uri)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    (answer.headers()["etag"].to_str().unwrap().to_owned(), answer.text().await.unwrap())
}

fn is_valid(list: &Value, index: u32) -> bool {
    let bytes = bytes(list["status_list"]["lst"].as_str().unwrap());
    bytes[index as usize / 4] >> (index % 4 * 2) & 3 == VALID
}

both! {
    async fn every_token_refers_to_an_existing_list(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        // Immediately: no job has run since.
        let (uri, index) = place(&server, &key.value).await;
        let list = signed(&server, &uri).await;
        assert!(index < 131_072);
        let (issued, ends) = (list["iat"].as_i64().unwrap(), list["exp"].as_i64().unwrap());
        assert_eq!(ends - issued, 3600, "as long as a token may live: the key that signed it is published to its end");
        assert_eq!(list["ttl"], 60);
        let body = json!({ "audience": "http://keyswap.test/v1" });
        let management = body_of(server.exchange_for(&server.admin, body).await, StatusCode::OK).await;
        let (uri, _) = place_in(&claims(management["access_token"].as_str().unwrap()));
        signed(&server, &uri).await;
    }

    async fn replicas_and_restarts_serve_the_same_bytes(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        let (uri, _) = place(&server, &key.value).await;
        build_lists(&server).await;
        let first = raw(&server, &uri).await;
        let replica = server.replica().await;
        assert_eq!(raw(&replica, &uri).await, first);
        // Each replica reads everything once, and unchanged contents are not signed again.
        build_lists(&replica).await;
        assert_eq!(raw(&replica, &uri).await, first);
        server.generic_key(&["c:d"]).await;
        build_lists(&server).await;
        assert_eq!(raw(&server, &uri).await, first, "a new key is as valid as an unallocated index");
        // Of two concurrent builds, one writes.
        step(&server, &key.id, "revoke").await;
        let (one, two) = tokio::join!(status_lists::build_lists(&server.services), status_lists::build_lists(&replica.services));
        assert!(one.is_ok() && two.is_ok());
        for server in [&server, &replica] {
            status_lists::refresh(&server.services).await.unwrap();
        }
        let second = raw(&server, &uri).await;
        assert_ne!(second, first);
        assert_eq!(raw(&replica, &uri).await, second);
        drop(replica);
        let database = server.stop().await;
        let again = Server::on(database, &[]).await;
        assert_eq!(raw(&again, &uri).await, second);
    }

    async fn list_is_signed_again_at_half_of_its_ttl(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&["a:b"]).await;
        let (uri, _) = place(&server, &key.value).await;
        build_lists(&server).await;
        let first = raw(&server, &uri).await;
        server.advance(25);
        build_lists(&server).await;
        assert_eq!(raw(&server, &uri).await, first, "less than half of its ttl has passed");
        server.advance(6);
        build_lists(&server).await;
        let second = raw(&server, &uri).await;
        assert_ne!(second, first);
        // The signing key is no longer in the JWKS, as after an emergency revocation.
        server.database.sql(&format!("UPDATE status_list_tokens SET kid = '{}'", "A".repeat(43)));
        build_lists(&server).await;
        assert_ne!(raw(&server, &uri).await, second);
        signed(&server, &uri).await;
    }

    async fn no_list_is_served_at_or_after_iat_plus_ttl(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&["a:b"]).await;
        let (uri, _) = place(&server, &key.value).await;
        let replica = server.replica().await;
        let mut tag = String::new();
        // No job runs: the server was quiet, or its jobs were late.
        for pause in [0, 1, 28, 29, 30, 31, 58, 59, 60, 61, 90, 850, 1_799, 3_600, 86_400] {
            server.advance(pause);
            for server in [&server, &replica, &server] {
                let request = server.get(path(&uri)).header("if-none-match", &tag);
                let answer = request.send().await.unwrap();
                let now = server.services.store.now().await.unwrap().seconds();
                assert!([200, 304].contains(&answer.status().as_u16()), "after {pause}: {}", answer.status());
                tag = answer.headers()["etag"].to_str().unwrap().to_owned();
                let max_age = answer.headers()["cache-control"].to_str().unwrap().strip_prefix("public, max-age=").unwrap().to_owned();
                let list = signed(server, &uri).await;
                let usable = list["iat"].as_i64().unwrap() + list["ttl"].as_i64().unwrap();
                assert!(now < usable, "after {pause}: now {now}, usable until {usable}");
                assert!(now + max_age.parse::<i64>().unwrap() <= usable + 1, "after {pause}: cached for {max_age}");
                assert!(usable - now >= 14, "after {pause}: usable for {} s only", usable - now);
            }
        }
    }

    async fn requests_cause_one_signature_in_three_quarters_of_the_ttl(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&["a:b"]).await;
        let (uri, _) = place(&server, &key.value).await;
        let mut tags = std::collections::BTreeSet::new();
        for _ in 0..60 {
            for _ in 0..3 {
                tags.insert(raw(&server, &uri).await.0);
            }
            server.advance(1);
        }
        assert!((2..=3).contains(&tags.len()), "{} signatures in a minute", tags.len());
    }

    async fn list_that_cannot_be_signed_again_is_served_until_its_ttl_ends(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&["a:b"]).await;
        let (uri, _) = place(&server, &key.value).await;
        let first = raw(&server, &uri).await;
        server.database.sql("ALTER TABLE status_list_build RENAME TO hidden");
        server.advance(45);
        assert_eq!(raw(&server, &uri).await, first);
        server.advance(16);
        assert_eq!(server.get(path(&uri)).send().await.unwrap().status(), 503);
        server.database.sql("ALTER TABLE hidden RENAME TO status_list_build");
        server.advance(2);
        assert_ne!(raw(&server, &uri).await, first);
    }

    async fn revocation_is_effective_within_the_ttl(server: Server, "jobs=by_hand") {
        let mut delays = (Vec::new(), Vec::new());
        for offset in (0..60).step_by(6) {
            let key = server.generic_key(&["a:b"]).await;
            let (uri, index) = place(&server, &key.value).await;
            let fetch = async || {
                let (list, now) = (signed(&server, &uri).await, server.services.store.now().await.unwrap().seconds());
                (list["iat"].as_i64().unwrap() + 60, now + 60, is_valid(&list, index))
            };
            let (mut by_iat, mut by_fetch) = (fetch().await, fetch().await);
            server.advance(offset);
            step(&server, &key.id, "revoke").await;
            let (mut refused_by_iat, mut refused_by_fetch) = (None, None);
            for second in 0..=120 {
                let now = server.services.store.now().await.unwrap().seconds();
                if second % 10 == 0 {
                    build_lists(&server).await;
                }
                if now >= by_iat.0 {
                    by_iat = fetch().await;
                }
                if now >= by_fetch.1 {
                    by_fetch = fetch().await;
                }
                refused_by_iat = refused_by_iat.or((!by_iat.2).then_some(second));
                refused_by_fetch = refused_by_fetch.or((!by_fetch.2).then_some(second));
                server.advance(1);
            }
            delays.0.push(refused_by_iat.unwrap());
            delays.1.push(refused_by_fetch.unwrap());
        }
        eprintln!("seconds until a revocation is effective: {delays:?}");
        assert!(delays.0.iter().all(|delay| *delay <= 60), "{delays:?}");
        assert!(delays.1.iter().all(|delay| *delay < 120), "{delays:?}");
    }

    async fn aggregation_lists_every_list(server: Server) {
        let metadata = body_of(server.get("/.well-known/oauth-authorization-server").send().await.unwrap(), StatusCode::OK).await;
        let endpoint = metadata["status_list_aggregation_endpoint"].as_str().unwrap();
        let key = server.generic_key(&["a:b"]).await;
        let (uri, _) = place(&server, &key.value).await;
        build_lists(&server).await;
        let answer = server.get(path(endpoint)).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        assert!(answer.headers().get("vary").is_none());
        let tag = answer.headers()["etag"].clone();
        let body = body_of(answer, StatusCode::OK).await;
        let lists: Vec<_> = body["status_lists"].as_array().unwrap().iter().map(|uri| uri.as_str().unwrap().to_owned()).collect();
        assert!(lists.contains(&uri), "{body}");
        for uri in &lists {
            signed(&server, uri).await;
        }
        assert_eq!(server.get(path(endpoint)).header("if-none-match", tag).send().await.unwrap().status(), 304);
    }

    // Requirements: tsl-02.
    async fn list_supports_http_caching_and_conditional_requests(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        let (uri, _) = place(&server, &key.value).await;
        build_lists(&server).await;
        let plain = server.get(path(&uri)).send().await.unwrap();
        let of = |answer: &reqwest::Response, name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let max_age: u64 = of(&plain, "cache-control").strip_prefix("public, max-age=").unwrap().parse().unwrap();
        assert!((30..60).contains(&max_age), "{max_age}");
        assert_eq!(of(&plain, "access-control-allow-origin"), "*");
        assert_eq!(of(&plain, "vary"), "Accept-Encoding");
        assert!(plain.headers().get("content-encoding").is_none());
        let etag = of(&plain, "etag");
        let jwt = plain.bytes().await.unwrap();
        let again = server.get(path(&uri)).header("if-none-match", &etag).send().await.unwrap();
        assert_eq!((again.status().as_u16(), of(&again, "etag")), (304, etag.clone()));
        assert_eq!(again.bytes().await.unwrap().len(), 0);

        let zipped = server.get(path(&uri)).header("accept-encoding", "br, gzip;q=0.5").send().await.unwrap();
        assert_eq!(of(&zipped, "content-encoding"), "gzip");
        assert_ne!(of(&zipped, "etag"), etag, "other bytes, another tag");
        let mut unzipped = Vec::new();
        let zipped = zipped.bytes().await.unwrap();
        flate2::read::GzDecoder::new(&*zipped).read_to_end(&mut unzipped).unwrap();
        assert_eq!(unzipped, jwt);
        let refused = server.get(path(&uri)).header("accept-encoding", "gzip;q=0").send().await.unwrap();
        assert!(refused.headers().get("content-encoding").is_none());

        let mut head = Raw::open(&server.base);
        head.send(format!("HEAD {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path(&uri)).as_bytes());
        let head = head.read_all().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}", jwt.len())), "{head}");
    }

    // Requirements: tsl-05.
    async fn time_parameter_is_501_and_unknown_list_is_404(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        let (uri, _) = place(&server, &key.value).await;
        let past = server.get(&format!("{}?time=1686925000", path(&uri))).send().await.unwrap();
        assert_eq!(body_of(past, StatusCode::NOT_IMPLEMENTED).await["code"], "not_implemented");
        let mut answers = Vec::new();
        for id in ["stl_01JD0000000000000000000000", "stl_", "x", &key.id] {
            let answer = server.get(&format!("/v1/status-lists/{id}")).send().await.unwrap();
            assert_eq!(answer.status(), 404, "{id}");
            answers.push(answer.text().await.unwrap());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1);
    }

    async fn status_list_is_not_accepted_as_a_token(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        let (uri, _) = place(&server, &key.value).await;
        build_lists(&server).await;
        let (_, jwt) = raw(&server, &uri).await;
        let status = server.get("/v1/api-keys").bearer_auth(&jwt).send().await.unwrap().status();
        assert_eq!(status, 401);
        assert_eq!(server.exchange(&jwt).await.status(), 401);
        let validated = server.manage("POST", "/v1/api-keys/validate", Some(json!({ "value": jwt })), 200).await;
        assert!(validated["api_key"].is_null());
        // Nor can an audience use the token type of status lists.
        let body = json!({ "identifier": "https://a.test", "typ": "statuslist+jwt" });
        server.manage("POST", "/v1/audiences", Some(body), 422).await;
    }

    async fn stale_list_is_not_served(server: Server, "jobs=by_hand", "signing_keys.replica_staleness=1s") {
        let key = server.generic_key(&["a:b"]).await;
        let (uri, index) = place(&server, &key.value).await;
        build_lists(&server).await;
        signed(&server, &uri).await;
        let status = async || server.get(path(&uri)).send().await.unwrap().status().as_u16();
        server.database.sql("ALTER TABLE status_list_tokens RENAME TO hidden");
        until("what is here is too old", LONG, async || status().await == 503).await;
        // Meanwhile a key is revoked: verifiers would use the previous list, in which the key is
        // valid, for the whole ttl.
        step(&server, &key.id, "revoke").await;
        for _ in 0..5 {
            let answer = server.get(path(&uri)).send().await.unwrap();
            assert_eq!(answer.status(), 503);
            assert!(answer.headers().contains_key("retry-after"));
        }
        server.database.sql("ALTER TABLE hidden RENAME TO status_list_tokens");
        until("it looks again", LONG, async || status().await == 200).await;
        build_lists(&server).await;
        assert_eq!(marked(&server, &uri).await, [(index, INVALID)].into());
    }

    async fn stale_snapshot_is_refreshed_before_a_list_is_served(server: Server, "jobs=by_hand", "signing_keys.replica_staleness=1s") {
        let key = server.generic_key(&["a:b"]).await;
        let (uri, _) = place(&server, &key.value).await;
        build_lists(&server).await;
        // A replica whose jobs do not run.
        let dir = server.database.dir.path().join("keys").display().to_string();
        let settings = [
            format!("database.url={}", server.database.url),
            format!("keys.dir={dir}"),
            "server.public_url=http://keyswap.test".to_owned(),
            "signing_keys.replica_staleness=1s".to_owned(),
        ];
        let config = keyswap::config::Settings::load(None, &settings).unwrap();
        let other = startup::start(config, StartMode::Serve, server.database.clock()).await.unwrap();
        let id = uri.rsplit('/').next().unwrap().parse().unwrap();
        let before = status_lists::get(&other, &id).await.unwrap().list.plain.etag.clone();
        assert_eq!(before, raw(&server, &uri).await.0);
        step(&server, &key.id, "revoke").await;
        build_lists(&server).await;
        let second = Span::from_secs(1);
        until("what it has is too old", LONG, async || !other.status_lists.is_fresh(second)).await;
        let after = status_lists::get(&other, &id).await.unwrap().list.plain.etag.clone();
        assert_ne!(after, before, "a list that others have replaced since");
        assert_eq!(after, raw(&server, &uri).await.0);
    }
}
