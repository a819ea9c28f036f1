//! Only the administrator introduces trust: which actions of the policy table can add, replace or
//! alter something that Keyswap or a verifier trusts later.

use std::collections::BTreeSet;

use keyswap::domain::access::policy::{BUILT_IN, TABLE};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Server, body_of, both, calls::call};

/// Whether an action introduces trust, and what it can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It can add, replace or alter what is trusted later.
    Introduces(&'static str),
    /// It cannot, and why.
    DoesNot(&'static str),
}
use Answer::{DoesNot, Introduces};

/// One answer for each action of the policy table. A new action needs an answer here. Trust is in
/// signing keys, master keys, issuers and their rules, in what permissions and roles mean, and in who
/// learns of changes. Keys, records and the directory are bounded by invariant 12 instead.
const ANSWERS: &[(&str, Answer)] = &[
    ("manage API keys", DoesNot("a key has at most the permissions of its creator (invariant 12)")),
    ("manage service clients", DoesNot("a service client has at most the permissions of its creator (invariant 12)")),
    ("read permissions", DoesNot("reads")),
    ("manage permissions", Introduces("which owners may have a permission")),
    ("read roles", DoesNot("reads")),
    ("manage roles", Introduces("the permissions of every user with the role")),
    ("manage the directory", DoesNot("assigns existing roles to users; roles have no effect on keys of the account")),
    (
        "manage audiences",
        Introduces("which algorithm and claims verifiers see, and which permissions an audience accepts"),
    ),
    ("lock users", DoesNot("refuses the keys of a user")),
    ("unlock users", DoesNot("restores what a lock refused")),
    ("validate API keys and tokens", DoesNot("reads")),
    ("manage portal sessions", DoesNot("a session has the permissions of the roles of its user")),
    ("read events", DoesNot("reads")),
    ("read metrics", DoesNot("reads")),
    ("read the overview", DoesNot("reads")),
    ("manage signing keys", DoesNot("Keyswap generates each key; the caller learns no private key")),
    ("import signing keys", Introduces("a signing key that the caller knows")),
    ("manage webhooks", Introduces("who receives every event")),
    ("manage the branding", Introduces("what users see on the pages where they manage keys")),
    ("know who calls", DoesNot("reads")),
    ("manage access records", DoesNot("a record grants at most what its creator holds (invariant 12)")),
];

#[test]
fn every_action_that_introduces_trust_requires_the_administrator() {
    let named: BTreeSet<_> = ANSWERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(named.len(), ANSWERS.len(), "an action has one answer");
    let actions: BTreeSet<_> = TABLE.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, actions, "each action of the table has an answer");
    for (name, permissions) in TABLE {
        let (_, answer) = ANSWERS.iter().find(|(answered, _)| answered == name).unwrap();
        if let Introduces(what) = answer {
            assert_eq!(*permissions, ["keyswap:admin"], "{name} can add, replace or alter: {what}");
        }
    }
}

/// A new private key in PEM.
pub fn private_key() -> String {
    let output = std::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// What is trusted: the signing keys with their states.
async fn signing_keys(server: &Server) -> Value {
    server.manage("GET", "/v1/signing-keys", None, 200).await["data"].clone()
}

both! {
    async fn only_the_administrator_imports_a_signing_key(server: Server) {
        let before = signing_keys(&server).await;
        let body = json!({ "key": private_key() });
        let import = async |key: &str| call(&server, key, "POST", "/v1/signing-keys", Some(body.clone()), &[]).await;
        let others: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).filter(|name| *name != "keyswap:admin").collect();
        for permissions in others.iter().map(std::slice::from_ref).chain([others.as_slice()]) {
            let key = server.client_key(permissions).await;
            assert_eq!(import(&key.value).await.status(), StatusCode::FORBIDDEN, "{permissions:?}");
        }
        assert_eq!(signing_keys(&server).await, before);
        let imported = body_of(import(&server.admin).await, StatusCode::OK).await;
        assert_eq!(imported["state"], "next");
    }
}
