-- Token Status Lists (draft-ietf-oauth-status-list-20). A list is never longer or shorter than it was made, and no index is given twice.
CREATE TABLE status_lists (
    id TEXT NOT NULL PRIMARY KEY,
    -- What has its indexes: credential or token.
    kind TEXT NOT NULL,
    size INTEGER NOT NULL,
    used INTEGER NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX status_lists_newest ON status_lists (kind, id);

-- Where the status of a credential's tokens stands; absent on those that were here before, until the job has given them a place.
ALTER TABLE credentials ADD COLUMN status_list TEXT;
ALTER TABLE credentials ADD COLUMN status_index INTEGER;
CREATE UNIQUE INDEX credentials_status ON credentials (status_list, status_index) WHERE status_list IS NOT NULL;
CREATE INDEX credentials_placeless ON credentials (id) WHERE status_list IS NULL;

-- Whether each token of an audience has a status of its own (token); absent: its credential's.
ALTER TABLE audiences ADD COLUMN status TEXT;

-- Tokens that have one.
CREATE TABLE token_statuses (
    jti TEXT NOT NULL PRIMARY KEY,
    list_id TEXT NOT NULL,
    list_index INTEGER NOT NULL,
    credential_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    -- Whole seconds since 1970, as in the token.
    exp BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX token_statuses_place ON token_statuses (list_id, list_index);
CREATE INDEX token_statuses_credential ON token_statuses (credential_id);
CREATE INDEX token_statuses_revoked ON token_statuses (list_id, list_index) WHERE revoked_at IS NOT NULL;
CREATE INDEX token_statuses_exp ON token_statuses (list_id, exp);

-- The lists as they are served: signed once, the same bytes on every replica.
CREATE TABLE status_list_tokens (
    list_id TEXT NOT NULL PRIMARY KEY,
    jwt TEXT NOT NULL,
    kid TEXT NOT NULL,
    -- What it says, as a digest: what says the same is not signed again.
    content TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

-- One row: up to where the trail was read when the lists were last looked at, and when the next of what they tell of ends by itself.
CREATE TABLE status_build (
    id INTEGER NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    next_end BIGINT,
    version BIGINT NOT NULL
);
INSERT INTO status_build (id, seq, next_end, version) VALUES (1, -1, NULL, 1);

-- Why a key ended with its owner, once its end was told of.
ALTER TABLE api_keys ADD COLUMN ended_with TEXT;
UPDATE api_keys SET ended_with = CASE
    WHEN owner_type = 'organization' AND EXISTS (SELECT 1 FROM organizations o WHERE o.incarnation = api_keys.incarnation) THEN 'creator_left'
    WHEN owner_type = 'service_client' THEN 'service_client_deleted'
    WHEN owner_type = 'organization' THEN 'organization_deleted'
    ELSE 'user_deleted'
END
WHERE noticed_days = 0 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > keyswap_now());

-- What no longer holds is few among many, and read alone.
CREATE INDEX api_keys_revoked ON api_keys (id) WHERE revoked_at IS NOT NULL;
CREATE INDEX api_keys_suspended ON api_keys (id) WHERE suspended_at IS NOT NULL;
CREATE INDEX api_keys_ended ON api_keys (id) WHERE ended_with IS NOT NULL;
CREATE INDEX api_keys_ends ON api_keys (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX credentials_ends ON credentials (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX users_blocked ON users (id) WHERE blocked_at IS NOT NULL;
