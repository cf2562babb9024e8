//! Keeps the files of an index: writes tails to segments, merges segments, and
//! names them in the manifest.
//!
//! Two things happen at once: tails are sealed, by whoever calls, and segments
//! are merged, by one at a time. Both prepare a file that nobody knows, put it
//! in the place of what it was made from, and write the manifest. After a crash
//! the manifest is the old or the new one, and files it does not name are
//! removed.

mod intact;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Options;
use super::arrange::{self, Row, Task};
use super::bits::Bits;
use super::disk::Disk;
use super::manifest::{Listed, Manifest};
use super::plan::{Size, plan};
use super::segment::Segment;
use super::segment::write::{self, Contents};
use super::space::Space;
use super::state::{Living, Part, State};
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::vector::{Spec, Stats};

/// Tails that wait to be written, at most: 256 Ki rows, which is 120 MB at 384
/// dimensions. With more, who applies changes writes one.
pub const FROZEN_MAX: usize = 4;

const MANIFEST: &str = "manifest";

/// The state, and the files it is from.
#[derive(Debug)]
pub struct Compactor {
    pub(super) state: State,
    pub(super) disk: Disk,
    /// Held while the manifest is made and written.
    files: Mutex<Files>,
    /// Held while segments are merged.
    merging: Mutex<()>,
    durable: AtomicU64,
    next: AtomicU64,
    stopped: AtomicBool,
    discarded: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Files {
    /// The last change that is in segments.
    sealed: u64,
    /// Files that the manifest may still name, but the state does not use.
    garbage: Vec<String>,
    manifest_bytes: u64,
    /// The checksum of the manifest as it must be on the disk; `None` if it is
    /// not known, or there is none.
    manifest: Option<u32>,
}

impl Compactor {
    /// Opens what is in a folder, see [`super::Scan::open`].
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub fn open(folder: &Path, spec: Spec, options: Options) -> Result<Self> {
        let compactor = Self {
            state: State::new(spec, options),
            disk: Disk::open(folder)?,
            files: Mutex::default(),
            merging: Mutex::default(),
            durable: AtomicU64::new(0),
            next: AtomicU64::new(1),
            stopped: AtomicBool::new(false),
            discarded: Mutex::default(),
        };
        match compactor.load() {
            Ok(()) => Ok(compactor),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::warn!(%error, folder = %folder.display(), "vector index is made anew");
                *lock(&compactor.discarded) = Some(error.to_string());
                compactor.clear()?;
                Ok(compactor)
            }
            Err(error) => Err(error),
        }
    }

    /// The last change that a restart will find.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Why the files could not be used.
    #[must_use]
    pub fn discarded(&self) -> Option<String> {
        lock(&self.discarded).clone()
    }

    fn load(&self) -> Result<()> {
        let Some(bytes) = self.disk.read(MANIFEST)? else {
            return self.sweep(&HashSet::new());
        };
        let manifest = Manifest::from_bytes(&bytes, |origin| self.state.identity(origin))?;
        let padded = self.state.padded();
        if manifest.origin.len() != padded {
            return Err(Error::corrupt("origin has another number of dimensions"));
        }
        let identity = self.state.identity(&manifest.origin);
        let mut parts = Vec::with_capacity(manifest.segments.len());
        let mut names = HashSet::from([MANIFEST.to_owned()]);
        for listed in manifest.segments {
            let name = segment_name(listed.number);
            let path = self.disk.path(&name);
            let segment = match Segment::open(&path, &identity, padded) {
                Err(error) if !path.exists() => {
                    return Err(Error::corrupt("segment is missing").with("reason", &error));
                }
                segment => segment?,
            };
            if segment.rows() != listed.rows {
                return Err(Error::corrupt("segment has other rows").with("file", &name));
            }
            names.insert(name);
            let mut dead = Bits::default();
            for row in listed.dead {
                if row as usize >= segment.view().passages.len() {
                    return Err(Error::corrupt("a dead row is none").with("row", &row));
                }
                dead.insert(row);
            }
            let rows = Arc::new(segment);
            let (number, of) = (listed.number, Living { rows, dead });
            parts.push(Part::Segment { number, of });
        }
        self.sweep(&names)?;
        let mut now = self.state.write();
        now.space = Some(Arc::new(self.state.space(manifest.origin)));
        now.parts = parts;
        now.watermark = manifest.watermark;
        drop(now);
        let mut files = lock(&self.files);
        files.sealed = manifest.watermark;
        files.manifest_bytes = bytes.len() as u64;
        files.manifest = Some(crc32fast::hash(&bytes));
        drop(files);
        self.next.store(manifest.next, Ordering::Relaxed);
        self.durable.store(manifest.watermark, Ordering::Release);
        Ok(())
    }

