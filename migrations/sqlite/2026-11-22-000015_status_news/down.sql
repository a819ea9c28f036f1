ALTER TABLE status_build DROP COLUMN built_revoked;
ALTER TABLE status_build DROP COLUMN revoked;
