//! Two credentials or two entitlements with the same number are not mistaken for each other.

use keyswap::{
    crypto::random::SystemEntropy,
    domain::credentials::format::{ApiKeyValue, PresentedKey, Secret},
};
use reqwest::StatusCode;

use super::{Answer, Servers, credential_id};
use crate::{faults::tables::lines_of, support::both};

both! {
    async fn another_id_with_the_number_of_a_credential_is_refused(server: Server) {
        let key = server.generic_key(&["a:b"]).await.value;
        let servers = Servers::new(server, &[]).await;
        servers.remember(&key, "the key").await;
        let known = PresentedKey::parse(&key).unwrap();
        let text = known.credential_id.to_string();
        let first = if text.starts_with('0') { '1' } else { '0' };
        let other = format!("{first}{}", &text[1..]).parse().unwrap();
        let secret = Secret::generate(&SystemEntropy::default()).unwrap();
        for secret in [&known.secret, &secret] {
            let value = ApiKeyValue::format(&known.prefix, &other, secret);
            assert_eq!(credential_id(value.expose()).number(), credential_id(&key).number());
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
