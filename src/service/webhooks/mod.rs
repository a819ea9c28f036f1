//! Webhooks: the destinations of events. `deliveries` has the delivery log, and `courier` sends.

pub mod deliveries;
pub mod delivery_worker;
mod fan_out;
mod message;

use crate::{
    crypto::webhook::WebhookSecret,
    domain::{
        common::{
            id::{OrganizationId, WebhookId},
            name::DisplayName,
            page::{Page, PageRequest},
            time::{Span, Timestamp},
        },
        events::{EventKind, NewEvent},
        webhooks::{Disabled, EventTypes, State, Webhook, WebhookUrl},
    },
    service::{
        App, Error, Fault,
        caller::Caller,
        common::{
            idempotency::{self, Created, Idempotency},
            version::require_version,
        },
    },
    store::{self, Outcome},
};

pub use fan_out::fan_out;

/// Maximum number of webhooks: each one processes every event.
const MOST: i64 = 1000;
/// How long the previous secret signs beside a new one, by default.
pub const DEFAULT_OVERLAP: Span = Span::from_secs(24 * 3600);
/// Maximum overlap of the two secrets.
const LONGEST_OVERLAP: Span = Span::from_secs(30 * 24 * 3600);

/// Body of `POST /v1/webhooks`.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    pub url: WebhookUrl,
    pub description: Option<DisplayName>,
    pub event_types: Option<EventTypes>,
    pub organization: Option<OrganizationId>,
}

/// Body of `PATCH /v1/webhooks/{id}`. Absent members stay unchanged.
#[derive(Debug, Clone, Default)]
pub struct PatchWebhook {
    pub url: Option<WebhookUrl>,
    pub description: Option<Option<DisplayName>>,
    pub event_types: Option<Option<EventTypes>>,
    pub organization: Option<Option<OrganizationId>>,
    pub enabled: Option<bool>,
}

/// A webhook and its secret, for the only response that contains the secret.
#[derive(Debug)]
pub struct Made {
    pub webhook: Webhook,
    pub secret: WebhookSecret,
}

pub async fn create(
    app: &App,
    caller: &Caller,
    new: NewWebhook,
    once: Option<Idempotency>,
) -> Result<Created<Made, Webhook>, Error> {
    require_reachable(app, &new.url)?;
    let (master, entropy) = (app.master.clone(), app.entropy.clone());
    app.store
        .change(caller.origin.clone(), move |tx| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let found = store::webhooks::find(tx, &id.parse()?)?.ok_or(Error::NotFound("webhook"))?;
                return Ok(Outcome::bookkeeping(Created::Replayed(found)));
            }
            if store::webhooks::count(tx)? >= MOST {
                return Err(Error::Conflict(format!("there are {MOST} webhooks already, and no more may be made")));
            }
            let id: WebhookId = tx.new_id()?;
            let secret = WebhookSecret::generate(&entropy)?;
            let sealed = secret.seal(&master, id.as_str(), &entropy)?;
            let webhook = Webhook {
                id,
                url: new.url,
                description: new.description,
                event_types: new.event_types,
                organization: new.organization,
                state: State::Enabled,
                old_secret_until: None,
                paused_until: None,
                // Starts at the current chain head. Earlier events are available from the events
                // API.
                cursor: store::events::head(tx)?.0,
                created_at: tx.now(),
                created_by: tx.author(),
                version: 1,
            };
            store::webhooks::insert(tx, &webhook, &(sealed.bytes, sealed.master_version))?;
            idempotency::remember(tx, once.as_ref(), webhook.id.as_str())?;
            let event = NewEvent::new(EventKind::WebhookCreated, &webhook.id);
            Ok(Outcome::event(Created::New(Made { webhook, secret }), event))
        })
        .await
}

pub async fn get(app: &App, id: WebhookId) -> Result<Webhook, Error> {
    let found = app.store.read(move |connection| store::webhooks::find(connection, &id)).await?;
    found.ok_or(Error::NotFound("webhook"))
}

pub async fn list(app: &App, page: PageRequest) -> Result<Page<Webhook>, Error> {
    Ok(app.store.read(move |connection| store::webhooks::list(connection, &page)).await?)
}

