//! Changes of audiences within a transaction.

use crate::{
    domain::{
        access::{
            audience::{AcceptedPermissions, Audience, BuiltIn, Identifier},
            permission::PermissionSet,
            policy::GrantablePermissions,
            profile_error::TokenProfileError,
            token_profile::{TokenProfile, TokenProfilePatch},
        },
        common::time::Span,
        events::{EventType, NewEvent},
        signing::Algorithm,
    },
    service::{
        Conflict, Error, InputFault, Services, access::permissions::find_grant_faults,
        signing::key_publisher::KeyPublisher,
    },
    store::{self, StoreError, Tx},
};
use std::collections::BTreeSet;

/// Input of `POST /v1/audiences`.
#[derive(Debug, Clone)]
pub struct NewAudience {
    pub identifier: Identifier,
    /// `None` means all permissions of the product.
    pub permissions: Option<PermissionSet>,
    pub token_ttl: Option<Span>,
    pub shape: TokenProfilePatch,
}

/// Input of `PATCH /v1/audiences/{id}`. Absent members remain unchanged.
#[derive(Debug, Clone, Default)]
pub struct AudiencePatch {
    pub permissions: Option<Option<PermissionSet>>,
    pub token_ttl: Option<Option<Span>>,
    pub shape: TokenProfilePatch,
}

/// Prerequisites for creating or changing audiences. They are prepared before the transaction
/// begins.
pub(crate) struct Means {
    max_ttl: Span,
    publisher: KeyPublisher,
}

impl Means {
    /// Generates the keys that the algorithms of `patches` may need.
    pub(crate) async fn gather<'a>(
        services: &Services,
        patches: impl IntoIterator<Item = &'a TokenProfilePatch>,
    ) -> Result<Self, Error> {
        let algorithms: BTreeSet<_> = patches.into_iter().filter_map(asked).collect();
        let publisher = KeyPublisher::generate_missing(services, algorithms.into_iter().collect()).await?;
        Ok(Self { max_ttl: services.settings.limits.max_ttl, publisher })
    }
}

/// Like `create`, within an open transaction.
pub(crate) fn create_in(
    tx: &mut Tx<'_>,
    new: NewAudience,
    means: &mut Means,
) -> Result<(Audience, Vec<NewEvent>), Error> {
    let token_profile = new.shape.apply_to(&TokenProfile::default());
    let token_profile = check(tx, new.permissions.as_ref(), new.token_ttl, means.max_ttl, token_profile)?;
    let same = [new.identifier.clone()].into();
    if !store::access::audiences::find_by_identifiers(tx, &same)?.is_empty() {
        return Err(Conflict::IdentifierTaken(new.identifier).into());
    }
    let mut events = means.publisher.ensure_next_key(tx, token_profile.algorithm)?;
    let audience = Audience {
        id: tx.generate_id()?,
        identifier: new.identifier,
        accepts: new.permissions.map_or(AcceptedPermissions::Product, AcceptedPermissions::Listed),
        token_ttl: new.token_ttl,
        token_profile,
        built_in: None,
        created_at: tx.now(),
        version: 1,
    };
    match store::access::audiences::insert(tx, &audience) {
        Err(StoreError::Conflict(_)) => {
            return Err(Conflict::IdentifierTaken(audience.identifier).into());
        }
        other => other?,
    }
    events.push(NewEvent::new(EventType::AudienceCreated, &audience.id));
    Ok((audience, events))
}

/// Returns the requested algorithm, or `None` if none is requested or it is unknown.
pub(crate) fn asked(wished: &TokenProfilePatch) -> Option<Algorithm> {
    wished.algorithm.as_ref()?.as_ref()?.parse().ok()
}

