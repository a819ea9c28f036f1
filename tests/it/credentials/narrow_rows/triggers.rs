//! Each trigger that invalidates what exchanges remember, or deletes a narrow row, after a change by
//! SQL of each deciding column.

use super::{DEFAULT_AUDIENCE, count, has_narrow_row};
use crate::support::{Key, Kind, Server, both};

/// Asserts that nothing is remembered after each of these statements.
async fn forgets_after<T: AsRef<str>>(server: &Server, statements: impl IntoIterator<Item = T>) {
    for statement in statements {
        server.database.sql("UPDATE event_chain_head SET authority_event = 'remembered'");
        server.database.sql(statement.as_ref());
        let remembered = count(server, "event_chain_head WHERE authority_event <> ''").await;
        assert_eq!(remembered, 0, "{}", statement.as_ref());
    }
}

/// Asserts that the narrow row of `key` is deleted after each of these statements.
async fn deletes_row_after<T: AsRef<str>>(server: &Server, key: &Key, statements: impl IntoIterator<Item = T>) {
    server.database.sql("CREATE TABLE saved_rows AS SELECT * FROM narrow_credentials");
    for statement in statements {
        server.database.sql(statement.as_ref());
        assert!(!has_narrow_row(server, key).await, "{}", statement.as_ref());
        let put_back = "INSERT INTO narrow_credentials SELECT * FROM saved_rows WHERE number NOT IN \
                        (SELECT number FROM narrow_credentials)";
        server.database.sql(put_back);
        assert!(has_narrow_row(server, key).await);
    }
}

/// Assigns a value to each column in turn.
fn updates<'a>(table: &'a str, rows: &'a str, values: &'a [(&str, &str)]) -> impl Iterator<Item = String> + 'a {
    values.iter().map(move |(column, value)| format!("UPDATE {table} SET {column} = {value} WHERE {rows}"))
}

/// Creates the role worker with one of two permissions.
async fn create_worker(server: &Server) {
    server.permissions_for_all(&["a:b", "a:c"]).await;
    server.role("worker", &["a:b"]).await;
    server.role("other", &[]).await;
}

