//! The bucket: R2 or anything that speaks S3, or a folder.
//!
//! Only this module names `object_store`. It says what the rest may do with
//! objects, and nothing of what they mean; where they lie is said by
//! [`layout`].
//!
//! R2's rules hold for every bucket: an object is written at most once a
//! second, parts but the last have one size, and what depends on what was
//! there before says so by a condition.
//! <https://developers.cloudflare.com/r2/platform/limits/>

pub mod error;
#[cfg(test)]
pub(crate) mod failing;
mod folder;
mod http;
pub mod layout;
pub mod read;
pub mod s3;
#[cfg(test)]
mod tests;

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, UpdateVersion};

use self::error::{Error, ErrorKind, Result};
use self::folder::Folder;
use self::s3::S3;

/// Where artifacts are kept. Clones are the same one.
#[derive(Clone)]
pub struct Bucket {
    objects: Arc<dyn ObjectStore>,
    uploads: Arc<dyn MultipartStore>,
    signer: Option<Arc<dyn Signer>>,
    folder: Option<Folder>,
    name: Arc<str>,
    spacing: Duration,
    in_order: bool,
}

/// How far two writes of one object must be apart in R2: one a second is
/// allowed, and clocks are not alike.
const S3_SPACING: Duration = Duration::from_millis(1_050);

/// What the bucket calls an object's bytes; other bytes have another tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Etag(Box<str>);

/// An object that fits into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Small {
    /// All of it.
    pub bytes: Bytes,
    /// What the bucket calls it.
    pub etag: Etag,
}

/// What the bucket knows of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: Path,
    /// What the bucket calls its bytes.
    pub etag: Etag,
    /// In bytes.
    pub size: u64,
}

impl Bucket {
    /// A bucket that is gone with the process.
    #[must_use]
    pub fn memory() -> Self {
        let store = Arc::new(InMemory::new());
        let objects = Arc::clone(&store);
        Self::of(objects, store, None, "memory")
    }

