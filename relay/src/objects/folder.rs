//! A bucket in a folder: what a relay has until it is given another.
//!
//! `LocalFileSystem` does most of it. What it lacks is made here: updates that
//! hold only while the object is the one expected, and uploads in parts that
//! outlive the process.
//!
//! ```text
//! models/phi.gguf               an object, as a plain file
//! .uploads/UPLOAD/NUMBER.TAG    a part of an upload
//! .lock                         held while an object is replaced
//! ```

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use ginnel_blob::hash::Hash;
use object_store::local::LocalFileSystem;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};

/// Where uploads are kept until they are complete.
const UPLOADS: &str = ".uploads";

/// Which file is locked while an object is replaced.
const LOCK: &str = ".lock";

/// How long an upload is kept that nobody goes on with, as R2 has it.
const UPLOAD_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// A bucket in a folder. Clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: Arc<FilePath>,
    files: Arc<LocalFileSystem>,
}

impl Folder {
    /// Opens the folder, makes it if it is missing, and takes away what
    /// uploads left there long ago.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub(super) fn open(root: &FilePath) -> io::Result<Self> {
        fs::create_dir_all(root.join(UPLOADS))?;
        let root = root.canonicalize()?;
        remove_old_uploads(&root.join(UPLOADS))?;
        let files = LocalFileSystem::new_with_prefix(&root)?.with_fsync(true);
        Ok(Self {
            root: root.into(),
            files: Arc::new(files),
        })
    }

    fn upload(&self, id: &str) -> Result<PathBuf> {
        let is_ours = id.len() == 2 * ID_BYTES && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let folder = self.root.join(UPLOADS).join(id);
        if !is_ours || !folder.is_dir() {
            let source = "NoSuchUpload".into();
            let path = id.to_owned();
            return Err(Error::NotFound { path, source });
        }
        Ok(folder)
    }

    /// Replaces an object if its tag is the expected one. The only writer of
    /// existing objects, and it holds the lock: nothing comes in between.
    async fn update(&self, key: &Path, expected: &str, payload: PutPayload) -> Result<PutResult> {
        let lock = self.lock().await?;
        let old = self.files.head(key).await;
        let old = match old {
            Ok(meta) => meta,
            Err(Error::NotFound { path, source }) => {
                return Err(Error::Precondition { path, source });
            }
            Err(error) => return Err(error),
        };
        if old.e_tag.as_deref() != Some(expected) {
            return Err(Error::Precondition {
                path: key.to_string(),
                source: "it was replaced".into(),
            });
        }
        let target = self.files.path_to_filesystem(key)?;
        blocking(key, move || {
            let staged = stage(&target)?;
            let written = write_newer(&staged, &target, payload);
            let renamed = written.and_then(|()| rename(&staged, &target));
            if renamed.is_err() {
                let _ = fs::remove_file(&staged);
            }
            drop(lock);
            renamed
        })
        .await?;
        self.result_of(key).await
    }

    /// Removes what is hidden below a key: half-written files of writers that died, and
    /// what copies of an earlier version left. Who writes there at this moment fails.
    pub(super) async fn sweep(&self, prefix: &Path) -> Result<()> {
        let folder = self.files.path_to_filesystem(prefix)?;
        blocking(prefix, move || sweep_below(&folder)).await
    }

    async fn lock(&self) -> Result<File> {
        let root = Arc::clone(&self.root);
        blocking(&Path::from(LOCK), move || lock(&root)).await
    }

    async fn result_of(&self, key: &Path) -> Result<PutResult> {
        let meta = self.files.head(key).await?;
        Ok(PutResult {
            e_tag: meta.e_tag,
            version: None,
            extensions: object_store::Extensions::default(),
        })
    }
}

