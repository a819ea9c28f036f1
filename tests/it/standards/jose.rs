//! RFC 7515 to 7519, 7638 and 8037: signatures, keys and tokens.

use std::{collections::BTreeSet, sync::Arc};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use keyswap::{
    crypto::{
        jwk::PublicJwk,
        key_import::{self, ImportError},
        sha256,
        signer::{PrivateKeyDer, Signer},
    },
    domain::signing::Algorithm,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::rfc8725::TokenForger;
use crate::support::{Server, body_of, both, header_of};

/// A 1024-bit RSA key in PKCS#8.
const SHORT_RSA: &str = "MIICdQIBADANBgkqhkiG9w0BAQEFAASCAl8wggJbAgEAAoGBALJpbvRh8w+ZJwFDVaRMrxElorfg5rPdAXHvufDousv7pwtFYw8H4pkr\
    Xeazx1r1fgMFPtjl23jMGNb1O19X8GhCgz3PM5RVBSr2VdAI8vfhmyQhy8QnEnw2GdHL/s9x56XwGYuFszJx6guuts4ngC6L0u+H5XpS9Ex4YuRxiAZ1AgMBAAECgYBt\
    v/P0O4jk0Iaw/TXisxWCi89UI/JnNI3eA+UzMEcwkibJBS8RoP0g0g+ain8ZEikpPIHTtVpULeEd4o9acGM/CHQhigpZzVz776N64JyWCwAZ8jpkUFmmGAS61q9mZbsJ\
    C4DHux+l0Ve8SP2fSFbK7TdjEInH27kFpZBfw7CrJQJBAN87AHujsSEjP3c1pfZvaCcYZnZ5k8wTXlKV3JtR/aJfITWHUX3AsT8JeYrbEdjgLVUF18V7A4Lcz5VeDA7F\
    r/sCQQDMmiXulCy8xur3ME2BND1QioUdNL8zQI6VjSWp0ZkkexIThESV2SMHRK/t/E8ux4GhQ12y4OBT15kj+q7k/qhPAkAOIdkc+rb7BxU8gcv49wKb/wJ1m6rMr6k4\
    Bz7JIn6xKd6bWe7BzFIsUHg+XzIZDdAw4sbPPMNzJHGL3kFbKg7DAkAdgi3uVtiM8XN56zGCbPJa51+DctQQpELsNsszztLze/yDbBQoOITgy3tEK5uP954uj/S3k89G\
    yFWB5unKhR/pAkBFTQNKbOxsIAOhea8+BB1NQ5nwWfhJRx9ALN+mDhXhaED9mUMANSswFCLeUJG99gdKqjq4O1zijf2Ta/ERAMIE";

fn pair(algorithm: Algorithm) -> Signer {
    Signer::from_pkcs8(algorithm, &Signer::generate(algorithm).unwrap()).unwrap()
}

fn decoded(member: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(member.as_str().unwrap()).unwrap()
}

async fn jwks(server: &Server) -> Vec<Value> {
    let body = body_of(server.get("/.well-known/jwks.json").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(body.as_object().unwrap().len(), 1);
    body["keys"].as_array().unwrap().clone()
}

/// The RFC 7638 thumbprint, computed independently of the code under test.
fn thumbprint(jwk: &Value) -> String {
    let required: &[&str] = match jwk["kty"].as_str().unwrap() {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        _ => &["e", "kty", "n"],
    };
    let members: Vec<_> = required.iter().map(|name| format!("\"{name}\":{}", jwk[name])).collect();
    URL_SAFE_NO_PAD.encode(sha256(format!("{{{}}}", members.join(",")).as_bytes()))
}

/// Checks all members of a published key.
fn check(jwk: &Value) {
    let names: BTreeSet<_> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
    let of = |kind: &[&'static str]| {
        ["alg", "kid", "kty", "use"].into_iter().chain(kind.iter().copied()).collect::<BTreeSet<_>>()
    };
    match (jwk["alg"].as_str().unwrap(), jwk["kty"].as_str().unwrap()) {
        ("ES256", "EC") => {
            assert_eq!((names, &jwk["crv"]), (of(&["crv", "x", "y"]), &json!("P-256")));
            assert_eq!((decoded(&jwk["x"]).len(), decoded(&jwk["y"]).len()), (32, 32));
        }
        ("ES384", "EC") => {
            assert_eq!((names, &jwk["crv"]), (of(&["crv", "x", "y"]), &json!("P-384")));
            assert_eq!((decoded(&jwk["x"]).len(), decoded(&jwk["y"]).len()), (48, 48));
        }
        ("EdDSA", "OKP") => {
            assert_eq!((names, &jwk["crv"]), (of(&["crv", "x"]), &json!("Ed25519")));
            assert_eq!(decoded(&jwk["x"]).len(), 32);
        }
        ("RS256" | "PS256", "RSA") => {
            assert_eq!((names, &jwk["e"]), (of(&["e", "n"]), &json!("AQAB")));
            let n = decoded(&jwk["n"]);
            assert_eq!(n.len(), 384, "3072 bits");
            assert_ne!(n[0], 0);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(jwk["use"], "sig");
    assert_eq!(jwk["kid"], thumbprint(jwk));
}

both! {
    // Requirements: jose-01.
    async fn crit_is_never_sent_and_never_accepted(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        assert!(header_of(&server.fetch_token(&key.value).await).get("crit").is_none());
        let forge = TokenForger::new(&server).await;
        assert!(forge.accepted(&forge.token(&forge.header, &forge.claims).await).await, "the forge works");
        for crit in [r#"["x-foo"]"#, "[]", r#"["exp"]"#, r#"["b64"]"#, "null", "\"x\""] {
            let header = forge.header.replace('}', &format!(r#","crit":{crit},"x-foo":1}}"#));
            assert!(!forge.accepted(&forge.token(&header, &forge.claims).await).await, "{crit}");
        }
    }

    // Requirements: jose-02.
    async fn duplicate_member_is_refused(server: Server) {
        let forge = TokenForger::new(&server).await;
        for member in [r#""alg":"ES256""#, r#""typ":"at+jwt""#, r#""kid":"x""#] {
            let header = forge.header.replacen('{', &format!("{{{member},"), 1);
            assert!(!forge.accepted(&forge.token(&header, &forge.claims).await).await, "{member}");
        }
        for member in ["iss", "sub", "aud", "exp", "scope", "key_id"] {
            let value = &serde_json::from_str::<Value>(&forge.claims).unwrap()[member];
            let claims = forge.claims.replacen('{', &format!("{{\"{member}\":{value},"), 1);
            assert!(!forge.accepted(&forge.token(&forge.header, &claims).await).await, "{member}");
        }
        let jwk = r#"{"kty":"EC","kty":"EC","crv":"P-256","x":"a","y":"a","d":"a"}"#;
        assert!(matches!(key_import::parse_private_key(jwk, Algorithm::Es256), Err(ImportError::UnknownFormat)));
    }

    // Requirements: jose-03.
    async fn base64url_is_canonical(server: Server) {
        let forge = TokenForger::new(&server).await;
        let good = forge.token(&forge.header, &forge.claims).await;
        assert!(forge.accepted(&good).await);
        let parts: Vec<_> = good.split('.').collect();
        let (head, claims, signature) = (parts[0], parts[1], parts[2]);
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        // 64 bytes leave four bits of the last character unused, which must be zero.
        let last = alphabet.find(signature.chars().next_back().unwrap()).unwrap();
        let trailing = format!("{}{}", &signature[..85], alphabet.chars().nth(last + 1).unwrap());
        for bad in [
            format!("{head}.{claims}.{signature}="), format!("{head}.{claims}.{signature}=="), format!("{head}.{claims}=.{signature}"),
            format!("{head}=.{claims}.{signature}"), format!("{head}.{claims}.{trailing}"), format!("{head}. {claims}.{signature}"),
            format!("{head}.{claims}.{}", STANDARD.encode(URL_SAFE_NO_PAD.decode(signature).unwrap())),
            format!("{head}.{claims}.{signature}."), format!(".{claims}.{signature}"), format!("{head}..{signature}"),
            format!("{head}.{claims}."), format!("{head}.{claims}"),
        ] {
            assert!(!forge.accepted(&bad).await, "{bad}");
        }
    }

    // Requirements: jose-07.
    async fn jwks_contains_no_private_member(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let mut database = server.stop().await;
        let mut kids = BTreeSet::new();
        for algorithm in Algorithm::ALL {
            let server = Server::on(Arc::clone(&database), &[&format!("signing_keys.algorithm={algorithm}")]).await;
            for jwk in jwks(&server).await {
                check(&jwk);
                let own = jwk.as_object().unwrap();
                for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
                    assert!(!own.contains_key(private));
                }
                kids.insert((jwk["kid"].as_str().unwrap().to_owned(), jwk["alg"].as_str().unwrap().to_owned()));
            }
            // A change of the algorithm is an ordinary rotation: the next key signs after
            // the propagation delay.
            server.advance(2 * 3600);
            if algorithm != Algorithm::Es256 {
                server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
            }
            let header = header_of(&server.fetch_token(&key.value).await);
            assert_eq!(header["alg"], algorithm.as_str());
            database = server.stop().await;
        }
        let algorithms: BTreeSet<_> = kids.iter().map(|(_, alg)| alg.as_str()).collect();
        assert_eq!(algorithms.len(), 5, "all of them were published");
        let distinct: BTreeSet<_> = kids.iter().map(|(kid, _)| kid).collect();
        assert_eq!(distinct.len(), kids.len(), "jose-09, jose-11: a kid has one algorithm");
    }

    // Requirements: jose-09, jose-10.
    async fn keys_have_distinct_kids_in_a_jwk_set(server: Server) {
        let answer = server.get("/.well-known/jwks.json").send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/jwk-set+json");
        let keys = jwks(&server).await;
        assert_eq!(keys.len(), 2, "the one that signs and the one that follows");
        let kids: BTreeSet<_> = keys.iter().map(|jwk| jwk["kid"].as_str().unwrap()).collect();
        assert_eq!(kids.len(), 2);
        for jwk in &keys {
            check(jwk);
            assert!(jwk.get("key_ops").is_none(), "use or key_ops, never both");
        }
    }

    // Requirements: jose-13.
    async fn times_are_integers(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        for _ in 0..20 {
            let token = server.fetch_token(&key.value).await;
            let claims: Value = serde_json::from_slice(&decoded(&json!(token.split('.').nth(1).unwrap()))).unwrap();
            for name in ["exp", "iat"] {
                assert!(claims[name].is_u64(), "{claims}");
            }
            assert!(claims.get("nbf").is_none());
        }
    }
}

// Requirements: jose-04.
#[tokio::test]
async fn ecdsa_signatures_have_a_fixed_width() {
    for (algorithm, width, count) in [(Algorithm::Es256, 64, 4000), (Algorithm::Es384, 96, 1000)] {
        let signer = pair(algorithm);
        let mut short = 0;
        for message in 0..count {
            let signature = signer.sign(format!("{message}").as_bytes()).await.unwrap();
            assert_eq!(signature.len(), width);
            short += usize::from(signature[0] == 0) + usize::from(signature[width / 2] == 0);
        }
        assert!(algorithm == Algorithm::Es384 || short > 0, "some began with a zero octet, which must be kept");
    }
}

// Requirements: jose-05.
#[test]
fn rsa_keys_are_long_enough() {
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{SHORT_RSA}\n-----END PRIVATE KEY-----\n");
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
        assert!(key_import::parse_private_key(&pem, algorithm).is_err(), "1024 bits from outside");
        assert!(Signer::from_pkcs8(algorithm, &PrivateKeyDer::new(&STANDARD.decode(SHORT_RSA).unwrap())).is_err());
    }
    check(&serde_json::to_value(pair(Algorithm::Rs256).jwk()).unwrap());
}

// Requirements: jose-06, jose-08.
#[test]
fn coordinates_have_full_width_and_kids_are_thumbprints() {
    let mut leading_zeros = 0;
    for _ in 0..1500 {
        let jwk = serde_json::to_value(pair(Algorithm::Es256).jwk()).unwrap();
        check(&jwk);
        leading_zeros += ["x", "y"].iter().filter(|name| decoded(&jwk[name])[0] == 0).count();
    }
    assert!(leading_zeros > 0, "some coordinate begins with a zero octet");
    for algorithm in [Algorithm::Es384, Algorithm::EdDsa] {
        for _ in 0..50 {
            check(&serde_json::to_value(pair(algorithm).jwk()).unwrap());
        }
    }
}

// Requirements: jose-11.
#[test]
fn every_published_key_has_an_algorithm() {
    let jwk = serde_json::to_value(pair(Algorithm::EdDsa).jwk()).unwrap();
    for name in ["alg", "kid", "kty", "use"] {
        let mut without = jwk.clone();
        without.as_object_mut().unwrap().remove(name);
        assert!(serde_json::from_value::<PublicJwk>(without).is_err(), "{name}");
    }
    // A key pair of another algorithm has the wrong curve.
    assert!(Signer::from_pkcs8(Algorithm::Es384, &Signer::generate(Algorithm::Es256).unwrap()).is_err());
}

// Requirements: jose-12.
#[test]
fn eddsa_is_available_and_es256_is_the_default() {
    assert_eq!(Algorithm::EdDsa.as_str(), "EdDSA");
    assert!(keyswap::config::DEFAULTS.contains("algorithm = \"ES256\""));
    assert!("Ed25519".parse::<Algorithm>().is_err(), "RFC 9864's name waits until verifiers know it");
}
