//! The message format and its signature: Standard Webhooks 1.0.

use serde::Serialize;
use serde_json::Value;

use crate::{
    crypto::{master_keys::MasterKeys, webhook::WebhookSecret},
    domain::{
        common::{encryption::Encrypted, id::WebhookId, time::Timestamp},
        webhooks::{Webhook, WebhookUrl},
    },
    outbound::{Outbound, RequestError, WebhookResponse},
    service::Error,
    store::{Conn, StoreError, webhooks::EncryptedSecret},
};

/// A message. Its body has the members in the order of the specification.
#[derive(Debug, Serialize)]
pub struct Message {
    /// Identical for every attempt, so that receivers can detect duplicates. It contains no dot,
    /// which separates the signed parts, and no text from outside Keyswap.
    #[serde(skip)]
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// When the event occurred.
    pub timestamp: Timestamp,
    pub data: Value,
}

/// The destination of messages and the secrets that sign them.
#[derive(Debug)]
pub struct Endpoint {
    pub url: WebhookUrl,
    secrets: Vec<WebhookSecret>,
}

/// An endpoint as stored, with encrypted secrets.
#[derive(Debug)]
pub struct EncryptedEndpoint {
    id: WebhookId,
    url: WebhookUrl,
    secrets: Vec<EncryptedSecret>,
}

impl EncryptedEndpoint {
    /// Loads the current secret, and the previous one while its overlap lasts.
    pub fn load(connection: &mut Conn, webhook: &Webhook, now: Timestamp) -> Result<Self, StoreError> {
        let (secret, old) = crate::store::webhooks::read_secrets(connection, &webhook.id)?;
        let old = old.filter(|_| webhook.previous_secret_expires_at.is_some_and(|until| now < until));
        let secrets = [secret].into_iter().chain(old).collect();
        Ok(Self { id: webhook.id.clone(), url: webhook.url.clone(), secrets })
    }

    pub fn decrypt(self, master_keys: &MasterKeys) -> Result<Endpoint, Error> {
        let mut secrets = Vec::with_capacity(self.secrets.len());
        for (bytes, master_version) in self.secrets {
            secrets.push(WebhookSecret::decrypt(master_keys, self.id.as_str(), &Encrypted { master_version, bytes })?);
        }
        Ok(Endpoint { url: self.url, secrets })
    }
}

impl Endpoint {
    /// Signs the message as of `now` and sends it once.
    pub async fn send(
        &self,
        outbound: &Outbound,
        message: &Message,
        now: Timestamp,
    ) -> Result<WebhookResponse, RequestError> {
        let body = serde_json::to_vec(message).map_err(|_| RequestError::Broken)?;
        // The time of the attempt and not of the event: receivers reject timestamps older than five
        // minutes.
        let timestamp = now.seconds();
        let signatures: Vec<_> = self.secrets.iter().map(|secret| secret.sign(&message.id, timestamp, &body)).collect();
        let headers = [
            ("webhook-id", message.id.clone()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signatures.join(" ")),
        ];
        outbound.post(&self.url, &headers, body).await
    }
}
