//! The published database as it lies in the bucket of a user who encrypts: made
//! of the plain one, and the plain one of it.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use ginnel_proto::artifact::Cover;
use ginnel_proto::id::UserName;
use ginnel_proto::sync::seal::Key;
use ginnel_proto::sync::seal::file::{BLOCK, FileError, open_file, seal_file};
use tempfile::NamedTempFile;

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
        let folder = to.parent().unwrap_or_else(|| Path::new("."));
        let made = NamedTempFile::with_prefix_in(".making-", folder)?;
        let mut reader = BufReader::with_capacity(BLOCK, File::open(&from)?);
        let mut writer = BufWriter::with_capacity(BLOCK, made.as_file());
        make(&place, &mut reader, &mut writer)?;
        writer.flush()?;
        drop(writer);
        made.as_file().sync_all()?;
        // What belongs to the database that was there is of no use any more.
        for beside in ["-journal", "-wal", "-shm"] {
            let mut name = to.clone().into_os_string();
            name.push(beside);
            match fs::remove_file(name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                Ok(()) | Err(_) => {}
            }
        }
        made.persist(&to).map_err(|error| error.error)?;
        Ok(())
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

fn source(error: &FileError) -> String {
    std::error::Error::source(error).map_or_else(String::new, ToString::to_string)
}

/// The key of the sealed database in the bucket.
fn place(user: &UserName) -> String {
    format!("knowledge/{user}/{}", Cover::Sealed.file_name())
}
