//! Builds a random history. Each step changes the model and, through the store and in one
//! transaction, a database.

mod access_records;
mod directory;
mod keys;

use keyswap::{
    domain::{
        access::{
            audience::{AcceptedPermissions, Audience as StoredAudience, BuiltIn},
            owner::OwnerScope as StoredHome,
            permission::{AssignableOwnerType, Permission},
            role::Role,
            token_profile::TokenProfile,
        },
        common::{
            id::GenerationId,
            time::{Span, Timestamp},
        },
    },
    store::{self, StoreError, Tx},
};

use super::{
    model::{Audience, DEFAULT_AUDIENCE, Model, Scope, Set},
    random::Random,
};

type Applied = Result<(), StoreError>;

pub struct Builder<'a, 'b> {
    pub tx: &'a mut Tx<'b>,
    pub chance: Random,
    pub model: Model,
    made: i64,
}

const PERMISSIONS: usize = 8;
const ROLES: usize = 6;

pub fn permission(number: usize) -> String {
    format!("p:{number}")
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn set<T: std::str::FromStr, S: FromIterator<T>>(names: &Set) -> S
where
    T::Err: std::fmt::Debug,
{
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn generation(serial: &str) -> GenerationId {
    serial.parse().unwrap()
}

fn owner_scope(scope: &Scope) -> StoredHome {
    match scope {
        Scope::Account => StoredHome::Account,
        Scope::Organization { id, serial } => {
            StoredHome::Organization { id: id.parse().unwrap(), generation_id: generation(serial) }
        }
        Scope::User { id, serial } => {
            StoredHome::User { id: id.parse().unwrap(), organization: None, generation_id: generation(serial) }
        }
        Scope::Member { organization, user, serial } => StoredHome::User {
            id: user.parse().unwrap(),
            organization: Some(organization.parse().unwrap()),
            generation_id: generation(serial),
        },
    }
}

impl<'a, 'b> Builder<'a, 'b> {
    /// Creates permissions, roles and audiences, and then runs `steps` random steps.
    pub fn run(tx: &'a mut Tx<'b>, seed: u64, steps: usize) -> Result<Model, StoreError> {
        let model = Model { now: tx.now().millis(), ..Model::default() };
        let mut builder = Self { tx, chance: Random::new(seed), model, made: 0 };
        builder.configuration()?;
        for _ in 0..steps {
            builder.step()?;
        }
        Ok(builder.model)
    }

    fn step(&mut self) -> Applied {
        match self.chance.below(100) {
            0..10 => self.put_organization(),
            10..11 => self.delete_organization(),
            11..23 => self.put_user(),
            23..24 => self.delete_user(),
            24..38 => self.put_member(),
            38..41 => self.delete_member(),
            41..43 => self.change_role(),
            43..44 => self.change_permission(),
            44..52 => self.create_client(),
            52..54 => self.change_client(),
            54..78 => self.create_key(),
            78..86 => self.change_key(),
            86..91 => self.rotate(),
            91..95 => self.create_record(),
            _ => self.change_record(),
        }
    }

    fn configuration(&mut self) -> Applied {
        for number in 0..PERMISSIONS {
            let assignable = self.chance.one_in(2);
            store::access::permissions::insert(self.tx, &permission_row(&permission(number), assignable))?;
            self.model.permissions.insert(permission(number), assignable);
        }
        for number in 0..ROLES {
            let (name, held) = (format!("role-{number}"), self.random_permissions());
            store::access::roles::insert(self.tx, &role_row(&name, &held))?;
            self.model.roles.insert(name, held);
        }
        for (number, identifier) in [DEFAULT_AUDIENCE, "https://one.test", "https://two.test"].into_iter().enumerate() {
            let accepts = (number > 0).then(|| self.random_permissions());
            let ttl = self.chance.one_in(2).then(|| 60 * i64::try_from(1 + self.chance.below(30)).unwrap());
            let row = StoredAudience {
                id: self.tx.generate_id()?,
                identifier: identifier.parse().unwrap(),
                accepts: accepts
                    .as_ref()
                    .map_or(AcceptedPermissions::Product, |accepts| AcceptedPermissions::Only(set(accepts))),
                token_ttl: ttl.map(seconds),
                token_profile: TokenProfile::default(),
                record_bound: false,
                built_in: (number == 0).then_some(BuiltIn::Default),
                created_at: self.tx.now(),
                version: 1,
            };
            store::access::audiences::insert(self.tx, &row)?;
            self.model.audiences.insert(identifier.to_owned(), Audience { accepts, ttl });
        }
        Ok(())
    }

    fn random_permissions(&mut self) -> Set {
        (0..PERMISSIONS).filter(|_| self.chance.one_in(2)).map(permission).collect()
    }

    fn random_roles(&mut self) -> Set {
        (0..ROLES).filter(|_| self.chance.one_in(3)).map(|number| format!("role-{number}")).collect()
    }

    fn serial(&mut self) -> Result<GenerationId, StoreError> {
        Ok(self.tx.generate_id()?)
    }

    /// Picks an existing owner other than the account.
    fn random_scope(&mut self) -> Option<Scope> {
        match self.chance.below(3) {
            0 => {
                let found = self.chance.pick(self.model.organizations.iter())?;
                Some(Scope::Organization { id: found.0.clone(), serial: found.1.clone() })
            }
            1 => {
                let (id, user) = self.chance.pick(self.model.users.iter())?;
                Some(Scope::User { id: id.clone(), serial: user.serial.clone() })
            }
            _ => {
                let ((organization, user), member) = self.chance.pick(self.model.members.iter())?;
                let (organization, user) = (organization.clone(), user.clone());
                Some(Scope::Member { organization, user, serial: member.serial.clone() })
            }
        }
    }

    /// Picks an expiry time: one hour ago, now, in one millisecond, in 90 seconds or in one day.
    fn random_expiry(&mut self) -> i64 {
        self.model.now + [-3_600_000, 0, 1, 90_000, 86_400_000][self.chance.below(5)]
    }
}

fn seconds(seconds: i64) -> Span {
    Span::from_secs(seconds.unsigned_abs())
}

fn permission_row(name: &str, assignable_to_organizations: bool) -> Permission {
    let to = [AssignableOwnerType::User, AssignableOwnerType::ServiceClient, AssignableOwnerType::Organization];
    Permission {
        name: name.parse().unwrap(),
        description: None,
        assignable_to: to.into_iter().take(if assignable_to_organizations { 3 } else { 2 }).collect(),
        built_in: false,
        created_at: at(0),
        version: 1,
    }
}

fn role_row(name: &str, held: &Set) -> Role {
    Role { name: name.parse().unwrap(), description: None, permissions: set(held), created_at: at(0), version: 1 }
}