/// Held while an object is replaced.
fn lock(root: &FilePath) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).open(root.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

/// Runs on a thread where waiting hurts nobody.
async fn blocking<T, F>(key: &Path, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await?;
    done.map_err(|error| {
        let path = key.to_string();
        let kind = error.kind();
        let source = Box::new(error);
        if kind == io::ErrorKind::NotFound {
            Error::NotFound { path, source }
        } else if kind == io::ErrorKind::PermissionDenied {
            Error::PermissionDenied { path, source }
        } else {
            let store = "folder";
            Error::Generic { store, source }
        }
    })
}

/// A file beside the one that it will become. `LocalFileSystem` never lists
/// names that end in `#` and a number.
fn stage(target: &FilePath) -> io::Result<PathBuf> {
    let mut name = target.as_os_str().to_owned();
    name.push(format!("#{}", number()?));
    Ok(name.into())
}

fn write_newer(staged: &FilePath, old: &FilePath, payload: PutPayload) -> io::Result<()> {
    let mut file = File::create_new(staged)?;
    for slice in payload {
        file.write_all(&slice)?;
    }
    make_newer(&file, old)
}

/// Copies a file. The kernel does it, and shares the blocks where it can.
fn copy_newer(from: &FilePath, staged: &FilePath, old: &FilePath) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut file = File::create_new(staged)?;
    io::copy(&mut from, &mut file)?;
    match make_newer(&file, old) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => file.sync_all(),
        made => made,
    }
}

/// Gives a file a later time than that of the one it replaces: the tag is made of
/// it, and clocks of file systems have coarse ticks.
fn make_newer(file: &File, old: &FilePath) -> io::Result<()> {
    let least = fs::metadata(old)?.modified()? + Duration::from_micros(1);
    if file.metadata()?.modified()? < least {
        file.set_modified(least)?;
    }
    file.sync_all()
}

