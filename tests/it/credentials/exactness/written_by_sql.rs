//! A write to any column that decides, by SQL and without an event, applies to the next exchange.

use serde_json::json;

use super::{Answer, Servers};
use crate::support::{Key, Server, both};

/// Writes `value` into one column of the row that `row` selects, and then the value before.
struct Edit {
    table: &'static str,
    /// The column by which rows are identified.
    id: &'static str,
    row: &'static str,
    column: &'static str,
    value: &'static str,
    /// Whether the answer must change.
    changes: bool,
}

const fn edit(
    (table, id, row): (&'static str, &'static str, &'static str),
    column: &'static str,
    value: &'static str,
) -> Edit {
    // Nothing in a narrow row decides by itself: one that was altered is not used.
    Edit { table, id, row, column, value, changes: table.as_bytes()[0] != b'n' }
}

const OTHER_GENERATION: &str = "'inc_00000000000000000000000001'";
const WITHOUT_ORGANIZATION: &str = "REPLACE(REPLACE(assignable_to, ' organization', ''), 'organization ', '')";

type Row = (&'static str, &'static str, &'static str);
const ALICE: Row = ("users", "id", "id = 'alice'");
const BOB: Row = ("users", "id", "id = 'bob'");
const MEMBER: Row = ("members", "user_id", "user_id = 'bob'");
const ORGANIZATION: Row = ("organizations", "id", "id = 'acme'");
const PERMISSION: Row = ("permissions", "name", "name = 'a:c'");
const CLIENT: Row = ("service_clients", "id", "id = '{client}'");
const AUDIENCE: Row = ("audiences", "id", "built_in = 'default'");
const KEY: Row = ("api_keys", "id", "id = '{key}'");
const CREDENTIAL: Row = ("credentials", "id", "key_id = '{key}'");
const NARROW: Row = ("narrow_credentials", "number", "key_id = '{key}'");

const OF_THE_USER: &[Edit] =
    &[edit(ALICE, "blocked_at", "1"), edit(ALICE, "locked_at", "1"), edit(ALICE, "generation_id", OTHER_GENERATION)];

const OF_THE_MEMBER: &[Edit] = &[
    edit(BOB, "blocked_at", "1"),
    edit(BOB, "locked_at", "1"),
    edit(MEMBER, "generation_id", OTHER_GENERATION),
    edit(MEMBER, "organization_generation_id", OTHER_GENERATION),
    edit(ORGANIZATION, "generation_id", OTHER_GENERATION),
];

const OF_THE_ORGANIZATION: &[Edit] =
    &[edit(ORGANIZATION, "generation_id", OTHER_GENERATION), edit(PERMISSION, "assignable_to", WITHOUT_ORGANIZATION)];

const OF_THE_CLIENT: &[Edit] = &[
    edit(CLIENT, "permissions", "REPLACE(permissions, ' a:c', '')"),
    edit(CLIENT, "deleted_at", "1"),
    edit(AUDIENCE, "permissions", "'a:b'"),
    edit(AUDIENCE, "token_ttl", "60000"),
    edit(AUDIENCE, "typ", "'JWT'"),
    edit(AUDIENCE, "record_bound", "1"),
    edit(AUDIENCE, "version", "version + 1"),
    edit(KEY, "permissions", "'a:b'"),
    edit(KEY, "audiences", "'[]'"),
    edit(KEY, "max_token_ttl", "60000"),
    edit(KEY, "exchanges_per_minute", "1000"),
    edit(KEY, "record_bound", "1"),
    edit(KEY, "metadata", "'{\"plan\":\"gold\"}'"),
    edit(KEY, "suspended_at", "1"),
    edit(KEY, "revoked_at", "1"),
    edit(KEY, "expires_at", "4000000000000"),
    edit(KEY, "version", "version + 1"),
    edit(CREDENTIAL, "expires_at", "4000000000000"),
    edit(CREDENTIAL, "status_index", "(status_index + 1) % 1000"),
    edit(NARROW, "version", "version + 1"),
    edit(NARROW, "key_id", "'key_00000000000000000000000001'"),
    edit(NARROW, "credential_expires_at", "4000000000000"),
    edit(NARROW, "key_expires_at", "4000000000000"),
    edit(NARROW, "status_index", "(status_index + 1) % 1000"),
    edit(NARROW, "entitlement", "entitlement + 1"),
    edit(NARROW, "owner_type", "'none'"),
    edit(NARROW, "owner_id", "NULL"),
    edit(NARROW, "generation_id", OTHER_GENERATION),
];

/// Rows that are deleted or moved, each with the SQL that reverts it. The key is the user's.
const ROWS: &[(&str, &str)] = &[
    (
        "DELETE FROM user_roles WHERE user_id = 'alice'",
        "INSERT INTO user_roles (user_id, role) VALUES ('alice', 'worker')",
    ),
    (
        "UPDATE user_roles SET role = 'reader' WHERE user_id = 'alice'",
        "UPDATE user_roles SET role = 'worker' WHERE user_id = 'alice'",
    ),
    (
        "DELETE FROM role_permissions WHERE role = 'worker' AND permission = 'a:c'",
        "INSERT INTO role_permissions (role, permission) VALUES ('worker', 'a:c')",
    ),
    (
        "UPDATE role_permissions SET permission = 'a:d' WHERE role = 'worker' AND permission = 'a:c'",
        "UPDATE role_permissions SET permission = 'a:c' WHERE role = 'worker' AND permission = 'a:d'",
    ),
    (
        "UPDATE role_permissions SET role = 'other' WHERE role = 'worker' AND permission = 'a:c'",
        "UPDATE role_permissions SET role = 'worker' WHERE role = 'other' AND permission = 'a:c'",
    ),
];

/// The same for the key of the member.
const MEMBER_ROWS: &[(&str, &str)] = &[
    (
        "DELETE FROM member_roles WHERE user_id = 'bob'",
        "INSERT INTO member_roles (organization_id, user_id, role) VALUES ('acme', 'bob', 'worker')",
    ),
    (
        "UPDATE member_roles SET role = 'reader' WHERE user_id = 'bob'",
        "UPDATE member_roles SET role = 'worker' WHERE user_id = 'bob'",
    ),
];

struct Fixture {
    servers: Servers,
    changes: usize,
}

impl Fixture {
    async fn new(server: Server) -> Self {
        server.permissions_for_all(&["a:b", "a:c", "a:d"]).await;
        server.role("worker", &["a:b", "a:c"]).await;
        server.role("reader", &["a:b"]).await;
        server.role("other", &[]).await;
        server.organization("acme").await;
        server.user("alice", &["worker"]).await;
        server.user("bob", &[]).await;
        server.member("acme", "bob", &["worker"]).await;
        Self { servers: Servers::new(server, &[]).await, changes: 0 }
    }

    fn server(&self) -> &Server {
        &self.servers.narrow[0]
    }

    /// Writes the narrow row of the key, makes an event that invalidates all facts, and loads them
    /// again.
    async fn remember(&mut self, key: &Key, context: &str) {
        self.changes += 1;
        let description = json!({ "description": format!("change {}", self.changes) });
        self.server().manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(description), 200).await;
        self.server().permissions_for_all(&[&format!("x:{}", self.changes)]).await;
        self.servers.remember(&key.value, context).await;
    }

    /// Runs `sql` and compares, and then the same for `revert`.
    async fn write(&mut self, key: &Key, sql: &str, revert: &str, changes: bool) {
        self.remember(key, sql).await;
        let before = Answer::of(&self.servers.all_tables, &key.value).await;
        assert_eq!(before.status, 200, "{sql}");
        self.server().database.sql(sql);
        self.servers.compare(&key.value, sql).await;
        let after = Answer::of(&self.servers.all_tables, &key.value).await;
        assert_eq!(!after.is_same(&before), changes, "{sql}: {after:#?}");
        // Something is remembered again before the row gets its value back.
        self.server().permissions_for_all(&[&format!("y:{}", self.changes)]).await;
        self.servers.compare(&key.value, sql).await;
        self.server().database.sql(revert);
        self.servers.compare(&key.value, revert).await;
        let reverted = Answer::of(&self.servers.all_tables, &key.value).await;
        assert!(reverted.is_same(&before), "{revert}: {reverted:#?}");
    }

    async fn edit_each(&mut self, key: &Key, edits: &[Edit]) {
        for Edit { table, id, row, column, value, changes } in edits {
            let row = row.replace("{key}", &key.id).replace("{client}", &key.client);
            let sql = format!(
                "CREATE TABLE values_before AS SELECT {id} AS id, {column} AS value FROM {table}; \
                 UPDATE {table} SET {column} = {value} WHERE {row}"
            );
            let revert = format!(
                "UPDATE {table} SET {column} = (SELECT v.value FROM values_before v WHERE v.id = {table}.{id}) \
                 WHERE {id} IN (SELECT v.id FROM values_before v); DROP TABLE values_before"
            );
            self.write(key, &sql, &revert, *changes).await;
        }
    }
}

both! {
    async fn columns_of_owners_apply_to_the_next_exchange(server: Server) {
        let mut fixture = Fixture::new(server).await;
        let permissions = ["a:b", "a:c"];
        let user = fixture.server().key_of(json!({ "type": "user", "id": "alice" }), &permissions).await;
        let member = json!({ "type": "user", "id": "bob", "organization_id": "acme" });
        let member = fixture.server().key_of(member, &permissions).await;
        let organization = fixture.server().key_of(json!({ "type": "organization", "id": "acme" }), &permissions).await;
        for (key, edits) in [(&user, OF_THE_USER), (&member, OF_THE_MEMBER), (&organization, OF_THE_ORGANIZATION)] {
            fixture.edit_each(key, edits).await;
        }
        for (key, rows) in [(&user, ROWS), (&member, MEMBER_ROWS)] {
            for (sql, revert) in rows {
                fixture.write(key, sql, revert, true).await;
            }
        }
    }

    async fn columns_of_keys_and_audiences_apply_to_the_next_exchange(server: Server) {
        let mut fixture = Fixture::new(server).await;
        let key = fixture.server().client_key(&["a:b", "a:c"]).await;
        fixture.server().permissions_for_all(&["a:b", "a:c"]).await;
        fixture.edit_each(&key, OF_THE_CLIENT).await;
    }
}
