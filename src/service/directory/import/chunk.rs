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
        directory::{
            PutEffect,
            import::{
                line::{Row, told},
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
pub fn apply(tx: &mut Tx<'_>, rows: &[NumberedRow]) -> Result<Outcome<ChunkResult>, Error> {
    let mut directory = LockedDirectory::of(tx, rows)?;
    let mut applied = ChunkResult::default();
    for NumberedRow { line, row } in rows {
        applied.counts.rows += 1;
        let put = match row.clone() {
            Ok(row) => directory.put(tx, row)?,
            Err(faults) => Err(faults),
        };
        match put {
            Ok(RowEffect::Unchanged) => applied.counts.unchanged += 1,
            Ok(RowEffect::Updated) => applied.counts.updated += 1,
            Ok(RowEffect::Created) => applied.counts.created += 1,
            Err(errors) => {
                applied.counts.refused += 1;
                applied.refused.push(RefusedRow { line: *line, errors: told(errors) });
            }
        }
    }
    let events = directory.write(tx)?;
    Ok(Outcome::events_unless(NoEvent::Unchanged, applied, events))
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

    fn put(&mut self, key: K, becomes: PutEffect<T>, events: &mut Vec<NewEvent>) -> RowEffect {
        let (one, event, effect) = match becomes {
            PutEffect::Unchanged(_) => return RowEffect::Unchanged,
            PutEffect::Updated(one, event) => (one, event, RowEffect::Updated),
            PutEffect::New(one, event) => (one, event, RowEffect::Created),
        };
        events.push(event);
        self.now.insert(key.clone(), one);
        self.changed_keys.insert(key);
        effect
    }

    /// The entries to write, in id order, so that concurrent imports of the same entries do not
    /// deadlock.
    fn written(self) -> Vec<T> {
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
}

impl LockedDirectory {
    /// Reads and locks the entries until the transaction ends, in the lock order of the PUTs.
    fn of(tx: &mut Tx<'_>, rows: &[NumberedRow]) -> Result<Self, StoreError> {
        let (mut organizations, mut users) = (BTreeSet::new(), BTreeSet::new());
        let (mut members, mut wanted) = (BTreeSet::new(), BTreeSet::new());
        for row in rows.iter().filter_map(|numbered| numbered.row.as_ref().ok()) {
            match row {
                Row::Organization(put) => {
                    organizations.insert(put.id.clone());
                }
                Row::User(put) => {
                    users.insert(put.id.clone());
                    wanted.extend(put.roles.iter().cloned());
                }
                Row::Member(put) => {
                    organizations.insert(put.organization.clone());
                    users.insert(put.user.clone());
                    members.insert((put.organization.clone(), put.user.clone()));
                    wanted.extend(put.roles.iter().cloned());
                }
            }
        }
        let organizations = store::directory::organizations::find_many_for_update(tx, &organizations)?;
        let users = store::directory::users::find_many_for_update(tx, &users)?;
        // Locks only roles that exist: a file may name any number of others.
        let known = store::access::roles::find_by_names(tx, &wanted.into_iter().collect())?;
        let known = known.into_iter().map(|role| role.name).collect();
        let roles = store::access::roles::find_many_for_update(tx, &known)?.into_iter().map(|role| role.name).collect();
        let members = store::directory::members::find_many_for_update(tx, &members)?;
        Ok(Self {
            organizations: EntryTable::of(organizations, |organization| organization.id.clone()),
            users: EntryTable::of(users, |user| user.id.clone()),
            members: EntryTable::of(members, |member| (member.organization.clone(), member.user.clone())),
            roles,
            events: Vec::new(),
        })
    }

    /// Applies a row, or returns all of its faults.
    fn put(&mut self, tx: &Tx<'_>, row: Row) -> Result<Result<RowEffect, Vec<InputFault>>, Error> {
        match row {
            Row::Organization(put) => {
                let (id, found) = (put.id.clone(), self.organizations.now.get(&put.id));
                let becomes = organizations::becomes(tx, found, put)?;
                Ok(Ok(self.organizations.put(id, becomes, &mut self.events)))
            }
            Row::User(put) => {
                let faults = roles::unknown_role_faults(&self.roles, &put.roles);
                if !faults.is_empty() {
                    return Ok(Err(faults));
                }
                let (id, found) = (put.id.clone(), self.users.now.get(&put.id));
                let becomes = users::becomes(tx, found, put)?;
                Ok(Ok(self.users.put(id, becomes, &mut self.events)))
            }
            Row::Member(put) => self.apply_member(tx, put),
        }
    }

    fn apply_member(&mut self, tx: &Tx<'_>, put: MemberPut) -> Result<Result<RowEffect, Vec<InputFault>>, Error> {
        let mut faults = Vec::new();
        let organization = self.organizations.now.get(&put.organization);
        if organization.is_none() {
            let id = &put.organization;
            let message = format!("there is no organization {id}: a line before this one may bring it");
            faults.push(InputFault::new("organization_id", message));
        }
        if !self.users.now.contains_key(&put.user) {
            let message = format!("there is no user {}: a line before this one may bring them", put.user);
            faults.push(InputFault::new("user_id", message));
        }
        faults.extend(roles::unknown_role_faults(&self.roles, &put.roles));
        let Some(organization) = organization.filter(|_| faults.is_empty()) else { return Ok(Err(faults)) };
        let place = (put.organization.clone(), put.user.clone());
        // A row left by a deleted organization of the same id is not a member.
        let found = self.members.now.get(&place);
        let found = found.filter(|member| member.organization_generation_id == organization.generation_id);
        let becomes = members::becomes(tx, organization, found, put)?;
        Ok(Ok(self.members.put(place, becomes, &mut self.events)))
    }

    /// Writes the changed entries and returns the events.
    fn write(self, tx: &mut Tx<'_>) -> Result<Vec<NewEvent>, Error> {
        let written = store::directory::organizations::upsert_many(tx, &self.organizations.written())
            .and_then(|()| store::directory::users::upsert_many(tx, &self.users.written()))
            .and_then(|()| store::directory::members::upsert_many(tx, &self.members.written()));
        match written {
            // The message of the driver is for the log.
            Err(StoreError::Conflict(cause)) => {
                tracing::debug!(%cause, "failed to write a part of an import; will retry");
                Err(Conflict::ChangedConcurrently("a row of the import".to_owned()).into())
            }
            other => Ok(other.map(|()| self.events)?),
        }
    }
}
