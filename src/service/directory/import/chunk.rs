//! Applies a chunk of rows in one transaction: existing entries are read in bulk, each row is
//! validated by the rules of its PUT, and changed entries are written in bulk.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{
        access::role::RoleSet,
        common::id::{OrganizationId, UserId},
        directory::{Member, Organization, User},
        events::NewEvent,
    },
    service::{
        Conflict, Error, InputFault,
        access::roles,
        common::entry::WriteResult,
        directory::{
            import::{
                line::{Row, truncate_faults},
                report::{NumberedRow, RefusedRow, RowCounts},
            },
            members::{self, MemberPut},
            organizations, users,
        },
    },
    store::{self, NoEvent, Outcome, StoreError, Tx},
};

/// The result of a chunk.
#[derive(Debug, Default)]
pub struct ChunkResult {
    pub counts: RowCounts,
    pub refused: Vec<RefusedRow>,
}

/// Returns `Error::Conflict` if a concurrent transaction inserted one of the entries.
/// `ends_with_creator` is the setting `api_keys.end_with_creator`.
pub fn apply(tx: &mut Tx<'_>, rows: &[NumberedRow], ends_with_creator: bool) -> Result<Outcome<ChunkResult>, Error> {
    let mut directory = LockedDirectory::of(tx, rows, ends_with_creator)?;
    let mut applied = ChunkResult::default();
    for NumberedRow { line, row } in rows {
        applied.counts.rows += 1;
        match row.clone().map_err(Error::Invalid).and_then(|row| directory.put(tx, row)) {
            Ok(RowEffect::Unchanged) => applied.counts.unchanged += 1,
            Ok(RowEffect::Updated) => applied.counts.updated += 1,
            Ok(RowEffect::Created) => applied.counts.created += 1,
            Err(Error::Invalid(faults)) => {
                applied.counts.refused += 1;
                applied.refused.push(RefusedRow { line: *line, errors: truncate_faults(faults) });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Outcome::events_unless(NoEvent::Unchanged, applied, directory.write(tx)?))
}

/// The effect of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowEffect {
    Unchanged,
    Updated,
    Created,
}

/// Entries by id, and the ids of those to write. A row sees the effects of earlier rows.
struct EntryTable<K, T> {
    now: BTreeMap<K, T>,
    changed_keys: BTreeSet<K>,
}

impl<K: Ord + Clone, T> EntryTable<K, T> {
    fn of(found: Vec<T>, key: impl Fn(&T) -> K) -> Self {
        Self { now: found.into_iter().map(|one| (key(&one), one)).collect(), changed_keys: BTreeSet::new() }
    }

    fn put(&mut self, key: K, effect: WriteResult<T>, events: &mut Vec<NewEvent>) -> RowEffect {
        let (one, event, row_effect) = match effect {
            WriteResult::Unchanged(_) => return RowEffect::Unchanged,
            WriteResult::Updated(one, event) => (one, event, RowEffect::Updated),
            WriteResult::Created(one, event) => (one, event, RowEffect::Created),
        };
        events.push(event);
        self.now.insert(key.clone(), one);
        self.changed_keys.insert(key);
        row_effect
    }

    /// The entries to write, in id order, so that concurrent imports of the same entries do not
    /// deadlock.
    fn into_changed(self) -> Vec<T> {
        let Self { now, changed_keys } = self;
        now.into_iter().filter(|(key, _)| changed_keys.contains(key)).map(|(_, one)| one).collect()
    }
}

/// The part of the directory that a chunk refers to.
struct LockedDirectory {
    organizations: EntryTable<OrganizationId, Organization>,
    users: EntryTable<UserId, User>,
    members: EntryTable<(OrganizationId, UserId), Member>,
    roles: RoleSet,
    events: Vec<NewEvent>,
    ends_with_creator: bool,
}

impl LockedDirectory {
    /// Reads and locks the entries until the transaction ends.
    fn of(tx: &mut Tx<'_>, rows: &[NumberedRow], ends_with_creator: bool) -> Result<Self, StoreError> {
        let (mut organizations, mut users) = (BTreeSet::new(), BTreeSet::new());
        let (mut members, mut roles) = (BTreeSet::new(), BTreeSet::new());
        for row in rows.iter().filter_map(|numbered| numbered.row.as_ref().ok()) {
            match row {
                Row::Organization(put) => {
                    organizations.insert(put.id.clone());
                }
                Row::User(put) => {
                    users.insert(put.id.clone());
                    roles.extend(put.roles.iter().flat_map(RoleSet::iter).cloned());
                }
                Row::Member(put) => {
                    organizations.insert(put.organization.clone());
                    users.insert(put.user.clone());
                    members.insert((put.organization.clone(), put.user.clone()));
                    roles.extend(put.roles.iter().flat_map(RoleSet::iter).cloned());
                }
            }
        }
        let organizations = store::directory::organizations::find_many_for_update(tx, &organizations)?;
        let users = store::directory::users::find_many_for_update(tx, &users)?;
        let members = store::directory::members::find_many_for_update(tx, &members)?;
        // Locks only roles that exist: a file may name any number of others.
        let known = store::access::roles::find_by_names(tx, &roles.into_iter().collect())?;
        let known = known.into_iter().map(|role| role.name).collect();
        let roles = store::access::roles::find_many_for_update(tx, &known)?.into_iter().map(|role| role.name).collect();
        Ok(Self {
            organizations: EntryTable::of(organizations, |organization| organization.id.clone()),
            users: EntryTable::of(users, |user| user.id.clone()),
            members: EntryTable::of(members, |member| (member.organization.clone(), member.user.clone())),
            roles,
            events: Vec::new(),
            ends_with_creator,
        })
    }

    /// Applies a row, or returns all of its faults as `Error::Invalid`.
    fn put(&mut self, tx: &Tx<'_>, row: Row) -> Result<RowEffect, Error> {
        match row {
            Row::Organization(put) => {
                let (id, before) = (put.id.clone(), self.organizations.now.get(&put.id));
                let effect = organizations::effect_of_put(tx, before, put)?;
                Ok(self.organizations.put(id, effect, &mut self.events))
            }
            Row::User(put) => {
                Error::if_any(roles::find_unknown_in(&self.roles, put.roles.as_ref().unwrap_or(&RoleSet::default())))?;
                let (id, before) = (put.id.clone(), self.users.now.get(&put.id));
                let effect = users::effect_of_put(tx, before, put, self.ends_with_creator)?;
                Ok(self.users.put(id, effect, &mut self.events))
            }
            Row::Member(put) => self.put_member(tx, put),
        }
    }

    fn put_member(&mut self, tx: &Tx<'_>, put: MemberPut) -> Result<RowEffect, Error> {
        let mut faults = Vec::new();
        let organization = self.organizations.now.get(&put.organization);
        if organization.is_none() {
            let message = format!("there is no organization {}: add a line for it before this one", put.organization);
            faults.push(InputFault::new("organization_id", message));
        }
        if !self.users.now.contains_key(&put.user) {
            let message = format!("there is no user {}: add a line for the user before this one", put.user);
            faults.push(InputFault::new("user_id", message));
        }
        faults.extend(roles::find_unknown_in(&self.roles, put.roles.as_ref().unwrap_or(&RoleSet::default())));
        let Some(organization) = organization.filter(|_| faults.is_empty()) else { return Err(Error::Invalid(faults)) };
        let key = (put.organization.clone(), put.user.clone());
        // A row left by a deleted organization of the same id is not a member.
        let before = self.members.now.get(&key);
        let before = before.filter(|member| member.organization_generation_id == organization.generation_id);
        let effect = members::effect_of_put(tx, organization, before, put)?;
        Ok(self.members.put(key, effect, &mut self.events))
    }

    /// Writes the changed entries and returns the events.
    fn write(self, tx: &mut Tx<'_>) -> Result<Vec<NewEvent>, Error> {
        let written = store::directory::organizations::upsert_many(tx, &self.organizations.into_changed())
            .and_then(|()| store::directory::users::upsert_many(tx, &self.users.into_changed()))
            .and_then(|()| store::directory::members::upsert_many(tx, &self.members.into_changed()));
        match written {
            // The message of the driver is for the log.
            Err(StoreError::Conflict(cause)) => {
                tracing::debug!(%cause, "failed to write a part of an import; will retry");
                Err(Conflict::ChangedConcurrently("directory".to_owned()).into())
            }
            other => Ok(other.map(|()| self.events)?),
        }
    }
}
