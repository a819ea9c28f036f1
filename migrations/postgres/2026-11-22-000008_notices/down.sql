DROP INDEX key_usage_day;
DROP INDEX api_keys_notices;
CREATE INDEX api_keys_expires ON api_keys (expires_at) WHERE expires_at IS NOT NULL AND revoked_at IS NULL;
ALTER TABLE credentials DROP COLUMN replaced_at;
