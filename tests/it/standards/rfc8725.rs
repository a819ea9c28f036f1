//! RFC 8725 and its successor: tokens that Keyswap must refuse as the verifier of its own tokens at
//! `/v1`. Unless the signature itself is tested, each token has a valid signature by the server's
//! own key, so that the tested fault is the only reason for the refusal.

use std::net::TcpListener;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm as Alg, EncodingKey, Header, encode};
use keyswap::{
    crypto::{
        encryption::private_key_row,
        signer::{PrivateKeyDer, Signer},
    },
    domain::{common::encryption::RowCipher as _, signing::SigningKeyState},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Server, body_of, both, header_of,
    wire::{exchange_of, oauth_error},
};

/// Creates arbitrary tokens that are signed with a key of a server.
pub struct TokenForger<'a> {
    server: &'a Server,
    signer: Signer,
    /// The header and the claims of a valid token for `/v1`.
    pub header: String,
    pub claims: String,
}

impl<'a> TokenForger<'a> {
    /// With the active key.
    pub async fn new(server: &'a Server) -> Self {
        let forger = Self::in_state(server, SigningKeyState::Active).await;
        let pairs: Vec<_> =
            exchange_of(&server.admin).into_iter().chain([("audience", "http://keyswap.test/v1")]).collect();
        let body = body_of(server.token(&pairs).await, StatusCode::OK).await;
        let token = body["access_token"].as_str().unwrap();
        Self { header: part(token, 0), claims: part(token, 1), ..forger }
    }

    /// With the only key in this state, and without claims.
    pub async fn in_state(server: &'a Server, state: SigningKeyState) -> Self {
        let services = &server.services;
        let keys = services.store.read(keyswap::store::signing::stored_keys::list_rows).await.unwrap();
        let key = keys.into_iter().find(|key| key.info.state == state).unwrap();
        let der = services
            .master_keys
            .decrypt(&private_key_row(key.info.kid.as_str()), &key.encrypted_private_key.unwrap())
            .unwrap();
        let signer = Signer::from_pkcs8(key.info.algorithm, &PrivateKeyDer::new(&der)).unwrap();
        let header = format!(r#"{{"typ":"at+jwt","alg":"{}","kid":"{}"}}"#, key.info.algorithm, key.info.kid);
        Self { server, signer, header, claims: String::new() }
    }

    pub async fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signer.sign(signed.as_bytes()).await.unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub async fn accepted(&self, token: &str) -> bool {
        let request = self.server.get("/v1/api-keys").header("authorization", format!("Bearer {token}"));
        let status = request.send().await.unwrap().status().as_u16();
        assert!([200, 401].contains(&status), "{status}");
        status == 200
    }

    /// The valid header with these members changed, added or, if null, removed.
    async fn with_header(&self, changes: Value) -> String {
        self.token(&changed(&self.header, changes), &self.claims).await
    }

    async fn with_claims(&self, changes: Value) -> String {
        self.token(&self.header, &changed(&self.claims, changes)).await
    }
}

/// The header (0) or the claims (1) of a token.
pub fn part(token: &str, at: usize) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

/// Keeps the order of the members, so that the order cannot be the reason for a refusal.
pub fn changed(text: &str, changes: Value) -> String {
    let mut text = text.to_owned();
    let before: Value = serde_json::from_str(&text).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        let old = format!("\"{name}\":{}", before[name]);
        if before.get(name).is_none() {
            text.truncate(text.rfind('}').unwrap());
            text.push_str(&format!(",\"{name}\":{value}}}"));
        } else if value.is_null() {
            text = text.replace(&format!(",{old}"), "").replace(&format!("{old},"), "");
        } else {
            text = text.replace(&old, &format!("\"{name}\":{value}"));
        }
    }
    text
}

