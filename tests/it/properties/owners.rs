//! An exhaustive search of the owner status: every kind of owner, with every state of the directory
//! that it depends on.

use keyswap::domain::{
    access::{
        owner::{Owner, OwnerScope},
        owner_status::{
            DeletionCause, DirectorySnapshot, MembershipSnapshot, OwnerPermissions, OwnerStatus, Ownership,
            ServiceClientSnapshot, UserSnapshot,
        },
        permission::PermissionSet,
    },
    common::id::GenerationId,
};

fn set(names: &str) -> PermissionSet {
    PermissionSet::from_stored(names).unwrap()
}

/// The generation id at the creation of the key, and a later one.
fn generations() -> [GenerationId; 2] {
    ["inc_01JDB00000000000000000000A", "inc_01JDB00000000000000000000B"].map(|text| text.parse().unwrap())
}

/// `None`, and every membership in an organization.
fn memberships() -> Vec<Option<MembershipSnapshot>> {
    let all = generations().into_iter().flat_map(|generation_id| {
        generations().map(|organization| MembershipSnapshot { generation_id: generation_id.clone(), organization })
    });
    [None].into_iter().chain(all.map(Some)).collect()
}

fn directories() -> Vec<DirectorySnapshot> {
    let users = generations().into_iter().flat_map(|generation_id| {
        [false, true].map(|blocked| Some(UserSnapshot { generation_id: generation_id.clone(), blocked }))
    });
    let users: Vec<_> = [None].into_iter().chain(users).collect();
    let mut all = Vec::new();
    for user in &users {
        for organization in [None].into_iter().chain(generations().map(Some)) {
            for membership in memberships() {
                for creator_membership in memberships() {
                    all.extend([false, true].map(|creator_blocked| DirectorySnapshot {
                        user: user.clone(),
                        membership: membership.clone(),
                        organization: organization.clone(),
                        creator_membership: creator_membership.clone(),
                        creator_blocked,
                        permissions: set("p q"),
                    }));
                }
            }
        }
    }
    all
}