/// Removes what writers that died left beside a file: `LocalFileSystem` counts from
/// `NAME#1`, and copies of an earlier version left `NAME#0` too.
fn sweep_beside(file: &FilePath) -> io::Result<()> {
    for number in 0_u32.. {
        let mut name = file.as_os_str().to_owned();
        name.push(format!("#{number}"));
        match fs::remove_file(PathBuf::from(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The same of all files of a folder and those in it, whatever their numbers.
fn sweep_below(folder: &FilePath) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sweep_below(&entry.path())?;
        } else if is_staged(&entry.file_name().to_string_lossy()) {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(())
}

/// Whether `LocalFileSystem` lists no such name.
fn is_staged(name: &str) -> bool {
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Puts a file in its place, for good.
fn rename(staged: &FilePath, target: &FilePath) -> io::Result<()> {
    fs::rename(staged, target)?;
    sync_folder_of(target)
}

fn sync_folder_of(file: &FilePath) -> io::Result<()> {
    match file.parent() {
        // Other systems cannot open folders, and need not.
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}

fn remove_old_uploads(folder: &FilePath) -> io::Result<()> {
    let now = SystemTime::now();
    for upload in fs::read_dir(folder)? {
        let upload = upload?;
        // Others come and go.
        let Ok(modified) = upload.metadata().and_then(|it| it.modified()) else {
            continue;
        };
        let age = now.duration_since(modified);
        if age.is_ok_and(|age| age > UPLOAD_KEPT) {
            let _ = fs::remove_dir_all(upload.path());
        }
    }
    Ok(())
}

/// The file that becomes the object, in the folder of its upload.
const WHOLE: &str = "whole";

/// What an upload's folder is called that is being removed.
const GONE: &str = "gone";

/// Bytes of an upload's name.
const ID_BYTES: usize = 16;

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no random bytes"))?;
    Ok(bytes)
}

fn number() -> io::Result<u64> {
    Ok(u64::from_le_bytes(random()?))
}

#[async_trait]
impl MultipartStore for Folder {
    async fn create_multipart(&self, key: &Path) -> Result<MultipartId> {
        let uploads = self.root.join(UPLOADS);
        blocking(key, move || {
            let id = data_encoding::HEXLOWER.encode(&random::<ID_BYTES>()?);
            let folder = uploads.join(&id);
            remove_old_uploads(&uploads)?;
            fs::create_dir(&folder)?;
            sync_folder_of(&folder)?;
            Ok(id)
        })
        .await
    }

    async fn put_part(
        &self,
        key: &Path,
        id: &MultipartId,
        number: usize,
        payload: PutPayload,
    ) -> Result<PartId> {
        let folder = self.upload(id)?;
        blocking(key, move || {
            let mut hasher = ginnel_blob::hash::Hasher::default();
            for slice in &payload {
                hasher.update(slice);
            }
            let tag = hasher.finish().to_string();
            let target = part_file(&folder, number, &tag);
            let staged = stage(&target)?;
            let mut file = File::create_new(&staged)?;
            for slice in payload {
                file.write_all(&slice)?;
            }
            file.sync_all()?;
            rename(&staged, &target)?;
            Ok(PartId { content_id: tag })
        })
        .await
    }

    async fn complete_multipart(
        &self,
        key: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let folder = self.upload(id)?;
        let target = self.files.path_to_filesystem(key)?;
        let (root, place) = (Arc::clone(&self.root), target.clone());
        blocking(key, move || {
            let target = place;
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            // In the upload's folder: with that it goes, whoever ends it, and
            // can then replace nothing any more.
            let staged = folder.join(WHOLE);
            let _ = fs::remove_file(&staged);
            concatenate(&folder, &parts, &staged)?;
            // Only the last step needs the lock: others need not wait for a copy.
            let lock = lock(&root)?;
            rename(&staged, &target)?;
            drop(lock);
            // The object is there: what is left of the upload only takes room.
            let _ = fs::remove_dir_all(&folder);
            Ok(())
        })
        .await?;
        self.result_of(key).await
    }

    async fn abort_multipart(&self, key: &Path, id: &MultipartId) -> Result<()> {
        let folder = self.upload(id)?;
        let root = Arc::clone(&self.root);
        blocking(key, move || {
            let gone = folder.with_extension(GONE);
            let lock = lock(&root)?;
            fs::rename(&folder, &gone)?;
            drop(lock);
            fs::remove_dir_all(gone)
        })
        .await
    }
}

fn part_file(folder: &FilePath, number: usize, tag: &str) -> PathBuf {
    folder.join(format!("{number}.{tag}"))
}

fn concatenate(folder: &FilePath, parts: &[PartId], staged: &FilePath) -> io::Result<()> {
    let mut file = File::create_new(staged)?;
    for (number, PartId { content_id }) in parts.iter().enumerate() {
        if content_id.parse::<Hash>().is_err() {
            return Err(io::Error::other("InvalidPart: not a tag of this bucket"));
        }
        let part = File::open(part_file(folder, number, content_id));
        let mut part = part.map_err(|error| {
            io::Error::other(format!(
                "InvalidPart: part is missing, number={number}: {error}"
            ))
        })?;
        // The kernel copies, and shares the blocks where it can.
        io::copy(&mut part, &mut file)?;
    }
    file.sync_all()
}

#[async_trait]
impl ObjectStore for Folder {
    async fn put_opts(
        &self,
        key: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        match &options.mode {
            PutMode::Update(version) => {
                let expected = version.e_tag.as_deref().unwrap_or_default();
                self.update(key, expected, payload).await
            }
            // Whoever replaces must see it, and not half-way.
            PutMode::Overwrite => {
                let lock = self.lock().await?;
                let put = self.files.put_opts(key, payload, options).await;
                drop(lock);
                put
            }
            PutMode::Create => self.files.put_opts(key, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(key, options).await
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let files = Arc::clone(&self.files);
        let swept = keys.and_then(move |key| {
            let file = files.path_to_filesystem(&key);
            async move {
                let file = file?;
                blocking(&key, move || sweep_beside(&file)).await?;
                Ok(key)
            }
        });
        self.files.delete_stream(swept.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let is_object = |meta: &Result<ObjectMeta>| match meta {
            Ok(meta) => {
                !meta.location.as_ref().starts_with(UPLOADS) && meta.location.as_ref() != LOCK
            }
            Err(_) => true,
        };
        let objects = self.files.list(prefix);
        objects
            .filter(move |meta| std::future::ready(is_object(meta)))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    /// Copies the bytes. A link would be the same file: replaced by itself later, it
    /// would leave the name that it had meanwhile, which nobody lists or deletes.
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        if options.mode != CopyMode::Overwrite {
            return Err(Error::NotImplemented {
                operation: "a copy that replaces nothing".into(),
                implementer: self.to_string(),
            });
        }
        let source = self.files.path_to_filesystem(from)?;
        let target = self.files.path_to_filesystem(to)?;
        let root = Arc::clone(&self.root);
        blocking(from, move || {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            let staged = stage(&target)?;
            let copied = copy_newer(&source, &staged, &target).and_then(|()| {
                // Only the last step needs it: others need not wait for a copy.
                let _lock = lock(&root)?;
                rename(&staged, &target)
            });
            if copied.is_err() {
                let _ = fs::remove_file(&staged);
            }
            copied
        })
        .await
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root.display())
    }
}
