-- What devices share, from here on really: docs/KNOWLEDGE.md.

-- A document's row says all: passages of another revision, or of a document that
-- is deleted, go. So do vectors that no text or model has any more.
DELETE FROM passage WHERE deleted = 1;
DELETE FROM embedding WHERE deleted = 1;
UPDATE document SET collection = '', source = NULL, extra = NULL WHERE deleted = 1;
UPDATE model SET name = '', dimensions = 0, metric = '' WHERE deleted = 1;

-- Rows that go are changes too.
CREATE TRIGGER passage_removed AFTER DELETE ON passage BEGIN
    INSERT INTO change ("table", key) VALUES ('passage', old.rowid);
END;
CREATE TRIGGER document_removed AFTER DELETE ON document BEGIN
    INSERT INTO change ("table", key) VALUES ('document', old.rowid);
END;
CREATE TRIGGER embedding_removed AFTER DELETE ON embedding BEGIN
    INSERT INTO change ("table", key) VALUES ('embedding', old.rowid);
    INSERT INTO change ("table", key)
        SELECT 'passage', rowid FROM passage WHERE text_hash = old.text_hash;
END;

-- Texts that no passage has and that still have vectors. Another device may have
-- such a passage that has not come yet, so they wait until all devices know what
-- this one knew then.
CREATE TABLE unused (
    text_hash BLOB PRIMARY KEY,
    change    INTEGER NOT NULL                 -- the last change when it was noticed
) STRICT, WITHOUT ROWID;

-- Documents whose rows are only kept to tell that they are deleted.
CREATE TABLE grave (
    document INTEGER PRIMARY KEY,              -- its rowid
    change   INTEGER NOT NULL                  -- the last change when it was deleted
) STRICT;
INSERT INTO grave SELECT rowid, 0 FROM document WHERE deleted = 1;
-- The deletion itself may be the next change: triggers have no order.
CREATE TRIGGER document_buried AFTER UPDATE ON document WHEN new.deleted = 1 BEGIN
    INSERT INTO grave VALUES (new.rowid, (SELECT coalesce(max(seq), 0) + 1 FROM change))
    ON CONFLICT (document) DO UPDATE SET change = excluded.change;
END;
CREATE TRIGGER document_buried_at_once AFTER INSERT ON document WHEN new.deleted = 1 BEGIN
    INSERT INTO grave VALUES (new.rowid, (SELECT coalesce(max(seq), 0) + 1 FROM change))
    ON CONFLICT (document) DO UPDATE SET change = excluded.change;
END;
CREATE TRIGGER document_revived AFTER UPDATE ON document
WHEN old.deleted = 1 AND new.deleted = 0 BEGIN
    DELETE FROM grave WHERE document = new.rowid;
END;

-- How far all logs had been read when the last change was this one.
CREATE TABLE mark (
    change INTEGER PRIMARY KEY,
    read   TEXT NOT NULL                       -- JSON: devices and sequences
) STRICT;

-- Documents that no other device has heard of yet.
CREATE TABLE fresh (
    document BLOB PRIMARY KEY,                 -- its id
    change   INTEGER NOT NULL                  -- the last change when it was added
) STRICT, WITHOUT ROWID;

-- Documents that other devices know, in an older state, while this one has not
-- joined them.
CREATE TABLE met (
    document BLOB PRIMARY KEY                  -- its id
) STRICT, WITHOUT ROWID;

-- Documents that this device changed and no other has heard of, while it begins anew
-- with what is published, which does not have them: batches that follow may.
CREATE TABLE doubt (
    document BLOB PRIMARY KEY,                 -- its id
    hlc      INTEGER NOT NULL                  -- the change
) STRICT, WITHOUT ROWID;

-- Stamps that were made while the clock was behind what it had been: they count
-- up from there. When they were made by that clock, until others have seen them.
CREATE TABLE late (
    hlc     INTEGER PRIMARY KEY,
    unix_ms INTEGER NOT NULL
) STRICT;

-- How far the log of each device has been read, this one's among them.
CREATE TABLE peer (
    device   TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,                 -- of its last batch that was read
    hash     BLOB NOT NULL,                    -- and that batch's BLAKE3
    hlc      INTEGER NOT NULL                  -- its latest stamp
) STRICT, WITHOUT ROWID;

-- The newest batches of this device, as they were written to the bucket: should it
-- lose them, they are written again.
CREATE TABLE written (
    sequence INTEGER PRIMARY KEY,
    first    INTEGER NOT NULL,                 -- stamps of its rows: the earliest
    last     INTEGER NOT NULL,                 -- and the latest
    object   BLOB NOT NULL
) STRICT;
-- No text stays that is deleted.
CREATE TRIGGER passage_removed_everywhere AFTER DELETE ON passage BEGIN
    DELETE FROM written WHERE old.hlc BETWEEN first AND last;
END;
CREATE TRIGGER document_changed_everywhere AFTER UPDATE ON document
WHEN old.hlc <> new.hlc BEGIN
    DELETE FROM written WHERE old.hlc BETWEEN first AND last;
END;

-- Batches that were not applied, and why.
CREATE TABLE quarantine (
    device   TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    unix_ms  INTEGER NOT NULL,                 -- when it was noticed
    PRIMARY KEY (device, sequence)
) STRICT, WITHOUT ROWID;

-- Passages of the present transaction whose words are not in the index yet. They
-- follow together at its end: the index writes out what it has gathered before
-- each statement that could fail half-way, and every insertion here is one.
CREATE TABLE unindexed (
    passage INTEGER PRIMARY KEY                -- its rowid
) STRICT;
DROP TRIGGER passage_text_added;
CREATE TRIGGER passage_text_added AFTER INSERT ON passage
WHEN new.deleted = 0 BEGIN
    INSERT INTO unindexed VALUES (new.rowid);
END;
DROP TRIGGER passage_text_changed;
CREATE TRIGGER passage_text_changed AFTER UPDATE OF text, deleted ON passage
WHEN old.text IS NOT new.text OR old.deleted IS NOT new.deleted BEGIN
    INSERT INTO passage_text_index (passage_text_index, rowid, text)
        SELECT 'delete', old.rowid, old.text
        WHERE old.deleted = 0
          AND NOT EXISTS (SELECT 1 FROM unindexed WHERE passage = old.rowid);
    DELETE FROM unindexed WHERE passage = old.rowid;
    INSERT INTO unindexed SELECT new.rowid WHERE new.deleted = 0;
END;
DROP TRIGGER passage_text_removed;
CREATE TRIGGER passage_text_removed AFTER DELETE ON passage
WHEN old.deleted = 0 BEGIN
    INSERT INTO passage_text_index (passage_text_index, rowid, text)
        SELECT 'delete', old.rowid, old.text
        WHERE NOT EXISTS (SELECT 1 FROM unindexed WHERE passage = old.rowid);
    DELETE FROM unindexed WHERE passage = old.rowid;
END;
