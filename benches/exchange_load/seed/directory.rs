//! The population of a directory: keys of members, of users outside any organization, of
//! organizations and of service clients. All counts are in proportion to the number of keys, except
//! those of the permission sets and the audiences.

use std::collections::HashMap;

use diesel::{QueryableByName, sql_types::Text};
use keyswap::domain::{
    access::{
        audience::Identifier,
        owner::{Owner, OwnerScope},
        permission::PermissionSet,
    },
    common::id::{GenerationId, KeyId, OrganizationId, ServiceClientId, UserId},
};
use serde_json::{Value, json};

use super::{
    BATCH, ManagementApi,
    plan::{KeyKind, Owners, Plan, PlannedKey},
    text,
};
use crate::{copies::Link, databases::TemporaryDeployment, processes::ISSUER};

const RESOURCES: [&str; 8] =
    ["builds", "deployments", "invoices", "logs", "members", "projects", "reports", "workflows"];
const PERMISSION_SETS: usize = 40;
/// Each is in a list together with the default audience.
const AUDIENCES: usize = 4;
const KEYS_PER_ORGANIZATION: u32 = 50;
const KEYS_PER_CLIENT: u32 = 5_000;
/// One user in so many is outside any organization.
const USERS_PER_OUTSIDER: u32 = 10;
/// One key in so many has an access record that names the key, or the user who owns it. A user has
/// three keys, so one key in a hundred has access records.
const KEYS_PER_RECORD: u32 = 200;

/// What a number is chosen for. The choices for one key do not depend on each other.
#[derive(Clone, Copy)]
enum Choice {
    Organization,
    SecondOrganization,
    MemberRole,
    UserRole,
    Owner,
    Permissions,
    Audiences,
}

struct Member {
    organization: u32,
    user: u32,
}

/// The owners of keys. Organizations and users are numbered from 1.
pub struct Directory {
    organizations: u32,
    users: u32,
    members: Vec<Member>,
    clients: Vec<ServiceClientId>,
    /// The generations of memberships, of users (with organization 0) and of organizations (with
    /// user 0).
    generations: HashMap<(u32, u32), GenerationId>,
}

#[derive(QueryableByName)]
struct GenerationRow {
    #[diesel(sql_type = Text)]
    organization: String,
    #[diesel(sql_type = Text)]
    member: String,
    #[diesel(sql_type = Text)]
    generation: String,
}

/// Creates the catalog, the audiences and the directory.
pub fn create(api: &ManagementApi<'_>, place: &TemporaryDeployment, count: u32) -> Plan {
    let permission_sets: Vec<PermissionSet> = (0..PERMISSION_SETS).map(permission_set).collect();
    for resource in RESOURCES {
        for action in ["read", "write"] {
            let body = json!({ "assignable_to": ["user", "organization", "service_client"] });
            api.put(&format!("/v1/permissions/{resource}:{action}"), &body);
        }
    }
    for number in 0..PERMISSION_SETS {
        let permissions = permissions_of_role(&permission_sets, number);
        api.put(&format!("/v1/roles/{}", role(number)), &json!({ "permissions": permissions }));
    }
    let audience_lists = (1..=AUDIENCES).map(|number| create_audience(api, number)).collect();
    let mut directory = Directory::new(count);
    directory.import(api);
    directory.clients = create_clients(api, &permission_sets, (count / KEYS_PER_CLIENT).max(1));
    directory.generations = read_generations(place);
    eprintln!(
        "{}: {} organizations, {} users, {} memberships",
        place.database.name(),
        directory.organizations,
        directory.users,
        directory.members.len()
    );
    Plan { permission_sets, audience_lists, owners: Owners::Directory(directory) }
}

/// Creates an audience. Returns it together with the default one, because requests name no audience.
fn create_audience(api: &ManagementApi<'_>, number: usize) -> Vec<Identifier> {
    let identifier = format!("https://audience-{number}.example");
    api.post("/v1/audiences", &json!({ "identifier": identifier }), 201);
    [ISSUER, identifier.as_str()].iter().map(|one| one.parse().expect("an audience")).collect()
}

