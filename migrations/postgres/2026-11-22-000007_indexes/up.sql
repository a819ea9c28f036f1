-- Few credentials have one: an index of nothing but NULL looks useless to a planner that has counted.
DROP INDEX credentials_lookup;
CREATE UNIQUE INDEX credentials_lookup ON credentials (lookup) WHERE lookup IS NOT NULL;
-- What deleted organizations left behind is thrown away by its incarnation.
CREATE UNIQUE INDEX members_incarnation ON members (incarnation);
-- Archived keys are few among many, and listed alone.
CREATE INDEX api_keys_archived ON api_keys (id) WHERE deleted_at IS NOT NULL;
