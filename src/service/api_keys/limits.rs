//! Limits on what a key may be given: permissions that its creator holds, audiences that exist, and
//! a lifetime within the configured maximum.

use crate::{
    domain::{
        access::{audience::Identifier, owner::Home, permission::PermissionSet, policy::Holdings},
        common::time::{Span, Timestamp},
        credentials::api_key::{ApiKey, KeyLimits},
    },
    service::{
        Error, Fault, Settings,
        access::permissions::{handing_out, not_held},
        api_keys::{lookup::NO_SELF_WIDENING, owner::Holder, types::NewKey},
        caller::Caller,
    },
    store::{self, Tx},
};

/// Requires that the caller holds all permissions of a key. A change that widens the key, renews
/// its value or reactivates it grants all of them.
pub(super) fn require_held(key: &ApiKey, holdings: &Holdings) -> Result<(), Error> {
    let faults: Vec<_> = key.permissions.iter().filter_map(|name| not_held(name, holdings)).collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// Whether a patch raises or removes a limit.
pub(super) fn widens(before: &ApiKey, after: &ApiKey) -> bool {
    !before.limits().exceeded_by(&after.limits()).is_empty()
}

/// Refuses to give another key more than the limits of the calling key allow.
pub(super) fn require_within(caller: &Caller, key: &ApiKey) -> Result<(), Error> {
    match &caller.limits {
        Some(own) if !own.exceeded_by(&key.limits()).is_empty() => Err(Error::Forbidden(NO_SELF_WIDENING)),
        Some(_) | None => Ok(()),
    }
}

/// The members in which a new key would exceed the limits of the key that creates it. Such a key
/// could replace its creator without the creator's limits.
pub(super) fn beyond_caller(caller: &Caller, new: &NewKey) -> Vec<Fault> {
    let Some(own) = &caller.limits else { return Vec::new() };
    let wanted = KeyLimits {
        expires_at: new.expires_at,
        max_token_ttl: new.max_token_ttl,
        exchanges_per_minute: new.exchanges_per_minute,
        audiences: new.audiences.clone(),
    };
    let fault =
        |member| Fault::new(member, "goes beyond the key that makes it: give it the same limit, or a narrower one");
    own.exceeded_by(&wanted).into_iter().map(fault).collect()
}

/// Faults of giving these permissions to a key of `holder`. One permission may have several faults.
pub(super) fn permission_faults(
    tx: &mut Tx<'_>,
    holder: &Holder,
    wanted: &PermissionSet,
    holdings: &Holdings,
) -> Result<Vec<Fault>, Error> {
    let mut faults = handing_out(tx, wanted, holder.assignable_to(), holdings)?;
    if let Some(client) = &holder.client {
        for name in wanted.without(&client.permissions) {
            faults.push(Fault::new("permissions", format!("{name} is not a permission of the service client")));
        }
    }
    faults.extend(home_faults(&holder.home, &holder.roles, wanted, "the user"));
    Ok(faults)
}

/// Permissions that the roles of the user behind a key or a service client do not include.
pub(in crate::service) fn home_faults(
    home: &Home,
    roles: &PermissionSet,
    wanted: &PermissionSet,
    who: &str,
) -> Vec<Fault> {
    let fault = |name| Fault::new("permissions", format!("{name} is not among the permissions of the roles of {who}"));
    match home {
        Home::Account | Home::Organization { .. } => Vec::new(),
        Home::User { .. } => wanted.without(roles).map(fault).collect(),
    }
}

pub(super) fn audience_faults(tx: &mut Tx<'_>, audiences: Option<&[Identifier]>) -> Result<Vec<Fault>, Error> {
    let Some(audiences) = audiences else { return Ok(Vec::new()) };
    if audiences.is_empty() {
        return Ok(vec![Fault::new(
            "audiences",
            "an empty list would let the key do nothing: give null for any audience",
        )]);
    }
    let wanted = audiences.iter().cloned().collect();
    let known = store::access::audiences::with_identifiers(tx, &wanted)?;
    let unknown = audiences.iter().filter(|wanted| known.iter().all(|audience| audience.identifier != **wanted));
    Ok(unknown.map(|identifier| Fault::new("audiences", format!("there is no audience {identifier}"))).collect())
}

pub(super) fn expiry_faults(
    settings: &Settings,
    created_at: Timestamp,
    now: Timestamp,
    expires_at: Option<Timestamp>,
) -> Option<Fault> {
    let longest = settings.max_key_lifetime;
    match (expires_at, longest) {
        (Some(end), _) if end <= now => Some(Fault::new("expires_at", "lies in the past")),
        (Some(end), Some(longest)) if end.since(created_at) > longest => {
            Some(Fault::new("expires_at", format!("a key may live {longest} at most")))
        }
        (None, Some(longest)) => Some(Fault::new("expires_at", format!("is needed: a key may live {longest} at most"))),
        (Some(_) | None, _) => None,
    }
}

pub(super) fn ttl_faults(max_token_ttl: Option<Span>) -> Option<Fault> {
    max_token_ttl.filter(|ttl| ttl.as_secs() == 0).map(|_| Fault::new("max_token_ttl", "must be a second or more"))
}

pub(super) fn rate_faults(exchanges_per_minute: Option<u32>) -> Option<Fault> {
    exchanges_per_minute
        .filter(|limit| !(1..=1_000_000).contains(limit))
        .map(|_| Fault::new("exchanges_per_minute", "must be from 1 to 1000000, or null for no limit"))
}

pub(super) fn type_faults(settings: &Settings, holder: &Holder) -> Option<Fault> {
    let kind = holder.owner.kind();
    let message = || format!("keys of this kind ({}) are not enabled here (api_keys.owner_types)", kind.as_str());
    (!settings.owner_types.contains(&kind)).then(|| Fault::new("owner", message()))
}
