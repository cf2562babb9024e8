//! What has arrived of a transfer, noted so that it never travels again.

use ginnel_blob::plan::Chosen;
use ginnel_proto::limits::{PART_TAG_MAX, PARTS_MAX, UPLOAD_ID_MAX};
use ginnel_proto::push::Upload;
use rusqlite::OptionalExtension as _;

use super::{Transfer, TransferId, expect, expect_unfinished};
use crate::Store;
use crate::error::{Error, ErrorKind, Quoted, Result};
use crate::limits::ETAG_MAX;
use crate::write::Turn;

/// A part that the bucket has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Counted from zero.
    pub number: u32,
    /// The bucket's name for its bytes.
    pub tag: String,
    /// How many bytes travelled for it: what the relay had of it did not.
    pub travelled: u64,
}

impl Store {
    /// Notes what a transfer has to move: `lacking` bytes are still to travel,
    /// `reused` are at the other end already.
    ///
    /// # Errors
    /// `Missing` if there is no such transfer, `Invalid` if it is done.
    pub async fn plan_transfer(
        &self,
        id: TransferId,
        lacking: u64,
        reused: u64,
    ) -> Result<Transfer> {
        let plan = move |turn: &mut Turn<'_>| {
            expect_unfinished(turn, id)?;
            let mut plan = turn.connection.prepare_cached(
                "UPDATE transfer SET needed = sent + ?2, reused = ?3, updated_ms = ?4
                 WHERE id = ?1",
            )?;
            plan.execute((id.number(), lacking, reused, turn.now()))?;
            expect(turn, id)
        };
        self.inner.writer.run(plan).await
    }

    /// Notes the upload that a push goes on with, and the etag of what it
    /// builds on. Parts of another upload are forgotten.
    ///
    /// # Errors
    /// `Missing` if there is no such transfer, `Invalid` if it is done or the
    /// upload's name is too long.
    pub async fn keep_upload(
        &self,
        id: TransferId,
        upload: Upload,
        base_etag: Option<String>,
    ) -> Result<Transfer> {
        let keep = move |turn: &mut Turn<'_>| keep_upload(turn, id, &upload, base_etag.as_deref());
        self.inner.writer.run(keep).await
    }

    /// The tags of the parts that are stored, from the first on.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn transfer_parts(&self, id: TransferId) -> Result<Vec<String>> {
        let find = move |connection: &rusqlite::Connection| {
            let mut find = connection.prepare_cached(
                "SELECT tag FROM transfer_part WHERE transfer = ?1 ORDER BY number",
            )?;
            let tags = find.query_map([id.number()], |row| row.get(0))?;
            Ok(tags.collect::<rusqlite::Result<_>>()?)
        };
        self.inner.readers.run(find).await
    }

    /// Notes parts that the bucket has, in one step with the bytes that
    /// travelled for them. They follow those that are noted without a gap.
    ///
    /// # Errors
    /// `Missing` if there is no such transfer; `Invalid` if it is done, has no
    /// upload, or a part is not the next one or its tag too long: none is
    /// noted then.
    pub async fn keep_parts(&self, id: TransferId, parts: Vec<Piece>) -> Result<Transfer> {
        let keep = move |turn: &mut Turn<'_>| keep_parts(turn, id, &parts);
        self.inner.writer.run(keep).await
    }

    /// Forgets the upload and its parts: the bucket has it no more. Bytes that
    /// travelled stay counted.
    ///
    /// # Errors
    /// `Missing` if there is no such transfer, `Invalid` if it is done.
    pub async fn forget_upload(&self, id: TransferId) -> Result<Transfer> {
        let forget = move |turn: &mut Turn<'_>| {
            expect_unfinished(turn, id)?;
            clear_parts(turn, id)?;
            let mut forget = turn.connection.prepare_cached(
                "UPDATE transfer SET upload = NULL, fence = NULL, part_size = NULL, etag = NULL
                 WHERE id = ?1",
            )?;
            forget.execute([id.number()])?;
            expect(turn, id)
        };
        self.inner.writer.run(forget).await
    }

    /// The chunks that a pull has written and synced, of `count`. Those of
    /// another version than that of `etag` do not count.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn transfer_chunks(
        &self,
        id: TransferId,
        etag: String,
        count: usize,
    ) -> Result<Chosen> {
        let find = move |connection: &_| {
            let bits = chunks_of(connection, id, &etag)?;
            let chunks = bits.and_then(|bits| Chosen::decode(&bits, count));
            Ok(chunks.unwrap_or_else(|| Chosen::none(count)))
        };
        self.inner.readers.run(find).await
    }

    /// Forgets the chunks that a pull has: their file is gone. Bytes that
    /// travelled stay counted.
    ///
    /// # Errors
    /// `Missing` if there is no such transfer, `Invalid` if it is done.
    pub async fn forget_chunks(&self, id: TransferId) -> Result<Transfer> {
        let forget = move |turn: &mut Turn<'_>| {
            expect_unfinished(turn, id)?;
            let mut forget = turn.connection.prepare_cached(
                "UPDATE transfer SET chunks = NULL, etag = NULL, updated_ms = ?2 WHERE id = ?1",
            )?;
            forget.execute((id.number(), turn.now()))?;
            expect(turn, id)
        };
        self.inner.writer.run(forget).await
    }

    /// Notes all chunks that a pull has written and synced, of the version of
    /// `etag`, in one step with how many bytes travelled since the last time.
    ///
    /// # Errors
    /// `Missing` if there is no such transfer; `Invalid` if it is done, or a
    /// chunk of that version is missing that was noted before.
    pub async fn keep_chunks(
        &self,
        id: TransferId,
        etag: String,
        chunks: Chosen,
        travelled: u64,
    ) -> Result<Transfer> {
        let keep =
            move |turn: &mut Turn<'_>| keep_chunks(turn, id, &etag, &chunks.encode(), travelled);
        self.inner.writer.run(keep).await
    }
}

