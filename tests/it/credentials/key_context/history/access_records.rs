//! Access records.

use keyswap::{
    domain::{
        access::access_record::{AccessRecord, Principal as StoredPrincipal, Statement},
        common::id::AccessRecordId,
    },
    store,
};

use super::{Applied, Builder, generation, set};
use crate::credentials::key_context::model::{Principal, Record};

impl Builder<'_, '_> {
    /// Picks principals of every kind from every tenant: the restriction of a record to its tenant
    /// scope must not depend on the validation of its principals.
    fn random_principals(&mut self) -> Vec<Principal> {
        let mut all: Vec<Principal> = Vec::new();
        for _ in 0..=self.chance.below(4) {
            let found = match self.chance.below(4) {
                0 => self
                    .chance
                    .pick(self.model.users.iter())
                    .map(|(id, user)| Principal::User(id.clone(), user.serial.clone())),
                1 => {
                    let member = self.chance.pick(self.model.members.iter());
                    member.map(|((_, user), member)| Principal::User(user.clone(), member.serial.clone()))
                }
                2 => self.chance.pick(self.model.clients.keys()).map(|id| Principal::Client(id.clone())),
                _ => self.chance.pick(self.model.keys.keys()).map(|id| Principal::Key(id.clone())),
            };
            all.extend(found.filter(|found| !all.contains(found)));
        }
        all
    }

    pub(super) fn create_record(&mut self) -> Applied {
        let within = self.chance.one_in(2).then(|| self.chance.pick(self.model.organizations.iter()));
        let organization = within.flatten().map(|(id, serial)| (id.clone(), serial.clone()));
        let statements = (0..=self.chance.below(2)).map(|_| {
            let resources = vec![format!("/{}/*", self.chance.below(50))];
            (self.random_roles(), resources)
        });
        let statements = statements.collect::<Vec<_>>();
        let record = Record { organization, principals: self.random_principals(), statements };
        let id: AccessRecordId = self.tx.generate_id()?;
        let row = self.record_row(id.as_str(), &record);
        store::access::access_records::insert(self.tx, &row)?;
        self.model.records.insert(id.to_string(), record);
        Ok(())
    }

    /// Replaces the principals of a record, or deletes the record.
    pub(super) fn change_record(&mut self) -> Applied {
        let Some(id) = self.chance.pick(self.model.records.keys()).cloned() else { return Ok(()) };
        if self.chance.one_in(3) {
            let record = self.model.records.remove(&id).unwrap();
            return store::access::access_records::delete(self.tx, &self.record_row(&id, &record));
        }
        let mut principals = self.random_principals();
        let record = self.model.records[&id].clone();
        if let Some((organization, _)) = &record.organization {
            // The organization may have been deleted and recreated under the same id.
            let here = self.model.keys.iter().filter(|(_, key)| key.owner_scope.organization() == Some(organization));
            let here: Vec<_> = here.map(|(id, _)| Principal::Key(id.clone())).collect();
            principals.extend(self.chance.pick(here.into_iter()).filter(|key| !principals.contains(key)));
        }
        let record = Record { principals, ..record };
        let row = self.record_row(&id, &record);
        store::access::access_records::update(self.tx, &row)?;
        self.model.records.insert(id, record);
        Ok(())
    }

    fn record_row(&self, id: &str, record: &Record) -> AccessRecord {
        let principals = record.principals.iter().map(|principal| match principal {
            Principal::User(id, serial) => StoredPrincipal::User(id.parse().unwrap(), generation(serial)),
            Principal::Client(id) => StoredPrincipal::ServiceClient(id.parse().unwrap()),
            Principal::Key(id) => StoredPrincipal::ApiKey(id.parse().unwrap()),
        });
        let statements = record.statements.iter().map(|(roles, resources)| Statement {
            roles: set(roles),
            resources: resources.iter().map(|resource| resource.parse().unwrap()).collect(),
        });
        let organization = record.organization.as_ref();
        AccessRecord {
            id: id.parse().unwrap(),
            name: "a record".parse().unwrap(),
            organization: organization.map(|(id, serial)| (id.parse().unwrap(), generation(serial))),
            principals: principals.collect(),
            admins: Vec::new(),
            statements: statements.collect(),
            created_at: self.tx.now(),
            created_by: self.tx.creator(),
            granted_by: self.tx.creator(),
            version: 1,
        }
    }
}
