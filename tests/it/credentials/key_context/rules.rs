//! The decisions of the model: section 2 of the design and invariants 1, 2 and 5.

use std::collections::BTreeMap;

use super::model::{
    Audience, Credential, DEFAULT_AUDIENCE, DEFAULT_TTL, Decision, Key, MAX_TTL, Model, Owner, Principal, Scope, Set,
    TokenRequest,
};

impl Model {
    /// The status and permissions of a user, an organization or the account.
    pub fn scope_permissions(&self, owner_scope: &Scope) -> Owner {
        let all_of = |roles: &Set| roles.iter().filter_map(|role| self.roles.get(role)).flatten().cloned().collect();
        match owner_scope {
            Scope::Account => Owner::Unbounded,
            Scope::Organization { id, serial } => match self.organizations.get(id) {
                Some(now) if now == serial => {
                    let assignable = self.permissions.iter().filter(|(_, assignable)| **assignable);
                    Owner::Holds(assignable.map(|(name, _)| name.clone()).collect())
                }
                _ => Owner::Gone,
            },
            Scope::User { id, serial } => match self.users.get(id) {
                Some(user) if user.serial != *serial => Owner::Gone,
                Some(user) if user.blocked => Owner::Blocked,
                Some(user) => Owner::Holds(all_of(&user.roles)),
                None => Owner::Gone,
            },
            Scope::Member { organization, user, serial } => {
                match self.members.get(&(organization.clone(), user.clone())) {
                    Some(member) if member.serial == *serial => {
                        if self.users[user].blocked {
                            Owner::Blocked
                        } else {
                            Owner::Holds(all_of(&member.roles))
                        }
                    }
                    _ => Owner::Gone,
                }
            }
        }
    }

    /// The status and permissions of the owner of a key. With `end_with_maker`, an organization's
    /// key ends when the member who created it leaves, and is suspended while that member is blocked.
    pub fn owner(&self, key: &Key, end_with_maker: bool) -> Owner {
        let owner_scope = self.scope_permissions(&key.owner_scope);
        if matches!(owner_scope, Owner::Blocked | Owner::Gone) {
            return owner_scope;
        }
        if let Some(id) = &key.client {
            let client = &self.clients[id];
            return match owner_scope {
                _ if client.deleted => Owner::Gone,
                Owner::Holds(set) => Owner::Holds(client.permissions.intersection(&set).cloned().collect()),
                _ => Owner::Holds(client.permissions.clone()),
            };
        }
        match (&key.owner_scope, &key.maker) {
            (Scope::Organization { id, .. }, Some((user, serial))) if end_with_maker => {
                let maker = self.members.get(&(id.clone(), user.clone()));
                match maker {
                    Some(member) if member.serial != *serial => Owner::Gone,
                    Some(_) if self.users[user].blocked => Owner::Blocked,
                    Some(_) => owner_scope,
                    None => Owner::Gone,
                }
            }
            _ => owner_scope,
        }
    }

    /// The statements of a key's access records: the permissions of their roles, and the resources.
    /// A record applies only in its own tenant scope.
    pub fn access(&self, key_id: &str) -> Vec<(Set, Vec<String>)> {
        let key = &self.keys[key_id];
        let here = key
            .owner_scope
            .organization()
            .map(|id| (id.clone(), self.organizations.get(id).cloned().unwrap_or_default()));
        let is_named = |principal: &Principal| match (principal, &key.owner_scope) {
            (Principal::Key(id), _) => id == key_id,
            (Principal::Client(id), _) => key.client.as_ref() == Some(id),
            (Principal::User(_, named), Scope::User { serial, .. } | Scope::Member { serial, .. }) => {
                key.client.is_none() && named == serial
            }
            (Principal::User(..), Scope::Account | Scope::Organization { .. }) => false,
        };
        let records = self.records.values().filter(|record| record.organization == here);
        let records = records.filter(|record| record.principals.iter().any(is_named));
        let statements = records.flat_map(|record| &record.statements);
        let mut all: Vec<_> = statements
            .map(|(roles, resources)| {
                let held = roles.iter().filter_map(|role| self.roles.get(role)).flatten().cloned().collect();
                (held, resources.clone())
            })
            .collect();
        all.sort();
        all
    }

