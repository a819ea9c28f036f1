//! The request line: ids in paths, and query strings.

use crate::{connection::Request, server::server};

/// Prefixes of paths with ids.
const PREFIXES: &[(u8, &str)] = &[
    (b'a', "/v1/api-keys/"),
    (b'b', "/v1/service-clients/"),
    (b'c', "/v1/organizations/"),
    (b'd', "/v1/organizations/acme/members/"),
    (b'e', "/v1/users/"),
    (b'f', "/v1/roles/"),
    (b'g', "/v1/permissions/"),
    (b'h', "/v1/audiences/"),
    (b'i', "/v1/webhooks/"),
    (b'j', "/v1/access-records/"),
    (b'k', "/v1/status-lists/"),
    (b'l', "/assets/"),
    (b'm', "/docs/"),
    (b'n', "/.well-known/"),
    (b'o', "/"),
];

/// Lists and documents.
const LISTS: &[(u8, &str)] = &[
    (b'a', "/v1/api-keys"),
    (b'b', "/v1/service-clients"),
    (b'c', "/v1/organizations"),
    (b'd', "/v1/organizations/acme/members"),
    (b'e', "/v1/users"),
    (b'f', "/v1/roles"),
    (b'g', "/v1/permissions"),
    (b'h', "/v1/audiences"),
    (b'i', "/v1/portal-sessions"),
    (b'j', "/v1/events"),
    (b'k', "/v1/webhooks"),
    (b'l', "/v1/webhooks/{webhook}/deliveries"),
    (b'm', "/v1/access-records"),
    (b'n', "/v1/overview"),
    (b'o', "/v1/api-keys/{key_id}/usage"),
    (b'p', "/v1/api-keys/{key_id}"),
    (b'q', "/v1/status-lists"),
    (b'r', "/.well-known/jwks.json"),
    (b's', "/console"),
];

/// The first byte selects a prefix; the rest is the rest of the path.
pub fn run(input: &[u8]) -> Option<()> {
    let (letter, rest) = input.split_first()?;
    send(PREFIXES, *letter, b"", rest)
}

/// The first byte selects a list; the rest is its query string.
pub fn query_strings(input: &[u8]) -> Option<()> {
    let (letter, query) = input.split_first()?;
    // A request for events may ask to wait for the next one.
    if *letter == b'j' && form_urlencoded::parse(query).any(|(name, _)| name == "wait") {
        return None;
    }
    send(LISTS, *letter, b"?", query)
}

fn send(paths: &[(u8, &str)], letter: u8, separator: &[u8], rest: &[u8]) -> Option<()> {
    let (_, path) = paths.iter().find(|(one, _)| *one == letter)?;
    // These bytes would end the request line.
    if rest.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0) {
        return None;
    }
    let mut server = server();
    let target = [server.expand(path.as_bytes()).as_slice(), separator, &server.expand(rest)].concat();
    let request = Request::new("GET", target).bearer(&server.admin);
    server.send(&request);
    Some(())
}
