//! Who is connected: the live links by device, and what each shares.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use ginnel_link::link::Link;
use ginnel_proto::code::Code;
use ginnel_proto::control::{Drain, News, Service};
use ginnel_proto::id::{DeviceId, DeviceName, ServiceName, UserName};
use ginnel_proto::link::heartbeat::Pulse;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::edge::answer::Refusal;
use crate::registry::serial::Serial;
use crate::shares::{Share, Shares};

/// How long the streams of a link may go on when a newer one has taken over.
pub const RETIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often to look whether they have ended.
const RETIRE_POLL: Duration = Duration::from_millis(20);

/// The live links. At most one for each device.
#[derive(Debug, Default)]
pub struct Links {
    by_device: RwLock<BTreeMap<DeviceName, Arc<Connected>>>,
    /// Links that a newer one has taken over from, until they are closed.
    retiring: Mutex<Vec<Arc<Connected>>>,
    last_id: AtomicU64,
}

/// A connected device.
#[derive(Debug)]
pub struct Connected {
    /// Whose link it is.
    pub id: DeviceId,
    /// Names the link in both logs.
    pub link_id: u64,
    /// The link.
    pub link: Link,
    /// The agent's version.
    pub agent: String,
    /// The serial of the certificate that was presented.
    pub serial: Serial,
    /// When Welcome was sent, milliseconds since 1970.
    pub since_unix_ms: u64,
    services: ArcSwap<BTreeMap<ServiceName, Service>>,
    shares: Shares,
    pulse: Mutex<Pulse>,
    drain: watch::Sender<Option<Drain>>,
    /// What the device is to be told of the logs of others, by their names: the
    /// newest of each.
    news: watch::Sender<BTreeMap<DeviceName, News>>,
}

impl Connected {
    /// A device that is about to be welcomed.
    #[must_use]
    pub fn new(
        id: DeviceId,
        link_id: u64,
        link: Link,
        agent: String,
        serial: Serial,
        since_unix_ms: u64,
    ) -> Self {
        Self {
            id,
            link_id,
            link,
            agent,
            serial,
            since_unix_ms,
            services: ArcSwap::default(),
            shares: Shares::default(),
            pulse: Mutex::default(),
            drain: watch::Sender::new(None),
            news: watch::Sender::new(BTreeMap::new()),
        }
    }

