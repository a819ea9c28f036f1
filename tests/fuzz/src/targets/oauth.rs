//! The OAuth endpoints: forms, and the credentials of clients.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{connection::Request, server::server};

const FORM: &str = "application/x-www-form-urlencoded";

/// The first byte selects the endpoint; the rest is the body.
pub fn form(input: &[u8]) -> Option<()> {
    let (endpoint, body) = input.split_first()?;
    let mut server = server();
    let (path, client) = match endpoint {
        b'a' => ("/oauth/token", Some("{basic}")),
        b'i' => ("/oauth/introspect", Some("{admin_basic}")),
        b'j' => ("/oauth/introspect", None),
        b'm' => ("/identity/token", None),
        b'r' => ("/oauth/revoke", Some("{admin_basic}")),
        b't' => ("/oauth/token", None),
        _ => return None,
    };
    let mut request = Request::new("POST", path).body(FORM, server.expand(body));
    if let Some(client) = client {
        request = request.header("authorization", format!("Basic {}", server.value(client)));
    }
    server.send(&request);
    Some(())
}

/// The first byte selects the endpoint. The rest is the header after `b`, and what `Basic` encodes
/// after `e`.
pub fn basic(input: &[u8]) -> Option<()> {
    let [endpoint, encoding, value @ ..] = input else { return None };
    let mut server = server();
    let value = server.expand(value);
    let value = match encoding {
        b'b' => value,
        b'e' => format!("Basic {}", BASE64_STANDARD.encode(value)).into_bytes(),
        _ => return None,
    };
    let (path, body) = match endpoint {
        b'i' => ("/oauth/introspect", "token={token}"),
        b'r' => ("/oauth/revoke", "token={revoked_token}"),
        b't' => ("/oauth/token", "grant_type=client_credentials"),
        _ => return None,
    };
    let request = Request::new("POST", path).header("authorization", value);
    let request = request.body(FORM, server.expand(body.as_bytes()));
    server.send(&request);
    Some(())
}