both! {
    // Requirements: bcp-01.
    async fn algorithms_are_compared_exactly_and_none_is_refused(server: Server) {
        let forge = TokenForger::new(&server).await;
        assert!(forge.accepted(&forge.token(&forge.header, &forge.claims).await).await, "the forge works");
        for alg in ["none", "None", "nOnE", "es256", "Es256", "ES256 ", "HS256", "hs256", "RS256", "ES384", ""] {
            let token = forge.with_header(json!({ "alg": alg })).await;
            assert!(!forge.accepted(&token).await, "{alg}");
            let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
            assert!(!forge.accepted(&unsigned).await, "{alg} without a signature");
        }
        assert!(!forge.accepted(&forge.with_header(json!({ "alg": null })).await).await);
    }

    // Requirements: bcp-02.
    async fn public_key_is_not_accepted_as_hs256_secret(server: Server) {
        let forge = TokenForger::new(&server).await;
        let kid = header_of(&forge.token(&forge.header, "{}").await)["kid"].as_str().unwrap().to_owned();
        let jwks = body_of(server.get("/.well-known/jwks.json").send().await.unwrap(), StatusCode::OK).await;
        let jwk = jwks["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == kid.as_str()).unwrap().clone();
        let point = [&[4][..], &bytes(&jwk["x"]), &bytes(&jwk["y"])].concat();
        let spki = [&SPKI_P256[..], &point].concat();
        let pem = |wrap: &str| format!("-----BEGIN PUBLIC KEY-----{wrap}{}{wrap}-----END PUBLIC KEY-----{wrap}",
            base64::engine::general_purpose::STANDARD.encode(&spki)).into_bytes();
        let claims: Value = serde_json::from_str(&forge.claims).unwrap();
        for secret in [point, spki.clone(), pem("\n"), pem(""), jwk.to_string().into_bytes(), jwks.to_string().into_bytes(), vec![0], vec![]] {
            let header = Header { typ: Some("at+jwt".to_owned()), kid: Some(kid.clone()), ..Header::new(Alg::HS256) };
            let token = encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap();
            assert!(!forge.accepted(&token).await);
            // With the header of a valid token, only the signature is invalid.
            let (_, rest) = token.split_once('.').unwrap();
            assert!(!forge.accepted(&format!("{}.{rest}", URL_SAFE_NO_PAD.encode(&forge.header))).await);
        }
    }

    // Requirements: bcp-03, bcp-04.
    async fn only_compact_jws_is_accepted(server: Server) {
        let forge = TokenForger::new(&server).await;
        let good = forge.token(&forge.header, &forge.claims).await;
        let parts: Vec<_> = good.split('.').collect();
        let json_form = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string();
        let general = json!({ "payload": parts[1], "signatures": [{ "protected": parts[0], "signature": parts[2] }] }).to_string();
        for bad in [
            format!("{good}.a.b"), format!("{good}.."), format!("a.b.{good}"), json_form, general,
            format!("{good},{good}"), format!("{good} {good}"), format!("\"{good}\""),
        ] {
            assert!(!forge.accepted(&bad).await, "{bad}");
        }
        let zipped = forge.with_header(json!({ "zip": "DEF" })).await;
        assert!(!forge.accepted(&zipped).await);
        assert!(!forge.accepted(&forge.with_header(json!({ "b64": false })).await).await);
    }

    // Requirements: bcp-05.
    async fn issuer_audience_subject_and_time_are_checked(server: Server) {
        let forge = TokenForger::new(&server).await;
        assert!(forge.accepted(&forge.with_claims(json!({ "aud": ["http://keyswap.test/v1", "https://b.test/"] })).await).await);
        for changes in [
            json!({ "iss": "http://keyswap.test/" }), json!({ "iss": "http://KEYSWAP.test" }), json!({ "iss": null }),
            json!({ "iss": ["http://keyswap.test"] }),
            json!({ "aud": "http://keyswap.test" }), json!({ "aud": "http://keyswap.test/v1/" }), json!({ "aud": null }),
            json!({ "aud": [] }), json!({ "aud": 1 }),
            json!({ "sub": null }), json!({ "key_id": null }), json!({ "exp": null }),
            json!({ "exp": 1 }), json!({ "exp": -1 }), json!({ "exp": "9999999999" }),
            json!({ "key_id": "key_00000000000000000000000000" }), json!({ "key_id": "' OR 1=1--" }),
        ] {
            assert!(!forge.accepted(&forge.with_claims(changes.clone()).await).await, "{changes}");
        }
        let claims: Value = serde_json::from_str(&forge.claims).unwrap();
        server.advance(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() + 1);
        assert!(!forge.accepted(&forge.token(&forge.header, &forge.claims).await).await, "expired, by the database's clock");
    }

    // Requirements: bcp-06.
    async fn kid_is_no_path_and_no_query(server: Server) {
        let forge = TokenForger::new(&server).await;
        let long = "a".repeat(10_000);
        for kid in ["../../etc/passwd", "' OR 1=1--", "\0", "%00", "a'; DROP TABLE signing_keys; --", "", &long] {
            assert!(!forge.accepted(&forge.with_header(json!({ "kid": kid })).await).await, "{kid}");
        }
        for kid in [json!(null), json!(1), json!(["a"]), json!({ "a": 1 })] {
            assert!(!forge.accepted(&forge.with_header(json!({ "kid": kid })).await).await, "{kid}");
        }
    }

    // Requirements: bcp-07.
    async fn no_key_is_fetched_from_a_url_in_a_token(server: Server) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let forge = TokenForger::new(&server).await;
        let own: Value = serde_json::to_value(forge.signer.jwk()).unwrap();
        for member in [json!({ "jku": url }), json!({ "x5u": url }), json!({ "jwk": own }), json!({ "x5c": ["MIIB"] })] {
            let token = forge.with_header(member.clone()).await;
            assert!(!forge.accepted(&token).await, "{member}");
            oauth_error(server.token(&exchange_of(&token)).await, 400, "invalid_request").await;
        }
        // All requests of the server have ended once it has stopped.
        server.stop().await;
        assert!(listener.accept().is_err(), "no connection was made");
    }

    // Requirements: bcp-08.
    async fn token_with_another_typ_is_refused(server: Server) {
        let forge = TokenForger::new(&server).await;
        for typ in ["JWT", "jwt", "application/at+jwt", "AT+JWT", "statuslist+jwt", "secevent+jwt", "token-introspection+jwt", "dpop+jwt", ""] {
            assert!(!forge.accepted(&forge.with_header(json!({ "typ": typ })).await).await, "{typ}");
        }
        assert!(!forge.accepted(&forge.with_header(json!({ "typ": null })).await).await);
    }
}

fn bytes(member: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(member.as_str().unwrap()).unwrap()
}

/// The DER encoding of a P-256 public key before the point (RFC 5480 section 2).
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
