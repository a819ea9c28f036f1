//! The client address behind a proxy, and the warning about a proxy that is not configured.

use super::process::{Deployment, Running, each};
use crate::support::both;

async fn refuse(server: &Running, headers: &[(&str, &str)]) -> u16 {
    let request = server.http.post(format!("{}/v1/exchange", server.base)).bearer_auth("ks_malformed");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap().status().as_u16()
}

both! {
    async fn only_the_configured_header_is_read(
        server: Server, "server.forwarded_header=forwarded", "server.trusted_proxies=[\"127.0.0.0/8\"]", "brute_force.per_source=1"
    ) {
        let fail = async |headers: &[(&str, &str)]| {
            let request = server.post("/v1/exchange").bearer_auth("ks_malformed");
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            request.send().await.unwrap().status().as_u16()
        };
        assert_eq!(fail(&[("forwarded", "for=192.0.2.1")]).await, 401);
        assert_eq!(fail(&[("forwarded", "for=192.0.2.1:4711;proto=https"), ("x-forwarded-for", "192.0.2.7")]).await, 429);
        assert_eq!(fail(&[("x-forwarded-for", "192.0.2.2")]).await, 401, "the address of the proxy");
        assert_eq!(fail(&[("x-forwarded-for", "192.0.2.3")]).await, 429);
    }
}

each! {
    async fn a_proxy_that_is_not_configured_is_reported_once(deployment: Deployment) {
        let server = deployment.serve();
        for _ in 0..3 {
            assert_eq!(refuse(&server, &[("forwarded", "for=192.0.2.1")]).await, 401);
        }
        assert!(!server.process.log().contains("trusted_proxies"), "the other header is not read");
        for _ in 0..3 {
            assert_eq!(refuse(&server, &[("x-forwarded-for", "192.0.2.1")]).await, 401);
        }
        assert_eq!(server.process.log().matches("server.trusted_proxies").count(), 1, "{}", server.process.log());
        server.stop();
        let server = deployment.with(&["server.trusted_proxies=[\"127.0.0.0/8\"]"]).serve();
        assert_eq!(refuse(&server, &[("x-forwarded-for", "192.0.2.1")]).await, 401);
        assert!(!server.process.log().contains("trusted_proxies"));
    }
}
