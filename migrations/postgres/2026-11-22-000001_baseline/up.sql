-- Times are milliseconds since 1970-01-01 UTC. A set of names in one column has one space between the names; other structured
-- values are JSON. Text that is read in the order of its bytes has the collation "C".

-- The database clock. now() does not advance within a transaction.
CREATE FUNCTION keyswap_now() RETURNS BIGINT LANGUAGE SQL VOLATILE
AS 'SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT';


-- Encryption

CREATE TABLE master_keys (
    version INTEGER NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    -- incoming (replicas load it), current (encrypts), retiring (rows may still need it) or retired.
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    activated_at BIGINT,
    retired_at BIGINT
);
CREATE UNIQUE INDEX master_keys_one_current ON master_keys (state) WHERE state = 'current';
CREATE UNIQUE INDEX master_keys_one_incoming ON master_keys (state) WHERE state = 'incoming';


-- Access: permissions, roles, audiences and access records

CREATE TABLE permissions (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    description TEXT,
    -- The types of owners whose keys may carry the permission.
    assignable_to TEXT NOT NULL,
    built_in INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE roles (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    description TEXT,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE role_permissions (
    role TEXT COLLATE "C" NOT NULL REFERENCES roles (name) ON DELETE CASCADE,
    permission TEXT COLLATE "C" NOT NULL REFERENCES permissions (name),
    PRIMARY KEY (role, permission)
);
CREATE INDEX role_permissions_permission ON role_permissions (permission, role);

CREATE VIEW roles_with_permissions AS
SELECT r.name, r.description, r.created_at, r.version, COALESCE((SELECT string_agg(g.permission, ' ') FROM role_permissions g WHERE g.role = r.name), '') AS permissions
FROM roles r;

CREATE TABLE audiences (
    id TEXT NOT NULL PRIMARY KEY,
    identifier TEXT NOT NULL,
    -- The identifier in lower case, without a default port, dot segments and final slashes. Unique, so that two audiences cannot be confused.
    normalized_identifier TEXT NOT NULL,
    -- The accepted permissions. NULL: all of the product, or for the built-in management audience all for management.
    permissions TEXT,
    token_ttl BIGINT,
    -- The token profile. NULL in these columns is the default.
    algorithm TEXT,
    typ TEXT,
    scope_claim TEXT,
    aud_claim TEXT,
    -- A JSON object: claims, and where the value of each is taken from.
    claims TEXT,
    -- Whether each token has a status list index of its own (token) or that of its credential.
    status TEXT,
    -- Whether its tokens have authorization_details instead of a scope.
    record_bound INTEGER NOT NULL,
    built_in TEXT,
    -- Authenticates the row under the master key.
    tag BYTEA NOT NULL,
    master_version INTEGER NOT NULL CONSTRAINT audiences_master REFERENCES master_keys (version),
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX audiences_identifier ON audiences (identifier);
CREATE UNIQUE INDEX audiences_normalized_identifier ON audiences (normalized_identifier);
CREATE UNIQUE INDEX audiences_built_in ON audiences (built_in);

CREATE TABLE access_records (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    organization_id TEXT COLLATE "C",
    -- The generation of the organization: a record of a deleted organization does not come back with its id.
    generation_id TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    -- Who granted its statements: a user, or an operator who created it or changed what it grants.
    granted_by TEXT NOT NULL,
    version BIGINT NOT NULL,
    -- Authenticates the record with its principals, admins and statements.
    tag BYTEA NOT NULL,
    master_version INTEGER NOT NULL CONSTRAINT access_records_master REFERENCES master_keys (version)
);
CREATE INDEX access_records_organization ON access_records (organization_id, id);

CREATE TABLE access_record_principals (
    record_id TEXT COLLATE "C" NOT NULL,
    -- An identifier that no other principal ever has: the generation of a user or membership, or the id of a client or key.
    unique_id TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    principal_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (record_id, unique_id)
);
CREATE INDEX access_record_principals_unique_id ON access_record_principals (unique_id, record_id);

CREATE TABLE access_record_admins (
    record_id TEXT COLLATE "C" NOT NULL,
    generation_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (record_id, generation_id)
);
CREATE INDEX access_record_admins_generation ON access_record_admins (generation_id, record_id);

CREATE TABLE access_record_statements (
    record_id TEXT COLLATE "C" NOT NULL,
    position INTEGER NOT NULL,
    resources TEXT NOT NULL,
    PRIMARY KEY (record_id, position)
);

-- A role that only records of deleted organizations use can be deleted.
CREATE TABLE access_record_statement_roles (
    record_id TEXT COLLATE "C" NOT NULL,
    position INTEGER NOT NULL,
    role TEXT COLLATE "C" NOT NULL REFERENCES roles (name) ON DELETE CASCADE,
    PRIMARY KEY (record_id, position, role),
    FOREIGN KEY (record_id, position) REFERENCES access_record_statements (record_id, position) ON DELETE CASCADE
);
CREATE INDEX access_record_statement_roles_role ON access_record_statement_roles (role, record_id);

-- The parts of a record as JSON, each with its position, so that one statement reads a whole record. The reader puts them in order.
-- Statements have the current permissions of their roles.
CREATE VIEW access_record_parts AS
SELECT
    a.id AS record_id,
    COALESCE((
        SELECT json_agg(json_build_array(p.position, json_build_object('kind', p.kind, 'id', p.principal_id, 'unique_id', p.unique_id)))::TEXT
        FROM access_record_principals p WHERE p.record_id = a.id
    ), '[]') AS principals,
    COALESCE((
        SELECT json_agg(json_build_array(d.position, json_build_object('user', d.user_id, 'generation_id', d.generation_id)))::TEXT
        FROM access_record_admins d WHERE d.record_id = a.id
    ), '[]') AS admins,
    COALESCE((
        SELECT json_agg(json_build_array(
            t.position,
            json_build_object(
                'resources', t.resources,
                'roles', COALESCE((
                    SELECT string_agg(q.role, ' ') FROM access_record_statement_roles q
                    WHERE q.record_id = t.record_id AND q.position = t.position
                ), ''),
                'permissions', COALESCE((
                    SELECT string_agg(g.permission, ' ') FROM access_record_statement_roles q JOIN role_permissions g ON g.role = q.role
                    WHERE q.record_id = t.record_id AND q.position = t.position
                ), '')
            )
        ))::TEXT
        FROM access_record_statements t WHERE t.record_id = a.id
    ), '[]') AS statements
FROM access_records a;


-- Directory: the organizations, users and members of the product. The product chooses the ids and may use an id again after a
-- deletion. A generation is never used again: keys store the generation of their owner, so they do not come back with its id.

CREATE TABLE organizations (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    generation_id TEXT COLLATE "C" NOT NULL,
    name TEXT,
    metadata TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX organizations_generation ON organizations (generation_id);

CREATE TABLE users (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    generation_id TEXT COLLATE "C" NOT NULL,
    blocked_at BIGINT,
    locked_at BIGINT,
    lock_reason TEXT,
    profile TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_generation ON users (generation_id);
CREATE INDEX users_blocked ON users (id) WHERE blocked_at IS NOT NULL OR locked_at IS NOT NULL;

-- Roles outside any organization.
CREATE TABLE user_roles (
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT COLLATE "C" NOT NULL REFERENCES roles (name),
    PRIMARY KEY (user_id, role)
);
CREATE INDEX user_roles_role ON user_roles (role, user_id);

CREATE VIEW users_with_roles AS
SELECT u.id, u.generation_id, u.blocked_at, u.locked_at, u.lock_reason, u.profile, u.metadata, u.created_at, u.version, COALESCE((SELECT string_agg(q.role, ' ') FROM user_roles q WHERE q.user_id = u.id), '') AS roles FROM users u;

-- A row is valid while the organization has the generation that it names. A job deletes the rows of deleted organizations; those
-- of a deleted user are deleted with the user.
CREATE TABLE members (
    organization_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    generation_id TEXT COLLATE "C" NOT NULL,
    organization_generation_id TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (organization_id, user_id)
);
CREATE UNIQUE INDEX members_generation ON members (generation_id);
CREATE INDEX members_user ON members (user_id);
CREATE INDEX members_page ON members (organization_id, generation_id);

CREATE TABLE member_roles (
    organization_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL REFERENCES roles (name),
    PRIMARY KEY (organization_id, user_id, role),
    FOREIGN KEY (organization_id, user_id) REFERENCES members (organization_id, user_id) ON DELETE CASCADE
);
CREATE INDEX member_roles_role ON member_roles (role, organization_id, user_id);

CREATE VIEW members_with_roles AS
SELECT m.organization_id, m.user_id, m.generation_id, m.organization_generation_id, m.metadata, m.created_at, m.version, COALESCE((
    SELECT string_agg(q.role, ' ') FROM member_roles q WHERE q.organization_id = m.organization_id AND q.user_id = m.user_id
), '') AS roles
FROM members m;

-- Owners that were deleted and whose keys do not all have their events yet. The keys stopped working with the deletion.
CREATE TABLE owner_deletions (
    id TEXT NOT NULL PRIMARY KEY,
    cause TEXT NOT NULL,
    user_id TEXT,
    organization_id TEXT,
    service_client_id TEXT,
    generation_id TEXT,
    -- The last key that was examined.
    key_cursor TEXT NOT NULL,
    created_at BIGINT NOT NULL
);


-- API keys and service clients

CREATE TABLE service_clients (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    owner_type TEXT NOT NULL,
    -- The owner and its generation: a membership, a user outside any organization, or an organization. NULL for the account.
    user_id TEXT,
    organization_id TEXT,
    generation_id TEXT,
    permissions TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    deleted_at BIGINT,
    version BIGINT NOT NULL
);
CREATE INDEX service_clients_organization ON service_clients (organization_id, id);
CREATE INDEX service_clients_user ON service_clients (user_id, id);

CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    owner_type TEXT NOT NULL,
    owner_id TEXT,
    -- The user or organization behind the owner, and its generation. NULL for the account.
    user_id TEXT,
    organization_id TEXT,
    generation_id TEXT,
    -- The member who created a key of an organization.
    creator_id TEXT,
    creator_generation_id TEXT,
    permissions TEXT NOT NULL,
    -- A JSON array of identifiers. NULL: all audiences.
    audiences TEXT,
    metadata TEXT NOT NULL,
    max_token_ttl BIGINT,
    exchanges_per_minute INTEGER,
    -- Whether its tokens have authorization_details instead of a scope.
    record_bound INTEGER NOT NULL,
    suspended_at BIGINT,
    revoked_at BIGINT,
    -- Archived: revoked, and omitted from lists.
    deleted_at BIGINT,
    expires_at BIGINT,
    -- How many days before the expiration the last notification was sent; 0 once the event for the end is recorded.
    notified_days INTEGER,
    -- Why the key ended with its owner, once the event for its end is recorded.
    ended_with TEXT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    -- The API key that it was created with, also on behalf of a user or in a portal session. NULL: created without a key.
    creator_key_id TEXT,
    version BIGINT NOT NULL
);
CREATE INDEX api_keys_owner ON api_keys (owner_id, id);
CREATE INDEX api_keys_organization ON api_keys (organization_id, id);
CREATE INDEX api_keys_user ON api_keys (user_id, id);
CREATE INDEX api_keys_creator ON api_keys (creator_id, id) WHERE creator_id IS NOT NULL;
CREATE INDEX api_keys_created_by ON api_keys (created_by, id);
CREATE INDEX api_keys_creator_key ON api_keys (creator_key_id, id) WHERE creator_key_id IS NOT NULL;
CREATE INDEX api_keys_expires ON api_keys (expires_at) WHERE expires_at IS NOT NULL;
-- Begins with the last notification, so that keys that have theirs are not read again.
CREATE INDEX api_keys_notifications ON api_keys (notified_days, expires_at) WHERE expires_at IS NOT NULL AND revoked_at IS NULL;
-- Keys that are not in force are few among many, and are read alone.
CREATE INDEX api_keys_archived ON api_keys (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX api_keys_revoked ON api_keys (id) WHERE revoked_at IS NOT NULL;
CREATE INDEX api_keys_suspended ON api_keys (id) WHERE suspended_at IS NOT NULL;
CREATE INDEX api_keys_ended ON api_keys (id) WHERE ended_with IS NOT NULL;
-- For quotas. revoked_at and ended_with are always NULL here, and user_id in the second index. SQLite needs them in the index to
-- count without reading the table.
CREATE INDEX api_keys_user_in_force ON api_keys (user_id, generation_id, expires_at, revoked_at, ended_with)
WHERE user_id IS NOT NULL AND revoked_at IS NULL AND ended_with IS NULL;
CREATE INDEX api_keys_owner_in_force ON api_keys (owner_id, generation_id, expires_at, revoked_at, ended_with, user_id)
WHERE owner_id IS NOT NULL AND user_id IS NULL AND revoked_at IS NULL AND ended_with IS NULL;
CREATE INDEX api_keys_organization_in_force ON api_keys (organization_id, expires_at, revoked_at, ended_with)
WHERE organization_id IS NOT NULL AND revoked_at IS NULL AND ended_with IS NULL;

CREATE TABLE credentials (
    id TEXT NOT NULL PRIMARY KEY,
    -- The last ten characters of the id as a base62 number.
    number BIGINT NOT NULL,
    key_id TEXT NOT NULL REFERENCES api_keys (id),
    prefix TEXT NOT NULL,
    encrypted_secret BYTEA NOT NULL,
    master_version INTEGER NOT NULL CONSTRAINT credentials_master REFERENCES master_keys (version),
    -- An imported key is found by this keyed digest, and is displayed in this form. NULL for native keys.
    lookup_digest TEXT,
    masked_value TEXT,
    -- The index of its tokens, which is assigned at the end of the change that creates the credential.
    status_list TEXT,
    status_index INTEGER,
    created_at BIGINT NOT NULL,
    -- When it was replaced, and the end of its grace. NULL for the credential in use.
    replaced_at BIGINT,
    expires_at BIGINT
);
CREATE UNIQUE INDEX credentials_number ON credentials (number);
CREATE INDEX credentials_key ON credentials (key_id);
-- Partial, because a planner with statistics ignores an index that is mostly NULL.
CREATE UNIQUE INDEX credentials_lookup ON credentials (lookup_digest) WHERE lookup_digest IS NOT NULL;
CREATE UNIQUE INDEX credentials_status ON credentials (status_list, status_index) WHERE status_list IS NOT NULL;
CREATE INDEX credentials_expires ON credentials (expires_at) WHERE expires_at IS NOT NULL;
-- Rows are re-encrypted in the order of their ids.
CREATE INDEX credentials_master ON credentials (master_version, id);

-- The uses of each credential on the day of the last one; those of earlier days are in key_usage. Updated often: the rows
-- are small, and pages have room for their new versions. No index contains what changes.
CREATE TABLE credential_usage (
    credential_number BIGINT NOT NULL PRIMARY KEY,
    last_used_at BIGINT NOT NULL,
    -- Days since 1970-01-01 UTC.
    day BIGINT NOT NULL,
    uses BIGINT NOT NULL
) WITH (fillfactor = 60);

-- Exchanges and validations of days that are over, by day (days since 1970-01-01 UTC).
CREATE TABLE key_usage (
    key_id TEXT NOT NULL,
    day BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    PRIMARY KEY (key_id, day)
);
CREATE INDEX key_usage_day ON key_usage (day);

-- Exchanges of keys with a rate limit, in the current minute.
CREATE TABLE rate_limit_windows (
    key_id TEXT NOT NULL PRIMARY KEY,
    minute BIGINT NOT NULL,
    exchanges BIGINT NOT NULL
);

-- Tokens that were revoked individually, until no verifier accepts them.
CREATE TABLE revoked_tokens (
    jti TEXT NOT NULL PRIMARY KEY,
    key_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL
);
CREATE INDEX revoked_tokens_expires ON revoked_tokens (expires_at);

-- A key with all that decides about an exchange, other than the audiences.
CREATE VIEW key_owner_status AS
SELECT
    k.id AS key_id,
    k.name,
    k.description,
    k.owner_type,
    k.owner_id,
    k.organization_id,
    k.permissions,
    k.audiences,
    k.metadata,
    k.max_token_ttl,
    k.suspended_at,
    k.revoked_at,
    k.deleted_at,
    k.expires_at,
    k.created_at,
    k.created_by,
    k.version,
    k.user_id,
    k.generation_id,
    k.creator_id,
    k.creator_generation_id,
    k.exchanges_per_minute,
    k.record_bound,
    s.permissions AS client_permissions,
    s.deleted_at AS client_deleted_at,
    s.metadata AS client_metadata,
    u.generation_id AS user_generation_id,
    -- By the product or by an operator.
    COALESCE(u.blocked_at, u.locked_at) AS user_blocked_at,
    u.profile AS user_profile,
    u.metadata AS user_metadata,
    m.generation_id AS member_generation_id,
    m.organization_generation_id AS member_organization_generation_id,
    o.generation_id AS organization_generation_id,
    o.metadata AS organization_metadata,
    c.generation_id AS creator_member_generation_id,
    c.organization_generation_id AS creator_member_organization_generation_id,
    CASE WHEN k.creator_id IS NOT NULL THEN (SELECT COALESCE(v.blocked_at, v.locked_at) FROM users v WHERE v.id = k.creator_id) END AS creator_blocked_at,
    CASE
        -- The permissions of this key that may be assigned to keys of an organization.
        WHEN k.user_id IS NULL AND k.organization_id IS NOT NULL THEN (
            SELECT string_agg(p.name, ' ') FROM permissions p
            WHERE p.name = ANY (string_to_array(k.permissions, ' ')) AND ' ' || p.assignable_to || ' ' LIKE '% organization %'
        )
        WHEN k.organization_id IS NOT NULL THEN (
            SELECT string_agg(g.permission, ' ') FROM member_roles q JOIN role_permissions g ON g.role = q.role
            WHERE q.organization_id = k.organization_id AND q.user_id = k.user_id
        )
        WHEN k.user_id IS NOT NULL THEN (
            SELECT string_agg(g.permission, ' ') FROM user_roles q JOIN role_permissions g ON g.role = q.role WHERE q.user_id = k.user_id
        )
    END AS owner_permissions,
    -- Whether an access record names the key or its owner. Few do, and only these are read.
    CASE WHEN EXISTS (SELECT 1 FROM access_record_principals y WHERE y.unique_id = k.id)
        OR EXISTS (SELECT 1 FROM access_record_principals y WHERE y.unique_id = CASE k.owner_type WHEN 'service_client' THEN k.owner_id WHEN 'user' THEN k.generation_id END)
    THEN 1 ELSE 0 END AS has_access_records
FROM api_keys k
LEFT JOIN service_clients s ON k.owner_type = 'service_client' AND s.id = k.owner_id
LEFT JOIN users u ON u.id = k.user_id
LEFT JOIN members m ON m.organization_id = k.organization_id AND m.user_id = k.user_id
LEFT JOIN organizations o ON o.id = k.organization_id
LEFT JOIN members c ON c.organization_id = k.organization_id AND c.user_id = k.creator_id;


-- Exchange: presented keys by result and hour (hours since 1970-01-01 UTC)

CREATE TABLE exchange_counts (
    hour BIGINT NOT NULL,
    result TEXT NOT NULL,
    exchanges BIGINT NOT NULL,
    PRIMARY KEY (hour, result)
);


-- Status lists (draft-ietf-oauth-status-list). The size of a list never changes, and an index is never assigned twice.

CREATE TABLE status_lists (
    id TEXT NOT NULL PRIMARY KEY,
    -- What has indexes in it: credential or token.
    kind TEXT NOT NULL,
    size INTEGER NOT NULL,
    used INTEGER NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX status_lists_newest ON status_lists (kind, id);

-- Tokens that have an index of their own.
CREATE TABLE token_statuses (
    jti TEXT NOT NULL PRIMARY KEY,
    list_id TEXT NOT NULL,
    list_index INTEGER NOT NULL,
    credential_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    -- Seconds since 1970-01-01 UTC, as in the token.
    exp BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX token_statuses_index ON token_statuses (list_id, list_index);
CREATE INDEX token_statuses_credential ON token_statuses (credential_id);
CREATE INDEX token_statuses_revoked ON token_statuses (list_id, list_index) WHERE revoked_at IS NOT NULL;
CREATE INDEX token_statuses_exp ON token_statuses (list_id, exp);

-- The signed lists: every replica serves the same bytes.
CREATE TABLE status_list_tokens (
    list_id TEXT NOT NULL PRIMARY KEY,
    jwt TEXT NOT NULL,
    kid TEXT NOT NULL,
    -- A digest of the statuses and parameters. A list with the same digest is not signed again.
    content_digest TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

-- One row: the state of the last build.
CREATE TABLE status_list_build (
    id INTEGER NOT NULL PRIMARY KEY,
    -- The last event that the lists include.
    event_cursor BIGINT NOT NULL,
    -- When the next key or credential expires.
    next_expiration_at BIGINT,
    version BIGINT NOT NULL,
    -- How many tokens were revoked individually, and how many of them the lists include. A revocation changes only the first, so it
    -- does not conflict with a build.
    revoked_token_count BIGINT NOT NULL,
    included_revoked_token_count BIGINT NOT NULL
);
INSERT INTO status_list_build (id, event_cursor, next_expiration_at, version, revoked_token_count, included_revoked_token_count) VALUES (1, -1, NULL, 1, 0, 0);


-- Signing: keys, replicas and the clock monitor

CREATE TABLE signing_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    algorithm TEXT NOT NULL,
    state TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    -- NULL once the private key is destroyed.
    encrypted_private_key BYTEA,
    master_version INTEGER CONSTRAINT signing_keys_master REFERENCES master_keys (version),
    published_at BIGINT NOT NULL,
    -- When another transaction first read the publication. Propagation delays count from here, however long the commit took.
    seen_at BIGINT,
    activated_at BIGINT,
    retired_at BIGINT,
    removed_at BIGINT,
    destroyed_at BIGINT,
    -- The longest lifetime of its tokens: a lower tokens.max_ttl shortens no token that was issued before.
    longest_ttl BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (algorithm) WHERE state = 'active';
CREATE UNIQUE INDEX signing_keys_one_next ON signing_keys (algorithm) WHERE state = 'next';

-- One row: which rows of signing_keys Keyswap itself has written, authenticated under the master key.
CREATE TABLE signing_key_manifest (
    id TEXT NOT NULL PRIMARY KEY CHECK (id = 'signing_keys'),
    -- Increases with every change. The rollback guard remembers it.
    counter BIGINT NOT NULL,
    -- A JSON object: the digest of each row, by kid.
    digests TEXT NOT NULL,
    -- NULL before the first signing key.
    tag BYTEA,
    master_version INTEGER CONSTRAINT signing_key_manifest_master REFERENCES master_keys (version)
);
INSERT INTO signing_key_manifest (id, counter, digests) VALUES ('signing_keys', 0, '{}');

-- How many tokens each key has signed, by the minute in which they expire.
CREATE TABLE signing_key_tokens (
    kid TEXT NOT NULL,
    ends_at BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    PRIMARY KEY (kid, ends_at)
);
CREATE INDEX signing_key_tokens_ends_at ON signing_key_tokens (ends_at);

-- Servers that run or ran recently: the keys that they know and their settings. Where settings differ, the strictest apply.
CREATE TABLE replicas (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    last_heartbeat_at BIGINT NOT NULL,
    -- The kids in its JWKS.
    published_kids TEXT NOT NULL,
    -- The fingerprints of the master keys that it has loaded.
    master_key_fingerprints TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    rotation_period BIGINT,
    verifier_cache_ttl BIGINT NOT NULL,
    replica_staleness BIGINT NOT NULL,
    verifier_leeway BIGINT NOT NULL,
    clock_skew BIGINT NOT NULL,
    max_ttl BIGINT NOT NULL
);

-- The heartbeats of each server, each of which proves that the database can write. Only PostgreSQL has rows.
CREATE TABLE replica_heartbeats (
    replica_id TEXT NOT NULL PRIMARY KEY,
    heartbeats BIGINT NOT NULL
) WITH (fillfactor = 50);

-- One row: the last observed time, and since when the clock has been steady.
CREATE TABLE clock_monitor (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    last_observed_at BIGINT NOT NULL,
    stable_since BIGINT NOT NULL
);
INSERT INTO clock_monitor (id, last_observed_at, stable_since) VALUES (1, 0, 0);


-- Events: the audit log

CREATE TABLE events (
    seq BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    on_behalf_of TEXT,
    subject TEXT NOT NULL,
    organization_id TEXT,
    cause TEXT,
    request_id TEXT,
    address TEXT,
    data TEXT NOT NULL,
    prev_hash TEXT NOT NULL
);
CREATE UNIQUE INDEX events_id ON events (id);
CREATE INDEX events_kind ON events (kind, seq);
CREATE INDEX events_actor ON events (actor, seq);
CREATE INDEX events_subject ON events (subject, seq);
CREATE INDEX events_organization ON events (organization_id, seq);

-- One row, locked last in every change, so that the order of the events is that of the commits.
CREATE TABLE event_chain_head (
    id INTEGER NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL,
    -- The last event of a change of what exchanges remember. Empty: nothing is remembered.
    authority_event TEXT NOT NULL
);
INSERT INTO event_chain_head (id, seq, hash, authority_event) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000', '');

-- What exchanges remember of these tables is no longer valid after a change. The service then writes the id of the event of the change
-- into authority_event; the empty text, after a change by others, means that nothing is remembered. The service itself locks the row
-- last, so the trigger does not write in its sessions.
CREATE FUNCTION reset_authority_event() RETURNS TRIGGER LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF COALESCE(current_setting('keyswap.session', TRUE), '') = '' THEN
        UPDATE event_chain_head SET authority_event = '';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audiences_authority_change AFTER INSERT OR DELETE ON audiences FOR EACH ROW EXECUTE FUNCTION reset_authority_event();
CREATE TRIGGER audiences_authority_truncate AFTER TRUNCATE ON audiences FOR EACH STATEMENT EXECUTE FUNCTION reset_authority_event();
CREATE TRIGGER audiences_authority_update AFTER UPDATE ON audiences FOR EACH ROW WHEN (
    OLD.identifier IS DISTINCT FROM NEW.identifier
    OR OLD.permissions IS DISTINCT FROM NEW.permissions
    OR OLD.token_ttl IS DISTINCT FROM NEW.token_ttl
    OR OLD.algorithm IS DISTINCT FROM NEW.algorithm
    OR OLD.typ IS DISTINCT FROM NEW.typ
    OR OLD.scope_claim IS DISTINCT FROM NEW.scope_claim
    OR OLD.aud_claim IS DISTINCT FROM NEW.aud_claim
    OR OLD.claims IS DISTINCT FROM NEW.claims
    OR OLD.status IS DISTINCT FROM NEW.status
    OR OLD.record_bound IS DISTINCT FROM NEW.record_bound
    OR OLD.built_in IS DISTINCT FROM NEW.built_in
    OR OLD.created_at IS DISTINCT FROM NEW.created_at
    OR OLD.version IS DISTINCT FROM NEW.version
    OR OLD.id IS DISTINCT FROM NEW.id
) EXECUTE FUNCTION reset_authority_event();
CREATE TRIGGER service_clients_authority_change AFTER INSERT OR DELETE ON service_clients FOR EACH ROW EXECUTE FUNCTION reset_authority_event();
CREATE TRIGGER service_clients_authority_truncate AFTER TRUNCATE ON service_clients FOR EACH STATEMENT EXECUTE FUNCTION reset_authority_event();
CREATE TRIGGER service_clients_authority_update AFTER UPDATE ON service_clients FOR EACH ROW WHEN (
    OLD.id IS DISTINCT FROM NEW.id
    OR OLD.permissions IS DISTINCT FROM NEW.permissions
    OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at
) EXECUTE FUNCTION reset_authority_event();
CREATE TRIGGER permissions_authority_change AFTER INSERT OR DELETE ON permissions FOR EACH ROW EXECUTE FUNCTION reset_authority_event();
CREATE TRIGGER permissions_authority_truncate AFTER TRUNCATE ON permissions FOR EACH STATEMENT EXECUTE FUNCTION reset_authority_event();
CREATE TRIGGER permissions_authority_update AFTER UPDATE ON permissions FOR EACH ROW WHEN (
    OLD.name IS DISTINCT FROM NEW.name
    OR OLD.assignable_to IS DISTINCT FROM NEW.assignable_to
) EXECUTE FUNCTION reset_authority_event();
CREATE TRIGGER role_permissions_authority_change AFTER INSERT OR DELETE ON role_permissions FOR EACH ROW EXECUTE FUNCTION reset_authority_event();
CREATE TRIGGER role_permissions_authority_truncate AFTER TRUNCATE ON role_permissions FOR EACH STATEMENT EXECUTE FUNCTION reset_authority_event();
CREATE TRIGGER role_permissions_authority_update AFTER UPDATE ON role_permissions FOR EACH ROW WHEN (
    OLD.role IS DISTINCT FROM NEW.role
    OR OLD.permission IS DISTINCT FROM NEW.permission
) EXECUTE FUNCTION reset_authority_event();

-- What an exchange needs of the usual credentials, in one row that is found by an integer. The service writes the row at the end of
-- each change of the key. It writes none for a credential that is suspended, revoked, replaced, imported, rate-limited, or unusual in
-- another way: exchanges without a row read all tables. Triggers delete the row when a deciding column changes, also by others, so
-- that a row can never permit more than the tables.
CREATE TABLE narrow_credentials (
    number BIGINT NOT NULL PRIMARY KEY REFERENCES credentials (number) ON DELETE CASCADE,
    credential_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    -- The version of the key.
    version BIGINT NOT NULL,
    encrypted_secret BYTEA NOT NULL,
    master_version INTEGER NOT NULL,
    credential_expires_at BIGINT,
    key_expires_at BIGINT,
    status_list TEXT,
    status_index INTEGER,
    -- The permissions, audiences and longest token lifetime of the key, which many keys share: the start of their digest.
    entitlement BIGINT NOT NULL,
    owner_type TEXT NOT NULL,
    owner_id TEXT,
    user_id TEXT,
    organization_id TEXT,
    generation_id TEXT,
    created_at BIGINT NOT NULL
);

CREATE FUNCTION delete_narrow_credentials_of_key() RETURNS TRIGGER LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM narrow_credentials WHERE number IN (SELECT number FROM credentials WHERE key_id = OLD.id);
    RETURN NULL;
END $$;
CREATE FUNCTION delete_narrow_credential() RETURNS TRIGGER LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM narrow_credentials WHERE number = OLD.number;
    RETURN NULL;
END $$;
CREATE TRIGGER api_keys_narrow_update AFTER UPDATE ON api_keys FOR EACH ROW WHEN (
    OLD.id IS DISTINCT FROM NEW.id
    OR OLD.owner_type IS DISTINCT FROM NEW.owner_type
    OR OLD.owner_id IS DISTINCT FROM NEW.owner_id
    OR OLD.user_id IS DISTINCT FROM NEW.user_id
    OR OLD.organization_id IS DISTINCT FROM NEW.organization_id
    OR OLD.generation_id IS DISTINCT FROM NEW.generation_id
    OR OLD.creator_id IS DISTINCT FROM NEW.creator_id
    OR OLD.creator_generation_id IS DISTINCT FROM NEW.creator_generation_id
    OR OLD.permissions IS DISTINCT FROM NEW.permissions
    OR OLD.audiences IS DISTINCT FROM NEW.audiences
    OR OLD.metadata IS DISTINCT FROM NEW.metadata
    OR OLD.max_token_ttl IS DISTINCT FROM NEW.max_token_ttl
    OR OLD.exchanges_per_minute IS DISTINCT FROM NEW.exchanges_per_minute
    OR OLD.record_bound IS DISTINCT FROM NEW.record_bound
    OR OLD.suspended_at IS DISTINCT FROM NEW.suspended_at
    OR OLD.revoked_at IS DISTINCT FROM NEW.revoked_at
    OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at
    OR OLD.expires_at IS DISTINCT FROM NEW.expires_at
    OR OLD.created_at IS DISTINCT FROM NEW.created_at
    OR OLD.version IS DISTINCT FROM NEW.version
) EXECUTE FUNCTION delete_narrow_credentials_of_key();
CREATE TRIGGER api_keys_narrow_delete AFTER DELETE ON api_keys FOR EACH ROW EXECUTE FUNCTION delete_narrow_credentials_of_key();
CREATE TRIGGER credentials_narrow_update AFTER UPDATE ON credentials FOR EACH ROW WHEN (
    OLD.id IS DISTINCT FROM NEW.id
    OR OLD.number IS DISTINCT FROM NEW.number
    OR OLD.key_id IS DISTINCT FROM NEW.key_id
    OR OLD.encrypted_secret IS DISTINCT FROM NEW.encrypted_secret
    OR OLD.master_version IS DISTINCT FROM NEW.master_version
    OR OLD.lookup_digest IS DISTINCT FROM NEW.lookup_digest
    OR OLD.status_list IS DISTINCT FROM NEW.status_list
    OR OLD.status_index IS DISTINCT FROM NEW.status_index
    OR OLD.replaced_at IS DISTINCT FROM NEW.replaced_at
    OR OLD.expires_at IS DISTINCT FROM NEW.expires_at
) EXECUTE FUNCTION delete_narrow_credential();
CREATE TRIGGER credentials_narrow_delete AFTER DELETE ON credentials FOR EACH ROW EXECUTE FUNCTION delete_narrow_credential();

CREATE VIEW narrow_lookups AS
SELECT
    n.number,
    n.credential_id,
    n.key_id,
    n.version,
    n.encrypted_secret,
    n.master_version,
    n.credential_expires_at,
    n.key_expires_at,
    n.status_list,
    n.status_index,
    n.entitlement,
    n.owner_type,
    n.owner_id,
    n.user_id,
    n.organization_id,
    n.generation_id,
    n.created_at,
    u.generation_id AS user_generation_id,
    COALESCE(u.blocked_at, u.locked_at) AS user_blocked_at,
    m.generation_id AS member_generation_id,
    m.organization_generation_id AS member_organization_generation_id,
    o.generation_id AS organization_generation_id,
    CASE
        WHEN n.user_id IS NULL THEN NULL
        WHEN n.organization_id IS NOT NULL THEN (
            SELECT string_agg(q.role, ' ' ORDER BY q.role) FROM member_roles q WHERE q.organization_id = n.organization_id AND q.user_id = n.user_id
        )
        ELSE (SELECT string_agg(q.role, ' ' ORDER BY q.role) FROM user_roles q WHERE q.user_id = n.user_id)
    END AS roles,
    -- An index scan for each row. Two comparisons with `=` are planned as hashes of the whole table.
    CASE WHEN EXISTS (
        SELECT 1 FROM access_record_principals y
        WHERE y.unique_id IN (n.key_id, CASE n.owner_type WHEN 'service_client' THEN n.owner_id WHEN 'user' THEN n.generation_id END)
    )
    THEN 1 ELSE 0 END AS has_access_records,
    (SELECT h.authority_event FROM event_chain_head h WHERE h.id = 1) AS authority_event,
    -- For validations only.
    u.profile AS user_profile,
    u.metadata AS user_metadata,
    o.name AS organization_name,
    o.metadata AS organization_metadata
FROM narrow_credentials n
LEFT JOIN users u ON u.id = n.user_id
LEFT JOIN members m ON m.organization_id = n.organization_id AND m.user_id = n.user_id
LEFT JOIN organizations o ON o.id = n.organization_id;


-- Webhooks

CREATE TABLE webhooks (
    id TEXT NOT NULL PRIMARY KEY,
    url TEXT NOT NULL,
    description TEXT,
    -- Types of events, or prefixes such as api_key.*. NULL: all events.
    event_types TEXT,
    organization_id TEXT,
    -- Why the webhook is disabled. NULL: it is enabled.
    disabled TEXT,
    encrypted_secret BYTEA NOT NULL,
    master_version INTEGER NOT NULL CONSTRAINT webhooks_master REFERENCES master_keys (version),
    -- The previous secret, which also signs until it expires.
    previous_encrypted_secret BYTEA,
    previous_master_version INTEGER CONSTRAINT webhooks_previous_master REFERENCES master_keys (version),
    previous_secret_expires_at BIGINT,
    -- Set when the receiver asks for a pause.
    paused_until BIGINT,
    -- The last event that was considered for this webhook.
    event_cursor BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE webhook_deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    webhook_id TEXT NOT NULL REFERENCES webhooks (id),
    event_seq BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt_at BIGINT,
    -- Until when one replica alone may send it.
    leased_until BIGINT,
    last_status INTEGER,
    last_error TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE UNIQUE INDEX webhook_deliveries_once ON webhook_deliveries (webhook_id, event_seq);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (state, webhook_id, next_attempt_at);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (state, created_at);
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at);


-- Portal

CREATE TABLE portal_sessions (
    id TEXT NOT NULL PRIMARY KEY,
    -- How its secret is presented: token (in a header), code (in a URL, once) or page (in a cookie).
    kind TEXT NOT NULL,
    -- The session of kind token that was opened together with the code of this session.
    parent_id TEXT,
    encrypted_secret BYTEA NOT NULL,
    master_version INTEGER NOT NULL CONSTRAINT portal_sessions_master REFERENCES master_keys (version),
    user_id TEXT NOT NULL,
    organization_id TEXT,
    generation_id TEXT NOT NULL,
    -- The API key that opened the session, and that it ends with.
    opened_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX portal_sessions_parent ON portal_sessions (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX portal_sessions_user ON portal_sessions (user_id, id);
CREATE INDEX portal_sessions_generation ON portal_sessions (generation_id, expires_at);
CREATE INDEX portal_sessions_organization ON portal_sessions (organization_id, id);
CREATE INDEX portal_sessions_opened_by ON portal_sessions (opened_by, id);
CREATE INDEX portal_sessions_expires ON portal_sessions (expires_at);
CREATE INDEX portal_sessions_master ON portal_sessions (master_version, id);

-- One row: the branding of the hosted pages, as JSON.
CREATE TABLE branding (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    body TEXT NOT NULL,
    version BIGINT NOT NULL
);
INSERT INTO branding (id, body, version) VALUES (1, '{}', 1);


-- Common: which request created which object

CREATE TABLE idempotency_keys (
    actor TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    object_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (actor, idempotency_key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
