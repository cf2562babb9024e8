//! Everything of a user as an archive (POSIX.1-2001 pax, which every `tar`
//! reads): objects by their keys, and rows as JSON.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use futures_util::stream::TryStreamExt as _;
use ginnel_proto::id::UserName;
use serde::Serialize;
use tar::{Builder, Header};

use super::belongings;
use crate::objects::Bucket;
use crate::objects::error::{Error, ErrorKind};
use crate::registry::Registry;
use crate::sync::catalog::Catalog;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Whose.
    pub user: String,
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows of the registry.
    pub rows: u64,
}

/// Why nothing whole was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The bucket failed.
    #[error("cannot read objects")]
    Bucket(#[from] Error),
    /// The registry failed.
    #[error("cannot read rows")]
    Registry(#[from] crate::registry::error::Error),
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Archive(#[from] io::Error),
}

/// Writes everything of a user into a new file, for its owner only.
///
/// # Errors
/// [`ExportError`]; the file is removed then.
pub async fn export(
    bucket: &Bucket,
    registry: &Registry,
    user: &UserName,
    to: &Path,
) -> Result<Exported, ExportError> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(to)?;
    let written = write(bucket, registry, user, file, to).await;
    if written.is_err() {
        let _ = std::fs::remove_file(to);
    }
    written
}

async fn write(
    bucket: &Bucket,
    registry: &Registry,
    user: &UserName,
    file: File,
    to: &Path,
) -> Result<Exported, ExportError> {
    let mut archive = Builder::new(file);
    let catalog = Catalog::new(bucket.clone());
    let found = belongings::find(bucket, &catalog, user).await?;
    let mut exported = Exported {
        user: user.to_string(),
        objects: 0,
        bytes: 0,
        rows: 0,
    };
    for object in &found.objects {
        // Of a bucket's streams tar knows nothing: each goes by way of a file, so
        // that none has to fit into memory.
        let mut spool = tempfile(to)?;
        let range = bucket.range(&object.key, &object.etag, 0..object.size);
        let mut pieces = match (object.size, range.await) {
            (0, _) => None,
            (_, Ok(pieces)) => Some(pieces),
            // Deleted or replaced meanwhile: what is there now comes with the next.
            (_, Err(error)) if error.kind() == ErrorKind::Changed => continue,
            (_, Err(error)) => return Err(error.into()),
        };
        while let Some(pieces) = &mut pieces {
            match pieces.try_next().await? {
                Some(piece) => spool.write_all(&piece)?,
                None => break,
            }
        }
        spool.seek(SeekFrom::Start(0))?;
        let name = format!("bucket/{}", object.key);
        append(&mut archive, &name, object.size, &mut spool)?;
        exported.objects += 1;
        exported.bytes += object.size;
    }
    let rows = registry.rows_of(user).await?;
    exported.rows = rows.values().map(|rows| rows.len() as u64).sum();
    let rows = serde_json::to_vec_pretty(&rows).map_err(io::Error::other)?;
    append(
        &mut archive,
        "registry.json",
        rows.len() as u64,
        &mut &*rows,
    )?;
    archive.into_inner()?.sync_all()?;
    Ok(exported)
}

/// A file beside the archive, gone when it is closed.
fn tempfile(beside: &Path) -> io::Result<File> {
    let name = format!("{}.part", beside.display());
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&name)?;
    std::fs::remove_file(&name)?;
    Ok(file)
}

fn append(
    archive: &mut Builder<File>,
    name: &str,
    size: u64,
    from: &mut impl Read,
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o600);
    archive.append_data(&mut header, name, from)
}
