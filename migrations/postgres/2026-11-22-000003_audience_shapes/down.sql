ALTER TABLE audiences DROP COLUMN claims;
ALTER TABLE audiences DROP COLUMN aud_claim;
ALTER TABLE audiences DROP COLUMN scope_claim;
ALTER TABLE audiences DROP COLUMN typ;
ALTER TABLE audiences DROP COLUMN algorithm;
