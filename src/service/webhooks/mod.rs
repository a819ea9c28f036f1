//! Webhooks: the destinations of events. `deliveries` has the delivery log, and `delivery_worker`
//! sends.

pub mod deliveries;
pub mod delivery_worker;
mod fan_out;
mod message;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    crypto::webhook::WebhookSecret,
    domain::{
        common::{
            id::{OrganizationId, WebhookId},
            json::{deserialize_nullable, deserialize_present},
            name::Description,
            page::{Page, PageRequest},
            preconditions::{Preconditions, StoredObject},
            time::{Span, Timestamp},
        },
        events::{EventType, NewEvent},
        webhooks::{DisableReason, EventTypeFilter, Webhook, WebhookState, WebhookUrl},
    },
    service::{
        Conflict, Error, InputFault, Services,
        caller::Caller,
        common::idempotency::{self, IdempotencyRequest, IdempotentOutcome},
    },
    store::{self, NoEvent, Outcome, Tx, webhooks},
};

pub use fan_out::fan_out;

const NOT_FOUND: Error = Error::NotFound("webhook");
/// Maximum number of webhooks: each one processes every event.
const MAX_WEBHOOKS: i64 = 1000;
/// How long the previous secret signs beside a new one, by default.
pub const DEFAULT_SECRET_OVERLAP: Span = Span::from_secs(24 * 3600);
/// Maximum overlap of the two secrets.
const MAX_SECRET_OVERLAP: Span = Span::from_secs(30 * 24 * 3600);

/// A webhook to create.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    pub url: WebhookUrl,
    pub description: Option<Description>,
    pub event_types: Option<EventTypeFilter>,
    pub organization_id: Option<OrganizationId>,
}

/// Changes to a webhook.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookPatch {
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub url: Option<WebhookUrl>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    pub description: Option<Option<Description>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    pub event_types: Option<Option<EventTypeFilter>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    pub organization_id: Option<Option<OrganizationId>>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub state: Option<Activation>,
}

/// Whether events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WebhookState, examples("enabled"))]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    Enabled,
    Disabled,
}

/// A webhook and its secret, for the only response that contains the secret.
#[derive(Debug)]
pub struct WebhookWithSecret {
    pub webhook: Webhook,
    pub secret: WebhookSecret,
}

pub async fn create(
    services: &Services,
    caller: &Caller,
    new: NewWebhook,
    once: Option<IdempotencyRequest>,
) -> Result<IdempotentOutcome<WebhookWithSecret, Webhook>, Error> {
    Error::if_any(find_url_faults(services, &new.url))?;
    let master_keys = services.master_keys.clone();
    services
        .change(caller, move |tx, _| {
            if let Some(existing) = find_earlier(tx, once.as_ref())? {
                return Ok(Outcome::without_event(existing, NoEvent::AlreadyRecorded));
            }
            if webhooks::count(tx)? >= MAX_WEBHOOKS {
                return Err(Conflict::TooManyWebhooks(MAX_WEBHOOKS).into());
            }
            let id: WebhookId = tx.generate_id()?;
            let secret = WebhookSecret::generate(tx.entropy())?;
            let encrypted = secret.encrypt(&master_keys, id.as_str(), tx.entropy())?;
            let webhook = Webhook {
                id,
                url: new.url,
                description: new.description,
                event_types: new.event_types,
                organization: new.organization_id,
                state: WebhookState::Enabled,
                previous_secret_expires_at: None,
                paused_until: None,
                // Starts at the current chain head. Earlier events are available from the events
                // API.
                event_cursor: store::events::read_chain_head(tx)?.0,
                created_at: tx.now(),
                created_by: tx.creator(),
                version: 1,
            };
            webhooks::insert(tx, &webhook, &(encrypted.bytes, encrypted.master_version))?;
            idempotency::record_object(tx, once.as_ref(), webhook.id.as_str())?;
            let event = NewEvent::new(EventType::WebhookCreated, &webhook.id);
            Ok(Outcome::event(IdempotentOutcome::New(WebhookWithSecret { webhook, secret }), event))
        })
        .await
}

pub async fn get(services: &Services, id: WebhookId) -> Result<Webhook, Error> {
    services.store.read(move |connection| webhooks::find(connection, &id)?.ok_or(NOT_FOUND)).await
}

pub async fn list(services: &Services, page: PageRequest) -> Result<Page<Webhook>, Error> {
    Ok(services.store.read(move |connection| webhooks::list(connection, &page)).await?)
}

pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: WebhookId,
    patch: WebhookPatch,
    preconditions: Preconditions,
) -> Result<Webhook, Error> {
    let url_faults = patch.url.as_ref().map_or_else(Vec::new, |url| find_url_faults(services, url));
    services
        .change(caller, move |tx, _| {
            let mut webhook = find_for_change(tx, &id, &preconditions)?;
            Error::if_any(url_faults)?;
            let before = webhook.clone();
            apply_patch(&mut webhook, patch);
            if webhook == before {
                return Ok(Outcome::without_event(webhook, NoEvent::Unchanged));
            }
            let event = |kind| NewEvent::new(kind, &id);
            let event = match (before.state, webhook.state) {
                (WebhookState::Enabled, WebhookState::Disabled(reason)) => {
                    event(EventType::WebhookDisabled).with_data("reason", reason.as_str())
                }
                (WebhookState::Disabled(_), WebhookState::Enabled) => {
                    webhooks::deliveries::reset_waiting(tx, &id)?;
                    event(EventType::WebhookEnabled)
                }
                (WebhookState::Enabled, WebhookState::Enabled)
                | (WebhookState::Disabled(_), WebhookState::Disabled(_)) => event(EventType::WebhookUpdated),
            };
            webhooks::update(tx, &webhook)?;
            webhook.version += 1;
            Ok(Outcome::event(webhook, event))
        })
        .await
}