    /// The service of that name, if the device shares it.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<Service> {
        self.services.load().get(name).cloned()
    }

    /// Everything the device shares.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        self.services.load().values().cloned().collect()
    }

    /// Replaces what the device shares.
    pub fn set_services(&self, services: Vec<Service>) {
        let by_name = services
            .into_iter()
            .map(|service| (service.name.clone(), service))
            .collect();
        self.services.store(Arc::new(by_name));
    }

    /// A place for one more stream to a service of this device.
    ///
    /// # Errors
    /// The service has too many.
    pub fn share(&self, service: &ServiceName) -> Result<Share, Refusal> {
        self.shares.take(service).ok_or_else(|| {
            let message = format!("the service has too much to do now, service={service}");
            Refusal::new(Code::Overloaded, message)
        })
    }

    /// What the device's heartbeats tell.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        *self.lock_pulse()
    }

    /// Notes a heartbeat.
    pub fn set_pulse(&self, pulse: Pulse) {
        *self.lock_pulse() = pulse;
    }

    /// Asks the link's task to tell the device that this relay stops.
    pub fn drain(&self, drain: Drain) {
        self.drain.send_replace(Some(drain));
    }

    /// Where [`Connected::drain`] arrives.
    #[must_use]
    pub fn drains(&self) -> watch::Receiver<Option<Drain>> {
        self.drain.subscribe()
    }

    /// Asks the link's task to tell the device of a batch of another one.
    fn tell(&self, news: &News) {
        self.news.send_modify(|all| {
            all.insert(news.device.clone(), news.clone());
        });
    }

    /// Tells when there is something in [`Connected::take_news`].
    #[must_use]
    pub fn subscribe_news(&self) -> watch::Receiver<BTreeMap<DeviceName, News>> {
        self.news.subscribe()
    }

    /// What the device was not told yet.
    #[must_use]
    pub fn take_news(&self) -> Vec<News> {
        let mut taken = BTreeMap::new();
        self.news.send_if_modified(|news| {
            taken = std::mem::take(news);
            false
        });
        taken.into_values().collect()
    }

    fn lock_pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    /// A number for the next link.
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Makes the device reachable by this link: the newest wins. Returns the
    /// older one, which gets no more requests, for [`Links::retire`].
    pub fn insert(&self, device: Arc<Connected>) -> Option<Arc<Connected>> {
        let name = device.id.device.clone();
        let older = self.write().insert(name, device)?;
        self.lock_retiring().push(Arc::clone(&older));
        Some(older)
    }

    /// Closes a link that a newer one has taken over from, once its streams
    /// have ended or [`RETIRE_TIMEOUT`] is over. The device is told why.
    pub async fn retire(&self, older: &Connected) {
        let idle = async {
            // The control stream stays.
            while older.link.streams() > 1 && older.link.close_reason().is_none() {
                sleep(RETIRE_POLL).await;
            }
        };
        let _ = timeout(RETIRE_TIMEOUT, idle).await;
        older.link.close(
            Code::Superseded,
            "a newer link of the same device took over",
        );
        self.lock_retiring()
            .retain(|device| device.link_id != older.link_id);
    }

    /// Forgets the link, unless a newer one has taken its place.
    pub fn remove(&self, device: &Connected) {
        let mut links = self.write();
        if let Some(current) = links.get(&device.id.device)
            && current.link_id == device.link_id
        {
            links.remove(&device.id.device);
        }
    }

    /// Tells the other devices of a user that this one wrote to its log.
    pub fn tell(&self, writer: &DeviceId, news: &News) {
        for device in self.read().values() {
            if device.id.user == writer.user && device.id.device != writer.device {
                device.tell(news);
            }
        }
    }

    /// The live link of a device.
    #[must_use]
    pub fn get(&self, device: &DeviceName) -> Option<Arc<Connected>> {
        self.read().get(device).cloned()
    }

    /// Every link, those that are being replaced too.
    #[must_use]
    pub fn all_and_retiring(&self) -> Vec<Arc<Connected>> {
        let mut links = self.all();
        links.extend(self.lock_retiring().iter().map(Arc::clone));
        links
    }

    /// Every live link, by device name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Connected>> {
        self.read().values().cloned().collect()
    }

    /// The device and service for a request. Without a device, the service
    /// must be shared by exactly one.
    ///
    /// # Errors
    /// [`Code::DeviceOffline`], [`Code::UnknownService`] or, when several
    /// devices share it, [`Code::NoRoute`].
    pub fn find(
        &self,
        device: Option<&DeviceName>,
        service: &ServiceName,
    ) -> Result<(Arc<Connected>, Service), Refusal> {
        let Some(device) = device else {
            return self.find_anywhere(service, |_| true);
        };
        let Some(connected) = self.get(device) else {
            return Err(offline(device));
        };
        let Some(service) = connected.service(service) else {
            return Err(unknown_service(service));
        };
        Ok((connected, service))
    }

    /// As [`Links::find`], among the devices of one user. Another user's
    /// device looks like one that is not there.
    ///
    /// # Errors
    /// As [`Links::find`].
    pub fn find_of_user(
        &self,
        user: &UserName,
        device: Option<&DeviceName>,
        service: &ServiceName,
    ) -> Result<(Arc<Connected>, Service), Refusal> {
        let Some(device) = device else {
            return self.find_anywhere(service, |id| id.user == *user);
        };
        match self.get(device) {
            Some(connected) if connected.id.user == *user => self.find(Some(device), service),
            Some(_) | None => Err(offline(device)),
        }
    }

    fn find_anywhere(
        &self,
        name: &ServiceName,
        whose: impl Fn(&DeviceId) -> bool,
    ) -> Result<(Arc<Connected>, Service), Refusal> {
        let links = self.read();
        let mut sharing = links
            .values()
            .filter(|device| whose(&device.id))
            .filter_map(|device| Some((Arc::clone(device), device.service(name)?)));
        match (sharing.next(), sharing.next()) {
            (Some(found), None) => Ok(found),
            (None, _) => Err(unknown_service(name)),
            (Some((one, _)), Some((other, _))) => Err(Refusal::new(
                Code::NoRoute,
                format!(
                    "several devices share this service, service={name}\n\
                     hint: name one: {name}.{} or {name}.{}",
                    one.id.device, other.id.device
                ),
            )),
        }
    }

    fn lock_retiring(&self) -> MutexGuard<'_, Vec<Arc<Connected>>> {
        self.retiring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<DeviceName, Arc<Connected>>> {
        self.by_device
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<DeviceName, Arc<Connected>>> {
        self.by_device
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn offline(device: &DeviceName) -> Refusal {
    Refusal::new(
        Code::DeviceOffline,
        format!("the device is not connected, device={device}"),
    )
}

fn unknown_service(service: &ServiceName) -> Refusal {
    Refusal::new(
        Code::UnknownService,
        format!("no connected device shares this service, service={service}"),
    )
}
