-- How a session is shown: token (in a header, by a page of the product's), code (in a URL, once) or page (in a cookie, by a hosted page).
ALTER TABLE portal_sessions ADD COLUMN kind TEXT NOT NULL DEFAULT 'token';
