//! A bucket in memory whose writes fail, for tests.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::Bucket;

/// How a write or a read fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is written.
    Fails,
    /// It is written, and nobody hears of it.
    LosesAnswer,
    /// What is read is another version than was asked for.
    IsReplaced,
}

/// What fails next.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<(String, Fault)>>);

impl Faults {
    /// The next write or copy to a key with this end fails, or the next read of it.
    pub(crate) fn next(&self, end: &str, fault: Fault) {
        self.lock().push((end.to_owned(), fault));
    }

    fn take(&self, key: &Path, of: impl Fn(Fault) -> bool) -> Option<Fault> {
        let mut faults = self.lock();
        let at = faults
            .iter()
            .position(|(end, fault)| key.as_ref().ends_with(&**end) && of(*fault))?;
        Some(faults.remove(at).1)
    }

    fn of_write(&self, key: &Path) -> Option<Fault> {
        self.take(key, |fault| fault != Fault::IsReplaced)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, Fault)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    /// One in memory, and what fails in it.
    pub(crate) fn failing() -> (Self, Arc<Faults>) {
        let memory = Arc::new(InMemory::new());
        let faults = Arc::new(Faults::default());
        let store = Arc::new(Failing {
            memory: Arc::clone(&memory),
            faults: Arc::clone(&faults),
        });
        (Self::of(store, memory, None, "failing memory"), faults)
    }
}

#[derive(Debug)]
struct Failing {
    memory: Arc<InMemory>,
    faults: Arc<Faults>,
}

fn failed() -> Error {
    Error::Generic {
        store: "failing memory",
        source: "it fails now".into(),
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(
        &self,
        key: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        match self.faults.of_write(key) {
            Some(Fault::Fails | Fault::IsReplaced) => Err(failed()),
            Some(Fault::LosesAnswer) => {
                self.memory.put_opts(key, payload, options).await?;
                Err(failed())
            }
            None => self.memory.put_opts(key, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        let is_replaced = |fault| fault == Fault::IsReplaced;
        if options.if_match.is_some() && self.faults.take(key, is_replaced).is_some() {
            return Err(Error::Precondition {
                path: key.to_string(),
                source: "it was replaced".into(),
            });
        }
        self.memory.get_opts(key, options).await
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.memory.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.memory.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.faults.of_write(to) {
            Some(Fault::Fails | Fault::IsReplaced) => Err(failed()),
            Some(Fault::LosesAnswer) => {
                self.memory.copy_opts(from, to, options).await?;
                Err(failed())
            }
            None => self.memory.copy_opts(from, to, options).await,
        }
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failing memory")
    }
}
