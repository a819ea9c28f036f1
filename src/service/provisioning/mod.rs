//! Declarative configuration from one file: permissions, roles, audiences, and service clients of
//! the account. A file is applied in one transaction, by the same rules as requests to `/v1`. A
//! plan is the same transaction, rolled back.

pub mod diff;
pub mod file;
pub mod stored;

use std::mem;

use crate::{
    config::Settings,
    domain::{
        access::{
            audience::{AcceptedPermissions, Audience, BuiltIn},
            token_profile::{TokenProfile, TokenProfilePatch},
        },
        common::{json::MetadataPatch, preconditions::Preconditions, time::Span},
        directory::service_client::ServiceClient,
        events::NewEvent,
    },
    service::{
        Conflict, Error, InputFault, Services,
        access::{
            audience_changes::{self, AudienceChangeContext, AudiencePatch, NewAudience},
            last_administrator, permissions, roles,
        },
        api_keys::service_clients::{self, NewServiceClient, ServiceClientPatch},
        caller::Caller,
        common::entry::{Entry, WriteResult},
        provisioning::{
            diff::ComparableResource,
            stored::{PlanRollback, StoredConfiguration},
        },
    },
    store::{Lock, NoEvent, Outcome, Tx},
};

pub use diff::{Action, MemberChange, ResourceChange};
pub use file::{DesiredConfiguration, DesiredServiceClient, FileFormat, read};

