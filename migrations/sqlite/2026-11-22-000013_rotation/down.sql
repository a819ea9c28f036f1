DROP TABLE signing_key_tokens;
DROP TABLE rotation_clock;
DROP TABLE replicas;
ALTER TABLE signing_keys DROP COLUMN destroyed_at;
ALTER TABLE signing_keys DROP COLUMN seen_at;
