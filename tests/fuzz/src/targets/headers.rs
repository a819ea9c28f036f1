//! Header fields of requests.

use crate::{
    connection::Request,
    server::{Server, server, server_of_forwarded},
};

/// The first byte selects the header and the request; the rest is the value. Each line of it is a
/// header of its own.
pub fn run(input: &[u8]) -> Option<()> {
    let (letter, value) = input.split_first()?;
    let mut server = server();
    let value = server.expand(value);
    let request = build(&server, *letter, &value)?;
    server.send(&request);
    Some(())
}

fn build(server: &Server, letter: u8, value: &[u8]) -> Option<Request> {
    let by_admin = |method, path: &str| Request::new(method, path).bearer(&server.admin);
    let organization = "/v1/organizations/acme";
    let change = |method| by_admin(method, organization).body("application/json", "{}");
    let introspect = || {
        let request = Request::new("POST", "/oauth/introspect");
        let request = request.header("authorization", format!("Basic {}", server.value("{admin_basic}")));
        request.body("application/x-www-form-urlencoded", format!("token={}", server.value("{token}")))
    };
    Some(match letter {
        b'A' => introspect().header("accept", value),
        b'B' => by_admin("GET", "/metrics").header("accept", value),
        b'C' => Request::new("GET", "/v1/caller").header("keyswap-page", "1").header("cookie", value),
        b'D' => Request::new("GET", "/v1/caller").header("keyswap-page", "console").header("cookie", value),
        b'E' => by_admin("GET", organization).header("accept-encoding", value),
        b'F' => Request::new("GET", "/openapi.json").header("accept-encoding", value),
        b'G' => by_admin("GET", "/v1/caller").header("origin", value),
        b'H' => {
            let preflight = Request::new("OPTIONS", "/v1/api-keys").header("origin", "https://app.example.com");
            preflight.header("access-control-request-method", "POST").header("access-control-request-headers", value)
        }
        b'I' => Request::new("OPTIONS", "/.well-known/jwks.json").header("access-control-request-headers", value),
        b'J' => Request::new("GET", "/.well-known/jwks.json").header("if-none-match", value),
        b'K' => {
            // A body that is refused after the header has been read, so that nothing is created.
            let body = r#"{"name":"key","owner":{"type":"service_client","id":"svc_00000000000000000000000000"}}"#;
            by_admin("POST", "/v1/api-keys").body("application/json", body).header("idempotency-key", value)
        }
        b'L' => by_admin("GET", "/v1/caller").header("keyswap-on-behalf-of", value),
        b'M' => by_admin("GET", organization).header("if-match", value),
        b'N' => by_admin("GET", organization).header("if-none-match", value),
        b'O' => change("PATCH").header("if-match", value),
        b'P' => change("PUT").header("if-none-match", value),
        b'Q' => by_admin("HEAD", organization).header("if-none-match", value),
        b'R' => Request::new("GET", "/healthz").header("x-request-id", value),
        b'S' => Request::new("POST", "/v1/exchange").bearer(&server.value("{key}")).body(value, "{}"),
        b'T' => by_admin("PATCH", organization).body(value, "{}"),
        b'U' => Request::new("POST", "/oauth/token").body(value, "grant_type=client_credentials"),
        b'V' => by_admin("POST", "/v1/import").body(value, "{}"),
        b'W' => Request::new("GET", "/v1/caller").header("authorization", value),
        b'X' => Request::new("POST", "/v1/exchange").header("x-api-key", value),
        b'Y' => Request::new("POST", "/oauth/token").header("dpop", value),
        b'Z' => Request::new("GET", "/v1/caller").header("keyswap-page", value).header("sec-fetch-site", value),
        _ => return None,
    })
}

/// The first byte selects `X-Forwarded-For` or `Forwarded`, which the proxy of a server sends; the
/// rest is its value.
pub fn forwarded(input: &[u8]) -> Option<()> {
    let (header, value) = input.split_first()?;
    let (mut server, header) = match header {
        b'f' => (server_of_forwarded(), "forwarded"),
        b'x' => (server(), "x-forwarded-for"),
        _ => return None,
    };
    // A well-formed key that does not exist: its failure is counted for the source.
    let unknown = "ks_ZZZZZZZZZZZZZZZZ_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let checksum = keyswap::domain::common::base62::encode_six_digits(crc32fast::hash(unknown.as_bytes()));
    let key = [unknown.as_bytes(), &checksum].concat();
    let request = Request::new("POST", "/v1/exchange").header("x-api-key", key).header(header, value);
    let response = server.send(&request);
    // A line break in the value begins further headers: 400 for those that are none, 431 for too many of them.
    assert!((400..500).contains(&response.status), "{response:?}");
    Some(())
}