    /// The state of a key in the API: `active`, `suspended`, `revoked` or `expired`.
    pub fn state(&self, key: &Key, end_with_maker: bool) -> &'static str {
        let owner = self.owner(key, end_with_maker);
        if key.revoked || owner == Owner::Gone {
            "revoked"
        } else if key.expires_at.is_some_and(|end| end <= self.now) {
            "expired"
        } else if key.suspended || owner == Owner::Blocked {
            "suspended"
        } else {
            "active"
        }
    }

    pub fn works(&self, credential: &Credential) -> bool {
        credential.ends_at.is_none_or(|end| end > self.now)
    }

    /// Invariant 1: the requested permissions, reduced to those of the key, of its current
    /// owner and of the audiences.
    pub fn decide(
        &self,
        key_id: &str,
        credential: &Credential,
        asked: &TokenRequest,
        end_with_maker: bool,
    ) -> Decision {
        let key = &self.keys[key_id];
        if self.state(key, end_with_maker) != "active" || !self.works(credential) {
            return Decision::BadKey;
        }
        let default = vec![DEFAULT_AUDIENCE.to_owned()];
        let names = if asked.audiences.is_empty() { &default } else { &asked.audiences };
        let mut audiences = Vec::new();
        for name in names {
            let allowed = key.audiences.as_ref().is_none_or(|allowed| allowed.contains(name));
            match self.audiences.get(name) {
                Some(audience) if allowed => audiences.push(audience),
                _ => return Decision::BadTarget,
            }
        }
        let owner = self.owner(key, end_with_maker);
        let removes = |name: &String| {
            let accepts = |audience: &&Audience| audience.accepts.as_ref().is_none_or(|set| set.contains(name));
            match &owner {
                _ if !key.permissions.contains(name) => Some("key"),
                Owner::Holds(set) if !set.contains(name) => Some("owner"),
                _ if !audiences.iter().all(accepts) => Some("audience"),
                _ => None,
            }
        };
        let wanted = asked.scope.as_ref().unwrap_or(&key.permissions);
        let removed: BTreeMap<_, _> =
            wanted.iter().filter_map(|name| removes(name).map(|by| (name.clone(), by))).collect();
        let scope: Set = wanted.iter().filter(|name| !removed.contains_key(*name)).cloned().collect();
        let never_had_any = key.permissions.is_empty() && asked.scope.is_none();
        if (asked.scope.is_some() && !removed.is_empty()) || (scope.is_empty() && !never_had_any) {
            return Decision::BadScope(removed);
        }
        let expires_at = self.end_of_token(key, credential, &audiences);
        if expires_at <= self.now / 1000 {
            return Decision::BadKey;
        }
        let cut =
            |(held, resources): (Set, Vec<String>)| (held.intersection(&scope).cloned().collect::<Set>(), resources);
        let access = self.access(key_id).into_iter().map(cut).filter(|(actions, _)| !actions.is_empty()).collect();
        Decision::Granted { scope, access, expires_at }
    }

    /// Invariant 5, in whole seconds: a token outlives neither its key nor its credential, and
    /// every lifetime setting can only shorten it.
    fn end_of_token(&self, key: &Key, credential: &Credential, audiences: &[&Audience]) -> i64 {
        let ttl = audiences.iter().map(|audience| audience.ttl.unwrap_or(DEFAULT_TTL)).chain([MAX_TTL]);
        let ttl = ttl.chain(key.max_token_ttl).min().unwrap();
        let ends = [key.expires_at, credential.ends_at].into_iter().flatten().map(|end| end / 1000);
        ends.chain([self.now / 1000 + ttl]).min().unwrap()
    }
}
