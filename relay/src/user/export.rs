//! Everything of a user as an archive, which every `tar` reads: objects by their keys,
//! and rows as JSON. POSIX.1-1988 ustar, with GNU's extensions for what that has no room
//! for: names above 100 bytes, and sizes from 8 GiB.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use futures_util::stream::TryStreamExt as _;
use ginnel_proto::id::UserName;
use serde::Serialize;
use tar::{Builder, Header};

use super::belongings;
use crate::objects::error::{Error, ErrorKind};
use crate::objects::{Bucket, Listed};
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
    /// The keys of objects that were replaced faster than they could be read: they are
    /// not in the archive.
    pub left_out: Vec<String>,
}

/// How often an object is read anew that was replaced meanwhile.
const TRIES: usize = 4;

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
        left_out: Vec::new(),
    };
    for object in found.objects {
        let key = object.key.clone();
        match spool(bucket, object, to).await? {
            Spooled::Yes { mut file, size } => {
                let name = format!("bucket/{key}");
                append(&mut archive, &name, size, &mut file)?;
                exported.objects += 1;
                exported.bytes += size;
            }
            // There is none any more.
            Spooled::Gone => {}
            Spooled::Changing => exported.left_out.push(key.to_string()),
        }
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

/// What became of an object that was to be read.
enum Spooled {
    Yes { file: File, size: u64 },
    Gone,
    Changing,
}

/// Reads an object into a file. Of a bucket's streams tar knows nothing: each goes by way
/// of a file, so that none has to fit into memory.
async fn spool(bucket: &Bucket, listed: Listed, beside: &Path) -> Result<Spooled, ExportError> {
    let mut object = listed;
    for _ in 0..TRIES {
        let mut file = tempfile(beside)?;
        match copy(bucket, &object, &mut file).await {
            Ok(()) => {
                let size = object.size;
                return Ok(Spooled::Yes { file, size });
            }
            Err(ExportError::Bucket(error))
                if matches!(error.kind(), ErrorKind::Changed | ErrorKind::Missing) => {}
            Err(error) => return Err(error),
        }
        match bucket.head(&object.key).await? {
            Some(now) => object = now,
            None => return Ok(Spooled::Gone),
        }
    }
    Ok(Spooled::Changing)
}

async fn copy(bucket: &Bucket, object: &Listed, file: &mut File) -> Result<(), ExportError> {
    let Listed { key, etag, size } = object;
    if *size > 0 {
        let mut pieces = bucket.range(key, etag, 0..*size).await?;
        while let Some(piece) = pieces.try_next().await? {
            file.write_all(&piece)?;
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(())
}

/// A file beside the archive, gone when it is closed. Its name is nobody else's: a file
/// that is there, or a link, is not followed.
fn tempfile(beside: &Path) -> io::Result<File> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no random bytes"))?;
    let mut name = beside.as_os_str().to_owned();
    name.push(format!(".{}.part", data_encoding::HEXLOWER.encode(&random)));
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::path::Path as Key;

    use super::*;
    use crate::objects::failing::{Fault, Faults};

    async fn written() -> (Bucket, Arc<Faults>, Listed) {
        let (bucket, faults) = Bucket::failing();
        let key = Key::from("models/ada/phi.gguf");
        bucket.write(&key, "first".into()).await.expect("written");
        let listed = bucket.head(&key).await.expect("known").expect("there");
        (bucket, faults, listed)
    }

    #[tokio::test]
    async fn what_is_replaced_meanwhile_is_read_again() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let beside = folder.path().join("ada.tar");
        let (bucket, _faults, listed) = written().await;
        let second = "the second".into();
        bucket.write(&listed.key, second).await.expect("written");
        let spooled = spool(&bucket, listed.clone(), &beside).await;
        let Ok(Spooled::Yes { mut file, size }) = spooled else {
            panic!("it is not read");
        };
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!((&*text, size), ("the second", 10));
        bucket.delete(&listed.key).await.expect("deleted");
        let spooled = spool(&bucket, listed, &beside).await;
        assert!(matches!(spooled, Ok(Spooled::Gone)));
        let left = std::fs::read_dir(folder.path()).expect("a folder");
        assert_eq!(left.count(), 0);
    }

    #[tokio::test]
    async fn what_is_replaced_again_and_again_is_told() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let beside = folder.path().join("ada.tar");
        let (bucket, faults, listed) = written().await;
        for _ in 0..TRIES {
            faults.next("/phi.gguf", Fault::IsReplaced);
        }
        let spooled = spool(&bucket, listed.clone(), &beside).await;
        assert!(matches!(spooled, Ok(Spooled::Changing)));
        let spooled = spool(&bucket, listed, &beside).await;
        assert!(matches!(spooled, Ok(Spooled::Yes { size: 5, .. })));
    }

    /// Ustar has room for less, and every tar reads it all the same.
    #[test]
    fn long_names_and_large_sizes_have_room() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("ada.tar");
        let mut archive = Builder::new(File::create_new(&path).expect("made"));
        let name = format!("bucket/{}/{}", "d".repeat(120), "f".repeat(120));
        append(&mut archive, &name, 3, &mut &b"all"[..]).expect("written");
        archive.into_inner().expect("written");
        let mut read = tar::Archive::new(File::open(&path).expect("there"));
        let mut entries = read.entries().expect("read");
        let entry = entries.next().expect("one").expect("read");
        assert_eq!(entry.path().expect("a name"), Path::new(&name));
    }
}
