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

-- No row can be sealed with a key that was removed. On PostgreSQL foreign keys see to it.
CREATE TRIGGER signing_keys_master_version_insert BEFORE INSERT ON signing_keys
WHEN NEW.master_version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM master_keys WHERE version = NEW.master_version)
BEGIN SELECT RAISE(ABORT, 'no such master key'); END;
CREATE TRIGGER signing_keys_master_version_update BEFORE UPDATE OF master_version ON signing_keys
WHEN NEW.master_version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM master_keys WHERE version = NEW.master_version)
BEGIN SELECT RAISE(ABORT, 'no such master key'); END;
CREATE TRIGGER credentials_master_version_insert BEFORE INSERT ON credentials
WHEN NEW.master_version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM master_keys WHERE version = NEW.master_version)
BEGIN SELECT RAISE(ABORT, 'no such master key'); END;
CREATE TRIGGER credentials_master_version_update BEFORE UPDATE OF master_version ON credentials
WHEN NEW.master_version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM master_keys WHERE version = NEW.master_version)
BEGIN SELECT RAISE(ABORT, 'no such master key'); END;
CREATE TRIGGER portal_sessions_master_version_insert BEFORE INSERT ON portal_sessions
WHEN NEW.master_version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM master_keys WHERE version = NEW.master_version)
BEGIN SELECT RAISE(ABORT, 'no such master key'); END;
CREATE TRIGGER portal_sessions_master_version_update BEFORE UPDATE OF master_version ON portal_sessions
WHEN NEW.master_version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM master_keys WHERE version = NEW.master_version)
BEGIN SELECT RAISE(ABORT, 'no such master key'); END;
CREATE TRIGGER webhooks_master_version_insert BEFORE INSERT ON webhooks
WHEN NEW.master_version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM master_keys WHERE version = NEW.master_version)
BEGIN SELECT RAISE(ABORT, 'no such master key'); END;
CREATE TRIGGER webhooks_master_version_update BEFORE UPDATE OF master_version ON webhooks
WHEN NEW.master_version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM master_keys WHERE version = NEW.master_version)
BEGIN SELECT RAISE(ABORT, 'no such master key'); END;
CREATE TRIGGER webhooks_old_master_version_insert BEFORE INSERT ON webhooks
WHEN NEW.old_master_version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM master_keys WHERE version = NEW.old_master_version)
BEGIN SELECT RAISE(ABORT, 'no such master key'); END;
CREATE TRIGGER webhooks_old_master_version_update BEFORE UPDATE OF old_master_version ON webhooks
WHEN NEW.old_master_version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM master_keys WHERE version = NEW.old_master_version)
BEGIN SELECT RAISE(ABORT, 'no such master key'); END;
