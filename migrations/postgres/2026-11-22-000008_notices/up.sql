-- When the credential was replaced: what `Deprecation` tells those who still use it.
ALTER TABLE credentials ADD COLUMN replaced_at BIGINT;
UPDATE credentials SET replaced_at = (SELECT MAX(newer.created_at) FROM credentials newer WHERE newer.key_id = credentials.key_id)
WHERE expires_at IS NOT NULL;

-- Notices are looked for by the last one that was given, so that those who have theirs are never looked at again.
DROP INDEX api_keys_expires;
CREATE INDEX api_keys_notices ON api_keys (noticed_days, expires_at) WHERE expires_at IS NOT NULL AND revoked_at IS NULL;

CREATE INDEX key_usage_day ON key_usage (day);
