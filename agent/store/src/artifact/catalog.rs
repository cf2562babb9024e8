//! The rows of the catalog, read and written.

use ginnel_blob::hash::Hash;
use ginnel_blob::index::ChunkIndex;
use ginnel_blob::plan::Chosen;
use ginnel_proto::artifact::Artifact;
use rusqlite::{Connection, OptionalExtension};

use super::row::{self, Row};
use super::{Entry, LocalFile, Remote};
use crate::blob::path::BlobPath;
use crate::error::{Error, ErrorKind, Quoted, Result};
use crate::limits::{ARTIFACTS_MAX, ETAG_MAX};
use crate::write::Turn;

pub(super) fn list(connection: &Connection) -> Result<Vec<Entry>> {
    let mut find = connection.prepare_cached(&row::select("ORDER BY name"))?;
    let rows = find.query_map([], Row::read)?;
    rows.map(|row| row?.entry()).collect()
}

pub(super) fn find(connection: &Connection, name: &Artifact) -> Result<Option<Entry>> {
    let mut find = connection.prepare_cached(&row::select("WHERE name = ?1"))?;
    let found = find.query_row([name.to_string()], Row::read);
    found.optional()?.map(Row::entry).transpose()
}

pub(crate) fn keep_file(
    turn: &mut Turn<'_>,
    name: &Artifact,
    file: &LocalFile,
    index: Option<&ChunkIndex>,
) -> Result<()> {
    if let Some(index) = index
        && (file.blob != Some(index.blob()) || file.stamp.size != index.size())
    {
        return Err(Error::new(
            ErrorKind::Internal,
            format!("chunk index is another blob's, name={name}"),
        ));
    }
    let path = path_for(turn, name)?;
    let mut keep = turn.connection.prepare_cached(
        "INSERT INTO artifact
             (name, path, size, mtime_ns, inode, format, blob, bad, used_ms, created_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)
         ON CONFLICT (name) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns,
             inode = excluded.inode, format = excluded.format, blob = excluded.blob,
             bad = excluded.bad",
    )?;
    keep.execute((
        name.to_string(),
        path.as_str(),
        file.stamp.size,
        file.stamp.mtime_ns,
        file.stamp.inode.cast_signed(),
        file.format.as_str(),
        file.blob.as_ref().map(Hash::as_bytes),
        &file.bad,
        turn.now(),
    ))?;
    if let Some(blob) = file.blob {
        keep_index(turn, blob, index)?;
    }
    drop_indexes(turn)
}

