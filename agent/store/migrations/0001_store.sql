-- What a device knows. docs/STORE.md describes every column.

-- The four tables that devices of a user will share. Deleted rows stay, with
-- deleted = 1 and without content, until every device has heard of it.
CREATE TABLE document (
    rowid        INTEGER PRIMARY KEY,          -- of this file only
    id           BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    collection   TEXT NOT NULL,
    source       TEXT,                         -- path below its root, URI or the caller's key
    title        TEXT,
    mime         TEXT,
    content_hash BLOB NOT NULL,                -- BLAKE3 of the text: the revision
    metadata     TEXT NOT NULL DEFAULT '{}',   -- a JSON object
    hlc          INTEGER NOT NULL,             -- when: milliseconds << 16 | counter
    origin       TEXT NOT NULL,                -- by which device
    deleted      INTEGER NOT NULL DEFAULT 0,
    extra        BLOB                          -- what newer versions sent
) STRICT;
CREATE INDEX document_source ON document (collection, source);

CREATE TABLE passage (
    rowid        INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    document_id  BLOB NOT NULL,
    revision     BLOB NOT NULL,                -- the content_hash it was cut for
    position     INTEGER NOT NULL,             -- 0, 1, … in the document
    byte_start   INTEGER NOT NULL,             -- where it is in the text
    byte_end     INTEGER NOT NULL,
    text         TEXT NOT NULL,
    text_hash    BLOB NOT NULL,                -- BLAKE3 of the text
    hlc          INTEGER NOT NULL,
    origin       TEXT NOT NULL,
    deleted      INTEGER NOT NULL DEFAULT 0,
    extra        BLOB
) STRICT;
CREATE INDEX passage_document ON passage (document_id, position);
CREATE INDEX passage_text ON passage (text_hash);

CREATE TABLE embedding (
    rowid        INTEGER PRIMARY KEY,
    text_hash    BLOB NOT NULL,
    model        BLOB NOT NULL,
    vector       BLOB NOT NULL,                -- 32-bit floats, little-endian
    hlc          INTEGER NOT NULL,
    origin       TEXT NOT NULL,
    deleted      INTEGER NOT NULL DEFAULT 0,
    extra        BLOB,
    UNIQUE (text_hash, model)
) STRICT;

CREATE TABLE model (
    rowid        INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
    name         TEXT NOT NULL,
    dimensions   INTEGER NOT NULL,
    metric       TEXT NOT NULL,                -- cosine, dot or euclidean
    hlc          INTEGER NOT NULL,
    origin       TEXT NOT NULL,
    deleted      INTEGER NOT NULL DEFAULT 0,
    extra        BLOB
) STRICT;

-- A passage counts while its document is what it was cut for. There are no
-- foreign keys: rows may arrive in any order.
CREATE VIEW live_passage AS
SELECT passage.*, document.rowid AS document, document.collection,
       document.source, document.title, document.mime, document.metadata,
       document.hlc AS document_hlc
FROM passage
JOIN document ON document.id = passage.document_id
             AND document.content_hash = passage.revision
WHERE passage.deleted = 0 AND document.deleted = 0;

-- From here on: of this file only.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- Every change of a shared row, in the order of commits. "key" is its rowid.
-- The last row is never removed, so that numbers are never used again.
CREATE TABLE change (
    seq     INTEGER PRIMARY KEY,
    "table" TEXT NOT NULL,
    key     INTEGER NOT NULL
) STRICT;

-- How far each reader of the changes has come.
CREATE TABLE cursor (
    name TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Files that were read, so that unchanged ones are not read again.
CREATE TABLE ingest (
    collection TEXT NOT NULL,
    name       TEXT NOT NULL,                  -- what the folder's sources begin with
    path       TEXT NOT NULL,                  -- below the folder
    root       TEXT NOT NULL,                  -- where the folder is
    size       INTEGER NOT NULL,
    mtime_ns   INTEGER NOT NULL,
    hash       BLOB NOT NULL,                  -- BLAKE3 of the file
    PRIMARY KEY (collection, name, path)
) STRICT, WITHOUT ROWID;

-- Which documents came from which of them. Their sources do not tell: a file may
-- be named as another one's document is.
CREATE TABLE ingest_document (
    collection TEXT NOT NULL,
    name       TEXT NOT NULL,
    path       TEXT NOT NULL,
    document   BLOB NOT NULL,
    PRIMARY KEY (collection, name, path, document)
) STRICT, WITHOUT ROWID;
CREATE INDEX ingest_by_document ON ingest_document (document);

CREATE TRIGGER document_added AFTER INSERT ON document BEGIN
    INSERT INTO change ("table", key) VALUES ('document', new.rowid);
END;
CREATE TRIGGER document_changed AFTER UPDATE ON document BEGIN
    INSERT INTO change ("table", key) VALUES ('document', new.rowid);
END;
CREATE TRIGGER passage_added AFTER INSERT ON passage BEGIN
    INSERT INTO change ("table", key) VALUES ('passage', new.rowid);
END;
CREATE TRIGGER passage_changed AFTER UPDATE ON passage BEGIN
    INSERT INTO change ("table", key) VALUES ('passage', new.rowid);
END;
CREATE TRIGGER embedding_added AFTER INSERT ON embedding BEGIN
    INSERT INTO change ("table", key) VALUES ('embedding', new.rowid);
END;
CREATE TRIGGER embedding_changed AFTER UPDATE ON embedding BEGIN
    INSERT INTO change ("table", key) VALUES ('embedding', new.rowid);
END;
CREATE TRIGGER model_added AFTER INSERT ON model BEGIN
    INSERT INTO change ("table", key) VALUES ('model', new.rowid);
END;
CREATE TRIGGER model_changed AFTER UPDATE ON model BEGIN
    INSERT INTO change ("table", key) VALUES ('model', new.rowid);
END;

-- The full-text index: derived, without a copy of the text.
CREATE VIEW kept_passage AS
SELECT rowid AS rowid, text FROM passage WHERE deleted = 0;
CREATE VIRTUAL TABLE passage_text_index USING fts5 (
    text,
    content = 'kept_passage',
    content_rowid = 'rowid',
    tokenize = 'unicode61 remove_diacritics 2'
);
-- Words of a deleted passage leave the index with it, not some merges later.
INSERT INTO passage_text_index (passage_text_index, rank) VALUES ('secure-delete', 1);
CREATE TRIGGER passage_text_added AFTER INSERT ON passage
WHEN new.deleted = 0 BEGIN
    INSERT INTO passage_text_index (rowid, text) VALUES (new.rowid, new.text);
END;
CREATE TRIGGER passage_text_changed AFTER UPDATE OF text, deleted ON passage
WHEN old.text IS NOT new.text OR old.deleted IS NOT new.deleted BEGIN
    INSERT INTO passage_text_index (passage_text_index, rowid, text)
        SELECT 'delete', old.rowid, old.text WHERE old.deleted = 0;
    INSERT INTO passage_text_index (rowid, text)
        SELECT new.rowid, new.text WHERE new.deleted = 0;
END;
CREATE TRIGGER passage_text_removed AFTER DELETE ON passage
WHEN old.deleted = 0 BEGIN
    INSERT INTO passage_text_index (passage_text_index, rowid, text)
        VALUES ('delete', old.rowid, old.text);
END;