fn apply_patch(webhook: &mut Webhook, patch: WebhookPatch) {
    if let Some(url) = patch.url
        && url != webhook.url
    {
        webhook.url = url;
        // The previous receiver requested the pause.
        webhook.paused_until = None;
    }
    patch.description.into_iter().for_each(|description| webhook.description = description);
    patch.event_types.into_iter().for_each(|event_types| webhook.event_types = event_types);
    patch.organization_id.into_iter().for_each(|organization| webhook.organization = organization);
    match (patch.state, webhook.state) {
        (Some(Activation::Enabled), WebhookState::Disabled(_)) => {
            webhook.state = WebhookState::Enabled;
            webhook.paused_until = None;
        }
        (Some(Activation::Disabled), WebhookState::Enabled) => {
            webhook.state = WebhookState::Disabled(DisableReason::ByAdministrator)
        }
        (Some(Activation::Enabled), WebhookState::Enabled)
        | (Some(Activation::Disabled), WebhookState::Disabled(_))
        | (None, _) => {}
    }
}

pub async fn delete(
    services: &Services,
    caller: &Caller,
    id: WebhookId,
    preconditions: Preconditions,
) -> Result<(), Error> {
    services
        .change(caller, move |tx, _| {
            find_for_change(tx, &id, &preconditions)?;
            webhooks::delete(tx, &id)?;
            Ok(Outcome::event((), NewEvent::new(EventType::WebhookDeleted, &id)))
        })
        .await
}

/// A rotation of the secret of a webhook.
#[derive(Debug, Clone)]
pub struct SecretRotation {
    pub id: WebhookId,
    /// How long the previous secret signs as well.
    pub overlap: Span,
    pub preconditions: Preconditions,
}

/// Replaces the secret. The previous one signs as well for the overlap, so that the receiver can
/// switch without an interruption.
pub async fn rotate_secret(
    services: &Services,
    caller: &Caller,
    SecretRotation { id, overlap, preconditions }: SecretRotation,
    once: Option<IdempotencyRequest>,
) -> Result<IdempotentOutcome<WebhookWithSecret, Webhook>, Error> {
    let master_keys = services.master_keys.clone();
    services
        .change(caller, move |tx, _| {
            if let Some(existing) = find_earlier(tx, once.as_ref())? {
                return Ok(Outcome::without_event(existing, NoEvent::AlreadyRecorded));
            }
            let mut webhook = find_for_change(tx, &id, &preconditions)?;
            if overlap > MAX_SECRET_OVERLAP {
                return Err(Error::invalid("overlap", format!("may be {MAX_SECRET_OVERLAP} at most")));
            }
            let secret = WebhookSecret::generate(tx.entropy())?;
            let encrypted = secret.encrypt(&master_keys, id.as_str(), tx.entropy())?;
            let old_secret_until = (overlap > Span::ZERO).then(|| tx.now().plus(overlap));
            webhooks::rotate(tx, &id, &(encrypted.bytes, encrypted.master_version), old_secret_until)?;
            webhook.previous_secret_expires_at = old_secret_until;
            webhook.version += 1;
            let until = old_secret_until.map(|until: Timestamp| until.to_string());
            let event = NewEvent::new(EventType::WebhookSecretRotated, &id).with_data("old_secret_until", until);
            idempotency::record_object(tx, once.as_ref(), id.as_str())?;
            Ok(Outcome::event(IdempotentOutcome::New(WebhookWithSecret { webhook, secret }), event))
        })
        .await
}

/// The current state of the webhook that an earlier request with the same idempotency key has
/// created or given a new secret.
fn find_earlier<N>(
    tx: &mut Tx<'_>,
    once: Option<&IdempotencyRequest>,
) -> Result<Option<IdempotentOutcome<N, Webhook>>, Error> {
    let Some(id) = idempotency::earlier(tx, once)? else { return Ok(None) };
    Ok(Some(IdempotentOutcome::Existing(webhooks::find(tx, &id.parse()?)?.ok_or(NOT_FOUND)?)))
}

fn find_for_change(tx: &mut Tx<'_>, id: &WebhookId, preconditions: &Preconditions) -> Result<Webhook, Error> {
    let webhook = webhooks::find_for_change(tx, id)?.ok_or(NOT_FOUND)?;
    preconditions.check(StoredObject::Version(webhook.version))?;
    Ok(webhook)
}

/// Reports a URL that the outbound guard would always refuse, when it is set and not at the first
/// delivery.
fn find_url_faults(services: &Services, url: &WebhookUrl) -> Vec<InputFault> {
    let faults = services.outbound.guard().check(url).err().into_iter().flatten();
    faults.map(|fault| InputFault::new("url", fault.to_string())).collect()
}
