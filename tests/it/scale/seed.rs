//! Fills tables directly, with thousands of rows in the form in which the API stores them.

use crate::support::{Database, Kind};

#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub organizations: u32,
    pub users: u32,
    pub keys: u32,
    /// Events, idempotency keys and similar rows.
    pub others: u32,
}

/// The end of an id: 22 of the 26 characters of a ULID.
pub fn number(number: u32) -> String {
    format!("{number:022}")
}

struct Sql(Kind);

impl Sql {
    /// The numbers from 1 to `count`, as `n`.
    fn series(&self, count: u32) -> String {
        match self.0 {
            Kind::Sqlite => format!(
                "(WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s LIMIT {count}) SELECT n FROM s) AS s"
            ),
            Kind::Postgres => format!("generate_series(1, {count}) AS s (n)"),
        }
    }

    fn padded(&self, expression: &str, width: u32) -> String {
        match self.0 {
            Kind::Sqlite => format!("printf('%0{width}d', {expression})"),
            Kind::Postgres => format!("lpad(({expression})::TEXT, {width}, '0')"),
        }
    }

    fn ulid(&self, prefix: &str, expression: &str) -> String {
        format!("'{prefix}' || {}", self.padded(expression, 22))
    }

    const fn bytes(&self) -> &'static str {
        match self.0 {
            Kind::Sqlite => "X'00'",
            Kind::Postgres => "'\\x00'::BYTEA",
        }
    }
}

/// The kind of a key, from 0 to 7. It does not depend on the last digits alone, which select the
/// organization, so that each organization has keys of every kind.
const KIND: &str = "(n + n / 16) % 8";

