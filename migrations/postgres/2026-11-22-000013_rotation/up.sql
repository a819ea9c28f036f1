-- When another transaction saw a key published: its time counts from here, whatever the one that published it waited for.
ALTER TABLE signing_keys ADD COLUMN seen_at BIGINT;
-- When the private half was destroyed.
ALTER TABLE signing_keys ADD COLUMN destroyed_at BIGINT;

-- Who is up, or was until lately: which keys they know, and by which settings they run. Where settings differ, the stricter hold.
CREATE TABLE replicas (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    -- The keys in its JWKS at that moment: their kids, with one space between them.
    published TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    rotation_period BIGINT,
    verifier_cache_ttl BIGINT NOT NULL,
    replica_staleness BIGINT NOT NULL,
    verifier_leeway BIGINT NOT NULL,
    clock_skew BIGINT NOT NULL,
    max_ttl BIGINT NOT NULL
);

-- One row: when the clock was looked at last, and since when it has gone at its pace.
CREATE TABLE rotation_clock (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    last_at BIGINT NOT NULL,
    steady_since BIGINT NOT NULL
);
INSERT INTO rotation_clock (id, last_at, steady_since) VALUES (1, 0, 0);

-- How many tokens each key has signed that end in the same minute.
CREATE TABLE signing_key_tokens (
    kid TEXT NOT NULL,
    ends_at BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    PRIMARY KEY (kid, ends_at)
);
CREATE INDEX signing_key_tokens_ends_at ON signing_key_tokens (ends_at);
