ALTER TABLE replicas DROP COLUMN master_keys;
ALTER TABLE status_build DROP COLUMN built_revoked;
ALTER TABLE status_build DROP COLUMN revoked;
