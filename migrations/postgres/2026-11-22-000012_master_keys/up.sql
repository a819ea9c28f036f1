-- Where a master key stands: `incoming` (replicas get to know it), `current` (seals), `retiring` (rows may still need it), `retired`.
ALTER TABLE master_keys ADD COLUMN state TEXT NOT NULL DEFAULT 'current';
ALTER TABLE master_keys ADD COLUMN activated_at BIGINT;
ALTER TABLE master_keys ADD COLUMN retired_at BIGINT;
UPDATE master_keys SET state = 'retiring' WHERE version < (SELECT MAX(version) FROM master_keys);
UPDATE master_keys SET activated_at = created_at;
CREATE UNIQUE INDEX master_keys_one_current ON master_keys (state) WHERE state = 'current';
CREATE UNIQUE INDEX master_keys_one_incoming ON master_keys (state) WHERE state = 'incoming';

-- What is sealed under a master key, to seal it anew, in the order of the rows.
CREATE INDEX credentials_master ON credentials (master_version, id);
CREATE INDEX portal_sessions_master ON portal_sessions (master_version, id);

-- A key cannot be removed while a row needs it, nor a row be sealed with one that was removed. On SQLite triggers see to the latter,
-- and its one writer to the former.
ALTER TABLE signing_keys ADD CONSTRAINT signing_keys_master FOREIGN KEY (master_version) REFERENCES master_keys (version);
ALTER TABLE credentials ADD CONSTRAINT credentials_master FOREIGN KEY (master_version) REFERENCES master_keys (version);
ALTER TABLE portal_sessions ADD CONSTRAINT portal_sessions_master FOREIGN KEY (master_version) REFERENCES master_keys (version);
ALTER TABLE webhooks ADD CONSTRAINT webhooks_master FOREIGN KEY (master_version) REFERENCES master_keys (version);
ALTER TABLE webhooks ADD CONSTRAINT webhooks_old_master FOREIGN KEY (old_master_version) REFERENCES master_keys (version);