/// Reading and writing one resource, and reading another one. No two sets are equal.
fn permission_set(number: usize) -> PermissionSet {
    let own = number % RESOURCES.len();
    let other = (own + 1 + number / RESOURCES.len()) % RESOURCES.len();
    let names =
        [format!("{}:read", RESOURCES[own]), format!("{}:write", RESOURCES[own]), format!("{}:read", RESOURCES[other])];
    names.iter().map(|name| name.parse().expect("a permission")).collect()
}

fn role(number: usize) -> String {
    format!("role-{number}")
}

/// A role permits two permission sets, so that keys have fewer permissions than their owners.
fn permissions_of_role(permission_sets: &[PermissionSet], number: usize) -> PermissionSet {
    permission_sets[number].union(&permission_sets[(number + 1) % PERMISSION_SETS])
}

fn create_clients(api: &ManagementApi<'_>, permission_sets: &[PermissionSet], count: u32) -> Vec<ServiceClientId> {
    let create = |number: u32| {
        let permissions = permissions_of_role(permission_sets, number as usize % PERMISSION_SETS);
        let body = json!({ "name": format!("Client {number}"), "permissions": permissions });
        text(&api.post("/v1/service-clients", &body, 201), "id").parse().expect("the id of a service client")
    };
    (0..count).map(create).collect()
}

/// Reads what the API does not return.
fn read_generations(place: &TemporaryDeployment) -> HashMap<(u32, u32), GenerationId> {
    let rows: Vec<GenerationRow> = Link::connect(place).load(
        "SELECT organization_id AS organization, user_id AS member, generation_id AS generation FROM members \
         UNION ALL SELECT id, '', generation_id FROM organizations \
         UNION ALL SELECT '', id, generation_id FROM users",
    );
    let number = |id: &str| id.rsplit_once('-').map_or(0, |(_, number)| number.parse::<u32>().expect("a number"));
    let rows = rows.iter().map(|row| {
        let generation = row.generation.parse().expect("a generation id");
        ((number(&row.organization), number(&row.member)), generation)
    });
    // Users within organizations are looked up by their memberships alone.
    rows.filter(|((organization, user), _)| *organization > 0 || is_outsider(*user)).collect()
}

const fn is_outsider(user: u32) -> bool {
    user.is_multiple_of(USERS_PER_OUTSIDER)
}

