//! Audiences: the services that accept tokens, the permissions they accept, and the token
//! lifetimes.

use std::collections::BTreeMap;

use crate::{
    crypto::{master::MasterKeys, random::SystemEntropy, signer::PrivateKeyDer},
    domain::{
        audience::{Audience, BuiltIn, Identifier, Takes},
        event::{EventKind, NewEvent},
        id::AudienceId,
        page::{Page, PageRequest},
        permission::PermissionSet,
        policy::Holdings,
        signing::Algorithm,
        time::Span,
        token_shape::{ShapeFault, TokenShape, WishedShape},
    },
    store::{self, Outcome, StoreError, Tx},
};

use super::{
    App, Error, Fault,
    caller::Caller,
    idempotency::{self, Created, Idempotency},
    permissions::handing_out,
    signing_keys::{asked, settle},
};

/// Input of `POST /v1/audiences`.
#[derive(Debug, Clone)]
pub struct NewAudience {
    pub identifier: Identifier,
    /// `None` means all permissions of the product.
    pub permissions: Option<PermissionSet>,
    pub token_ttl: Option<Span>,
    pub shape: WishedShape,
}

/// Input of `PATCH /v1/audiences/{id}`. Absent members remain unchanged.
#[derive(Debug, Clone, Default)]
pub struct PatchAudience {
    pub permissions: Option<Option<PermissionSet>>,
    pub token_ttl: Option<Option<Span>>,
    pub shape: WishedShape,
}

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
        let signs_with = app.keys.view().signs_with(audience.shape.algorithm, app.settings.algorithm);
        Self { audience, signs_with }
    }
}

pub async fn create(
    app: &App,
    caller: &Caller,
    new: NewAudience,
    once: Option<Idempotency>,
) -> Result<Created<Shown, Shown>, Error> {
    let means = Means::gather(app, asked(&new.shape)).await?;
    let created = app
        .store
        .change(caller.origin.clone(), move |tx| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let found = store::audiences::find(tx, &id.parse()?)?.ok_or(Error::NotFound("audience"))?;
                return Ok::<_, Error>(Outcome::bookkeeping(Created::Replayed(found)));
            }
            let (audience, events) = create_in(tx, new, &means)?;
            idempotency::remember(tx, once.as_ref(), audience.id.as_str())?;
            Ok(Outcome::events(Created::New(audience), events))
        })
        .await?;
    Ok(match created {
        Created::New(audience) => Created::New(shown(app, audience).await),
        Created::Replayed(audience) => Created::Replayed(Shown::new(app, audience)),
    })
}

/// Prerequisites for creating or changing audiences. They are prepared before the transaction
/// begins.
pub(super) struct Means {
    max_ttl: Span,
    master: MasterKeys,
    entropy: SystemEntropy,
    fresh: BTreeMap<Algorithm, PrivateKeyDer>,
}

impl Means {
    pub(super) async fn gather(app: &App, asked: impl IntoIterator<Item = Algorithm>) -> Result<Self, Error> {
        let mut fresh = BTreeMap::new();
        for algorithm in asked {
            if let Some(der) = asked::fresh_for(app, Some(algorithm)).await? {
                fresh.insert(algorithm, der);
            }
        }
        let (master, entropy) = (app.master.clone(), app.entropy.clone());
        Ok(Self { max_ttl: app.settings.limits.max_ttl, master, entropy, fresh })
    }

    fn publish(&self, tx: &mut Tx<'_>, asked: Option<Algorithm>) -> Result<Vec<NewEvent>, Error> {
        let fresh = asked.and_then(|algorithm| self.fresh.get(&algorithm));
        asked::publish_asked(tx, &self.master, &self.entropy, asked, fresh)
    }
}