/// Returns the changes that `apply` would make now.
pub async fn plan(
    services: &Services,
    caller: &Caller,
    desired: DesiredConfiguration,
    prune: bool,
) -> Result<Vec<ResourceChange>, Error> {
    let mut run = ConfigurationRun::new(services, caller, &desired).await?;
    let ended = services.store.run_transaction(caller.origin.clone(), move |tx| {
        run.execute(tx, &desired, prune)?;
        Err::<Outcome<()>, _>(PlanRollback::Planned(run.changes))
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

/// Applies `desired` in one transaction, with an event for each changed resource. Resources that
/// already match stay untouched. With `prune`, resources that the file does not name are deleted,
/// for the sections that it contains. All faults are reported together.
pub async fn apply(
    services: &Services,
    caller: &Caller,
    desired: DesiredConfiguration,
    prune: bool,
) -> Result<Vec<ResourceChange>, Error> {
    let mut run = ConfigurationRun::new(services, caller, &desired).await?;
    services
        .change(caller, move |tx, _| {
            run.execute(tx, &desired, prune)?;
            Ok(Outcome::events_unless(NoEvent::Unchanged, run.changes, run.events))
        })
        .await
}

/// One run of a configuration file against the database.
#[derive(Clone)]
struct ConfigurationRun {
    caller: Caller,
    settings: Settings,
    audience_context: AudienceChangeContext,
    changes: Vec<ResourceChange>,
    events: Vec<NewEvent>,
    faults: Vec<InputFault>,
}

impl ConfigurationRun {
    async fn new(services: &Services, caller: &Caller, desired: &DesiredConfiguration) -> Result<Self, Error> {
        let profiles = desired.audiences.iter().flatten().map(|audience| &audience.token_profile);
        Ok(Self {
            caller: caller.clone(),
            settings: services.settings.clone(),
            audience_context: AudienceChangeContext::prepare(services, profiles).await?,
            changes: Vec::new(),
            events: Vec::new(),
            faults: Vec::new(),
        })
    }

    /// Creates resources in dependency order and deletes them in reverse order.
    fn execute(&mut self, tx: &mut Tx<'_>, desired: &DesiredConfiguration, prune: bool) -> Result<(), Error> {
        tx.lock(Lock::Provisioning)?;
        let stored = StoredConfiguration::lock(tx, desired, prune)?;
        for input in desired.permissions.iter().flatten() {
            let before = stored.permissions.iter().find(|permission| permission.name == input.name);
            self.record_effect(
                input.name.as_str(),
                before,
                permissions::put_in(tx, input.clone(), &Preconditions::default()),
            )?;
        }
        for input in desired.roles.iter().flatten() {
            let before = stored.roles.iter().find(|role| role.name == input.name);
            self.record_effect(
                input.name.as_str(),
                before,
                roles::put_in(tx, input.clone(), &Preconditions::default()),
            )?;
        }
        for input in desired.audiences.iter().flatten() {
            let before = stored.audiences.iter().find(|audience| audience.identifier == input.identifier);
            let put = match before {
                Some(before) => {
                    let patch = build_audience_patch(before, input.clone());
                    audience_changes::patch_in(tx, before, patch, &mut self.audience_context)
                }
                None => audience_changes::create_in(tx, input.clone(), &mut self.audience_context),
            };
            self.record(input.identifier.as_str(), before, put.map(|(after, events)| (Some(after), events)))?;
        }
        for input in desired.service_clients.iter().flatten() {
            self.put_service_client(tx, input.clone(), &stored.clients)?;
        }
        if prune {
            self.prune(tx, desired, &stored)?;
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Error::Invalid(mem::take(&mut self.faults))) }
    }

    /// Records the change of one resource, or its faults. An error that is not about the file ends
    /// the run.
    fn record<T: ComparableResource>(
        &mut self,
        name: &str,
        before: Option<&T>,
        done: Result<(Option<T>, impl IntoIterator<Item = NewEvent>), Error>,
    ) -> Result<(), Error> {
        let path = format!("{}[{name}]", T::KIND);
        match done.map_err(|error| error.prefix_fields(&format!("{path}."))) {
            Ok((after, events)) => {
                self.changes.extend(diff::compare(before, after.as_ref()));
                self.events.extend(events);
            }
            Err(Error::Invalid(faults)) => self.faults.extend(faults),
            Err(Error::Conflict(conflict)) => self.faults.push(InputFault::new(path, conflict.to_string())),
            Err(error) if self.faults.is_empty() => return Err(error),
            // After a constraint violation, PostgreSQL rejects every further statement of the
            // transaction. The collected conflict is then the cause and is reported instead.
            Err(_) => return Err(Error::Invalid(mem::take(&mut self.faults))),
        }
        Ok(())
    }

    fn record_effect<T: ComparableResource + Entry>(
        &mut self,
        name: &str,
        before: Option<&T>,
        put: Result<WriteResult<T>, Error>,
    ) -> Result<(), Error> {
        self.record(name, before, put.map(WriteResult::into_parts).map(|(after, _, event)| (Some(after), event)))
    }

    fn record_deletion<T: ComparableResource>(
        &mut self,
        deleted: &T,
        done: Result<NewEvent, Error>,
    ) -> Result<(), Error> {
        self.record(deleted.identity().0, Some(deleted), done.map(|event| (None, [event])))
    }

    fn put_service_client(
        &mut self,
        tx: &mut Tx<'_>,
        input: DesiredServiceClient,
        stored: &[ServiceClient],
    ) -> Result<(), Error> {
        let DesiredServiceClient { name, permissions, metadata } = input;
        let same: Vec<_> = stored.iter().filter(|client| client.name == name).collect();
        let put = match same[..] {
            [] => {
                let new = NewServiceClient { name: Some(name.clone()), owner: None, permissions, metadata };
                let created = service_clients::create_in(tx, new, &self.caller);
                created.map(|(client, event)| WriteResult::Created(client, event))
            }
            [before] => {
                let patch = ServiceClientPatch {
                    name: None,
                    permissions: Some(permissions),
                    metadata: Some(MetadataPatch::Replace(metadata)),
                };
                service_clients::patch_in(tx, before.clone(), patch, &self.caller, &self.settings)
            }
            [..] => {
                let ids = same.iter().map(|client| client.id.clone()).collect();
                Err(Conflict::SeveralServiceClients(ids).into())
            }
        };
        self.record_effect(name.as_str(), same.first().copied(), put)
    }

    /// Deletes the resources that the file does not name.
    fn prune(
        &mut self,
        tx: &mut Tx<'_>,
        desired: &DesiredConfiguration,
        stored: &StoredConfiguration,
    ) -> Result<(), Error> {
        let admin = last_administrator::admin()?;
        let mut administrator = None;
        for client in &stored.clients {
            if desired.service_clients.iter().flatten().all(|input| input.name != client.name) {
                let deleted = service_clients::delete_in(tx, client, &self.caller, &self.settings);
                self.record_deletion(client, deleted)?;
                administrator = administrator.or_else(|| client.permissions.contains(&admin).then_some(client));
            }
        }
        // The check applies to operators as well: `prune` deleted the client implicitly, and a file
        // without it must not lock its author out.
        if let Some(client) = administrator {
            let remains = last_administrator::require_remaining_administrator(tx, &self.settings);
            self.record::<ServiceClient>(client.name.as_str(), None, remains.map(|()| (None, None)))?;
        }
        for audience in stored.audiences.iter().filter(|audience| audience.built_in.is_none()) {
            if desired.audiences.iter().flatten().all(|input| input.identifier != audience.identifier) {
                let deleted = audience_changes::delete_in(tx, audience);
                self.record_deletion(audience, deleted)?;
            }
        }
        for role in &stored.roles {
            if desired.roles.iter().flatten().all(|input| input.name != role.name) {
                let deleted = roles::delete_in(tx, &role.name, &Preconditions::default());
                self.record_deletion(role, deleted)?;
            }
        }
        // Without a section of permissions, those that are stored are what other sections refer to.
        let Some(inputs) = &desired.permissions else { return Ok(()) };
        for permission in stored.permissions.iter().filter(|permission| !permission.built_in) {
            if inputs.iter().all(|input| input.name != permission.name) {
                let deleted = permissions::delete_in(tx, &permission.name, &Preconditions::default());
                self.record_deletion(permission, deleted)?;
            }
        }
        Ok(())
    }
}

/// The patch that makes an audience match the file. Members that already match are left out,
/// because the built-in audiences refuse patches of some members.
fn build_audience_patch(audience: &Audience, desired: NewAudience) -> AudiencePatch {
    let accepts = match (&desired.permissions, audience.built_in) {
        (None, Some(BuiltIn::Management)) => AcceptedPermissions::Management,
        (None, Some(BuiltIn::Default) | None) => AcceptedPermissions::Product,
        (Some(listed), _) => AcceptedPermissions::Only(listed.clone()),
    };
    let profile = desired.token_profile.clone().apply_to(&TokenProfile::default());
    let has_same_profile = profile.is_ok_and(|profile| profile == audience.token_profile);
    // Compared in milliseconds, as stored.
    let has_same_ttl = desired.token_ttl.map(Span::millis) == audience.token_ttl.map(Span::millis);
    AudiencePatch {
        permissions: (accepts != audience.accepts).then_some(desired.permissions),
        token_ttl: (!has_same_ttl).then_some(desired.token_ttl),
        token_profile: if has_same_profile { TokenProfilePatch::default() } else { desired.token_profile },
        record_bound: (desired.record_bound != audience.record_bound).then_some(desired.record_bound),
    }
}