pub fn fill(database: &Database, size: Size) {
    let sql = Sql(database.kind);
    let Size { organizations, users, keys, others } = size;
    directory(database, &sql, size);
    let organization_of_user = format!("(u - 1) % {organizations} + 1");
    let (key, client) = (sql.ulid("key_01JH", "n"), sql.ulid("svc_01JG", "o"));
    // One key in 101 is archived and one in 11 expires, in every organization. Of eight keys, four
    // are personal keys within an organization, two belong to an organization, one to a service
    // client, and one is unowned.
    let by_kind = |personal: &str, of_organization: &str, of_client: &str, generic: &str| {
        format!(
            "CASE WHEN {KIND} < 4 THEN {personal} WHEN {KIND} < 6 THEN {of_organization} \
             WHEN {KIND} = 6 THEN {of_client} ELSE {generic} END"
        )
    };
    database.sql(&format!(
        "INSERT INTO api_keys (id, name, owner_type, owner_id, organization_id, user_id, generation_id, permissions, metadata, \
         revoked_at, deleted_at, expires_at, record_bound, created_at, created_by, version) \
         SELECT {key}, 'Key ' || n, {}, {}, {}, {}, {}, 'a:b', '{{}}', \
         CASE WHEN n % 101 = 0 THEN 1732000000000 END, CASE WHEN n % 101 = 0 THEN 1732000000000 END, \
         CASE WHEN n % 11 = 1 THEN 4000000000000 END, 0, 1732000000000 + n, 'api_key:' || {creator}, 1 \
         FROM (SELECT n, u, CASE WHEN {KIND} < 4 THEN {organization_of_user} ELSE o END AS o \
         FROM (SELECT n, (n - 1) % {users} + 1 AS u, (n - 1) % {organizations} + 1 AS o FROM {}) AS numbered) AS given",
        by_kind("'user'", "'organization'", "'service_client'", "'none'"),
        by_kind("'user-' || u", "'org-' || o", &client, "NULL"),
        by_kind("'org-' || o", "'org-' || o", "'org-' || o", "NULL"),
        by_kind("'user-' || u", "NULL", "NULL", "NULL"),
        by_kind(&sql.ulid("inc_01JF", "u"), &sql.ulid("inc_01JD", "o"), &sql.ulid("inc_01JD", "o"), "NULL"),
        sql.series(keys),
        creator = sql.ulid("key_01JH", "n / 100 + 1"),
    ));
    database.sql(&format!(
        "INSERT INTO credentials (id, number, key_id, prefix, encrypted_secret, master_version, created_at, status_list, status_index) \
         SELECT {}, n, {key}, 'ks', {}, 1, 1732000000000 + n, {}, \
         CAST((n % 65536) AS BIGINT) * 40503 % 131072 FROM {}",
        sql.padded("n", 16),
        sql.bytes(),
        sql.ulid("stl_01JD", "n / 65536"),
        sql.series(keys),
    ));
    database.sql(&format!(
        "INSERT INTO credential_usage (credential_number, last_used_at, day, uses) SELECT n, 1733000000000, 20057, n % 3 FROM {} WHERE n % 3 < 2",
        sql.series(keys),
    ));
    database.sql(
        "INSERT INTO narrow_credentials (number, credential_id, key_id, version, encrypted_secret, master_version, \
         key_expires_at, status_list, status_index, entitlement, owner_type, owner_id, user_id, organization_id, \
         generation_id, created_at) \
         SELECT c.number, c.id, k.id, k.version, c.encrypted_secret, c.master_version, k.expires_at, c.status_list, \
         c.status_index, 1, k.owner_type, k.owner_id, k.user_id, k.organization_id, k.generation_id, k.created_at \
         FROM credentials c JOIN api_keys k ON k.id = c.key_id WHERE c.number BETWEEN 1 AND 10000000",
    );
    // Each list is half full, as when a new list replaces it.
    database.sql(&format!(
        "INSERT INTO status_lists (id, kind, size, used, created_at) SELECT {}, 'credential', 131072, 65536, 1732000000000 FROM {}",
        sql.ulid("stl_01JD", "n - 1"),
        sql.series(keys / 65536 + 1),
    ));
    database.sql(&format!(
        "INSERT INTO events (seq, id, kind, at, actor, subject, organization_id, data, prev_hash) \
         SELECT n + 1000, {}, CASE WHEN n % 3 = 0 THEN 'user.created' WHEN n % 3 = 1 THEN 'user.updated' ELSE 'api_key.created' END, \
         1732000000000 + n, 'api_key:' || {key}, 'user:user-' || n, 'org-' || (n % {organizations}), '{{}}', '{}' FROM {}",
        sql.ulid("evt_01JH", "n"),
        "0".repeat(64),
        sql.series(others),
    ));
    database.sql(&format!("UPDATE event_chain_head SET seq = 1000 + {others}"));
    database.sql(&format!(
        "INSERT INTO idempotency_keys (actor, idempotency_key, request_hash, object_id, created_at) \
         SELECT 'api_key:' || {key}, 'key-' || n, 'hash', 'id', 4000000000000 + n FROM {series}; \
         INSERT INTO rate_limit_windows (key_id, minute, exchanges) SELECT {key}, 1, 1 FROM {series}; \
         INSERT INTO token_statuses (jti, list_id, list_index, credential_id, key_id, exp) \
         SELECT {key}, (SELECT MIN(id) FROM status_lists), n, {key}, {key}, 1800000000 FROM {series}; \
         INSERT INTO revoked_tokens (jti, key_id, expires_at, revoked_at) SELECT {key}, {key}, 1800000000000 + n, 1732000000000 FROM {series}; \
         INSERT INTO key_usage (key_id, day, uses) SELECT {key}, 40000, 1 FROM {series}; \
         INSERT INTO portal_sessions (id, kind, encrypted_secret, master_version, user_id, organization_id, generation_id, opened_by, created_at, expires_at) \
         SELECT 'pss_' || {}, 'token', {}, 1, 'user-' || n, NULL, {}, {key}, 1732000000000, 4000000000000 + n FROM {series}",
        sql.padded("n", 16),
        sql.bytes(),
        sql.ulid("inc_01JF", "n"),
        series = sql.series(others),
    ));
    database.sql(&format!(
        "INSERT INTO webhook_deliveries (id, webhook_id, event_seq, event_id, event_type, state, attempts, next_attempt_at, created_at, finished_at) \
         SELECT {}, webhooks.id, n + 1000, {}, 'user.created', CASE WHEN n % 50 = 0 THEN 'waiting' ELSE 'delivered' END, 1, \
         CASE WHEN n % 50 = 0 THEN 4000000000000 END, 1732000000000, CASE WHEN n % 50 > 0 THEN 4000000000000 END FROM webhooks, {}",
        sql.ulid("whd_01JH", "n"),
        sql.ulid("evt_01JH", "n"),
        sql.series(others),
    ));
    // One record per user, and half of them within an organization.
    let organizations = size.organizations;
    database.sql(&format!(
        "INSERT INTO access_records (id, name, organization_id, generation_id, created_at, created_by, granted_by, version, tag, master_version) \
         SELECT {record}, 'Record ' || n, CASE WHEN n % 2 = 0 THEN 'org-' || o END, CASE WHEN n % 2 = 0 THEN {generation_id} END, \
         1732000000000 + n, 'cli', 'cli', 1, {tag}, 1 FROM (SELECT n, (n - 1) % {organizations} + 1 AS o FROM {series}) AS given; \
         INSERT INTO access_record_principals (record_id, unique_id, kind, principal_id, position) \
         SELECT {record}, {unique_id}, 'user', 'user-' || n, 0 FROM {series}; \
         INSERT INTO access_record_admins (record_id, generation_id, user_id, position) \
         SELECT {record}, {unique_id}, 'user-' || n, 0 FROM {series}; \
         INSERT INTO access_record_statements (record_id, position, resources) SELECT {record}, 0, '/a/*' FROM {series}; \
         INSERT INTO access_record_statement_roles (record_id, position, role) SELECT {record}, 0, 'editor' FROM {series}; \
         INSERT INTO access_record_statement_roles (record_id, position, role) \
         SELECT {record}, 0, 'role-' || (n % {ROLES} + 1) FROM {series}",
        record = sql.ulid("rec_01JH", "n"),
        tag = sql.bytes(),
        generation_id = sql.ulid("inc_01JD", "o"),
        unique_id = sql.ulid("inc_01JE", "n"),
        series = sql.series(size.users),
    ));
    database.sql("ANALYZE");
}

