//! Import of private signing keys. Each key type in each format becomes the next key and signs
//! after a rotation. Invalid input is refused and changes nothing.

use std::{fs, path::Path, process::Command};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use keyswap::service::{caller::Caller, signing};
use serde_json::{Value, json};

use crate::support::{Kind, Server, header_of, verify};

fn openssl(dir: &Path, args: &[&str]) {
    let output = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A new private key in PEM, in each format that OpenSSL writes.
fn pem(dir: &Path, algorithm: &str) -> Vec<String> {
    let options: &[&str] = match algorithm {
        "ES256" => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "ES384" => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        "EdDSA" => &["-algorithm", "ED25519"],
        "RSA 1024" => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
        _ => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    };
    openssl(dir, &[&["genpkey", "-out", "pkcs8.pem"], options].concat());
    let pkcs8 = fs::read_to_string(dir.join("pkcs8.pem")).unwrap();
    assert!(pkcs8.contains("BEGIN PRIVATE KEY"));
    if algorithm == "EdDSA" {
        return vec![pkcs8];
    }
    // A new key for each format, because a `kid` cannot be reused.
    openssl(dir, &[&["genpkey", "-out", "other.pem"], options].concat());
    openssl(dir, &["pkey", "-in", "other.pem", "-traditional", "-out", "traditional.pem"]);
    let traditional = fs::read_to_string(dir.join("traditional.pem")).unwrap();
    assert!(traditional.contains("BEGIN EC PRIVATE KEY") || traditional.contains("BEGIN RSA PRIVATE KEY"));
    vec![pkcs8, traditional]
}

/// Runs OpenSSL and returns its output in DER.
fn der(dir: &Path, args: &[&str]) -> Vec<u8> {
    openssl(dir, &[args, &["-outform", "DER", "-out", "out.der"]].concat());
    fs::read(dir.join("out.der")).unwrap()
}

/// A private JWK of a new key.
fn jwk(dir: &Path, algorithm: &str) -> Value {
    pem(dir, algorithm);
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let public = || der(dir, &["pkey", "-in", "pkcs8.pem", "-pubout"]);
    match algorithm {
        "EdDSA" => {
            let (private, public) = (der(dir, &["pkey", "-in", "pkcs8.pem"]), public());
            let (d, x) = (&private[private.len() - 32..], &public[public.len() - 32..]);
            json!({ "kty": "OKP", "crv": "Ed25519", "d": b64(d), "x": b64(x) })
        }
        "ES256" | "ES384" => {
            let (size, crv) = if algorithm == "ES256" { (32, "P-256") } else { (48, "P-384") };
            // SEC 1: a sequence of version 1 and the scalar.
            let private = der(dir, &["pkey", "-in", "pkcs8.pem", "-traditional"]);
            let at = private.windows(4).position(|bytes| bytes == [1, 1, 4, size]).unwrap() + 4;
            let size = usize::from(size);
            let public = public();
            let (x, y) = public[public.len() - 2 * size..].split_at(size);
            json!({ "kty": "EC", "crv": crv, "d": b64(&private[at..at + size]), "x": b64(x), "y": b64(y) })
        }
        _ => {
            let parts = integers(&der(dir, &["pkey", "-in", "pkcs8.pem", "-traditional"]));
            let mut jwk = json!({ "kty": "RSA", "alg": algorithm });
            for (name, part) in ["n", "e", "d", "p", "q", "dp", "dq", "qi"].into_iter().zip(&parts[1..]) {
                jwk[name] = json!(b64(part));
            }
            jwk
        }
    }
}

/// The integers of a DER sequence (PKCS#1), without leading zeros.
fn integers(der: &[u8]) -> Vec<Vec<u8>> {
    let length = |bytes: &[u8]| match bytes[0] {
        short @ 0..=127 => (usize::from(short), 1),
        long => {
            let count = usize::from(long & 127);
            (bytes[1..=count].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), count + 1)
        }
    };
    let mut rest = &der[1 + length(&der[1..]).1..];
    let mut found = Vec::new();
    while let Some((2, after)) = rest.split_first() {
        let (size, header) = length(after);
        let value = &after[header..header + size];
        found.push(value.iter().copied().skip_while(|byte| *byte == 0).collect());
        rest = &after[header + size..];
    }
    found
}

#[test]
fn every_key_type_in_every_format_becomes_the_next_key() {
    for algorithm in ["ES256", "ES384", "EdDSA", "RS256", "PS256"] {
        Server::run(Kind::Sqlite, &[&format!("signing_keys.algorithm={algorithm}")], |server| async move {
            let dir = tempfile::tempdir().unwrap();
            let key = server.generic_key(&[]).await.value;
            let mut forms = pem(dir.path(), algorithm);
            forms.push(jwk(dir.path(), algorithm).to_string());
            for text in forms {
                let form = text.lines().next().unwrap().chars().take(30).collect::<String>();
                let imported = signing::import(&server.services, &Caller::cli(), &text).await;
                let imported = imported.unwrap_or_else(|error| panic!("{algorithm} {form}: {error}"));
                let again = signing::import(&server.services, &Caller::cli(), &text).await.unwrap_err();
                assert!(again.to_string().contains("never used again"), "{again}");
                assert!(
                    signing::rotate(&server.services, &Caller::cli(), None).await.is_err(),
                    "not before it is known"
                );
                server.advance(3661);
                let rotated = signing::rotate(&server.services, &Caller::cli(), None).await.unwrap();
                assert_eq!(rotated.activated.info.kid, imported.info.kid);
                let token = server.fetch_token(&key).await;
                assert_eq!(header_of(&token)["kid"], imported.info.kid.as_str(), "{algorithm} {form}");
                verify(&server, &token, "http://keyswap.test").await;
            }
        });
    }
}