/// Like `create`, within an open transaction.
pub(super) fn create_in(tx: &mut Tx<'_>, new: NewAudience, means: &Means) -> Result<(Audience, Vec<NewEvent>), Error> {
    let shape = new.shape.applied_to(&TokenShape::default());
    let shape = check(tx, new.permissions.as_ref(), new.token_ttl, means.max_ttl, shape)?;
    let same = [new.identifier.clone()].into();
    if !store::audiences::with_identifiers(tx, &same)?.is_empty() {
        return Err(Error::Conflict(format!("there is an audience {} already", new.identifier)));
    }
    let mut events = means.publish(tx, shape.algorithm)?;
    let audience = Audience {
        id: tx.new_id()?,
        identifier: new.identifier,
        takes: new.permissions.map_or(Takes::Product, Takes::Listed),
        token_ttl: new.token_ttl,
        shape,
        built_in: None,
        created_at: tx.now(),
        version: 1,
    };
    match store::audiences::insert(tx, &audience) {
        Err(StoreError::Conflict(_)) => {
            return Err(Error::Conflict(format!("there is an audience {} already", audience.identifier)));
        }
        other => other?,
    }
    events.push(NewEvent::new(EventKind::AudienceCreated, &audience.id));
    Ok((audience, events))
}

/// Returns the requested algorithm, or `None` if none is requested or it is unknown.
pub(super) fn asked(wished: &WishedShape) -> Option<Algorithm> {
    wished.algorithm.as_ref()?.as_ref()?.parse().ok()
}

/// Returns the audience after a change. Refreshes the signing keys first, because the change may
/// have published one.
async fn shown(app: &App, audience: Audience) -> Shown {
    if audience.shape.algorithm.is_some() {
        settle(app).await;
    }
    Shown::new(app, audience)
}

pub async fn get(app: &App, id: AudienceId) -> Result<Shown, Error> {
    let found = app.store.read(move |connection| store::audiences::find(connection, &id)).await?;
    Ok(Shown::new(app, found.ok_or(Error::NotFound("audience"))?))
}

pub async fn list(app: &App, page: PageRequest) -> Result<Page<Shown>, Error> {
    let found = app.store.read(move |connection| store::audiences::list(connection, &page)).await?;
    Ok(found.map(|audience| Shown::new(app, audience)))
}

pub async fn patch(
    app: &App,
    caller: &Caller,
    id: AudienceId,
    patch: PatchAudience,
    if_version: Option<i64>,
) -> Result<Shown, Error> {
    let means = Means::gather(app, asked(&patch.shape)).await?;
    let patched = app
        .store
        .change(caller.origin.clone(), move |tx| {
            let audience = store::audiences::find_for_change(tx, &id)?.ok_or(Error::NotFound("audience"))?;
            super::version::require_version(audience.version, if_version)?;
            let (audience, events) = patch_in(tx, audience, patch, &means)?;
            Ok::<_, Error>(if events.is_empty() {
                Outcome::bookkeeping(audience)
            } else {
                Outcome::events(audience, events)
            })
        })
        .await?;
    Ok(shown(app, patched).await)
}

/// Like `patch`, within an open transaction, for an audience that is already locked. Returns no
/// events if nothing changed.
pub(super) fn patch_in(
    tx: &mut Tx<'_>,
    mut audience: Audience,
    patch: PatchAudience,
    means: &Means,
) -> Result<(Audience, Vec<NewEvent>), Error> {
    let before = audience.clone();
    let wished = asked(&patch.shape);
    let reshapes = !patch.shape.is_empty();
    let permissions = patch.permissions.as_ref().and_then(Option::as_ref);
    let shape = patch.shape.applied_to(&audience.shape);
    audience.shape = check(tx, permissions, patch.token_ttl.flatten(), means.max_ttl, shape)?;
    if reshapes && audience.built_in == Some(BuiltIn::Management) {
        return Err(Error::Conflict("tokens of the management audience have one shape, always".to_owned()));
    }
    if let Some(permissions) = patch.permissions {
        if audience.built_in == Some(BuiltIn::Management) {
            return Err(Error::Conflict("the management audience takes management permissions, always".to_owned()));
        }
        audience.takes = permissions.map_or(Takes::Product, Takes::Listed);
    }
    if let Some(token_ttl) = patch.token_ttl {
        audience.token_ttl = token_ttl;
    }
    if audience == before {
        return Ok((audience, Vec::new()));
    }
    let mut events = means.publish(tx, wished)?;
    store::audiences::update(tx, &audience)?;
    audience.version += 1;
    events.push(NewEvent::new(EventKind::AudienceUpdated, &audience.id));
    Ok((audience, events))
}