/// Roles besides `editor`, of which each user, member and statement has one.
const ROLES: u32 = 50;

fn other_role(user_id: &str) -> String {
    format!("'role-' || (CAST(substr({user_id}, 6) AS INTEGER) % {ROLES} + 1)")
}

fn directory(database: &Database, sql: &Sql, Size { organizations, users, .. }: Size) {
    let inserts = [
        format!(
            "INSERT INTO organizations (id, generation_id, name, metadata, created_at, version) \
             SELECT 'org-' || n, {}, 'Organization ' || n, '{{}}', 1732000000000 + n, 1 FROM {}",
            sql.ulid("inc_01JD", "n"),
            sql.series(organizations),
        ),
        format!(
            "INSERT INTO users (id, generation_id, profile, metadata, created_at, version) \
             SELECT 'user-' || n, {}, '{{\"email\":\"user-' || n || '@acme.example\"}}', '{{}}', 1732000000000 + n, 1 FROM {}",
            sql.ulid("inc_01JE", "n"),
            sql.series(users),
        ),
        format!(
            "INSERT INTO members (organization_id, user_id, generation_id, organization_generation_id, metadata, created_at, version) \
             SELECT 'org-' || o, 'user-' || n, {}, {}, '{{}}', 1732000000000 + n, 1 \
             FROM (SELECT n, (n - 1) % {organizations} + 1 AS o FROM {}) AS given",
            sql.ulid("inc_01JF", "n"),
            sql.ulid("inc_01JD", "o"),
            sql.series(users),
        ),
        format!(
            "INSERT INTO roles (name, created_at, version) SELECT 'role-' || n, 1732000000000, 1 FROM {}",
            sql.series(ROLES)
        ),
        "INSERT INTO user_roles (user_id, role) SELECT id, 'editor' FROM users".to_owned(),
        format!("INSERT INTO user_roles (user_id, role) SELECT id, {} FROM users", other_role("id")),
        "INSERT INTO member_roles (organization_id, user_id, role) SELECT organization_id, user_id, 'editor' FROM members"
            .to_owned(),
        format!(
            "INSERT INTO member_roles (organization_id, user_id, role) SELECT organization_id, user_id, {} FROM members",
            other_role("user_id")
        ),
        format!(
            "INSERT INTO service_clients (id, name, owner_type, permissions, metadata, created_at, created_by, version, organization_id, generation_id) \
             SELECT {}, 'Client ' || n, 'organization', 'a:b', '{{}}', 1732000000000 + n, 'cli', 1, 'org-' || n, {} FROM {}",
            sql.ulid("svc_01JG", "n"),
            sql.ulid("inc_01JD", "n"),
            sql.series(organizations),
        ),
    ];
    for insert in inserts {
        database.sql(&insert);
    }
}
