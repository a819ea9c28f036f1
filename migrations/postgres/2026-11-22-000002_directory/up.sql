-- The product's directory: organizations, users, members, roles. An id is the product's and may come back; an incarnation is ours and never
-- does: keys hold the one they were made under, so what was deleted and put again has none of the old keys.

CREATE TABLE organizations (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    incarnation TEXT COLLATE "C" NOT NULL,
    name TEXT,
    metadata TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX organizations_incarnation ON organizations (incarnation);

CREATE TABLE roles (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    description TEXT,
    permissions TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE users (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    incarnation TEXT COLLATE "C" NOT NULL,
    blocked_at BIGINT,
    profile TEXT NOT NULL,
    metadata TEXT NOT NULL,
    -- Roles outside any organization.
    roles TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_incarnation ON users (incarnation);

-- A member of an organization that was deleted is none any more, though the row may still be there until it is cleaned up: it is the
-- organization's incarnation that counts. Those of a deleted user go with the user.
CREATE TABLE members (
    organization_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    incarnation TEXT COLLATE "C" NOT NULL,
    organization_incarnation TEXT NOT NULL,
    roles TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX members_user ON members (user_id);
CREATE INDEX members_page ON members (organization_id, incarnation);

-- Who stands behind a service client or a key, and in which incarnation: a user's membership within an organization, a user without,
-- or an organization; absent for the account.
ALTER TABLE service_clients ADD COLUMN user_id TEXT;
ALTER TABLE service_clients ADD COLUMN organization_id TEXT;
ALTER TABLE service_clients ADD COLUMN incarnation TEXT;
CREATE INDEX service_clients_organization ON service_clients (organization_id, id);
CREATE INDEX service_clients_user ON service_clients (user_id, id);

ALTER TABLE api_keys ADD COLUMN user_id TEXT;
ALTER TABLE api_keys ADD COLUMN incarnation TEXT;
-- The member who made an organization's key.
ALTER TABLE api_keys ADD COLUMN creator_id TEXT;
ALTER TABLE api_keys ADD COLUMN creator_incarnation TEXT;
ALTER TABLE api_keys ADD COLUMN exchanges_per_minute INTEGER;
-- How many days before its end the last notice of it was given; 0: that it has ended.
ALTER TABLE api_keys ADD COLUMN noticed_days INTEGER;
CREATE INDEX api_keys_organization ON api_keys (organization_id, id);
CREATE INDEX api_keys_user ON api_keys (user_id, id);
CREATE INDEX api_keys_creator ON api_keys (creator_id, id) WHERE creator_id IS NOT NULL;
CREATE INDEX api_keys_expires ON api_keys (expires_at) WHERE expires_at IS NOT NULL AND revoked_at IS NULL;

-- A key of another make is found by this: a keyed digest of its SHA-256 digest (crypto/foreign.rs).
ALTER TABLE credentials ADD COLUMN lookup TEXT;
CREATE UNIQUE INDEX credentials_lookup ON credentials (lookup);

-- Exchanges of keys that have a limit, in the current minute.
CREATE TABLE key_windows (
    key_id TEXT NOT NULL PRIMARY KEY,
    minute BIGINT NOT NULL,
    exchanges BIGINT NOT NULL
);

-- Exchanges and validations, by day (days since 1970-01-01 UTC).
CREATE TABLE key_usage (
    key_id TEXT NOT NULL,
    day BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    PRIMARY KEY (key_id, day)
);

-- Owners that are gone and whose keys have yet to be told of, one event each: the keys themselves are dead already.
CREATE TABLE departures (
    id TEXT NOT NULL PRIMARY KEY,
    cause TEXT NOT NULL,
    user_id TEXT,
    organization_id TEXT,
    service_client_id TEXT,
    incarnation TEXT,
    -- The last key that was told of.
    told_until TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE portal_sessions (
    id TEXT NOT NULL PRIMARY KEY,
    sealed BYTEA NOT NULL,
    master_version INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    organization_id TEXT,
    incarnation TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX portal_sessions_expires ON portal_sessions (expires_at);

-- A key with everything its owner's state is judged by, in one row.
CREATE VIEW key_owner_status AS
SELECT
    k.id AS key_id,
    s.permissions AS client_permissions,
    s.deleted_at AS client_deleted_at,
    s.metadata AS client_metadata,
    u.incarnation AS user_incarnation,
    u.blocked_at AS user_blocked_at,
    u.profile AS user_profile,
    u.metadata AS user_metadata,
    m.incarnation AS member_incarnation,
    m.organization_incarnation AS member_organization_incarnation,
    o.incarnation AS organization_incarnation,
    o.metadata AS organization_metadata,
    c.incarnation AS creator_incarnation,
    c.organization_incarnation AS creator_organization_incarnation,
    CASE
        -- What may be assigned to keys of an organization, as far as this one carries it.
        WHEN k.user_id IS NULL AND k.organization_id IS NOT NULL THEN (
            SELECT string_agg(p.name, ' ') FROM permissions p
            WHERE p.name = ANY (string_to_array(k.permissions, ' ')) AND ' ' || p.assignable_to || ' ' LIKE '% organization %'
        )
        WHEN k.organization_id IS NOT NULL THEN (SELECT string_agg(r.permissions, ' ') FROM roles r WHERE r.name = ANY (string_to_array(m.roles, ' ')))
        WHEN k.user_id IS NOT NULL THEN (SELECT string_agg(r.permissions, ' ') FROM roles r WHERE r.name = ANY (string_to_array(u.roles, ' ')))
    END AS home_permissions
FROM api_keys k
LEFT JOIN service_clients s ON k.owner_type = 'service_client' AND s.id = k.owner_id
LEFT JOIN users u ON u.id = k.user_id
LEFT JOIN members m ON m.organization_id = k.organization_id AND m.user_id = k.user_id
LEFT JOIN organizations o ON o.id = k.organization_id
LEFT JOIN members c ON c.organization_id = k.organization_id AND c.user_id = k.creator_id;
