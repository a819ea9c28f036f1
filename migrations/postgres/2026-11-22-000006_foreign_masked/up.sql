-- What is shown of a key of another make; absent for our own, whose prefix and id are shown.
ALTER TABLE credentials ADD COLUMN masked TEXT;
