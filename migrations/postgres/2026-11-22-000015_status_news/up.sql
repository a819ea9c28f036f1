-- How many tokens with a status of their own were revoked, and how many of these are in the lists: whoever revokes a token moves the first
-- alone, and gets in no builder's way.
ALTER TABLE status_build ADD COLUMN revoked BIGINT NOT NULL DEFAULT 0;
ALTER TABLE status_build ADD COLUMN built_revoked BIGINT NOT NULL DEFAULT 0;

-- The fingerprints of the master keys that a server has at hand, with one space between them.
ALTER TABLE replicas ADD COLUMN master_keys TEXT NOT NULL DEFAULT '';
