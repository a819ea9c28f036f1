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
        App, Error,
        access::audience_changes::{AudiencePatch, Means, NewAudience, asked, create_in, delete_in, patch_in},
        caller::Caller,
        common::idempotency::{self, CreateOutcome, IdempotencyRequest},
        signing::settle,
    },
    store::{self, Outcome},
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
    fn new(app: &App, audience: Audience) -> Self {
        let signs_with = app.keys.view().signs_with(audience.token_profile.algorithm, app.settings.algorithm);
        Self { audience, signs_with }
    }
}

pub async fn create(
    app: &App,
    caller: &Caller,
    new: NewAudience,
    once: Option<IdempotencyRequest>,
) -> Result<CreateOutcome<Shown, Shown>, Error> {
    let means = Means::gather(app, asked(&new.shape)).await?;
    let created = app
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let found = store::access::audiences::find(tx, &id.parse()?)?.ok_or(Error::NotFound("audience"))?;
                return Ok::<_, Error>(Outcome::without_event(CreateOutcome::Existing(found)));
            }
            let (audience, events) = create_in(tx, new, &means)?;
            idempotency::record_created_object(tx, once.as_ref(), audience.id.as_str())?;
            Ok(Outcome::events(CreateOutcome::New(audience), events))
        })
        .await?;
    Ok(match created {
        CreateOutcome::New(audience) => CreateOutcome::New(shown(app, audience).await),
        CreateOutcome::Existing(audience) => CreateOutcome::Existing(Shown::new(app, audience)),
    })
}

/// Returns the audience after a change. Refreshes the signing keys first, because the change may
/// have published one.
async fn shown(app: &App, audience: Audience) -> Shown {
    if audience.token_profile.algorithm.is_some() {
        settle(app).await;
    }
    Shown::new(app, audience)
}

pub async fn get(app: &App, id: AudienceId) -> Result<Shown, Error> {
    let found = app.store.read(move |connection| store::access::audiences::find(connection, &id)).await?;
    Ok(Shown::new(app, found.ok_or(Error::NotFound("audience"))?))
}

pub async fn list(app: &App, page: PageRequest) -> Result<Page<Shown>, Error> {
    let found = app.store.read(move |connection| store::access::audiences::list(connection, &page)).await?;
    Ok(found.map(|audience| Shown::new(app, audience)))
}

pub async fn patch(
    app: &App,
    caller: &Caller,
    id: AudienceId,
    patch: AudiencePatch,
    if_version: Option<i64>,
) -> Result<Shown, Error> {
    let means = Means::gather(app, asked(&patch.shape)).await?;
    let patched = app
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let audience = store::access::audiences::find_for_change(tx, &id)?.ok_or(Error::NotFound("audience"))?;
            crate::service::common::version::require_version(audience.version, if_version)?;
            let (audience, events) = patch_in(tx, audience, patch, &means)?;
            Ok::<_, Error>(if events.is_empty() {
                Outcome::without_event(audience)
            } else {
                Outcome::events(audience, events)
            })
        })
        .await?;
    Ok(shown(app, patched).await)
}

pub async fn delete(app: &App, caller: &Caller, id: AudienceId, if_version: Option<i64>) -> Result<(), Error> {
    app.store
        .run_transaction(caller.origin.clone(), move |tx| {
            let audience = store::access::audiences::find_for_change(tx, &id)?.ok_or(Error::NotFound("audience"))?;
            crate::service::common::version::require_version(audience.version, if_version)?;
            Ok::<_, Error>(Outcome::event((), delete_in(tx, &audience)?))
        })
        .await
}