fn ownerships() -> Vec<Ownership> {
    let [then, _] = generations();
    let user = |organization: Option<&str>| OwnerScope::User {
        id: "alice".parse().unwrap(),
        organization: organization.map(|id| id.parse().unwrap()),
        generation_id: then.clone(),
    };
    let organization = OwnerScope::Organization { id: "acme".parse().unwrap(), generation_id: then.clone() };
    let client = Owner::ServiceClient("svc_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap());
    let clients = [false, true].map(|deleted| Some(ServiceClientSnapshot { permissions: set("q r"), deleted }));
    let mut all = Vec::new();
    for (owner, owner_scope) in [
        (Owner::Unowned, OwnerScope::Account),
        (Owner::Organization("acme".parse().unwrap()), organization.clone()),
        (Owner::User("alice".parse().unwrap()), user(None)),
        (Owner::User("alice".parse().unwrap()), user(Some("acme"))),
        (client.clone(), OwnerScope::Account),
        (client.clone(), organization),
        (client, user(Some("acme"))),
    ] {
        for creator in [None, Some(("bob".parse().unwrap(), then.clone()))] {
            for client in [None].into_iter().chain(clients.clone()) {
                all.push(Ownership {
                    owner: owner.clone(),
                    owner_scope: owner_scope.clone(),
                    creator_membership: creator.clone(),
                    client,
                    directory: DirectorySnapshot::default(),
                });
            }
        }
    }
    all
}

/// The status by the documents, independently of the code under test.
fn expected(of: &Ownership, ends_with_creator: bool) -> OwnerStatus {
    let now = &of.directory;
    let [then, _] = generations();
    // A membership also ends with the organization in which it was created.
    let is_member = |found: &Option<MembershipSnapshot>| {
        found
            .as_ref()
            .is_some_and(|found| found.generation_id == then && now.organization.as_ref() == Some(&found.organization))
    };
    let user_generation = now.user.as_ref().map(|user| &user.generation_id);
    let scope_ended = match &of.owner_scope {
        OwnerScope::Account => None,
        OwnerScope::Organization { .. } => {
            (now.organization.as_ref() != Some(&then)).then_some(DeletionCause::OrganizationDeleted)
        }
        OwnerScope::User { .. } if user_generation.is_none() => Some(DeletionCause::UserDeleted),
        OwnerScope::User { organization: None, .. } => {
            (user_generation != Some(&then)).then_some(DeletionCause::UserDeleted)
        }
        OwnerScope::User { .. } if now.organization.is_none() => Some(DeletionCause::OrganizationDeleted),
        OwnerScope::User { .. } => (!is_member(&now.membership)).then_some(DeletionCause::MemberLeft),
    };
    let is_user = matches!(of.owner_scope, OwnerScope::User { .. });
    let has_creator =
        ends_with_creator && matches!(of.owner, Owner::Organization(_)) && of.creator_membership.is_some();
    let of_scope = if of.owner_scope == OwnerScope::Account { set("p q r") } else { set("p q") };
    if let Some(cause) = scope_ended {
        OwnerStatus::Deleted(cause)
    } else if is_user && now.user.as_ref().is_some_and(|user| user.blocked) {
        OwnerStatus::Blocked
    } else if has_creator && !is_member(&now.creator_membership) {
        OwnerStatus::Deleted(DeletionCause::CreatorLeft)
    } else if has_creator && now.creator_blocked {
        OwnerStatus::Blocked
    } else if let Owner::ServiceClient(_) = of.owner {
        match &of.client {
            Some(client) if !client.deleted => {
                OwnerStatus::Active(OwnerPermissions::Permissions(client.permissions.intersection(&of_scope)))
            }
            _ => OwnerStatus::Deleted(DeletionCause::ServiceClientDeleted),
        }
    } else if of.owner_scope == OwnerScope::Account {
        OwnerStatus::Active(OwnerPermissions::Unlimited)
    } else {
        OwnerStatus::Active(OwnerPermissions::Permissions(of_scope))
    }
}

#[test]
fn owner_status_agrees_with_the_documents() {
    let directories = directories();
    let (mut active, mut ended) = (0, 0);
    for mut ownership in ownerships() {
        for directory in &directories {
            ownership.directory = directory.clone();
            for ends_with_creator in [false, true] {
                let expected = expected(&ownership, ends_with_creator);
                assert_eq!(ownership.owner_status(ends_with_creator), expected, "{ends_with_creator} {ownership:?}");
                *if matches!(expected, OwnerStatus::Active(_)) { &mut active } else { &mut ended } += 1;
                let lost_by_root = [
                    OwnerStatus::Deleted(DeletionCause::UserDeleted),
                    OwnerStatus::Deleted(DeletionCause::OrganizationDeleted),
                    OwnerStatus::Deleted(DeletionCause::MemberLeft),
                ];
                assert_eq!(ownership.owner_exists(), !lost_by_root.contains(&expected), "{ownership:?}");
            }
        }
    }
    assert!(active > 5_000 && ended > 5_000, "{active} active, {ended} ended");
}

#[test]
fn permissions_of_an_owner_are_limited_except_for_the_account() {
    for mut ownership in ownerships() {
        ownership.directory.permissions = set("p q");
        let limited = OwnerPermissions::Permissions(set("p q"));
        let expected = if ownership.owner_scope == OwnerScope::Account { OwnerPermissions::Unlimited } else { limited };
        assert_eq!(ownership.root_owner_permissions(), expected);
    }
    let (unlimited, some) = (OwnerPermissions::Unlimited, OwnerPermissions::Permissions(set("p q")));
    assert_eq!(unlimited.of(&set("q r")), set("q r"));
    assert_eq!(some.of(&set("q r")), set("q"));
    assert!(unlimited.contains(&"r".parse().unwrap()));
    assert!(some.contains(&"p".parse().unwrap()) && !some.contains(&"r".parse().unwrap()));
    assert_eq!(unlimited.intersection(&some), some);
    assert_eq!(some.intersection(&OwnerPermissions::Permissions(set("q r"))), OwnerPermissions::Permissions(set("q")));
}
