-- Models, adapters and data sets, and their way to and from the relay.
-- docs/MODELS.md describes every column. All of it is of this device only.

-- What this device has, or knows to be published.
CREATE TABLE artifact (
    name         TEXT PRIMARY KEY,             -- models/FILE, models/~/FILE, loras/ID, …
    -- File systems of other devices do not tell Phi.gguf from phi.gguf.
    path         TEXT NOT NULL UNIQUE COLLATE NOCASE, -- of its file, below the models folder
    -- Its file as it was when it was last read; null where there is none.
    size         INTEGER CHECK (size >= 0),
    mtime_ns     INTEGER,
    inode        INTEGER,
    format       TEXT,                         -- safetensors, gguf or other
    blob         BLOB CHECK (length(blob) = 32), -- BLAKE3 of the file; null until all was read
    bad          BLOB,                         -- chunks that were found damaged, a bit each
    -- What is published under its name, as far as this device knows.
    remote_blob  BLOB CHECK (length(remote_blob) = 32),
    remote_size  INTEGER CHECK (remote_size >= 0),
    remote_etag  TEXT,                         -- the bucket's name for those bytes
    remote_fence INTEGER,                      -- which push it was
    pinned       INTEGER NOT NULL DEFAULT 0,   -- never taken to make room
    used_ms      INTEGER NOT NULL,             -- when it was last used, since 1970
    created_ms   INTEGER NOT NULL,
    CHECK ((size IS NULL) = (mtime_ns IS NULL) AND (size IS NULL) = (format IS NULL)
       AND (size IS NULL) = (inode IS NULL)),
    CHECK ((remote_blob IS NULL) = (remote_size IS NULL)
       AND (remote_blob IS NULL) = (remote_etag IS NULL)),
    CHECK (size IS NOT NULL OR remote_blob IS NOT NULL)
) STRICT, WITHOUT ROWID;

-- Where blobs are cut, for those that an artifact or a transfer names.
CREATE TABLE chunk_index (
    blob  BLOB NOT NULL UNIQUE CHECK (length(blob) = 32),
    bytes BLOB NOT NULL                        -- see ginnel_blob::index
) STRICT;

-- Artifacts on their way. At most one is not done for a name and direction.
CREATE TABLE transfer (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    direction   TEXT NOT NULL CHECK (direction IN ('push', 'pull')),
    artifact    TEXT NOT NULL,
    path        TEXT NOT NULL,                 -- of the artifact's file, as above
    blob        BLOB NOT NULL CHECK (length(blob) = 32),
    size        INTEGER NOT NULL CHECK (size > 0),
    state       TEXT NOT NULL DEFAULT 'queued'
                CHECK (state IN ('queued', 'running', 'paused', 'failed', 'done')),
    needed      INTEGER NOT NULL DEFAULT 0,    -- bytes that have to travel, those sent among them
    reused      INTEGER NOT NULL DEFAULT 0,    -- bytes that the other side had
    sent        INTEGER NOT NULL DEFAULT 0,    -- bytes that arrived
    -- What to go on with. Of a push: the bucket's upload, and the etag of what it
    -- builds on. Of a pull: the etag of what is fetched, and which chunks are there.
    upload      TEXT,
    fence       INTEGER,
    part_size   INTEGER,
    etag        TEXT,
    chunks      BLOB,
    attempts    INTEGER NOT NULL DEFAULT 0,
    last_error  TEXT,
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL,
    CHECK (sent <= needed),
    CHECK ((upload IS NULL) = (fence IS NULL) AND (upload IS NULL) = (part_size IS NULL))
) STRICT;
CREATE UNIQUE INDEX transfer_unfinished ON transfer (artifact, direction) WHERE state <> 'done';

-- Parts of an upload that the bucket has: from 0 on, without a gap.
CREATE TABLE transfer_part (
    transfer INTEGER NOT NULL,
    number   INTEGER NOT NULL CHECK (number >= 0),
    tag      TEXT NOT NULL CHECK (length(tag) BETWEEN 1 AND 256),
    PRIMARY KEY (transfer, number)
) STRICT, WITHOUT ROWID;

-- What a person was shown as done stays done.
CREATE TRIGGER transfer_goes_forward BEFORE UPDATE ON transfer
WHEN new.sent < old.sent OR (old.state = 'done' AND new.state <> 'done')
  OR new.blob <> old.blob OR new.artifact <> old.artifact OR new.direction <> old.direction
BEGIN
    SELECT RAISE(ABORT, 'a transfer goes backwards');
END;
CREATE TRIGGER transfer_removed AFTER DELETE ON transfer BEGIN
    DELETE FROM transfer_part WHERE transfer = old.id;
END;