    /// Removes all files but these.
    fn sweep(&self, keep: &HashSet<String>) -> Result<()> {
        let names = self.disk.names()?;
        let mut names = names.iter().filter(|name| !keep.contains(*name));
        names.try_for_each(|name| self.disk.remove(name))
    }

    /// Throws everything away, files too.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn clear(&self) -> Result<()> {
        self.discard(None)
    }

    /// Throws everything away. If it is because of damage, nothing can be done
    /// until it is cleared.
    fn discard(&self, damage: Option<String>) -> Result<()> {
        let mut files = lock(&self.files);
        self.state.clear(damage);
        self.durable.store(0, Ordering::Release);
        *files = Files::default();
        // Without a manifest the rest is nothing.
        self.disk.remove(MANIFEST)?;
        self.disk.sync()?;
        self.sweep(&HashSet::new())
    }

    /// Writes all tails that wait, and the manifest if anything is new.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn seal(&self) -> Result<()> {
        let mut files = lock(&self.files);
        loop {
            let now = self.state.read();
            now.check()?;
            let frozen = now.parts.iter().find_map(|part| match part {
                Part::Frozen { watermark, of } => Some((*watermark, of.clone())),
                Part::Segment { .. } => None,
            });
            let space = now.space.clone();
            drop(now);
            let (Some((watermark, of)), Some(space)) = (frozen, space) else {
                break;
            };
            let rows = arrange::living_rows(&[(of.rows.view(), &of.dead)]);
            let source = Source {
                views: &[of.rows.view()],
                rows: &rows,
                space: &space,
            };
            let new = self.build(source, &|| self.is_stopped())?;
            let mut now = self.state.write();
            let same = |part: &Part| matches!(part, Part::Frozen { of: other, .. } if Arc::ptr_eq(&other.rows, &of.rows));
            now.exchange(same, new, &of.dead);
            drop(now);
            files.sealed = files.sealed.max(watermark);
        }
        self.write_manifest(&mut files)
    }

    /// Writes what the state consists of, if it is new.
    fn write_manifest(&self, files: &mut Files) -> Result<()> {
        let now = self.state.read();
        let Some(space) = now.space.clone() else {
            return Ok(());
        };
        if now.tail.rows.is_empty() && now.frozen() == 0 {
            files.sealed = now.watermark;
        }
        if files.sealed == self.durable() && files.garbage.is_empty() {
            return Ok(());
        }
        let segments = now.parts.iter().filter_map(|part| match part {
            Part::Segment { number, of } => Some(Listed {
                number: *number,
                rows: of.rows.rows(),
                dead: of.dead.iter().collect(),
            }),
            Part::Frozen { .. } => None,
        });
        let manifest = Manifest {
            watermark: files.sealed,
            next: self.next.load(Ordering::Relaxed),
            origin: space.origin().to_vec(),
            segments: segments.collect(),
        };
        drop(now);
        let identity = self.state.identity(space.origin());
        let bytes = manifest.to_bytes(&identity);
        self.disk.sync()?;
        // After a failure there may be either.
        files.manifest = None;
        self.disk.replace(MANIFEST, &bytes)?;
        files.manifest_bytes = bytes.len() as u64;
        files.manifest = Some(crc32fast::hash(&bytes));
        self.durable.store(files.sealed, Ordering::Release);
        for name in std::mem::take(&mut files.garbage) {
            // What cannot be removed now is when the index is opened.
            if let Err(error) = self.disk.remove(&name) {
                tracing::debug!(%error, "a file stays for now");
            }
        }
        Ok(())
    }

    /// Merges segments until there is nothing more to be gained.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn merge_all(&self) -> Result<()> {
        let _merging = lock(&self.merging);
        while self.merge()? {}
        Ok(())
    }

    fn merge(&self) -> Result<bool> {
        let now = self.state.read();
        now.check()?;
        let generation = now.generation;
        let segments = now.parts.iter().filter_map(|part| match part {
            Part::Segment { number, of } => Some((*number, of.clone())),
            Part::Frozen { .. } => None,
        });
        let segments: Vec<_> = segments.collect();
        let space = now.space.clone();
        drop(now);
        let sizes = segments.iter().map(|(_, of)| Size {
            rows: of.rows.rows() as usize,
            dead: of.dead.count(),
        });
        let chosen = plan(&sizes.collect::<Vec<_>>());
        let (Some(space), false) = (space, chosen.is_empty()) else {
            return Ok(false);
        };
        let chosen: Vec<_> = chosen
            .into_iter()
            .filter_map(|at| segments.get(at))
            .collect();
        chosen.iter().for_each(|(_, of)| of.rows.expect_reading());
        let sources = chosen.iter().map(|(_, of)| (of.rows.view(), &of.dead));
        let sources: Vec<_> = sources.collect();
        let rows = arrange::living_rows(&sources);
        let views: Vec<View<'_>> = sources.iter().map(|(view, _)| *view).collect();
        let stop = || self.is_stopped() || self.state.read().generation != generation;
        let source = Source {
            views: &views,
            rows: &rows,
            space: &space,
        };
        let new = self.build(source, &stop)?;

        let mut files = lock(&self.files);
        let mut now = self.state.write();
        if now.generation != generation {
            return Err(Error::closed());
        }
        let numbers: HashSet<u64> = chosen.iter().map(|(number, _)| *number).collect();
        now.exchange_segments(&numbers, new, &chosen);
        drop(now);
        files.garbage.extend(numbers.into_iter().map(segment_name));
        self.write_manifest(&mut files)?;
        Ok(true)
    }

    /// Writes a segment. `None` if it would have no rows.
    fn build(&self, source: Source<'_>, stop: &dyn Fn() -> bool) -> Result<Option<Part>> {
        if source.rows.is_empty() {
            return Ok(None);
        }
        let padded = self.state.padded();
        let arranged = arrange::arrange(Task {
            views: source.views,
            rows: source.rows,
            space: source.space,
            padded,
            lists_from: self.state.options().lists_from,
            stop,
        })?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = segment_name(number);
        let identity = self.state.identity(source.space.origin());
        let contents = Contents {
            views: source.views,
            arranged: &arranged,
            space: source.space,
            padded,
        };
        write::write(&self.disk, &name, (&identity, contents), stop)?;
        let segment = Segment::open(&self.disk.path(&name), &identity, padded)?;
        let (rows, dead) = (Arc::new(segment), Bits::default());
        let of = Living { rows, dead };
        Ok(Some(Part::Segment { number, of }))
    }

    /// See [`crate::vector::VectorIndex::stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        let now = self.state.read();
        let mut stats = Stats {
            entries: now.living() as u64,
            memory_bytes: now.tail.rows.memory_bytes() as u64,
            dead: now.tail.dead.count() as u64,
            file_bytes: 0,
        };
        for part in &now.parts {
            stats.dead += part.dead().count() as u64;
            match part {
                Part::Segment { of, .. } => stats.file_bytes += of.rows.file_bytes() as u64,
                Part::Frozen { of, .. } => stats.memory_bytes += of.rows.memory_bytes() as u64,
            }
        }
        drop(now);
        stats.file_bytes += lock(&self.files).manifest_bytes;
        stats
    }

    /// Ends what is under way: the index is closed.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// Rows for a new segment.
#[derive(Clone, Copy)]
struct Source<'a> {
    views: &'a [View<'a>],
    rows: &'a [Row],
    space: &'a Space,
}

fn segment_name(number: u64) -> String {
    format!("segment-{number}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done: files are swapped in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