fn keep_upload(
    turn: &mut Turn<'_>,
    id: TransferId,
    upload: &Upload,
    base_etag: Option<&str>,
) -> Result<Transfer> {
    let transfer = expect_unfinished(turn, id)?;
    if upload.id.len() > UPLOAD_ID_MAX || base_etag.is_some_and(|etag| etag.len() > ETAG_MAX) {
        return Err(Error::invalid(format!(
            "upload's name or etag is too long, transfer={id}, upload={}",
            Quoted(&upload.id)
        )));
    }
    if transfer.upload.as_ref() != Some(upload) {
        clear_parts(turn, id)?;
    }
    let mut keep = turn.connection.prepare_cached(
        "UPDATE transfer SET upload = ?2, fence = ?3, part_size = ?4, etag = ?5, updated_ms = ?6
         WHERE id = ?1",
    )?;
    keep.execute((
        id.number(),
        &upload.id,
        upload.fence,
        upload.part_size,
        base_etag,
        turn.now(),
    ))?;
    expect(turn, id)
}

fn keep_parts(turn: &mut Turn<'_>, id: TransferId, parts: &[Piece]) -> Result<Transfer> {
    let transfer = expect_unfinished(turn, id)?;
    if transfer.upload.is_none() {
        return Err(Error::invalid(format!(
            "transfer has no upload, transfer={id}"
        )));
    }
    let mut count = turn
        .connection
        .prepare_cached("SELECT count(*) FROM transfer_part WHERE transfer = ?1")?;
    let first: u32 = count.query_row([id.number()], |row| row.get(0))?;
    let mut keep = turn
        .connection
        .prepare_cached("INSERT INTO transfer_part (transfer, number, tag) VALUES (?1, ?2, ?3)")?;
    let mut travelled = 0_u64;
    for (next, part) in (first..).zip(parts) {
        if part.number != next || next >= PARTS_MAX {
            return Err(Error::invalid(format!(
                "part is not the next one, transfer={id}, part={}, next={next}",
                part.number
            )));
        }
        if part.tag.is_empty() || part.tag.len() > PART_TAG_MAX {
            return Err(Error::invalid(format!(
                "tag of a part is empty or longer than {PART_TAG_MAX} bytes, transfer={id}, part={}",
                part.number
            )));
        }
        keep.execute((id.number(), part.number, &part.tag))?;
        travelled = travelled.saturating_add(part.travelled);
    }
    advance(turn, id, travelled)?;
    expect(turn, id)
}

fn keep_chunks(
    turn: &mut Turn<'_>,
    id: TransferId,
    etag: &str,
    bits: &[u8],
    travelled: u64,
) -> Result<Transfer> {
    expect_unfinished(turn, id)?;
    if etag.len() > ETAG_MAX {
        let etag = Quoted(etag);
        return Err(Error::invalid(format!("etag is too long, etag={etag}")));
    }
    if let Some(before) = chunks_of(turn.connection, id, etag)? {
        let is_kept = |(was, is): (&u8, &u8)| was & !is == 0;
        if before.len() != bits.len() || !before.iter().zip(bits).all(is_kept) {
            return Err(Error::invalid(format!(
                "a chunk is missing that was noted before, transfer={id}"
            )));
        }
    }
    let mut keep = turn
        .connection
        .prepare_cached("UPDATE transfer SET chunks = ?2, etag = ?3 WHERE id = ?1")?;
    keep.execute((id.number(), bits, etag))?;
    advance(turn, id, travelled)?;
    expect(turn, id)
}

/// Bytes have travelled. More than were planned were needed too.
fn advance(turn: &Turn<'_>, id: TransferId, travelled: u64) -> Result<()> {
    let mut advance = turn.connection.prepare_cached(
        "UPDATE transfer SET sent = sent + ?2, needed = max(needed, sent + ?2), updated_ms = ?3
         WHERE id = ?1",
    )?;
    match advance.execute((id.number(), travelled, turn.now()))? {
        1 => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Missing,
            format!("no such transfer, transfer={id}"),
        )),
    }
}

fn chunks_of(
    connection: &rusqlite::Connection,
    id: TransferId,
    etag: &str,
) -> Result<Option<Vec<u8>>> {
    let mut find = connection.prepare_cached(
        "SELECT chunks FROM transfer WHERE id = ?1 AND etag = ?2 AND chunks IS NOT NULL",
    )?;
    let found = find.query_row((id.number(), etag), |row| row.get(0));
    Ok(found.optional()?)
}

fn clear_parts(turn: &Turn<'_>, id: TransferId) -> Result<()> {
    let mut clear = turn
        .connection
        .prepare_cached("DELETE FROM transfer_part WHERE transfer = ?1")?;
    clear.execute([id.number()])?;
    Ok(())
}
