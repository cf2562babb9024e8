-- Which model's vectors were taken from a file; NULL if none were.
ALTER TABLE ingest ADD COLUMN vectors BLOB;
