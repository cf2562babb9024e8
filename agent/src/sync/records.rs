//! Chunks of a file, read, checked and packed for the way, on a thread of
//! their own.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use ginnel_blob::format::Header;
use ginnel_blob::hash::Hash;
use ginnel_blob::index::{Chunk, ChunkIndex};
use ginnel_blob::pack::{Packer, record_head};
use ginnel_blob::tensor::Grain;
use tokio::sync::mpsc;

use super::failure::Failure;

/// Records that wait to be sent: one is packed while another is on its way.
/// Each is up to 4 MiB.
const AHEAD: usize = 1;

/// A chunk as it travels.
#[derive(Debug)]
pub(super) struct Record {
    /// The chunk.
    pub(super) chunk: Chunk,
    /// Its head and its packed bytes.
    pub(super) bytes: Bytes,
}

/// What records are made of.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) file: File,
    pub(super) index: Arc<ChunkIndex>,
    pub(super) header: Option<Header>,
    /// Which chunks, in their order.
    pub(super) wanted: Vec<usize>,
}

impl Records {
    /// Begins to read. It ends when all are read, one is not what the index
    /// says, or nobody takes them any more.
    pub(super) fn begin(self) -> mpsc::Receiver<Result<Record, Failure>> {
        let (queue, records) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let Err(failure) = self.read(&queue) else {
                return;
            };
            // Who does not listen any more has a reason of its own.
            let _ = queue.blocking_send(Err(failure));
        });
        records
    }

    fn read(&self, queue: &mpsc::Sender<Result<Record, Failure>>) -> Result<(), Failure> {
        let mut packer = Packer::new().map_err(Failure::retry)?;
        let mut bytes = Vec::new();
        for &number in &self.wanted {
            let Some(chunk) = self.index.chunks().get(number) else {
                return Err(Failure::give("the relay wants a chunk that does not exist"));
            };
            let length = usize::try_from(chunk.length).unwrap_or(usize::MAX);
            bytes.resize(length, 0);
            if let Err(error) = read_at(&self.file, chunk.offset, &mut bytes) {
                return Err(changed_or(&error));
            }
            if Hash::of(&bytes) != chunk.hash {
                return Err(changed());
            }
            let (codec, packed) = packer.pack(&bytes, self.grain(chunk));
            let length = u32::try_from(packed.len()).unwrap_or(u32::MAX);
            let head = record_head(codec, length);
            let mut record = BytesMut::with_capacity(head.len() + packed.len());
            record.put_slice(&head);
            record.put_slice(packed);
            let record = Record {
                chunk: *chunk,
                bytes: record.freeze(),
            };
            if queue.blocking_send(Ok(record)).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What kind of numbers a chunk holds: chunks do not cross tensors, but
    /// small ones share one.
    fn grain(&self, chunk: &Chunk) -> Grain {
        let Some(header) = &self.header else {
            return Grain::Plain;
        };
        let tensors = &header.tensors;
        let number = tensors.partition_point(|tensor| tensor.place.end <= chunk.offset);
        match tensors.get(number) {
            Some(tensor) if tensor.place.start <= chunk.offset => tensor.grain(),
            Some(_) | None => Grain::Plain,
        }
    }
}

fn changed_or(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return changed();
    }
    Failure::retry(format_args!("the file cannot be read: {error}"))
}

fn changed() -> Failure {
    Failure::give(
        "the file was changed while it was pushed, and the relay keeps what it had; \
         hint: push it again when nothing writes to it",
    )
}

#[cfg(unix)]
pub(super) fn read_at(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
pub(super) fn read_at(file: &File, mut offset: u64, mut bytes: &mut [u8]) -> io::Result<()> {
    use std::os::windows::fs::FileExt as _;
    while !bytes.is_empty() {
        let read = file.seek_read(bytes, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = bytes.split_at_mut(read).1;
        offset += read as u64;
    }
    Ok(())
}
