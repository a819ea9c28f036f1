//! Audiences: the services that accept tokens, the permissions they accept, and the token
//! lifetimes.

use crate::{
    domain::{
        access::audience::Audience,
        common::{
            id::AudienceId,
            page::{Page, PageRequest},
        },
        signing::Algorithm,
    },
    service::{
        Error, Services,
        access::audience_changes::{AudiencePatch, Means, NewAudience, create_in, delete_in, patch_in},
        caller::Caller,
        common::idempotency::{self, CreateOutcome, IdempotencyRequest},
        signing::rotation::confirm_publication,
    },
    store::{self, NoEvent, Outcome},
};

/// An audience with the algorithm that currently signs its tokens.
#[derive(Debug, Clone)]
pub struct Shown {
    pub audience: Audience,
    /// Can differ from the algorithm of the audience until a key of that algorithm may sign. `None`
    /// if no key can sign.
    pub signs_with: Option<Algorithm>,
}

impl Shown {
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
) -> Result<CreateOutcome<Shown, Shown>, Error> {
    let mut means = Means::gather(services, [&new.shape]).await?;
    let created = services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let found = store::access::audiences::find(tx, &id.parse()?)?.ok_or(Error::NotFound("audience"))?;
                return Ok::<_, Error>(Outcome::without_event(
                    CreateOutcome::Existing(found),
                    NoEvent::AlreadyRecorded,
                ));
            }
            let (audience, events) = create_in(tx, new, &mut means)?;
            idempotency::record_created_object(tx, once.as_ref(), audience.id.as_str())?;
            Ok(Outcome::events(CreateOutcome::New(audience), events))
        })
        .await?;
    Ok(match created {
        CreateOutcome::New(audience) => CreateOutcome::New(shown(services, audience).await),
        CreateOutcome::Existing(audience) => CreateOutcome::Existing(Shown::new(services, audience)),
    })
}

/// Returns the audience after a change. Refreshes the signing keys first, because the change may
/// have published one.
async fn shown(services: &Services, audience: Audience) -> Shown {
    if audience.token_profile.algorithm.is_some() {
        confirm_publication(services).await;
    }
    Shown::new(services, audience)
}

pub async fn get(services: &Services, id: AudienceId) -> Result<Shown, Error> {
    let found = services.store.read(move |connection| store::access::audiences::find(connection, &id)).await?;
    Ok(Shown::new(services, found.ok_or(Error::NotFound("audience"))?))
}

pub async fn list(services: &Services, page: PageRequest) -> Result<Page<Shown>, Error> {
    let found = services.store.read(move |connection| store::access::audiences::list(connection, &page)).await?;
    Ok(found.map(|audience| Shown::new(services, audience)))
}

pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: AudienceId,
    patch: AudiencePatch,
    if_version: Option<i64>,
) -> Result<Shown, Error> {
    let mut means = Means::gather(services, [&patch.shape]).await?;
    let patched = services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let audience = store::access::audiences::find_for_change(tx, &id)?.ok_or(Error::NotFound("audience"))?;
            crate::service::common::version::require_version(audience.version, if_version)?;
            let (audience, events) = patch_in(tx, audience, patch, &mut means)?;
            Ok::<_, Error>(Outcome::events_unless(NoEvent::Unchanged, audience, events))
        })
        .await?;
    Ok(shown(services, patched).await)
}

pub async fn delete(
    services: &Services,
    caller: &Caller,
    id: AudienceId,
    if_version: Option<i64>,
) -> Result<(), Error> {
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let audience = store::access::audiences::find_for_change(tx, &id)?.ok_or(Error::NotFound("audience"))?;
            crate::service::common::version::require_version(audience.version, if_version)?;
            Ok::<_, Error>(Outcome::event((), delete_in(tx, &audience)?))
        })
        .await
}