/// A number that looks random, and is the same in each run (SplitMix64).
const fn choose(number: u32, choice: Choice) -> u64 {
    let mut mixed = (((choice as u64 + 1) << 32) | number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// One of `count` positions.
const fn choose_below(number: u32, choice: Choice, count: u32) -> u32 {
    (choose(number, choice) % count as u64) as u32
}

fn choose_role(number: u32, choice: Choice) -> usize {
    choose(number, choice) as usize % PERMISSION_SETS
}

fn user_id(number: u32) -> UserId {
    format!("user-{number}").parse().expect("the id of a user")
}

fn organization_id(number: u32) -> OrganizationId {
    format!("org-{number}").parse().expect("the id of an organization")
}

impl Directory {
    fn new(count: u32) -> Self {
        let users = (count / 10 * 3).max(USERS_PER_OUTSIDER);
        let organizations = (count / KEYS_PER_ORGANIZATION).max(1);
        let mut members = Vec::new();
        for user in (1..=users).filter(|user| !is_outsider(*user)) {
            let organization = choose_below(user, Choice::Organization, organizations) + 1;
            members.push(Member { organization, user });
            // One member in eight is also in a second organization.
            let second = choose_below(user, Choice::SecondOrganization, organizations.saturating_mul(8)) + 1;
            if second <= organizations && second != organization {
                members.push(Member { organization: second, user });
            }
        }
        Self { organizations, users, members, clients: Vec::new(), generations: HashMap::new() }
    }

    fn import(&self, api: &ManagementApi<'_>) {
        let organization = |number: u32| {
            let name = format!("Organization {number}");
            json!({ "type": "organization", "id": organization_id(number), "name": name })
        };
        let user = |number: u32| {
            let roles =
                if is_outsider(number) { vec![role(choose_role(number, Choice::UserRole))] } else { Vec::new() };
            let profile = json!({ "email": format!("user-{number}@product.example") });
            json!({ "type": "user", "id": user_id(number), "profile": profile, "roles": roles })
        };
        let member = |(position, member): (u32, &Member)| {
            let first = choose_role(position, Choice::MemberRole);
            let mut roles = vec![role(first)];
            // One member in three has a second role.
            if position.is_multiple_of(3) {
                roles.push(role((first + 2 + position as usize / 3 % 4) % PERMISSION_SETS));
            }
            let (organization, user) = (organization_id(member.organization), user_id(member.user));
            json!({ "type": "member", "organization_id": organization, "user_id": user, "roles": roles })
        };
        import_rows(api, (1..=self.organizations).map(organization));
        import_rows(api, (1..=self.users).map(user));
        import_rows(api, (0..).zip(&self.members).map(member));
    }

    /// Of twenty keys, fourteen belong to members within their organizations, two to users outside
    /// any organization, two to organizations, and two to service clients.
    pub fn key(&self, number: u32) -> PlannedKey {
        let chosen = choose(number, Choice::Owner);
        let (share, position) = (chosen % 20, (chosen / 20) as usize);
        let (owner, owner_scope, role) = match share {
            0..=13 => self.member(position % self.members.len()),
            14 | 15 => self.outsider((position as u32 % (self.users / USERS_PER_OUTSIDER) + 1) * USERS_PER_OUTSIDER),
            16 | 17 => self.organization(position as u32 % self.organizations + 1),
            _ => self.client(position % self.clients.len()),
        };
        let permissions = (role + choose(number, Choice::Permissions) as usize % 2) % PERMISSION_SETS;
        let chosen = choose(number, Choice::Audiences) as usize;
        let audiences = chosen.is_multiple_of(10).then_some(chosen / 10 % AUDIENCES);
        let kind = KeyKind { owner_type: owner.kind(), permissions, audiences };
        PlannedKey { owner, owner_scope, kind }
    }

    fn member(&self, position: usize) -> (Owner, OwnerScope, usize) {
        let Member { organization, user } = self.members[position];
        let owner_scope = OwnerScope::User {
            id: user_id(user),
            organization: Some(organization_id(organization)),
            generation_id: self.generations[&(organization, user)].clone(),
        };
        let position = u32::try_from(position).expect("the position of a member");
        (Owner::User(user_id(user)), owner_scope, choose_role(position, Choice::MemberRole))
    }

    fn outsider(&self, user: u32) -> (Owner, OwnerScope, usize) {
        let generation_id = self.generations[&(0, user)].clone();
        let owner_scope = OwnerScope::User { id: user_id(user), organization: None, generation_id };
        (Owner::User(user_id(user)), owner_scope, choose_role(user, Choice::UserRole))
    }

    /// The keys of an organization may have any permissions. Each organization uses two sets.
    fn organization(&self, number: u32) -> (Owner, OwnerScope, usize) {
        let (id, generation_id) = (organization_id(number), self.generations[&(number, 0)].clone());
        let owner_scope = OwnerScope::Organization { id: id.clone(), generation_id };
        (Owner::Organization(id), owner_scope, number as usize % PERMISSION_SETS)
    }

    fn client(&self, position: usize) -> (Owner, OwnerScope, usize) {
        (Owner::ServiceClient(self.clients[position].clone()), OwnerScope::Account, position % PERMISSION_SETS)
    }

    pub fn access_record(&self, number: u32, key: &PlannedKey, id: &KeyId) -> Option<Value> {
        if !number.is_multiple_of(KEYS_PER_RECORD) {
            return None;
        }
        let principal = match &key.owner {
            Owner::User(user) if number.is_multiple_of(2 * KEYS_PER_RECORD) => json!({ "type": "user", "id": user }),
            Owner::User(_) | Owner::Organization(_) | Owner::ServiceClient(_) | Owner::Unowned => {
                json!({ "type": "api_key", "id": id })
            }
        };
        let resources = [format!("/projects/{number}/*"), "/projects/shared".to_owned()];
        let statement = json!({ "roles": [role(key.kind.permissions)], "resources": resources });
        Some(json!({
            "name": format!("Record {number}"),
            "organization_id": key.owner_scope.organization(),
            "principals": [principal],
            "statements": [statement],
        }))
    }
}

/// Imports rows a few thousand at a time.
fn import_rows(api: &ManagementApi<'_>, rows: impl Iterator<Item = Value>) {
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        api.import(&rows.by_ref().take(BATCH).collect::<Vec<_>>());
    }
}
