-- Times are milliseconds since 1970-01-01 UTC; sets of permissions are names with one space between them; the rest of what
-- has structure is JSON. The folder for the other database must give the same tables: tests/it/store.rs compares them.

-- The clock that decides: not now(), which stands still within a transaction.
CREATE FUNCTION keyswap_now() RETURNS BIGINT LANGUAGE SQL VOLATILE
AS 'SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT';

CREATE TABLE master_keys (
    version INTEGER NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE signing_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    algorithm TEXT NOT NULL,
    state TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    -- The private half; absent once it is destroyed.
    sealed BYTEA,
    master_version INTEGER,
    published_at BIGINT NOT NULL,
    activated_at BIGINT,
    retired_at BIGINT,
    removed_at BIGINT,
    -- The longest life of any token it may have signed, in milliseconds: lowering tokens.max_ttl takes none of them back.
    longest_ttl BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (algorithm) WHERE state = 'active';
CREATE UNIQUE INDEX signing_keys_one_next ON signing_keys (algorithm) WHERE state = 'next';

CREATE TABLE permissions (
    -- Read in the order of their bytes, whatever the language of the database.
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    description TEXT,
    assignable_to TEXT NOT NULL,
    built_in INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE audiences (
    id TEXT NOT NULL PRIMARY KEY,
    identifier TEXT NOT NULL,
    -- Absent: what its kind takes (built_in), or every permission of the product.
    permissions TEXT,
    token_ttl BIGINT,
    built_in TEXT,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX audiences_identifier ON audiences (identifier);
CREATE UNIQUE INDEX audiences_built_in ON audiences (built_in);

CREATE TABLE service_clients (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    owner_type TEXT NOT NULL,
    owner_id TEXT,
    permissions TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    deleted_at BIGINT,
    version BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    owner_type TEXT NOT NULL,
    owner_id TEXT,
    organization_id TEXT,
    permissions TEXT NOT NULL,
    -- Absent: any audience. A JSON array of identifiers otherwise.
    audiences TEXT,
    metadata TEXT NOT NULL,
    max_token_ttl BIGINT,
    suspended_at BIGINT,
    revoked_at BIGINT,
    -- Deleted: revoked and out of sight.
    deleted_at BIGINT,
    expires_at BIGINT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX api_keys_owner ON api_keys (owner_id, id);

CREATE TABLE credentials (
    id TEXT NOT NULL PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES api_keys (id),
    prefix TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    master_version INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    -- The end of its grace; absent on the credential in use.
    expires_at BIGINT,
    last_used_at BIGINT
);
CREATE INDEX credentials_key ON credentials (key_id);

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

-- One row, locked last in every change: the order of events is the order of commit.
CREATE TABLE event_head (
    id INTEGER NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO event_head (id, seq, hash) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

CREATE TABLE idempotency_keys (
    actor TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    object_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (actor, idempotency_key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
