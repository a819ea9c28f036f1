-- What the tokens of an audience look like. Each absent: the default, which is what a version before this one mints.
ALTER TABLE audiences ADD COLUMN algorithm TEXT;
ALTER TABLE audiences ADD COLUMN typ TEXT;
ALTER TABLE audiences ADD COLUMN scope_claim TEXT;
ALTER TABLE audiences ADD COLUMN aud_claim TEXT;
-- Claims and where each is taken from, as a JSON object.
ALTER TABLE audiences ADD COLUMN claims TEXT;