#[test]
fn invalid_key_file_is_refused_and_changes_nothing() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        for algorithm in ["ES256", "RS256"] {
            Server::run(kind, &[&format!("signing_keys.algorithm={algorithm}")], |server| async move {
                let dir = tempfile::tempdir().unwrap();
                let mut public = jwk(dir.path(), algorithm);
                for private in ["d", "p", "q", "dp", "dq", "qi"] {
                    public.as_object_mut().unwrap().remove(private);
                }
                openssl(dir.path(), &["pkey", "-in", "pkcs8.pem", "-pubout", "-out", "public.pem"]);
                let mut torn = jwk(dir.path(), algorithm);
                let other = jwk(dir.path(), algorithm);
                let half = if algorithm == "ES256" { "x" } else { "n" };
                torn[half] = other[half].clone();
                let mut named = other.clone();
                named["alg"] = json!("ES384");
                let pkcs8 = pem(dir.path(), algorithm).remove(0);
                let mut all = vec![
                    ("a public JWK", public.to_string()),
                    ("a public key in PEM", fs::read_to_string(dir.path().join("public.pem")).unwrap()),
                    ("halves of two keys", torn.to_string()),
                    ("a JWK for another algorithm", named.to_string()),
                    ("a symmetric key", json!({ "kty": "oct", "k": "c2VjcmV0", "d": "x" }).to_string()),
                    ("a symmetric key alone", json!({ "kty": "oct", "k": "c2VjcmV0" }).to_string()),
                    ("half a PEM", pkcs8[..pkcs8.len() / 2].to_owned()),
                    ("a PEM with altered bytes", pkcs8.replacen('A', "!", 3)),
                    ("garbage", "garbage".to_owned()),
                    ("nothing", String::new()),
                    ("broken JSON", "{\"kty\":".to_owned()),
                ];
                for other in ["ES384", "EdDSA", "RSA 1024", if algorithm == "ES256" { "RS256" } else { "ES256" }] {
                    all.push((other, pem(dir.path(), other).remove(0)));
                    if other != "RSA 1024" {
                        all.push((other, jwk(dir.path(), other).to_string()));
                    }
                }
                let before = server.manage("GET", "/v1/signing-keys", None, 200).await["data"].clone();
                let events = server.events().await.len();
                for (what, text) in all {
                    let error = signing::import(&server.services, &Caller::cli(), &text).await.expect_err(what);
                    let message = error.to_string();
                    assert!(message.len() > 20, "{what}: {message}");
                    let quoted = text.len() > 20 && message.contains(&text[text.len() / 2..]);
                    assert!(!quoted, "{what} is quoted: {message}");
                    let clear =
                        ["JWK", "PEM", "private", "2048", "algorithm"].iter().any(|word| message.contains(word));
                    assert!(clear, "{what}: {message}");
                }
                assert_eq!(server.manage("GET", "/v1/signing-keys", None, 200).await["data"], before);
                assert_eq!(server.events().await.len(), events);
            });
        }
    }
}

// Requirements: jose-05.
/// The Wycheproof JWK vectors: symmetric keys, weak keys, points off the curve, keys for other
/// uses, and parts that do not match. Only keys that are valid there and match the configured
/// algorithm are accepted.
#[test]
fn invalid_wycheproof_keys_are_refused() {
    for algorithm in ["ES256", "RS256"] {
        Server::run(Kind::Sqlite, &[&format!("signing_keys.algorithm={algorithm}")], |server| async move {
            let vectors = include_str!("../../vectors/wycheproof_json_web_key_test.json");
            let vectors: Value = serde_json::from_str(vectors).unwrap();
            let (mut refused, mut taken) = (0, 0);
            for group in vectors["testGroups"].as_array().unwrap() {
                let is_valid = group["tests"].as_array().unwrap().iter().any(|test| test["result"] == "valid");
                for jwk in group["private"]["keys"].as_array().unwrap() {
                    let body = json!({ "key": jwk.to_string() });
                    let answer =
                        server.post("/v1/signing-keys").bearer_auth(&server.admin).json(&body).send().await.unwrap();
                    let said = (answer.status().as_u16(), answer.text().await.unwrap());
                    if is_valid && jwk["alg"] == algorithm {
                        assert_eq!(said.0, 200, "{jwk}: {}", said.1);
                        taken += 1;
                    } else {
                        assert_eq!(said.0, 422, "{}: {jwk}: {}", group["comment"], said.1);
                        refused += 1;
                    }
                }
            }
            assert_eq!((refused + taken, taken), (28, usize::from(algorithm == "RS256")));
        });
    }
}