pub async fn delete(app: &App, caller: &Caller, id: AudienceId, if_version: Option<i64>) -> Result<(), Error> {
    app.store
        .change(caller.origin.clone(), move |tx| {
            let audience = store::audiences::find_for_change(tx, &id)?.ok_or(Error::NotFound("audience"))?;
            super::version::require_version(audience.version, if_version)?;
            Ok::<_, Error>(Outcome::event((), delete_in(tx, &audience)?))
        })
        .await
}

/// Like `delete`, within an open transaction, for an audience that is already locked. Returns
/// `Error::Conflict` for a built-in audience.
pub(super) fn delete_in(tx: &mut Tx<'_>, audience: &Audience) -> Result<NewEvent, Error> {
    if audience.built_in.is_some() {
        return Err(Error::Conflict(format!("{} is built in and cannot be removed", audience.identifier)));
    }
    store::audiences::delete(tx, &audience.id)?;
    Ok(NewEvent::new(EventKind::AudienceDeleted, &audience.id))
}

fn check(
    tx: &mut Tx<'_>,
    permissions: Option<&PermissionSet>,
    token_ttl: Option<Span>,
    max_ttl: Span,
    shape: Result<TokenShape, Vec<ShapeFault>>,
) -> Result<TokenShape, Error> {
    let mut faults = match permissions {
        Some(permissions) => handing_out(tx, permissions, None, &Holdings::WholeCatalog)?,
        None => Vec::new(),
    };
    for name in permissions.into_iter().flat_map(PermissionSet::iter).filter(|name| name.is_management()) {
        faults
            .push(Fault::new("permissions", format!("{name} governs Keyswap and is taken by its own audience alone")));
    }
    if token_ttl.is_some_and(|ttl| ttl > max_ttl || ttl.as_secs() == 0) {
        faults.push(Fault::new("token_ttl", format!("must be from 1s to tokens.max_ttl, which is {max_ttl}")));
    }
    match shape {
        Ok(shape) if faults.is_empty() => Ok(shape),
        Ok(_) => Err(Error::Invalid(faults)),
        Err(found) => {
            faults.extend(found.into_iter().map(|fault| Fault::new(fault.field, fault.message)));
            Err(Error::Invalid(faults))
        }
    }
}

/// Creates the built-in audience of this kind, or changes its identifier to the configured one.
/// Returns `Error::Conflict` if another audience has the identifier.
pub(super) fn ensure_built_in(
    tx: &mut Tx<'_>,
    kind: BuiltIn,
    identifier: &Identifier,
) -> Result<Option<NewEvent>, Error> {
    let taken = || Error::Conflict(format!("the identifier {identifier} of the built-in audience is taken by another"));
    let others = store::audiences::with_identifiers(tx, &[identifier.clone()].into())?;
    match store::audiences::find_built_in(tx, kind)? {
        Some(audience) if audience.identifier == *identifier => Ok(None),
        _ if !others.is_empty() => Err(taken()),
        Some(mut audience) => {
            audience.identifier = identifier.clone();
            store::audiences::update(tx, &audience)?;
            Ok(Some(NewEvent::new(EventKind::AudienceUpdated, &audience.id).with("identifier", identifier.as_str())))
        }
        None => {
            let audience = Audience {
                id: tx.new_id()?,
                identifier: identifier.clone(),
                takes: if kind == BuiltIn::Management { Takes::Management } else { Takes::Product },
                token_ttl: None,
                shape: TokenShape::default(),
                built_in: Some(kind),
                created_at: tx.now(),
                version: 1,
            };
            store::audiences::insert(tx, &audience)?;
            Ok(Some(NewEvent::new(EventKind::AudienceCreated, &audience.id)))
        }
    }
}
