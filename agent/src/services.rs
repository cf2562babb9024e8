//! The allow list: what this device shares, and nothing else can be reached.
//!
//! [`Services`] is one list with many readers. The relay's requests look names
//! up in it ([`Services::find`], without a lock); the task that keeps the link
//! waits for new generations and registers them; the local API changes it.

pub mod address;
pub mod spec;
pub mod target;

mod file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use ginnel_proto::control::Service;
use ginnel_proto::id::ServiceName;
use ginnel_proto::limits::SERVICES_MAX;
use tokio::sync::watch;

use ginnel_daemon::mistakes::Mistakes;
use spec::SharedService;

/// The list's file in the state folder.
pub const FILE_NAME: &str = "services.toml";

type List = BTreeMap<ServiceName, Arc<SharedService>>;

/// The services that this device shares. Cheap to clone; all clones are one
/// list.
#[derive(Debug, Clone)]
pub struct Services {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    list: ArcSwap<List>,
    generation: watch::Sender<u64>,
    /// Where the list is kept; `None` in simulations. The lock makes changes
    /// take turns and is held while the file is written.
    file: Mutex<Option<PathBuf>>,
}

/// What sharing a service did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The name is new.
    Added,
    /// The name had another service before.
    Replaced,
    /// The same service was shared already.
    Unchanged,
}