pub async fn patch(
    app: &App,
    caller: &Caller,
    id: WebhookId,
    patch: PatchWebhook,
    if_version: Option<i64>,
) -> Result<Webhook, Error> {
    let reachable = patch.url.as_ref().map_or(Ok(()), |url| require_reachable(app, url));
    app.store
        .change(caller.origin.clone(), move |tx| {
            let mut webhook = store::webhooks::find_for_change(tx, &id)?.ok_or(Error::NotFound("webhook"))?;
            require_version(webhook.version, if_version)?;
            reachable?;
            let before = webhook.clone();
            apply(&mut webhook, patch);
            if webhook == before {
                return Ok(Outcome::bookkeeping(webhook));
            }
            let kind = match (before.state, webhook.state) {
                (State::Enabled, State::Disabled(_)) => EventKind::WebhookDisabled,
                (State::Disabled(_), State::Enabled) => EventKind::WebhookEnabled,
                (State::Enabled, State::Enabled) | (State::Disabled(_), State::Disabled(_)) => {
                    EventKind::WebhookUpdated
                }
            };
            if kind == EventKind::WebhookEnabled {
                store::webhooks::deliveries::begin_anew(tx, &id)?;
            }
            store::webhooks::update(tx, &webhook)?;
            webhook.version += 1;
            let event = NewEvent::new(kind, &webhook.id);
            let event = if kind == EventKind::WebhookDisabled {
                event.with("reason", Disabled::Requested.as_str())
            } else {
                event
            };
            Ok(Outcome::event(webhook, event))
        })
        .await
}

fn apply(webhook: &mut Webhook, patch: PatchWebhook) {
    if let Some(url) = patch.url
        && url != webhook.url
    {
        webhook.url = url;
        // The previous receiver requested the pause.
        webhook.paused_until = None;
    }
    if let Some(description) = patch.description {
        webhook.description = description;
    }
    if let Some(event_types) = patch.event_types {
        webhook.event_types = event_types;
    }
    if let Some(organization) = patch.organization {
        webhook.organization = organization;
    }
    match (patch.enabled, webhook.state) {
        (Some(true), State::Disabled(_)) => {
            webhook.state = State::Enabled;
            webhook.paused_until = None;
        }
        (Some(false), State::Enabled) => webhook.state = State::Disabled(Disabled::Requested),
        (Some(true), State::Enabled) | (Some(false), State::Disabled(_)) | (None, _) => {}
    }
}

pub async fn delete(app: &App, caller: &Caller, id: WebhookId, if_version: Option<i64>) -> Result<(), Error> {
    app.store
        .change(caller.origin.clone(), move |tx| {
            let webhook = store::webhooks::find_for_change(tx, &id)?.ok_or(Error::NotFound("webhook"))?;
            require_version(webhook.version, if_version)?;
            store::webhooks::delete(tx, &id)?;
            let event = NewEvent::new(EventKind::WebhookDeleted, &id);
            Ok(Outcome::event((), event))
        })
        .await
}

/// Replaces the secret. The previous one signs as well for `overlap`, so that the receiver can
/// switch without an interruption.
pub async fn rotate_secret(
    app: &App,
    caller: &Caller,
    id: WebhookId,
    overlap: Span,
    if_version: Option<i64>,
) -> Result<Made, Error> {
    let (master, entropy) = (app.master.clone(), app.entropy.clone());
    app.store
        .change(caller.origin.clone(), move |tx| {
            let mut webhook = store::webhooks::find_for_change(tx, &id)?.ok_or(Error::NotFound("webhook"))?;
            require_version(webhook.version, if_version)?;
            if overlap > LONGEST_OVERLAP {
                return Err(Error::invalid("overlap", format!("may be {LONGEST_OVERLAP} at most")));
            }
            let secret = WebhookSecret::generate(&entropy)?;
            let sealed = secret.seal(&master, id.as_str(), &entropy)?;
            let old_until = (overlap > Span::ZERO).then(|| tx.now().after(overlap));
            store::webhooks::rotate(tx, &id, &(sealed.bytes, sealed.master_version), old_until)?;
            webhook.old_secret_until = old_until;
            webhook.version += 1;
            let until = old_until.map(|until: Timestamp| until.to_string());
            let event = NewEvent::new(EventKind::WebhookSecretRotated, &id).with("old_secret_until", until);
            Ok(Outcome::event(Made { webhook, secret }, event))
        })
        .await
}

/// Reports a URL that the outbound guard would always refuse, when it is set and not at the first
/// delivery.
fn require_reachable(app: &App, url: &WebhookUrl) -> Result<(), Error> {
    app.outbound.guard().check(url).map_err(|faults| {
        Error::Invalid(faults.into_iter().map(|fault| Fault::new("url", fault.to_string())).collect())
    })
}
