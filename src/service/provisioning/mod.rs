//! Declarative configuration from one file: permissions, roles, audiences, and service clients of
//! the account. A file is applied in one transaction, by the same rules as requests to `/v1`. A
//! plan is the same transaction, rolled back.

pub mod diff;
pub mod file;
pub mod stored;

use crate::{
    config::Settings,
    domain::{
        access::{
            audience::{AcceptedPermissions, Audience, BuiltIn},
            permission::{Permission, PermissionName},
            policy::ADMIN,
            role::Role,
            token_profile::{TokenProfile, TokenProfilePatch},
        },
        common::time::Span,
        directory::service_client::ServiceClient,
        events::NewEvent,
    },
    service::{
        Error, InputFault, Services,
        access::{
            audience_changes::{self, AudiencePatch, Means, NewAudience},
            last_administrator, permissions, roles,
        },
        api_keys::service_clients::{self, NewServiceClient, ServiceClientPatch},
        caller::Caller,
        provisioning::stored::{Found, PlanRollback},
    },
    store::{Lock, NoEvent, Outcome, Tx},
};

pub use diff::{Action, Change, Member};
pub use file::{DesiredConfiguration, DesiredServiceClient, FileFormat, read};

/// Returns the changes that `apply` would make now.
pub async fn plan(
    services: &Services,
    caller: &Caller,
    wanted: DesiredConfiguration,
    prune: bool,
) -> Result<Vec<Change>, Error> {
    let mut run = ConfigurationRun::new(services, caller, wanted, prune).await?;
    let ended = services.store.run_transaction(caller.origin.clone(), move |tx| match run.all(tx) {
        Ok(()) => Err::<Outcome<()>, _>(PlanRollback::Planned(run.changes)),
        Err(error) => Err(PlanRollback::Failed(error)),
    });
    match ended.await {
        // Unreachable: the closure always returns an error.
        Ok(()) => Ok(Vec::new()),
        Err(PlanRollback::Planned(mut changes)) => {
            // The creation is rolled back, so its id refers to nothing.
            for change in changes.iter_mut().filter(|change| change.action == Action::Create) {
                change.id = None;
            }
            Ok(changes)
        }
        Err(PlanRollback::Failed(error)) => Err(error),
    }
}

/// Applies `wanted` in one transaction, with an event for each changed resource. Resources that
/// already match stay untouched. With `prune`, resources that the file does not name are deleted,
/// for the sections that it contains. All faults are reported together.
pub async fn apply(
    services: &Services,
    caller: &Caller,
    wanted: DesiredConfiguration,
    prune: bool,
) -> Result<Vec<Change>, Error> {
    let mut run = ConfigurationRun::new(services, caller, wanted, prune).await?;
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            run.all(tx)?;
            Ok(Outcome::events_unless(NoEvent::Unchanged, run.changes, run.events))
        })
        .await
}

/// One run of a configuration file against the database.
struct ConfigurationRun {
    wanted: DesiredConfiguration,
    prune: bool,
    caller: Caller,
    settings: Settings,
    means: Means,
    changes: Vec<Change>,
    events: Vec<NewEvent>,
    faults: Vec<InputFault>,
}

impl ConfigurationRun {
    async fn new(
        services: &Services,
        caller: &Caller,
        wanted: DesiredConfiguration,
        prune: bool,
    ) -> Result<Self, Error> {
        let mut asked: Vec<_> =
            wanted.audiences.iter().flatten().filter_map(|audience| audience_changes::asked(&audience.shape)).collect();
        asked.sort();
        asked.dedup();
        Ok(Self {
            means: Means::gather(services, asked).await?,
            wanted,
            prune,
            caller: caller.clone(),
            settings: services.settings.clone(),
            changes: Vec::new(),
            events: Vec::new(),
            faults: Vec::new(),
        })
    }

