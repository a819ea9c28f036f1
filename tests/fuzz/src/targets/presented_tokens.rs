//! Credentials that may be a token: at introspection, revocation, validation, and as bearer.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;

use crate::{
    connection::Request,
    server::{Server, server},
};

/// The first byte selects where the credential is presented, the second what it is made of.
pub fn run(input: &[u8]) -> Option<()> {
    let [place, form, rest @ ..] = input else { return None };
    let mut server = server();
    let genuine = server.value(if *place == b'r' { "{revoked_token}" } else { "{token}" });
    let credential = build(&server, &genuine, *form, rest)?;
    let request = present(&server, *place, &credential)?;
    server.send(&request);
    Some(())
}

fn build(server: &Server, genuine: &str, form: u8, rest: &[u8]) -> Option<Vec<u8>> {
    let [header, claims, signature] = genuine.split('.').collect::<Vec<_>>().try_into().unwrap();
    let encoded = BASE64_URL_SAFE_NO_PAD.encode(rest);
    Some(match form {
        // The header of a genuine token is replaced, or its claims, or its signature.
        b'h' => format!("{encoded}.{claims}.{signature}").into_bytes(),
        b'p' => format!("{header}.{encoded}.{signature}").into_bytes(),
        b's' => format!("{header}.{claims}.{encoded}").into_bytes(),
        // The encoded text of a genuine header is continued.
        b'e' => [header.as_bytes(), rest].concat(),
        b'r' => server.expand(rest),
        _ => return None,
    })
}

fn present(server: &Server, place: u8, credential: &[u8]) -> Option<Request> {
    let form = |path: &str, parameters: &str| {
        let encoded: String = form_urlencoded::byte_serialize(credential).collect();
        let request =
            Request::new("POST", path).body("application/x-www-form-urlencoded", format!("{parameters}{encoded}"));
        request.header("authorization", format!("Basic {}", server.value("{admin_basic}")))
    };
    Some(match place {
        b'b' => Request::new("GET", "/v1/caller").header("authorization", [b"Bearer ".as_slice(), credential].concat()),
        b'c' => {
            let cookie = [b"__Host-keyswap-console=".as_slice(), credential].concat();
            Request::new("GET", "/v1/caller").header("keyswap-page", "console").header("cookie", cookie)
        }
        b'i' => form("/oauth/introspect", "token="),
        b'r' => form("/oauth/revoke", "token="),
        b's' => {
            let parameters = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&\
                subject_token_type=urn:ietf:params:oauth:token-type:access_token&subject_token=";
            form("/oauth/token", parameters)
        }
        b'v' => {
            let body = json!({ "value": String::from_utf8_lossy(credential) });
            let request = Request::new("POST", "/v1/api-keys/validate").bearer(&server.admin);
            request.body("application/json", body.to_string())
        }
        _ => return None,
    })
}
