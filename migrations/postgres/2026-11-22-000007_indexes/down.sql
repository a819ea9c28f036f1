DROP INDEX api_keys_archived;
DROP INDEX members_incarnation;
DROP INDEX credentials_lookup;
CREATE UNIQUE INDEX credentials_lookup ON credentials (lookup);
