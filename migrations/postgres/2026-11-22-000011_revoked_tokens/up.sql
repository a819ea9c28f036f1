-- Tokens that were revoked before their time, for as long as a verifier may take them.
CREATE TABLE revoked_tokens (
    jti TEXT NOT NULL PRIMARY KEY,
    key_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL
);
CREATE INDEX revoked_tokens_expires ON revoked_tokens (expires_at);