pub(crate) fn keep_remote(turn: &mut Turn<'_>, name: &Artifact, remote: &Remote) -> Result<()> {
    if remote.etag.len() > ETAG_MAX {
        let etag = Quoted(&remote.etag);
        return Err(Error::invalid(format!(
            "etag is longer than {ETAG_MAX} bytes, name={name}, etag={etag}"
        )));
    }
    let path = path_for(turn, name)?;
    let mut keep = turn.connection.prepare_cached(
        "INSERT INTO artifact
             (name, path, remote_blob, remote_size, remote_etag, remote_fence, used_ms, created_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
         ON CONFLICT (name) DO UPDATE SET remote_blob = excluded.remote_blob,
             remote_size = excluded.remote_size, remote_etag = excluded.remote_etag,
             remote_fence = excluded.remote_fence",
    )?;
    keep.execute((
        name.to_string(),
        path.as_str(),
        remote.blob.as_bytes(),
        remote.size,
        &remote.etag,
        remote.fence,
        turn.now(),
    ))?;
    drop_indexes(turn)
}

/// The path for an artifact, after a look whether it may have it.
fn path_for(turn: &Turn<'_>, name: &Artifact) -> Result<BlobPath> {
    let path = BlobPath::of(name)?;
    let mut find = turn
        .connection
        .prepare_cached("SELECT name FROM artifact WHERE path = ?1")?;
    let holder: Option<String> = find
        .query_row([path.as_str()], |row| row.get(0))
        .optional()?;
    if let Some(holder) = &holder
        && *holder != name.to_string()
    {
        return Err(Error::invalid(format!(
            "names differ only in case, name={name}, other={holder}; hint: rename one of the files"
        )));
    }
    if holder.is_none() {
        let count: usize =
            turn.connection
                .query_row("SELECT count(*) FROM artifact", [], |row| row.get(0))?;
        if count >= ARTIFACTS_MAX {
            return Err(Error::invalid(format!(
                "the catalog is full, artifacts={count}; hint: ginnel models rm"
            )));
        }
    }
    Ok(path)
}

pub(super) fn drop_file(turn: &mut Turn<'_>, name: &Artifact) -> Result<()> {
    let mut forget = turn
        .connection
        .prepare_cached("DELETE FROM artifact WHERE name = ?1 AND remote_blob IS NULL")?;
    forget.execute([name.to_string()])?;
    let mut clear = turn.connection.prepare_cached(
        "UPDATE artifact SET size = NULL, mtime_ns = NULL, inode = NULL, format = NULL,
             blob = NULL, bad = NULL WHERE name = ?1",
    )?;
    clear.execute([name.to_string()])?;
    drop_indexes(turn)
}

pub(super) fn drop_remote(turn: &mut Turn<'_>, name: &Artifact) -> Result<()> {
    let mut forget = turn
        .connection
        .prepare_cached("DELETE FROM artifact WHERE name = ?1 AND size IS NULL")?;
    forget.execute([name.to_string()])?;
    let mut clear = turn.connection.prepare_cached(
        "UPDATE artifact SET remote_blob = NULL, remote_size = NULL, remote_etag = NULL,
             remote_fence = NULL WHERE name = ?1",
    )?;
    clear.execute([name.to_string()])?;
    drop_indexes(turn)
}

pub(super) fn forget(turn: &mut Turn<'_>, name: &Artifact) -> Result<bool> {
    let mut forget = turn
        .connection
        .prepare_cached("DELETE FROM artifact WHERE name = ?1")?;
    let was_there = forget.execute([name.to_string()])? > 0;
    drop_indexes(turn)?;
    Ok(was_there)
}

pub(super) fn pin(turn: &mut Turn<'_>, name: &Artifact, is_pinned: bool) -> Result<()> {
    let mut pin = turn
        .connection
        .prepare_cached("UPDATE artifact SET pinned = ?2 WHERE name = ?1")?;
    match pin.execute((name.to_string(), is_pinned))? {
        0 => Err(missing(name)),
        _ => Ok(()),
    }
}

/// Times of use only grow, whatever the clock does.
pub(super) fn touch(turn: &mut Turn<'_>, name: &Artifact) -> Result<()> {
    let mut touch = turn
        .connection
        .prepare_cached("UPDATE artifact SET used_ms = max(used_ms, ?2) WHERE name = ?1")?;
    touch.execute((name.to_string(), turn.now()))?;
    Ok(())
}

pub(super) fn mark(turn: &mut Turn<'_>, name: &Artifact, bad: Option<&Chosen>) -> Result<()> {
    let mut mark = turn
        .connection
        .prepare_cached("UPDATE artifact SET bad = ?2 WHERE name = ?1 AND blob IS NOT NULL")?;
    let bits = bad.map(|bad| bad.encode().to_vec());
    match mark.execute((name.to_string(), bits))? {
        0 => Err(missing(name)),
        _ => Ok(()),
    }
}

fn missing(name: &Artifact) -> Error {
    let message = format!("no such artifact, name={name}; hint: ginnel models ls");
    Error::new(ErrorKind::Missing, message)
}

/// Keeps where a blob is cut.
pub(crate) fn keep_index(turn: &Turn<'_>, blob: Hash, index: Option<&ChunkIndex>) -> Result<()> {
    let Some(index) = index else { return Ok(()) };
    if index.blob() != blob {
        return Err(Error::new(
            ErrorKind::Internal,
            format!(
                "chunk index is another blob's, blob={blob}, found={}",
                index.blob()
            ),
        ));
    }
    let mut keep = turn.connection.prepare_cached(
        "INSERT INTO chunk_index (blob, bytes) VALUES (?1, ?2)
         ON CONFLICT (blob) DO UPDATE SET bytes = excluded.bytes WHERE bytes <> excluded.bytes",
    )?;
    keep.execute((blob.as_bytes(), &*index.encode()))?;
    Ok(())
}

pub(super) fn index_of(connection: &Connection, blob: Hash) -> Result<Option<ChunkIndex>> {
    let mut find = connection.prepare_cached("SELECT bytes FROM chunk_index WHERE blob = ?1")?;
    let found = find.query_row([blob.as_bytes()], |row| {
        let bytes = row.get_ref(0)?.as_blob()?;
        Ok(ChunkIndex::decode(bytes))
    });
    let Some(decoded) = found.optional()? else {
        return Ok(None);
    };
    match decoded {
        Ok(index) if index.blob() == blob => Ok(Some(index)),
        Ok(index) => Err(Error::corrupt(format!(
            "chunk index is another blob's, blob={blob}, found={}",
            index.blob()
        ))),
        Err(error) => Err(Error::corrupt(format!("{error}, blob={blob}"))),
    }
}

/// Forgets where blobs are cut that nobody names any more.
pub(crate) fn drop_indexes(turn: &Turn<'_>) -> Result<()> {
    let mut drop = turn.connection.prepare_cached(
        "DELETE FROM chunk_index WHERE blob NOT IN (
             SELECT blob FROM artifact WHERE blob IS NOT NULL
             UNION SELECT remote_blob FROM artifact WHERE remote_blob IS NOT NULL
             UNION SELECT blob FROM transfer WHERE state <> 'done')",
    )?;
    drop.execute([])?;
    Ok(())
}
