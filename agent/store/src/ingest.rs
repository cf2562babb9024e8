//! Which files were read, and what they were like then.

use std::collections::HashSet;

use ginnel_proto::id::CollectionName;
use rusqlite::Connection;

use crate::document::{self, NewDocument, Stored};
use crate::error::Result;
use crate::id::{DocumentId, ModelId};
use crate::write::Turn;

/// The files of one folder in one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where its documents are.
    pub collection: CollectionName,
    /// What their sources begin with.
    pub name: String,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Below its folder; empty where a file was added by itself.
    pub path: String,
    /// Where the folder is.
    pub root: String,
    /// Bytes.
    pub size: u64,
    /// When it was last written to, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// BLAKE3 of its bytes.
    pub hash: [u8; 32],
    /// For how many tokens its passages were cut; 0 if nobody noted it.
    pub tokens_max: u32,
    /// Which model's vectors were taken from it.
    pub vectors: Option<ModelId>,
}

/// Where a document came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The folder of its file.
    pub folder: Folder,
    /// Where the folder is.
    pub root: String,
    /// The file, see [`File::path`].
    pub path: String,
}

impl Folder {
    /// The source of a file's document.
    #[must_use]
    pub fn source(&self, path: &str) -> String {
        match path {
            "" => self.name.clone(),
            path => format!("{}/{path}", self.name),
        }
    }
}

/// What stands between a file's source and the name of one of its documents,
/// where it has many.
pub const PART: char = '#';

/// The time of a file of which not all has been read. No file has it, so it is
/// read again.
pub const NEVER_READ: i64 = i64::MIN;

/// The files of a folder, but for their contents' hash where that is not known.
pub(crate) fn files(connection: &Connection, folder: &Folder) -> Result<Vec<File>> {
    let mut find = connection.prepare_cached(
        "SELECT path, root, size, mtime_ns, hash, tokens_max, vectors FROM ingest
         WHERE collection = ?1 AND name = ?2 ORDER BY path",
    )?;
    let rows = find.query_map((folder.collection.as_str(), &folder.name), |row| {
        Ok(File {
            path: row.get(0)?,
            root: row.get(1)?,
            size: row.get(2)?,
            mtime_ns: row.get(3)?,
            hash: row.get::<_, Vec<u8>>(4)?.try_into().unwrap_or_default(),
            tokens_max: row.get(5)?,
            vectors: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Stores a document that was read from a file, and that it was.
///
/// The file is known from then on, as one that is not read to its end, so that
/// its documents go with it whatever comes between.
pub(crate) fn put(turn: &mut Turn<'_>, origin: &Origin, document: &NewDocument) -> Result<Stored> {
    let stored = document::put(turn, document)?;
    let Origin { folder, root, path } = origin;
    let collection = folder.collection.as_str();
    let mut begun = turn.connection.prepare_cached(
        "INSERT INTO ingest (collection, name, path, root, size, mtime_ns, hash)
         VALUES (?1, ?2, ?3, ?4, 0, ?5, x'') ON CONFLICT DO NOTHING",
    )?;
    begun.execute((collection, &folder.name, path, root, NEVER_READ))?;
    let mut came_from = turn.connection.prepare_cached(
        "INSERT INTO ingest_document (collection, name, path, document)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    came_from.execute((collection, &folder.name, path, stored.id))?;
    Ok(stored)
}

/// Has the files read again that a document came from, because it is no longer
/// what they say.
pub(crate) fn read_again(turn: &Turn<'_>, document: DocumentId) -> Result<()> {
    let mut read_again = turn.connection.prepare_cached(
        "UPDATE ingest SET mtime_ns = ?2 WHERE (collection, name, path) IN
             (SELECT collection, name, path FROM ingest_document WHERE document = ?1)",
    )?;
    read_again.execute((document, NEVER_READ))?;
    Ok(())
}

/// Has the files read again whose documents are not there any more.
pub(crate) fn read_missing_again(connection: &Connection) -> Result<()> {
    connection.execute(
        "UPDATE ingest SET mtime_ns = ?1 WHERE (collection, name, path) IN
             (SELECT collection, name, path FROM ingest_document
              WHERE document NOT IN (SELECT id FROM document WHERE deleted = 0))",
        [NEVER_READ],
    )?;
    Ok(())
}

/// Has the files read again whose vectors of this model were taken: it is gone,
/// and they with it.
pub(crate) fn read_again_for(turn: &Turn<'_>, model: ModelId) -> Result<()> {
    let mut read_again = turn
        .connection
        .prepare_cached("UPDATE ingest SET mtime_ns = ?2 WHERE vectors = ?1")?;
    read_again.execute((model, NEVER_READ))?;
    Ok(())
}

/// Remembers a file, and takes those of its documents away that are not among
/// `documents` any more. Gives how many those were.
pub(crate) fn keep(
    turn: &mut Turn<'_>,
    folder: &Folder,
    file: &File,
    documents: &[DocumentId],
) -> Result<usize> {
    let removed = delete_documents(turn, folder, &file.path, documents)?;
    let mut keep = turn.connection.prepare_cached(
        "INSERT INTO ingest (collection, name, path, root, size, mtime_ns, hash, tokens_max, vectors)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT DO UPDATE SET root = excluded.root, size = excluded.size,
             mtime_ns = excluded.mtime_ns, hash = excluded.hash,
             tokens_max = excluded.tokens_max, vectors = excluded.vectors",
    )?;
    keep.execute((
        folder.collection.as_str(),
        &folder.name,
        &file.path,
        &file.root,
        file.size,
        file.mtime_ns,
        file.hash,
        file.tokens_max,
        file.vectors,
    ))?;
    Ok(removed)
}

/// Forgets a file and takes its documents away. Gives how many those were.
pub(crate) fn forget(turn: &mut Turn<'_>, folder: &Folder, path: &str) -> Result<usize> {
    let removed = delete_documents(turn, folder, path, &[])?;
    let mut forget = turn
        .connection
        .prepare_cached("DELETE FROM ingest WHERE collection = ?1 AND name = ?2 AND path = ?3")?;
    forget.execute((folder.collection.as_str(), &folder.name, path))?;
    Ok(removed)
}

fn delete_documents(
    turn: &mut Turn<'_>,
    folder: &Folder,
    path: &str,
    kept: &[DocumentId],
) -> Result<usize> {
    let connection = turn.connection;
    let kept: HashSet<DocumentId> = kept.iter().copied().collect();
    let collection = folder.collection.as_str();
    let mut find = connection.prepare_cached(
        "SELECT document FROM ingest_document
         WHERE collection = ?1 AND name = ?2 AND path = ?3",
    )?;
    let ids = find.query_map((collection, &folder.name, path), |row| row.get(0))?;
    let ids = ids.collect::<rusqlite::Result<Vec<DocumentId>>>()?;
    let mut forget = connection.prepare_cached(
        "DELETE FROM ingest_document
         WHERE collection = ?1 AND name = ?2 AND path = ?3 AND document = ?4",
    )?;
    let mut elsewhere =
        connection.prepare_cached("SELECT 1 FROM ingest_document WHERE document = ?1")?;
    let mut removed = 0;
    for id in ids {
        if kept.contains(&id) {
            continue;
        }
        forget.execute((collection, &folder.name, path, id))?;
        // Two files may have documents of the same source: the last one counts.
        if !elsewhere.exists([id])? {
            removed += usize::from(document::delete(turn, id)?);
        }
    }
    Ok(removed)
}
