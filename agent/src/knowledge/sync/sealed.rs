//! The published database as it lies in the bucket of a user who encrypts: made
//! of the plain one, and the plain one of it.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use ginnel_proto::artifact::Cover;
use ginnel_proto::id::UserName;
use ginnel_proto::sync::seal::Key;
use ginnel_proto::sync::seal::file::{BLOCK, FileError, open_file, seal_file};

use crate::sync::failure::Failure;

/// Seals the plain database into the place of the sealed one.
pub(super) async fn seal(
    key: Key,
    user: &UserName,
    plain: PathBuf,
    sealed: PathBuf,
) -> Result<(), Failure> {
    replace(user, plain, sealed, move |place, from, to| {
        seal_file(&key, place, from, to)
    })
    .await
}

/// Opens the sealed database into the place of the plain one.
pub(super) async fn open(
    key: Key,
    user: &UserName,
    sealed: PathBuf,
    plain: PathBuf,
) -> Result<(), Failure> {
    replace(user, sealed, plain, move |place, from, to| {
        open_file(&key, place, from, to)
    })
    .await
}

/// Makes one file of another; what breaks off leaves the older one.
async fn replace(
    user: &UserName,
    from: PathBuf,
    to: PathBuf,
    make: impl FnOnce(&str, &mut BufReader<File>, &mut BufWriter<&File>) -> Result<u64, FileError>
    + Send
    + 'static,
) -> Result<(), Failure> {
    let place = place(user);
    let work = move || {
        // Always the same name: what a stop leaves is replaced by the next one, or
        // goes with an erasure.
        let making = beside(&to, ".making");
        remove(&making)?;
        let file = File::options().write(true).create_new(true).open(&making)?;
        let mut reader = BufReader::with_capacity(BLOCK, File::open(&from)?);
        let mut writer = BufWriter::with_capacity(BLOCK, &file);
        let made = make(&place, &mut reader, &mut writer);
        if let Err(error) = made.and_then(|_| Ok(writer.flush()?)) {
            drop(writer);
            remove(&making)?;
            return Err(error);
        }
        drop(writer);
        file.sync_all()?;
        remove_journals(&to)?;
        Ok(fs::rename(&making, &to)?)
    };
    let done: Result<(), FileError> = tokio::task::spawn_blocking(work)
        .await
        .map_err(Failure::retry)?;
    done.map_err(|error| match error {
        // Another device may publish anew, or somebody makes room.
        FileError::Io(_) => Failure::retry(format_args!("{error}: {}", source(&error))),
        FileError::Block { .. } | FileError::Mixed => Failure::retry(format_args!(
            "what is published cannot be decrypted, {error}"
        )),
    })
}

/// Takes away what belongs to the database that was there before, if its writer was
/// stopped: SQLite would take it for this one's.
pub(super) async fn clear_beside(plain: PathBuf) -> Result<(), Failure> {
    let work = tokio::task::spawn_blocking(move || remove_journals(&plain));
    work.await.map_err(Failure::retry)?.map_err(Failure::retry)
}

fn remove_journals(database: &Path) -> std::io::Result<()> {
    let endings = ["-journal", "-wal", "-shm"].into_iter();
    endings
        .map(|ending| beside(database, ending))
        .try_for_each(|path| remove(&path))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn source(error: &FileError) -> String {
    std::error::Error::source(error).map_or_else(String::new, ToString::to_string)
}

/// The key of the sealed database in the bucket.
fn place(user: &UserName) -> String {
    format!("knowledge/{user}/{}", Cover::Sealed.file_name())
}
