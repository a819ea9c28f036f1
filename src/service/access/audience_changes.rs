//! Changes of audiences within a transaction.

use crate::{
    domain::{
        access::{
            audience::{AcceptedPermissions, Audience, BuiltIn, Identifier},
            owner::OwnerScope,
            permission::PermissionSet,
            policy::GrantablePermissions,
            profile_error::TokenProfileError,
            token_profile::{TokenProfile, TokenProfilePatch},
        },
        common::{entropy::EntropyUnavailable, id::AudienceId, time::Span},
        events::{EventType, NewEvent},
        signing::Algorithm,
    },
    service::{
        Conflict, Error, InputFault, Services,
        access::permissions::find_grant_faults,
        common::entry::{WriteResult, entry, require_found},
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
    pub token_profile: TokenProfilePatch,
    pub record_bound: bool,
}

/// Input of `PATCH /v1/audiences/{id}`. Absent members remain unchanged.
#[derive(Debug, Clone, Default)]
pub struct AudiencePatch {
    pub permissions: Option<Option<PermissionSet>>,
    pub token_ttl: Option<Option<Span>>,
    pub token_profile: TokenProfilePatch,
    pub record_bound: Option<bool>,
}

/// Prerequisites for creating or changing audiences. They are prepared before the transaction
/// begins.
#[derive(Clone)]
pub(crate) struct AudienceChangeContext {
    max_ttl: Span,
    publisher: KeyPublisher,
}

impl AudienceChangeContext {
    /// Generates the keys that the algorithms of `patches` may need.
    pub(crate) async fn prepare<'a>(
        services: &Services,
        patches: impl IntoIterator<Item = &'a TokenProfilePatch>,
    ) -> Result<Self, Error> {
        let algorithms: BTreeSet<_> = patches.into_iter().filter_map(requested_algorithm).collect();
        let publisher = KeyPublisher::generate_missing(services, algorithms.into_iter().collect()).await?;
        Ok(Self { max_ttl: services.settings.limits.max_ttl, publisher })
    }
}

entry!(Audience, "audience", store::access::audiences, |audience, before| {
    NewEvent::new(before.map_or(EventType::AudienceCreated, |_| EventType::AudienceUpdated), &audience.id)
});

/// Like `create`, within an open transaction.
pub(crate) fn create_in(
    tx: &mut Tx<'_>,
    new: NewAudience,
    context: &mut AudienceChangeContext,
) -> Result<(Audience, Vec<NewEvent>), Error> {
    let token_profile = new.token_profile.apply_to(&TokenProfile::default());
    let token_profile = validate(tx, new.permissions.as_ref(), new.token_ttl, context.max_ttl, token_profile)?;
    require_free_identifier(tx, &new.identifier, None)?;
    let algorithm = token_profile.algorithm;
    let accepts = new.permissions.map_or(AcceptedPermissions::Product, AcceptedPermissions::Only);
    let audience = new_audience(tx, new.identifier, accepts)?;
    let record_bound = new.record_bound;
    write(tx, None, Audience { token_ttl: new.token_ttl, token_profile, record_bound, ..audience }, algorithm, context)
}

/// Refuses an identifier that another audience has, or one that is easily confused with it: a
/// client that requests the one would get a token for the other.
fn require_free_identifier(tx: &mut Tx<'_>, identifier: &Identifier, own: Option<&AudienceId>) -> Result<(), Error> {
    let similar = store::access::audiences::find_similar(tx, &[identifier.clone()].into())?;
    match similar.into_iter().find(|audience| Some(&audience.id) != own) {
        None => Ok(()),
        Some(existing) if existing.identifier == *identifier => {
            Err(Conflict::IdentifierTaken(existing.identifier).into())
        }
        Some(existing) => Err(Conflict::IdentifierSimilar(existing.identifier).into()),
    }
}

fn new_audience(
    tx: &Tx<'_>,
    identifier: Identifier,
    accepts: AcceptedPermissions,
) -> Result<Audience, EntropyUnavailable> {
    Ok(Audience {
        id: tx.generate_id()?,
        identifier,
        accepts,
        token_ttl: None,
        token_profile: TokenProfile::default(),
        record_bound: false,
        built_in: None,
        created_at: tx.now(),
        version: 1,
    })
}

/// Returns the algorithm that a change requests, or `None` if it requests none or an unknown one.
pub(crate) fn requested_algorithm(token_profile: &TokenProfilePatch) -> Option<Algorithm> {
    token_profile.algorithm.as_ref()?.as_ref()?.parse().ok()
}