both! {
    async fn audiences_insert(server: Server, "jobs=by_hand") {
        let rest = "record_bound, tag, master_version, created_at, version";
        forgets_after(&server, [format!(
            "INSERT INTO audiences (id, identifier, normalized_identifier, {rest}) \
             SELECT 'x', 'https://x.test', 'https://x.test', {rest} FROM audiences WHERE identifier = '{DEFAULT_AUDIENCE}'"
        )]).await;
    }

    async fn audiences_update(server: Server, "jobs=by_hand") {
        let values = [
            ("permissions", "'x'"), ("token_ttl", "7"), ("algorithm", "'x'"), ("typ", "'x'"), ("scope_claim", "'x'"),
            ("aud_claim", "'x'"), ("claims", "'{}'"), ("status", "'x'"), ("record_bound", "1 - record_bound"),
            ("built_in", "'x'"), ("created_at", "created_at + 1"), ("version", "version + 1"),
            ("identifier", "'https://x.test'"), ("id", "'x'"),
        ];
        // Each statement must find the row by something that the ones before have not changed.
        let row = format!("normalized_identifier = '{DEFAULT_AUDIENCE}'");
        forgets_after(&server, updates("audiences", &row, &values)).await;
    }

    async fn audiences_delete(server: Server, "jobs=by_hand") {
        forgets_after(&server, ["DELETE FROM audiences"]).await;
    }

    async fn service_clients_insert(server: Server, "jobs=by_hand") {
        server.client_key(&[]).await;
        let rest = "name, owner_type, permissions, metadata, created_at, created_by, version";
        let insert = format!("INSERT INTO service_clients (id, {rest}) SELECT 'x', {rest} FROM service_clients LIMIT 1");
        forgets_after(&server, [insert]).await;
    }

    async fn service_clients_update(server: Server, "jobs=by_hand") {
        let key = server.client_key(&[]).await;
        let row = format!("id = '{}'", key.client);
        let values = [("permissions", "'x:y'"), ("deleted_at", "1"), ("id", "'x'")];
        forgets_after(&server, updates("service_clients", &row, &values)).await;
    }

    async fn service_clients_delete(server: Server, "jobs=by_hand") {
        server.client_key(&[]).await;
        forgets_after(&server, ["DELETE FROM service_clients"]).await;
    }

    async fn permissions_insert(server: Server) {
        let columns = "name, assignable_to, built_in, created_at, version";
        forgets_after(&server, [format!("INSERT INTO permissions ({columns}) VALUES ('x:y', 'user', 0, 0, 1)")]).await;
    }

    async fn permissions_update(server: Server) {
        create_worker(&server).await;
        let values = [("assignable_to", "'user'"), ("name", "'x:y'")];
        forgets_after(&server, updates("permissions", "name = 'a:c'", &values)).await;
    }

    async fn permissions_delete(server: Server) {
        create_worker(&server).await;
        forgets_after(&server, ["DELETE FROM permissions WHERE name = 'a:c'"]).await;
    }

    async fn role_permissions_insert(server: Server) {
        create_worker(&server).await;
        let insert = "INSERT INTO role_permissions (role, permission) VALUES ('worker', 'a:c')";
        forgets_after(&server, [insert]).await;
    }

    async fn role_permissions_update(server: Server) {
        create_worker(&server).await;
        let values = [("permission", "'a:c'"), ("role", "'other'")];
        forgets_after(&server, updates("role_permissions", "role = 'worker'", &values)).await;
    }

    async fn role_permissions_delete(server: Server) {
        create_worker(&server).await;
        forgets_after(&server, ["DELETE FROM role_permissions WHERE role = 'worker'"]).await;
    }

    async fn api_keys_update(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&["a:b"]).await;
        let values = [
            ("owner_type", "'user'"), ("owner_id", "'x'"), ("user_id", "'x'"), ("organization_id", "'x'"),
            ("generation_id", "'x'"), ("creator_id", "'x'"), ("creator_generation_id", "'x'"), ("permissions", "''"),
            ("audiences", "'[]'"), ("metadata", "'{\"a\":1}'"), ("max_token_ttl", "7"), ("exchanges_per_minute", "7"),
            ("record_bound", "1"), ("suspended_at", "7"), ("revoked_at", "7"), ("deleted_at", "7"), ("expires_at", "7"),
            ("created_at", "7"), ("version", "version + 1"),
        ];
        let row = format!("id = '{}'", key.id);
        deletes_row_after(&server, &key, updates("api_keys", &row, &values)).await;
    }

    async fn credentials_update(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&["a:b"]).await;
        let bytes = if server.database.kind == Kind::Sqlite { "x'07'" } else { "'\\x07'" };
        let values = [
            ("encrypted_secret", bytes), ("lookup_digest", "'x'"), ("status_list", "'x'"), ("status_index", "7"),
            ("replaced_at", "7"), ("expires_at", "7"),
        ];
        let row = format!("key_id = '{}'", key.id);
        deletes_row_after(&server, &key, updates("credentials", &row, &values)).await;
    }
}

/// SQLite does not check references in the sessions of other programs, so nothing but the triggers
/// deletes the row.
mod sqlite_triggers {
    use super::*;

    async fn is_row_deleted_after(server: &Server, statement: &str) -> bool {
        let key = server.generic_key(&["a:b"]).await;
        assert!(has_narrow_row(server, &key).await);
        server.database.sql(&format!("PRAGMA foreign_keys = OFF; {}", statement.replace("$key", &key.id)));
        !has_narrow_row(server, &key).await
    }

    fn run(statement: &'static str) {
        Server::run(Kind::Sqlite, &["jobs=by_hand"], |server| async move {
            assert!(is_row_deleted_after(&server, statement).await, "{statement}");
        });
    }

    #[test]
    fn api_keys_insert() {
        run("REPLACE INTO api_keys SELECT * FROM api_keys WHERE id = '$key'");
    }

    #[test]
    fn api_keys_delete() {
        run("DELETE FROM api_keys WHERE id = '$key'");
    }

    #[test]
    fn credentials_insert() {
        run("REPLACE INTO credentials SELECT * FROM credentials WHERE key_id = '$key'");
    }

    #[test]
    fn credentials_delete() {
        run("DELETE FROM credentials WHERE key_id = '$key'");
    }
}

/// SQLite has no TRUNCATE.
mod truncation {
    use super::*;

    fn run(table: &'static str) {
        Server::run(Kind::Postgres, &["jobs=by_hand"], |server| async move {
            forgets_after(&server, [format!("TRUNCATE {table}")]).await;
        });
    }

    #[test]
    fn audiences_on_postgres() {
        run("audiences");
    }

    #[test]
    fn service_clients_on_postgres() {
        run("service_clients");
    }

    #[test]
    fn role_permissions_on_postgres() {
        run("role_permissions");
    }
}
