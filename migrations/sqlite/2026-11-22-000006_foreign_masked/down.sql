ALTER TABLE credentials DROP COLUMN masked;
