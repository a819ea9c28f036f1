//! JSON bodies of `/v1` and of the pages.

use crate::{connection::Request, server::server};

/// A letter, and the operation that it selects. A letter keeps its meaning, because inputs of the
/// corpus begin with it.
const OPERATIONS: &[(u8, &str, &str)] = &[
    (b'A', "POST", "/v1/exchange"),
    (b'B', "POST", "/v1/exchange/explain"),
    (b'C', "POST", "/v1/api-keys"),
    (b'D', "POST", "/v1/api-keys/validate"),
    (b'E', "PATCH", "/v1/api-keys/{patched_key}"),
    (b'F', "POST", "/v1/api-keys/{rotated_key}/rotate"),
    (b'G', "POST", "/v1/api-keys/{revoked_key}/revoke"),
    (b'H', "POST", "/v1/service-clients"),
    (b'I', "PATCH", "/v1/service-clients/{patched_client}"),
    (b'J', "PUT", "/v1/organizations/fuzz"),
    (b'K', "PATCH", "/v1/organizations/fuzz"),
    (b'L', "PUT", "/v1/organizations/acme/members/bob"),
    (b'M', "PATCH", "/v1/organizations/acme/members/bob"),
    (b'N', "PUT", "/v1/users/bob"),
    (b'O', "PATCH", "/v1/users/bob"),
    (b'P', "POST", "/v1/users/bob/lock"),
    (b'Q', "PUT", "/v1/roles/fuzz"),
    (b'R', "PUT", "/v1/permissions/fuzz"),
    (b'S', "POST", "/v1/audiences"),
    (b'T', "PATCH", "/v1/audiences/{patched_audience}"),
    (b'U', "POST", "/v1/portal-sessions"),
    (b'V', "PUT", "/v1/branding"),
    (b'W', "POST", "/v1/signing-keys"),
    (b'X', "POST", "/v1/signing-keys/rotate"),
    (b'Y', "POST", "/v1/webhooks"),
    (b'Z', "PATCH", "/v1/webhooks/{webhook}"),
    (b'a', "POST", "/v1/webhooks/{webhook}/rotate-secret"),
    (b'b', "POST", "/v1/access-records"),
    (b'c', "PATCH", "/v1/access-records/{record}"),
    (b'd', "POST", "/v1/access/check"),
    (b'e', "POST", "/console/sign-in"),
    (b'f', "POST", "/portal/sign-in"),
    (b'g', "POST", "/v1/users/bob/unlock"),
];

/// The first byte selects the operation; the rest is the body.
pub fn run(input: &[u8]) -> Option<()> {
    let (letter, body) = input.split_first()?;
    let (_, method, path) = OPERATIONS.iter().find(|(one, ..)| one == letter)?;
    let mut server = server();
    let request = Request::new(method, server.expand(path.as_bytes()));
    let request = match path.split('/').nth(1) {
        Some("console") => request.header("keyswap-page", "console"),
        Some("portal") => request.header("keyswap-page", "1"),
        _ if path.starts_with("/v1/exchange") => request.bearer(&server.value("{key}")),
        _ => request.bearer(&server.admin),
    };
    let request = request.body("application/json", server.expand(body));
    let response = server.send(&request);
    // A created object is deleted, so that no limit on the number of objects is reached.
    let created = response.header("location").strip_prefix("http://keyswap.test");
    if response.status == 201
        && let Some(created) = created
    {
        let deletion = Request::new("DELETE", created).bearer(&server.admin);
        server.send(&deletion);
    }
    Some(())
}
