//! Organizations, users, members and the permissions of their roles.

use keyswap::{
    domain::directory::{Member as StoredMember, Organization, User as StoredUser},
    store,
};

use super::{Applied, Builder, PERMISSIONS, ROLES, generation, permission, permission_row, role_row, set};
use crate::credentials::key_context::model::{Member, User};

impl Builder<'_, '_> {
    pub(super) fn put_organization(&mut self) -> Applied {
        let id = format!("org-{}", self.chance.below(4));
        if self.model.organizations.contains_key(&id) {
            return Ok(());
        }
        let generation_id = self.serial()?;
        self.model.organizations.insert(id.clone(), generation_id.to_string());
        let row = Organization {
            id: id.parse().unwrap(),
            generation_id,
            name: None,
            metadata: Default::default(),
            created_at: self.tx.now(),
            version: 1,
        };
        store::directory::organizations::insert(self.tx, &row)
    }

    pub(super) fn delete_organization(&mut self) -> Applied {
        let Some(id) = self.chance.pick(self.model.organizations.keys()).cloned() else { return Ok(()) };
        self.model.organizations.remove(&id);
        self.model.members.retain(|(organization, _), _| *organization != id);
        // As in the service: members and records remain until they are cleaned up.
        store::directory::organizations::delete(self.tx, &id.parse().unwrap())
    }

    pub(super) fn put_user(&mut self) -> Applied {
        let (id, roles) = (format!("user-{}", self.chance.below(8)), self.random_roles());
        let (blocked, locked) = (self.chance.one_in(6), self.chance.one_in(8));
        let known = self.model.users.get(&id).map(|user| generation(&user.serial));
        let is_new = known.is_none();
        let generation_id = known.map_or_else(|| self.serial(), Ok)?;
        let user = User { serial: generation_id.to_string(), blocked: blocked || locked, roles: roles.clone() };
        self.model.users.insert(id.clone(), user);
        let row = StoredUser {
            id: id.parse().unwrap(),
            generation_id,
            blocked_at: blocked.then(|| self.tx.now()),
            locked_at: locked.then(|| self.tx.now()),
            lock_reason: None,
            profile: Default::default(),
            metadata: Default::default(),
            roles: set(&roles),
            created_at: self.tx.now(),
            version: 1,
        };
        if is_new {
            store::directory::users::insert(self.tx, &row)
        } else {
            store::directory::users::update(self.tx, &row)
        }
    }

    pub(super) fn delete_user(&mut self) -> Applied {
        let Some(id) = self.chance.pick(self.model.users.keys()).cloned() else { return Ok(()) };
        self.model.users.remove(&id);
        self.model.members.retain(|(_, user), _| *user != id);
        store::directory::members::delete_by_user(self.tx, &id.parse().unwrap())?;
        store::directory::users::delete(self.tx, &id.parse().unwrap())
    }

    pub(super) fn put_member(&mut self) -> Applied {
        let organization =
            self.chance.pick(self.model.organizations.iter()).map(|(id, serial)| (id.clone(), serial.clone()));
        let user = self.chance.pick(self.model.users.keys()).cloned();
        let (Some((organization, of)), Some(user)) = (organization, user) else { return Ok(()) };
        let (place, roles) = ((organization.clone(), user.clone()), self.random_roles());
        let known = self.model.members.get(&place).map(|member| generation(&member.serial));
        let is_new = known.is_none();
        let own = known.map_or_else(|| self.serial(), Ok)?;
        self.model.members.insert(place, Member { serial: own.to_string(), roles: roles.clone() });
        let row = StoredMember {
            organization: organization.parse().unwrap(),
            user: user.parse().unwrap(),
            generation_id: own,
            organization_generation_id: generation(&of),
            roles: set(&roles),
            metadata: Default::default(),
            created_at: self.tx.now(),
            version: 1,
        };
        if is_new {
            store::directory::members::insert(self.tx, &row)
        } else {
            store::directory::members::update(self.tx, &row)
        }
    }

    pub(super) fn delete_member(&mut self) -> Applied {
        let Some(place) = self.chance.pick(self.model.members.keys()).cloned() else { return Ok(()) };
        self.model.members.remove(&place);
        store::directory::members::delete(self.tx, &place.0.parse().unwrap(), &place.1.parse().unwrap())
    }

    pub(super) fn change_role(&mut self) -> Applied {
        let (name, held) = (format!("role-{}", self.chance.below(ROLES)), self.random_permissions());
        store::access::roles::update(self.tx, &role_row(&name, &held))?;
        self.model.roles.insert(name, held);
        Ok(())
    }

    pub(super) fn change_permission(&mut self) -> Applied {
        let (name, assignable) = (permission(self.chance.below(PERMISSIONS)), self.chance.one_in(2));
        self.model.permissions.insert(name.clone(), assignable);
        store::access::permissions::update(self.tx, &permission_row(&name, assignable))
    }
}
