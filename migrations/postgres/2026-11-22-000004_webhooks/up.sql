-- Where events are sent to.
CREATE TABLE webhooks (
    id TEXT NOT NULL PRIMARY KEY,
    url TEXT NOT NULL,
    description TEXT,
    -- Absent: every event. Types, or beginnings such as api_key.*, with one space between them.
    event_types TEXT,
    organization_id TEXT,
    -- Absent: enabled. Otherwise why it is not.
    disabled TEXT,
    sealed BYTEA NOT NULL,
    master_version INTEGER NOT NULL,
    -- The secret before this one, which signs as well until its end.
    old_sealed BYTEA,
    old_master_version INTEGER,
    old_until BIGINT,
    -- Its receiver asked for a pause.
    paused_until BIGINT,
    -- The last event of the trail that was looked at for it.
    seen BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    version BIGINT NOT NULL
);

-- Events on their way, and, for a while, those that arrived or were given up.
CREATE TABLE webhook_deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    webhook_id TEXT NOT NULL REFERENCES webhooks (id),
    event_seq BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt_at BIGINT,
    -- Until when an attempt belongs to the replica that makes it.
    claimed_until BIGINT,
    last_status INTEGER,
    last_error TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE UNIQUE INDEX webhook_deliveries_once ON webhook_deliveries (webhook_id, event_seq);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (state, webhook_id, next_attempt_at);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (state, created_at);
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at);
