-- Messages under the newest working keys of a terminal, claimed by nodes ahead of their coming.
ALTER TABLE session ADD COLUMN uses INTEGER NOT NULL DEFAULT 0;