/// Why the list cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServicesError {
    /// The file is wrong.
    #[error(transparent)]
    Read(#[from] Mistakes),
    /// The list is full.
    #[error("too many services, at most {SERVICES_MAX}; hint: ginnel unshare NAME")]
    Full,
    /// No service has this name.
    #[error("no such service, service={0}; hint: ginnel services")]
    Unknown(ServiceName),
    /// The list cannot be stored; it is as it was before.
    #[error("services cannot be stored")]
    Write(#[source] ginnel_certs::error::Error),
    /// The list has no form on disk.
    #[error("services cannot be written as TOML")]
    Render(#[source] toml::ser::Error),
}

impl Services {
    /// The list kept in a state folder; changes go there too. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// All mistakes in the file at once.
    pub fn load(state: &Path) -> Result<Self, ServicesError> {
        let path = state.join(FILE_NAME);
        let list = file::read(&path)?;
        Ok(Self::new(list, Some(path)))
    }

    /// An empty list that is kept nowhere.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(List::new(), None)
    }

    fn new(list: List, file: Option<PathBuf>) -> Self {
        let shared = Shared {
            list: ArcSwap::from_pointee(list),
            generation: watch::Sender::new(1),
            file: Mutex::new(file),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Shares a service, in place of one with the same name. It is on disk
    /// when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// The list is full or cannot be stored; it is then as before.
    pub fn share(&self, service: SharedService) -> Result<Outcome, ServicesError> {
        self.change(|list| {
            let outcome = match list.get(&service.name) {
                Some(before) if **before == service => return Ok((Outcome::Unchanged, false)),
                Some(_) => Outcome::Replaced,
                None if list.len() >= SERVICES_MAX => return Err(ServicesError::Full),
                None => Outcome::Added,
            };
            list.insert(service.name.clone(), Arc::new(service));
            Ok((outcome, true))
        })
    }

    /// Stops sharing a service. Blocks on the disk.
    ///
    /// # Errors
    /// There is no such service, or the list cannot be stored.
    pub fn unshare(&self, name: &ServiceName) -> Result<(), ServicesError> {
        self.change(|list| match list.remove(name) {
            Some(_) => Ok(((), true)),
            None => Err(ServicesError::Unknown(name.clone())),
        })
    }

    /// Every service, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<SharedService>> {
        self.shared.list.load().values().map(Arc::clone).collect()
    }

    /// The service with a name. Never waits.
    #[must_use]
    pub fn find(&self, name: &ServiceName) -> Option<Arc<SharedService>> {
        self.shared.list.load().get(name).map(Arc::clone)
    }

    /// Waits until the service is no longer shared as it was.
    pub async fn ended(&self, service: &SharedService) {
        let mut generations = self.subscribe();
        while self.find(&service.name).as_deref() == Some(service) {
            if generations.changed().await.is_err() {
                // The list is gone with its daemon, which ends things itself.
                return std::future::pending().await;
            }
        }
    }

    /// The list's generation: it grows with every change. Subscribe first,
    /// then read the list, and no change is missed.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.generation.subscribe()
    }

    /// The list's generation now.
    #[must_use]
    pub fn generation(&self) -> u64 {
        *self.shared.generation.borrow()
    }

    /// The list as the relay is to know it.
    #[must_use]
    pub fn to_register(&self) -> Vec<Service> {
        let list = self.shared.list.load();
        list.values().map(|service| service.to_register()).collect()
    }

    /// Changes a copy, stores it, then shows it to readers. `change` says
    /// whether it changed anything.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut List) -> Result<(T, bool), ServicesError>,
    ) -> Result<T, ServicesError> {
        // Nothing below leaves the path half changed, so poison is harmless.
        let path = self.shared.file.lock();
        let path = path.unwrap_or_else(PoisonError::into_inner);
        let mut list = List::clone(&self.shared.list.load());
        let (value, changed) = change(&mut list)?;
        if changed {
            if let Some(path) = &*path {
                file::write(path, &list)?;
            }
            self.shared.list.store(Arc::new(list));
            self.shared
                .generation
                .send_modify(|generation| *generation += 1);
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ginnel_proto::control::{Access, ServiceKind};
    use spec::ServiceSpec;
    use std::thread;

    #[test]
    fn shared_services_are_found_and_registered() {
        let services = Services::in_memory();
        assert_eq!(services.find(&name("web")), None);
        let added = services.share(service("web", "3000"));
        assert_eq!(added.expect("shared"), Outcome::Added);
        services
            .share(service("db", "tcp://localhost:5432"))
            .expect("shared");

        let found = services.find(&name("web")).expect("shared");
        assert_eq!(found.target.to_string(), "http://127.0.0.1:3000");
        let registered = services.to_register();
        let kinds: Vec<_> = registered
            .iter()
            .map(|s| (s.name.as_str(), s.kind))
            .collect();
        assert_eq!(
            kinds,
            [("db", ServiceKind::Tcp), ("web", ServiceKind::Http)]
        );
        assert!(registered.iter().all(|s| s.access == Access::Private));

        services.unshare(&name("web")).expect("unshared");
        assert_eq!(services.find(&name("web")), None);
        let error = services.unshare(&name("web")).expect_err("gone");
        assert!(error.to_string().contains("service=web"), "{error}");
    }

    #[test]
    fn only_changes_make_a_new_generation() {
        let services = Services::in_memory();
        let generation = services.subscribe();
        assert_eq!(*generation.borrow(), 1);
        for (target, outcome, expected) in [
            ("3000", Outcome::Added, 2),
            (":3000", Outcome::Unchanged, 2),
            ("3001", Outcome::Replaced, 3),
        ] {
            let done = services.share(service("web", target)).expect("shared");
            assert_eq!(
                (done, *generation.borrow()),
                (outcome, expected),
                "{target}"
            );
        }
        assert!(services.unshare(&name("other")).is_err());
        assert_eq!(*generation.borrow(), 3);
        services.unshare(&name("web")).expect("unshared");
        assert_eq!(*generation.borrow(), 4);
    }

    #[test]
    fn the_list_outlives_the_process() {
        let dir = tempfile::tempdir().expect("folder");
        let services = Services::load(dir.path()).expect("empty");
        services.share(service("web", "3000")).expect("shared");
        services.share(service("api", "demo")).expect("shared");
        services.unshare(&name("api")).expect("unshared");

        let again = Services::load(dir.path()).expect("read");
        assert_eq!(again.list(), services.list());
        assert_eq!(again.list().len(), 1);
    }

    #[test]
    fn a_change_that_cannot_be_stored_does_not_happen() {
        let dir = tempfile::tempdir().expect("folder");
        let services = Services::load(&dir.path().join("absent")).expect("empty");
        let error = services
            .share(service("web", "3000"))
            .expect_err("no folder");
        assert!(matches!(error, ServicesError::Write(_)), "{error}");
        assert_eq!(services.find(&name("web")), None);
        assert_eq!(*services.subscribe().borrow(), 1);
    }

    #[test]
    fn the_list_has_a_limit() {
        let services = Services::in_memory();
        for n in 0..SERVICES_MAX {
            services
                .share(service(&format!("s{n}"), "demo"))
                .expect("room");
        }
        let error = services.share(service("more", "demo")).expect_err("full");
        assert!(matches!(error, ServicesError::Full), "{error}");
        let replaced = services
            .share(service("s0", "3000"))
            .expect("no more room needed");
        assert_eq!(replaced, Outcome::Replaced);
    }

    #[test]
    fn concurrent_changes_are_all_kept() {
        let dir = tempfile::tempdir().expect("folder");
        let services = Services::load(dir.path()).expect("empty");
        thread::scope(|scope| {
            for n in 0..8 {
                let services = services.clone();
                scope.spawn(move || {
                    services
                        .share(service(&format!("s{n}"), "demo"))
                        .expect("shared");
                });
            }
        });
        assert_eq!(Services::load(dir.path()).expect("read").list().len(), 8);
    }

    fn name(text: &str) -> ServiceName {
        text.parse().expect("valid")
    }

    fn service(text: &str, target: &str) -> SharedService {
        SharedService::new(name(text), &ServiceSpec::new(target)).expect("valid")
    }
}
