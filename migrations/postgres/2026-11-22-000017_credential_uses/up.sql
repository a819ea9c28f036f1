-- When each credential was last used: written again and again, so in rows of its own that are small, with room beside them for what they are
-- next. What stands in credentials.last_used_at is from before; the later of the two counts.
CREATE TABLE credential_uses (
    credential_id TEXT NOT NULL PRIMARY KEY,
    last_used_at BIGINT NOT NULL
) WITH (fillfactor = 60);
