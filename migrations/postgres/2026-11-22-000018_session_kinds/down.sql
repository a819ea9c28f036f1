DELETE FROM portal_sessions WHERE kind <> 'token';
ALTER TABLE portal_sessions DROP COLUMN kind;
