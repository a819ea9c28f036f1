ALTER TABLE portal_sessions DROP COLUMN held;