    /// Creates resources in dependency order and deletes them in reverse order.
    fn all(&mut self, tx: &mut Tx<'_>) -> Result<(), Error> {
        tx.lock(Lock::Provisioning)?;
        let found = Found::lock(tx, &self.wanted, self.prune)?;
        self.put_permissions(tx, &found.permissions)?;
        self.put_roles(tx, &found.roles)?;
        self.put_audiences(tx, &found.audiences)?;
        self.put_clients(tx, &found.clients)?;
        if self.prune {
            self.remove_clients(tx, &found.clients)?;
            self.remove_audiences(tx, &found.audiences)?;
            self.remove_roles(tx, &found.roles)?;
            self.remove_permissions(tx, &found.permissions)?;
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Error::Invalid(std::mem::take(&mut self.faults))) }
    }

    /// Collects the faults of one resource. An error that is not about the file ends the run.
    fn gather<T>(&mut self, path: &str, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Invalid(found)) => {
                let placed =
                    found.into_iter().map(|fault| InputFault::new(format!("{path}.{}", fault.field), fault.message));
                self.faults.extend(placed);
                Ok(None)
            }
            Err(Error::Conflict(message)) => {
                self.faults.push(InputFault::new(path, message));
                Ok(None)
            }
            // After a constraint violation, PostgreSQL rejects every further statement of the
            // transaction. The collected conflict is then the cause and is reported instead.
            Err(
                error @ (Error::NotFound(_)
                | Error::Forbidden(_)
                | Error::NotAllowed(_)
                | Error::IdempotencyInFlight
                | Error::IdempotencyMismatch
                | Error::VersionMismatch(_)
                | Error::RotationTooEarly(_)
                | Error::Unavailable(_)
                | Error::Internal(_)),
            ) => Err(if self.faults.is_empty() { error } else { Error::Invalid(std::mem::take(&mut self.faults)) }),
        }
    }

    fn put_permissions(&mut self, tx: &mut Tx<'_>, found: &[Permission]) -> Result<(), Error> {
        for put in self.wanted.permissions.clone().into_iter().flatten() {
            let path = format!("permission[{}]", put.name);
            let before = found.iter().find(|permission| permission.name == put.name);
            let done = permissions::put_in(tx, put, None);
            if let Some((after, _, event)) = self.gather(&path, done)? {
                self.changes.extend(diff::change(before, Some(&after)));
                self.events.extend(event);
            }
        }
        Ok(())
    }

    fn put_roles(&mut self, tx: &mut Tx<'_>, found: &[Role]) -> Result<(), Error> {
        for put in self.wanted.roles.clone().into_iter().flatten() {
            let path = format!("role[{}]", put.name);
            let before = found.iter().find(|role| role.name == put.name);
            let done = roles::put_in(tx, put, None);
            if let Some((after, _, event)) = self.gather(&path, done)? {
                self.changes.extend(diff::change(before, Some(&after)));
                self.events.extend(event);
            }
        }
        Ok(())
    }

    fn put_audiences(&mut self, tx: &mut Tx<'_>, found: &[Audience]) -> Result<(), Error> {
        for new in self.wanted.audiences.clone().into_iter().flatten() {
            let path = format!("audience[{}]", new.identifier);
            let before = found.iter().find(|audience| audience.identifier == new.identifier);
            let done = match before {
                Some(before) => {
                    audience_changes::patch_in(tx, before.clone(), build_audience_patch(before, new), &self.means)
                }
                None => audience_changes::create_in(tx, new, &self.means),
            };
            if let Some((after, events)) = self.gather(&path, done)? {
                self.changes.extend(diff::change(before, Some(&after)));
                self.events.extend(events);
            }
        }
        Ok(())
    }

    fn put_clients(&mut self, tx: &mut Tx<'_>, found: &[ServiceClient]) -> Result<(), Error> {
        for DesiredServiceClient { name, permissions, metadata } in
            self.wanted.service_clients.clone().into_iter().flatten()
        {
            let path = format!("service_client[{name}]");
            let same: Vec<_> = found.iter().filter(|client| client.name == name).collect();
            let (before, done) = match same[..] {
                [] => {
                    let new = NewServiceClient { name: Some(name), owner: None, permissions, metadata };
                    let made = service_clients::make(tx, new, &self.caller);
                    (None, made.map(|(client, event)| (client, Some(event))))
                }
                [before] => {
                    let patch =
                        ServiceClientPatch { name: None, permissions: Some(permissions), metadata: Some(metadata) };
                    let (caller, settings) = (&self.caller, &self.settings);
                    (Some(before), service_clients::patch_in(tx, before.clone(), patch, caller, settings))
                }
                [..] => {
                    let ids: Vec<_> = same.iter().map(|client| client.id.as_str()).collect();
                    let message = format!("several have this name: {}; rename all but one first", ids.join(", "));
                    self.faults.push(InputFault::new(path, message));
                    continue;
                }
            };
            if let Some((after, event)) = self.gather(&path, done)? {
                self.changes.extend(diff::change(before, Some(&after)));
                self.events.extend(event);
            }
        }
        Ok(())
    }

    fn remove_clients(&mut self, tx: &mut Tx<'_>, found: &[ServiceClient]) -> Result<(), Error> {
        let admin: PermissionName = ADMIN.parse().map_err(|error| Error::Internal(format!("{ADMIN}: {error}")))?;
        let mut administrators = Vec::new();
        let is_named =
            |client: &ServiceClient| self.wanted.service_clients.iter().flatten().any(|w| w.name == client.name);
        let gone: Vec<_> = found.iter().filter(|client| !is_named(client)).collect();
        for client in gone {
            let path = format!("service_client[{}]", client.name);
            let done = service_clients::delete_in(tx, client, &self.settings);
            self.removed(&path, client, done)?;
            if client.permissions.contains(&admin) {
                administrators.push(client.name.as_str());
            }
        }
        // The check applies to operators as well: `prune` deleted the client implicitly, and a file
        // without it must not lock its author out.
        if let Some(name) = administrators.first() {
            let path = format!("service_client[{name}]");
            let left = last_administrator::require_remaining_administrator(tx, &admin, &self.settings);
            self.gather(&path, left)?;
        }
        Ok(())
    }

    fn remove_audiences(&mut self, tx: &mut Tx<'_>, found: &[Audience]) -> Result<(), Error> {
        let is_named =
            |audience: &Audience| self.wanted.audiences.iter().flatten().any(|w| w.identifier == audience.identifier);
        let gone: Vec<_> = found.iter().filter(|audience| audience.built_in.is_none() && !is_named(audience)).collect();
        for audience in gone {
            let path = format!("audience[{}]", audience.identifier);
            let done = audience_changes::delete_in(tx, audience);
            self.removed(&path, audience, done)?;
        }
        Ok(())
    }

    fn remove_roles(&mut self, tx: &mut Tx<'_>, found: &[Role]) -> Result<(), Error> {
        let is_named = |role: &Role| self.wanted.roles.iter().flatten().any(|w| w.name == role.name);
        let gone: Vec<_> = found.iter().filter(|role| !is_named(role)).collect();
        for role in gone {
            let path = format!("role[{}]", role.name);
            let done = roles::delete_in(tx, &role.name, None);
            self.removed(&path, role, done)?;
        }
        Ok(())
    }

    fn remove_permissions(&mut self, tx: &mut Tx<'_>, found: &[Permission]) -> Result<(), Error> {
        // The file has no such section: the permissions found are those that other sections refer
        // to.
        if self.wanted.permissions.is_none() {
            return Ok(());
        }
        let is_named =
            |permission: &Permission| self.wanted.permissions.iter().flatten().any(|w| w.name == permission.name);
        let gone: Vec<_> = found.iter().filter(|permission| !permission.built_in && !is_named(permission)).collect();
        for permission in gone {
            let path = format!("permission[{}]", permission.name);
            let done = permissions::delete_in(tx, &permission.name, None);
            self.removed(&path, permission, done)?;
        }
        Ok(())
    }

    fn removed<T: diff::Described>(
        &mut self,
        path: &str,
        gone: &T,
        done: Result<NewEvent, Error>,
    ) -> Result<(), Error> {
        if let Some(event) = self.gather(path, done)? {
            self.changes.extend(diff::change(Some(gone), None));
            self.events.push(event);
        }
        Ok(())
    }
}

/// The patch that makes an audience match the file. Members that already match are left out,
/// because the built-in audiences refuse patches of some members.
fn build_audience_patch(audience: &Audience, wanted: NewAudience) -> AudiencePatch {
    let takes = match (&wanted.permissions, audience.built_in) {
        (None, Some(BuiltIn::Management)) => AcceptedPermissions::Management,
        (None, Some(BuiltIn::Default) | None) => AcceptedPermissions::Product,
        (Some(listed), _) => AcceptedPermissions::Listed(listed.clone()),
    };
    let shape = wanted.shape.clone().apply_to(&TokenProfile::default());
    AudiencePatch {
        permissions: (takes != audience.accepts).then_some(wanted.permissions),
        // Compared in milliseconds, as stored.
        token_ttl: (wanted.token_ttl.map(Span::millis) != audience.token_ttl.map(Span::millis))
            .then_some(wanted.token_ttl),
        shape: if shape.is_ok_and(|shape| shape == audience.token_profile) {
            TokenProfilePatch::default()
        } else {
            wanted.shape
        },
    }
}
