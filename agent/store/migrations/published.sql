-- What the devices of one user know, as one plain database. The four tables are
-- defined as in a device's store, so that SQLite copies rows as they lie there;
-- docs/KNOWLEDGE.md describes every column. Rows with deleted = 1 have nothing
-- but their id: they tell other devices.

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
    extra        BLOB                          -- what newer versions know
) STRICT;

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

-- What this file is. schema, database, change: for the device that wrote it;
-- read: the last batch of each device's log that is in it, as JSON.
CREATE TABLE about (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