/// Like `patch`, within an open transaction, for an audience that is already locked. Returns no
/// events if nothing changed.
pub(crate) fn patch_in(
    tx: &mut Tx<'_>,
    before: &Audience,
    patch: AudiencePatch,
    context: &mut AudienceChangeContext,
) -> Result<(Audience, Vec<NewEvent>), Error> {
    let permissions = patch.permissions.as_ref().and_then(Option::as_ref);
    let algorithm = requested_algorithm(&patch.token_profile);
    let changes_profile =
        !patch.token_profile.is_empty() || patch.permissions.is_some() || patch.record_bound == Some(true);
    let token_profile = patch.token_profile.apply_to(&before.token_profile);
    let token_profile = validate(tx, permissions, patch.token_ttl.flatten(), context.max_ttl, token_profile)?;
    if before.built_in == Some(BuiltIn::Management) && changes_profile {
        return Err(Error::Conflict(Conflict::ManagementAudienceFixed));
    }
    let accepts = patch.permissions.map_or_else(
        || before.accepts.clone(),
        |permissions| permissions.map_or(AcceptedPermissions::Product, AcceptedPermissions::Only),
    );
    let token_ttl = patch.token_ttl.unwrap_or(before.token_ttl);
    let record_bound = patch.record_bound.unwrap_or(before.record_bound);
    let after = Audience { accepts, token_ttl, token_profile, record_bound, ..before.clone() };
    write(tx, Some(before), after, algorithm, context)
}

/// Publishes a signing key of the requested algorithm if needed, and writes the audience.
fn write(
    tx: &mut Tx<'_>,
    before: Option<&Audience>,
    after: Audience,
    algorithm: Option<Algorithm>,
    context: &mut AudienceChangeContext,
) -> Result<(Audience, Vec<NewEvent>), Error> {
    let identifier = after.identifier.clone();
    let effect = WriteResult::of(before, after);
    let mut events = match &effect {
        WriteResult::Unchanged(_) => Vec::new(),
        WriteResult::Updated(..) | WriteResult::Created(..) => context.publisher.ensure_next_key(tx, algorithm)?,
    };
    let written = effect.write(tx).map_err(|error| {
        // Only the identifier is unique, so another request took it at the same time.
        let is_taken = matches!(error, Error::Conflict(Conflict::ChangedConcurrently(_)));
        if is_taken { Conflict::IdentifierTaken(identifier).into() } else { error }
    });
    let (audience, _, event) = written?.into_parts();
    events.extend(event);
    Ok((audience, events))
}

/// Like `delete`, within an open transaction, for an audience that is already locked.
pub(crate) fn delete_in(tx: &mut Tx<'_>, audience: &Audience) -> Result<NewEvent, Error> {
    if audience.built_in.is_some() {
        return Err(Error::Conflict(Conflict::BuiltInDeleted(audience.identifier.to_string())));
    }
    store::access::audiences::delete(tx, audience)?;
    Ok(NewEvent::new(EventType::AudienceDeleted, &audience.id))
}

fn validate(
    tx: &mut Tx<'_>,
    permissions: Option<&PermissionSet>,
    token_ttl: Option<Span>,
    max_ttl: Span,
    token_profile: Result<TokenProfile, Vec<TokenProfileError>>,
) -> Result<TokenProfile, Error> {
    let mut faults = match permissions {
        Some(permissions) => {
            find_grant_faults(tx, permissions, None, &OwnerScope::Account, &GrantablePermissions::WholeCatalog)?
        }
        None => Vec::new(),
    };
    for name in permissions.into_iter().flat_map(PermissionSet::iter).filter(|name| name.is_management()) {
        let message = format!("{name} is accepted by the management audience only");
        faults.push(InputFault::new("permissions", message));
    }
    if token_ttl.is_some_and(|ttl| ttl > max_ttl || ttl.as_secs() == 0) {
        faults.push(InputFault::new("token_ttl", format!("must be from 1s to tokens.max_ttl, which is {max_ttl}")));
    }
    let token_profile = token_profile.unwrap_or_else(|found| {
        faults.extend(found.into_iter().map(|fault| InputFault::new(fault.field, fault.message)));
        TokenProfile::default()
    });
    Error::if_any(faults)?;
    Ok(token_profile)
}

/// Creates the built-in audience of this kind, or changes its identifier to the configured one.
pub(crate) fn ensure_built_in_audience(
    tx: &mut Tx<'_>,
    kind: BuiltIn,
    identifier: &Identifier,
) -> Result<Option<NewEvent>, Error> {
    let before = store::access::audiences::find_built_in(tx, kind)?;
    if before.as_ref().is_some_and(|audience| audience.identifier == *identifier) {
        return Ok(None);
    }
    require_free_identifier(tx, identifier, before.as_ref().map(|audience| &audience.id))?;
    if let Some(before) = before {
        let before = require_found(store::access::audiences::find_for_change(tx, &before.id)?)?;
        let after = Audience { identifier: identifier.clone(), ..before.clone() };
        let (_, _, event) = WriteResult::of(Some(&before), after).write(tx)?.into_parts();
        return Ok(event.map(|event| event.with_data("identifier", identifier.as_str())));
    }
    let accepts = match kind {
        BuiltIn::Management => AcceptedPermissions::Management,
        BuiltIn::Default => AcceptedPermissions::Product,
    };
    let audience = Audience { built_in: Some(kind), ..new_audience(tx, identifier.clone(), accepts)? };
    Ok(WriteResult::of(None, audience).write(tx)?.into_parts().2)
}
