//! Who works with which artifact right now, in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ginnel_proto::artifact::Artifact;

/// How many leases each artifact has.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<Artifact, usize>>);

/// Keeps an artifact's file from being taken away, until dropped.
#[derive(Debug)]
pub struct Lease {
    leases: Arc<Leases>,
    name: Artifact,
}

impl Leases {
    pub(super) fn has(&self, name: &Artifact) -> bool {
        self.counts().contains_key(name)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Artifact, usize>> {
        // Counts are whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    pub(super) fn take(leases: &Arc<Leases>, name: &Artifact) -> Self {
        *leases.counts().entry(name.clone()).or_default() += 1;
        Self {
            leases: Arc::clone(leases),
            name: name.clone(),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut counts = self.leases.counts();
        if let Some(count) = counts.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.name);
            }
        }
    }
}