/// Like `patch`, within an open transaction, for an audience that is already locked. Returns no
/// events if nothing changed.
pub(crate) fn patch_in(
    tx: &mut Tx<'_>,
    mut audience: Audience,
    patch: AudiencePatch,
    means: &mut Means,
) -> Result<(Audience, Vec<NewEvent>), Error> {
    let before = audience.clone();
    let wished = asked(&patch.shape);
    let reshapes = !patch.shape.is_empty();
    let permissions = patch.permissions.as_ref().and_then(Option::as_ref);
    let shape = patch.shape.apply_to(&audience.token_profile);
    audience.token_profile = check(tx, permissions, patch.token_ttl.flatten(), means.max_ttl, shape)?;
    if audience.built_in == Some(BuiltIn::Management) && (reshapes || patch.permissions.is_some()) {
        return Err(Conflict::ManagementAudienceFixed.into());
    }
    if let Some(permissions) = patch.permissions {
        audience.accepts = permissions.map_or(AcceptedPermissions::Product, AcceptedPermissions::Listed);
    }
    if let Some(token_ttl) = patch.token_ttl {
        audience.token_ttl = token_ttl;
    }
    if audience == before {
        return Ok((audience, Vec::new()));
    }
    let mut events = means.publisher.ensure_next_key(tx, wished)?;
    store::access::audiences::update(tx, &audience)?;
    audience.version += 1;
    events.push(NewEvent::new(EventType::AudienceUpdated, &audience.id));
    Ok((audience, events))
}

/// Like `delete`, within an open transaction, for an audience that is already locked. Returns
/// `Error::Conflict` for a built-in audience.
pub(crate) fn delete_in(tx: &mut Tx<'_>, audience: &Audience) -> Result<NewEvent, Error> {
    if audience.built_in.is_some() {
        return Err(Conflict::BuiltInDeleted(audience.identifier.to_string()).into());
    }
    store::access::audiences::delete(tx, &audience.id)?;
    Ok(NewEvent::new(EventType::AudienceDeleted, &audience.id))
}

pub(crate) fn check(
    tx: &mut Tx<'_>,
    permissions: Option<&PermissionSet>,
    token_ttl: Option<Span>,
    max_ttl: Span,
    shape: Result<TokenProfile, Vec<TokenProfileError>>,
) -> Result<TokenProfile, Error> {
    let mut faults = match permissions {
        Some(permissions) => find_grant_faults(tx, permissions, None, &GrantablePermissions::WholeCatalog)?,
        None => Vec::new(),
    };
    for name in permissions.into_iter().flat_map(PermissionSet::iter).filter(|name| name.is_management()) {
        faults.push(InputFault::new(
            "permissions",
            format!("{name} governs Keyswap and is taken by its own audience alone"),
        ));
    }
    if token_ttl.is_some_and(|ttl| ttl > max_ttl || ttl.as_secs() == 0) {
        faults.push(InputFault::new("token_ttl", format!("must be from 1s to tokens.max_ttl, which is {max_ttl}")));
    }
    match shape {
        Ok(shape) if faults.is_empty() => Ok(shape),
        Ok(_) => Err(Error::Invalid(faults)),
        Err(found) => {
            faults.extend(found.into_iter().map(|fault| InputFault::new(fault.field, fault.message)));
            Err(Error::Invalid(faults))
        }
    }
}

/// Creates the built-in audience of this kind, or changes its identifier to the configured one.
/// Returns `Error::Conflict` if another audience has the identifier.
pub(crate) fn ensure_built_in_audience(
    tx: &mut Tx<'_>,
    kind: BuiltIn,
    identifier: &Identifier,
) -> Result<Option<NewEvent>, Error> {
    let others = store::access::audiences::find_by_identifiers(tx, &[identifier.clone()].into())?;
    match store::access::audiences::find_built_in(tx, kind)? {
        Some(audience) if audience.identifier == *identifier => Ok(None),
        _ if !others.is_empty() => Err(Conflict::IdentifierTaken(identifier.clone()).into()),
        Some(mut audience) => {
            audience.identifier = identifier.clone();
            store::access::audiences::update(tx, &audience)?;
            Ok(Some(
                NewEvent::new(EventType::AudienceUpdated, &audience.id).with_data("identifier", identifier.as_str()),
            ))
        }
        None => {
            let audience = Audience {
                id: tx.generate_id()?,
                identifier: identifier.clone(),
                accepts: if kind == BuiltIn::Management {
                    AcceptedPermissions::Management
                } else {
                    AcceptedPermissions::Product
                },
                token_ttl: None,
                token_profile: TokenProfile::default(),
                built_in: Some(kind),
                created_at: tx.now(),
                version: 1,
            };
            store::access::audiences::insert(tx, &audience)?;
            Ok(Some(NewEvent::new(EventType::AudienceCreated, &audience.id)))
        }
    }
}
