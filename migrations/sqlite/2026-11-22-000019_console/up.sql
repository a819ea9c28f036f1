-- What became of the keys that were presented, by the hour (since 1970) and by result: one row each, whatever they were.
CREATE TABLE exchange_counts (
    hour BIGINT NOT NULL,
    result TEXT NOT NULL,
    exchanges BIGINT NOT NULL,
    PRIMARY KEY (hour, result)
);

-- One row: how the hosted pages look, as JSON.
CREATE TABLE branding (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    body TEXT NOT NULL,
    version BIGINT NOT NULL
);
INSERT INTO branding (id, body, version) VALUES (1, '{}', 1);
