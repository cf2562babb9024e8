//! The thread of an index that writes full tails to segments and merges
//! segments, so that nobody else waits for files.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::compact::Compactor;
use crate::error::{Error, ErrorKind, Result};

/// The thread that keeps the files.
#[derive(Debug)]
pub struct Worker {
    compactor: Arc<Compactor>,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Bell {
    call: Mutex<Call>,
    rung: Condvar,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Call {
    #[default]
    None,
    Work,
    Stop,
}

impl Worker {
    /// Starts it.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(compactor: &Arc<Compactor>) -> Result<Self> {
        let bell = Arc::new(Bell::default());
        let (its, rung) = (Arc::clone(compactor), Arc::clone(&bell));
        let thread = std::thread::Builder::new().name("scan-index".to_owned());
        let thread = thread.spawn(move || work(&its, &rung)).map_err(|error| {
            Error::new(
                ErrorKind::Unavailable,
                format!("no thread for the index, reason={error}"),
            )
        })?;
        Ok(Self {
            compactor: Arc::clone(compactor),
            bell,
            thread: Some(thread),
        })
    }

    /// There is something to do.
    pub fn wake(&self) {
        *self.bell.call() = Call::Work;
        self.bell.rung.notify_one();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.compactor.stop();
        *self.bell.call() = Call::Stop;
        self.bell.rung.notify_one();
        if let Some(thread) = self.thread.take() {
            // If it panicked, that was said by then.
            let _ = thread.join();
        }
    }
}

fn work(compactor: &Compactor, bell: &Bell) {
    loop {
        let none = |call: &mut Call| *call == Call::None;
        let call = bell.rung.wait_while(bell.call(), none);
        let mut call = call.unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *call) == Call::Stop {
            return;
        }
        drop(call);
        let done = compactor.seal().and_then(|()| compactor.merge_all());
        if let Err(error) = done
            && !compactor.is_stopped()
        {
            tracing::warn!(%error, "vector index could not be written, it is tried again");
        }
    }
}

impl Bell {
    fn call(&self) -> MutexGuard<'_, Call> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