    /// A bucket in a folder, which is made if it is missing.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn folder(root: &FilePath) -> std::io::Result<Self> {
        let folder = Folder::open(root)?;
        let store = Arc::new(folder.clone());
        let name = store.to_string();
        let objects = Arc::clone(&store);
        Ok(Self {
            folder: Some(folder),
            ..Self::of(objects, store, None, &name)
        })
    }

    /// A bucket that speaks S3. Nothing is sent yet.
    ///
    /// # Errors
    /// The endpoint is no URL.
    pub fn s3(settings: S3) -> Result<Self> {
        let name = format!("{}/{}", settings.endpoint, settings.bucket);
        let store = settings.open();
        let store =
            store.map_err(|error| Error::of(error, "cannot use bucket", &Path::default()))?;
        let (objects, signer) = (Arc::clone(&store), Arc::clone(&store));
        Ok(Self {
            spacing: S3_SPACING,
            in_order: true,
            ..Self::of(objects, store, Some(signer), &name)
        })
    }

    fn of(
        objects: Arc<dyn ObjectStore>,
        uploads: Arc<dyn MultipartStore>,
        signer: Option<Arc<dyn Signer>>,
        name: &str,
    ) -> Self {
        Self {
            objects,
            uploads,
            signer,
            folder: None,
            name: name.into(),
            spacing: Duration::ZERO,
            in_order: false,
        }
    }

    /// Whether keys are listed in their order, so that who wants the first need not
    /// see all.
    #[must_use]
    pub fn lists_in_order(&self) -> bool {
        self.in_order
    }

    /// How far two writes of one object should be apart.
    #[must_use]
    pub fn spacing(&self) -> Duration {
        self.spacing
    }

    /// Where it is, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes an object that must not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] if it exists. After an answer was lost it may be
    /// that or [`ErrorKind::Unavailable`], and the object be written: read it,
    /// and compare.
    pub async fn create(&self, key: &Path, bytes: Bytes) -> Result<Etag> {
        self.put(key, bytes, PutMode::Create).await
    }

    /// Writes an object over the one that has this tag.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] if it has not. After an answer was lost it may be
    /// that or [`ErrorKind::Unavailable`], and the object be written: read it,
    /// and compare.
    pub async fn replace(&self, key: &Path, old: &Etag, bytes: Bytes) -> Result<Etag> {
        let version = UpdateVersion {
            e_tag: Some(old.0.to_string()),
            version: None,
        };
        self.put(key, bytes, PutMode::Update(version)).await
    }

    /// Writes an object, whatever was there.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn write(&self, key: &Path, bytes: Bytes) -> Result<Etag> {
        self.put(key, bytes, PutMode::Overwrite).await
    }

    async fn put(&self, key: &Path, bytes: Bytes, mode: PutMode) -> Result<Etag> {
        let put = self.objects.put_opts(key, bytes.into(), mode.into()).await;
        let put = put.map_err(|error| Error::of(error, "cannot write object", key))?;
        tag(put.e_tag, key)
    }

    /// Copies an object, within the bucket. Gives what it calls the copy.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if there is none, or the bucket's.
    pub async fn copy(&self, from: &Path, to: &Path) -> Result<Listed> {
        let copied = self.objects.copy(from, to).await;
        copied.map_err(|error| Error::of(error, "cannot copy object", from))?;
        let copy = self.head(to).await?;
        copy.ok_or_else(|| Error::new(ErrorKind::Missing, "the copy is not there", to))
    }

    /// What is known of an object; `None` if there is none.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn head(&self, key: &Path) -> Result<Option<Listed>> {
        match self.objects.head(key).await {
            Ok(meta) => Listed::of(meta).map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::of(error, "cannot look at object", key)),
        }
    }

    /// Deletes an object. One that is not there is deleted already.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn delete(&self, key: &Path) -> Result<()> {
        match self.objects.delete(key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::of(error, "cannot delete object", key)),
        }
    }

    /// Removes what is below these steps and is no object: half-written files in a
    /// folder, which no list shows. Other buckets have no such thing.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn sweep(&self, prefix: &Path) -> Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let swept = folder.sweep(prefix).await;
        swept.map_err(|error| Error::of(error, "cannot clear folder", prefix))
    }

    /// All objects whose keys begin with these steps.
    pub fn list(&self, prefix: &Path) -> BoxStream<'static, Result<Listed>> {
        let named = prefix.clone();
        let objects = self.objects.list(Some(prefix));
        objects
            .map(move |meta| match meta {
                Ok(meta) => Listed::of(meta),
                Err(error) => Err(Error::of(error, "cannot list objects", &named)),
            })
            .boxed()
    }

    /// The objects whose keys begin with these steps and come after `after`; in
    /// their order if the bucket [lists in order](Self::lists_in_order).
    pub fn list_after(&self, prefix: &Path, after: &Path) -> BoxStream<'static, Result<Listed>> {
        let named = prefix.clone();
        let objects = self.objects.list_with_offset(Some(prefix), after);
        objects
            .map(move |meta| match meta {
                Ok(meta) => Listed::of(meta),
                Err(error) => Err(Error::of(error, "cannot list objects", &named)),
            })
            .boxed()
    }

    /// The folders right below these steps.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn folders(&self, prefix: &Path) -> Result<Vec<Path>> {
        let listed = self.objects.list_with_delimiter(Some(prefix)).await;
        let listed = listed.map_err(|error| Error::of(error, "cannot list objects", prefix))?;
        Ok(listed.common_prefixes)
    }

    /// Begins an upload in parts. Nobody sees anything of it until it is
    /// complete.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn begin_upload(&self, key: &Path) -> Result<String> {
        let begun = self.uploads.create_multipart(key).await;
        begun.map_err(|error| Error::of(error, "cannot begin upload", key))
    }

    /// Stores a part, counted from zero, and returns the bucket's tag for it.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if there is no such upload, or the bucket's.
    pub async fn put_part(
        &self,
        key: &Path,
        upload: &str,
        number: u32,
        part: Vec<Bytes>,
    ) -> Result<String> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let payload = PutPayload::from_iter(part);
        let upload = upload.to_owned();
        let put = self.uploads.put_part(key, &upload, number, payload).await;
        match put {
            // Memory has none.
            Ok(PartId { content_id }) if content_id.is_empty() => Ok("\"\"".into()),
            Ok(PartId { content_id }) => Ok(content_id),
            Err(error) => Err(Error::of(error, "cannot store part", key)),
        }
    }

    /// Makes the object of its parts' tags. It replaces what had the key, in
    /// one step.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if there is no such upload. So it may after an
    /// answer was lost: look at the object.
    pub async fn complete(&self, key: &Path, upload: &str, tags: Vec<String>) -> Result<Etag> {
        let part = |content_id| PartId { content_id };
        let parts = tags.into_iter().map(part).collect();
        let upload = upload.to_owned();
        let completed = self.uploads.complete_multipart(key, &upload, parts).await;
        let completed =
            completed.map_err(|error| Error::of(error, "cannot complete upload", key))?;
        tag(completed.e_tag, key)
    }

    /// Ends an upload, whose parts are deleted. One that is not there has
    /// ended already.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn abort(&self, key: &Path, upload: &str) -> Result<()> {
        // To some servers that would be a request to delete the object.
        if upload.is_empty() {
            return Ok(());
        }
        let aborted = self.uploads.abort_multipart(key, &upload.to_owned()).await;
        match aborted.map_err(|error| Error::of(error, "cannot end upload", key)) {
            Err(error) if error.kind() == ErrorKind::Missing => Ok(()),
            result => result,
        }
    }

    /// Whether [`Bucket::presign`] gives URLs.
    #[must_use]
    pub fn signs(&self) -> bool {
        self.signer.is_some()
    }

    /// A URL with which anybody can read the object until it expires; `None`
    /// if the bucket has no such thing.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn presign(&self, key: &Path, expires_in: Duration) -> Result<Option<String>> {
        let Some(signer) = &self.signer else {
            return Ok(None);
        };
        let url = signer
            .signed_url(::http::Method::GET, key, expires_in)
            .await;
        let url = url.map_err(|error| Error::of(error, "cannot sign URL", key))?;
        Ok(Some(url.into()))
    }
}

impl Etag {
    /// A tag that was kept.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// As the bucket writes it, with its quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Listed {
    fn of(meta: object_store::ObjectMeta) -> Result<Self> {
        Ok(Self {
            etag: tag(meta.e_tag, &meta.location)?,
            key: meta.location,
            size: meta.size,
        })
    }
}

fn tag(etag: Option<String>, key: &Path) -> Result<Etag> {
    match etag {
        Some(etag) => Ok(Etag(etag.into())),
        None => Err(Error::new(ErrorKind::Invalid, "bucket gives no ETag", key)),
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
