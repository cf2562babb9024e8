-- For how many tokens a file's passages were cut; 0 where nobody noted it.
ALTER TABLE ingest ADD COLUMN tokens_max INTEGER NOT NULL DEFAULT 0;
