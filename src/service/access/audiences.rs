//! Audiences: the services that accept tokens, the permissions they accept, and the token
//! lifetimes.

use crate::{
    domain::{
        access::audience::Audience,
        common::{
            id::AudienceId,
            page::{Page, PageRequest},
            preconditions::Preconditions,
        },
        signing::Algorithm,
    },
    service::{
        Error, Services,
        access::audience_changes::{AudienceChangeContext, AudiencePatch, NewAudience, create_in, delete_in, patch_in},
        caller::Caller,
        common::{
            entry::{require_existing, require_found},
            idempotency::{self, IdempotencyRequest, IdempotentOutcome},
        },
        signing::rotation::confirm_publication,
    },
    store::{self, NoEvent, Outcome},
};

/// An audience with the algorithm that currently signs its tokens.
#[derive(Debug, Clone)]
pub struct AudienceView {
    pub audience: Audience,
    /// Can differ from the algorithm of the audience until a key of that algorithm may sign. `None`
    /// if no key can sign.
    pub signs_with: Option<Algorithm>,
}

impl AudienceView {
    fn new(services: &Services, audience: Audience) -> Self {
        let signs_with =
            services.keys.view().signs_with(audience.token_profile.algorithm, services.settings.signing_keys.algorithm);
        Self { audience, signs_with }
    }
}

pub async fn create(
    services: &Services,
    caller: &Caller,
    new: NewAudience,
    once: Option<IdempotencyRequest>,
) -> Result<IdempotentOutcome<AudienceView, AudienceView>, Error> {
    let mut context = AudienceChangeContext::prepare(services, [&new.token_profile]).await?;
    let created = services
        .change(caller, move |tx, _| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let found = require_found(store::access::audiences::find(tx, &id.parse()?)?)?;
                return Ok(Outcome::without_event(IdempotentOutcome::Existing(found), NoEvent::AlreadyRecorded));
            }
            let (audience, events) = create_in(tx, new, &mut context)?;
            idempotency::record_object(tx, once.as_ref(), audience.id.as_str())?;
            Ok(Outcome::events(IdempotentOutcome::New(audience), events))
        })
        .await?;
    Ok(match created {
        IdempotentOutcome::New(audience) => IdempotentOutcome::New(view_after_change(services, audience).await),
        IdempotentOutcome::Existing(audience) => IdempotentOutcome::Existing(AudienceView::new(services, audience)),
    })
}

/// Returns the audience after a change. Refreshes the signing keys first, because the change may
/// have published one.
async fn view_after_change(services: &Services, audience: Audience) -> AudienceView {
    if audience.token_profile.algorithm.is_some() {
        confirm_publication(services).await;
    }
    AudienceView::new(services, audience)
}

pub async fn get(services: &Services, id: AudienceId) -> Result<AudienceView, Error> {
    let found = services.store.read(move |connection| store::access::audiences::find(connection, &id)).await?;
    Ok(AudienceView::new(services, require_found(found)?))
}

pub async fn list(services: &Services, page: PageRequest) -> Result<Page<AudienceView>, Error> {
    let found = services.store.read(move |connection| store::access::audiences::list(connection, &page)).await?;
    Ok(found.map(|audience| AudienceView::new(services, audience)))
}

pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: AudienceId,
    patch: AudiencePatch,
    preconditions: Preconditions,
) -> Result<AudienceView, Error> {
    let mut context = AudienceChangeContext::prepare(services, [&patch.token_profile]).await?;
    let patched = services
        .change(caller, move |tx, _| {
            let audience = require_existing(store::access::audiences::find_for_change(tx, &id)?, &preconditions)?;
            let mut patch = patch;
            patch.token_profile.merge_claims(&audience.token_profile);
            let (audience, events) = patch_in(tx, &audience, patch, &mut context)?;
            Ok(Outcome::events_unless(NoEvent::Unchanged, audience, events))
        })
        .await?;
    Ok(view_after_change(services, patched).await)
}

pub async fn delete(
    services: &Services,
    caller: &Caller,
    id: AudienceId,
    preconditions: Preconditions,
) -> Result<(), Error> {
    services
        .change(caller, move |tx, _| {
            let audience = require_existing(store::access::audiences::find_for_change(tx, &id)?, &preconditions)?;
            Ok(Outcome::event((), delete_in(tx, &audience)?))
        })
        .await
}
