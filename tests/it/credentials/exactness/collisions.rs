//! Two credentials or two entitlements with the same number are not mistaken for each other.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use keyswap::{
    crypto::{random::SystemEntropy, sha256},
    domain::{
        common::{
            derived_id::CredentialId,
            entropy::{Entropy, EntropyUnavailable},
        },
        credentials::format::{ApiKeyValue, PresentedKey, Secret},
        events::{Actor, Origin},
    },
    store::{
        CreationPolicy, DatabaseSettings, NoEvent, Outcome, Store, StoreError, SystemClock, api_keys::credentials,
    },
};
use reqwest::StatusCode;

use super::{Answer, Servers, credential_id};
use crate::{faults::tables::lines_of, support::both};

/// Returns an id that differs from `id` and has the same number.
fn with_same_number(id: &CredentialId) -> CredentialId {
    let text = id.to_string();
    let first = if text.starts_with('0') { '1' } else { '0' };
    let other: CredentialId = format!("{first}{}", &text[1..]).parse().unwrap();
    assert_eq!(other.number(), id.number());
    other
}

/// The size of the buffer from which an id is drawn. Nothing else that the test runs reads as much.
const ID_BUFFER: usize = 64;

/// The random generator of the operating system, from which these ids are drawn first.
struct DrawnIds(Mutex<VecDeque<CredentialId>>);

impl Entropy for DrawnIds {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        SystemEntropy::default().fill(bytes)?;
        let id = if bytes.len() == ID_BUFFER { self.0.lock().unwrap().pop_front() } else { None };
        if let Some(id) = id {
            for (byte, digit) in bytes.iter_mut().zip(id.as_str().bytes()) {
                *byte = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'A'..=b'Z' => digit - b'A' + 10,
                    _ => digit - b'a' + 36,
                };
            }
        }
        Ok(())
    }
}

both! {
    async fn id_with_the_number_of_a_credential_is_drawn_again(server: Server) {
        let known = credential_id(&server.generic_key(&[]).await.value);
        let free: CredentialId = "0123456789abcdef".parse().unwrap();
        let entropy = Arc::new(DrawnIds(Mutex::new([known, with_same_number(&known), free].into())));
        let limit = Duration::from_secs(20);
        let settings = DatabaseSettings {
            url: server.database.url.parse().unwrap(),
            pool_size: 1,
            connect_timeout: limit,
            statement_timeout: limit,
            lease: limit,
        };
        let drawn = Arc::clone(&entropy);
        let store = Store::open(&settings, CreationPolicy::Fail, Arc::new(SystemClock), drawn, sha256).unwrap();
        let generated = store.run_transaction(Origin::of(Actor::Operator), |tx| {
            Ok::<_, StoreError>(Outcome::without_event(credentials::generate_id(tx)?, NoEvent::Unchanged))
        });
        assert_eq!(generated.await.unwrap(), free);
        assert!(entropy.0.lock().unwrap().is_empty(), "each id was drawn");
        store.close().await;
    }

    async fn another_id_with_the_number_of_a_credential_is_refused(server: Server) {
        let key = server.generic_key(&["a:b"]).await.value;
        let servers = Servers::new(server, &[]).await;
        servers.remember(&key, "the key").await;
        let known = PresentedKey::parse(&key).unwrap();
        let other = with_same_number(&known.credential_id);
        let secret = Secret::generate(&SystemEntropy::default()).unwrap();
        for secret in [&known.secret, &secret] {
            let value = ApiKeyValue::format(&known.prefix, &other, secret);
            let response = servers.narrow[0].exchange(value.expose()).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        }
        servers.compare(&key, "after both").await;
    }

    async fn facts_of_another_entitlement_with_the_same_number_are_not_used(server: Server) {
        let wide = server.generic_key(&["a:b", "a:c"]).await;
        let narrow = server.generic_key(&["a:b"]).await;
        let servers = Servers::new(server, &[]).await;
        for key in [&wide, &narrow] {
            servers.remember(&key.value, "both entitlements").await;
        }
        let database = &servers.narrow[0].database;
        database.sql(&format!(
            "UPDATE narrow_credentials SET entitlement = \
             (SELECT w.entitlement FROM narrow_credentials w WHERE w.key_id = '{}') WHERE key_id = '{}'",
            wide.id, narrow.id
        ));
        let same = "SELECT 'same' AS line FROM narrow_credentials a JOIN narrow_credentials b \
                    ON a.entitlement = b.entitlement AND a.key_id < b.key_id";
        assert!(!lines_of(database, same).is_empty());
        servers.compare(&narrow.value, "the entitlement of a wider key").await;
        let answer = Answer::of(&servers.narrow[0], &narrow.value).await;
        assert_eq!(answer.body["scope"], "a:b");
        servers.compare(&wide.value, "its own entitlement").await;
    }
}
