-- What whoever opened a session may hand out, as far as which the user may as well; absent: the whole catalog.
ALTER TABLE portal_sessions ADD COLUMN held TEXT;
