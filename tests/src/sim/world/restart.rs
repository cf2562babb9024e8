//! What events do to processes: they crash, stop and start again.

use std::sync::Arc;
use std::time::Duration;

use ginnel_link::transport::TransportSettings;
use tokio::time::{sleep, timeout};

use super::{World, lock};
use crate::sim::device::{Device, REMAINS_MAX, Remains};
use crate::sim::net::Host;

/// What remains of a relay must be gone by then.
const RELAY_REMAINS_MAX: Duration = Duration::from_secs(30);

impl World {
    /// Starts a relay, unless one runs already: faults may overlap.
    pub(super) async fn start_relay(&self) {
        if self.running_relay().is_some() {
            return;
        }
        let number = {
            let mut up = lock(&self.shared.relay_up);
            up.1 += 1;
            up.1
        };
        let settings = TransportSettings {
            seed: Some(self.dice().bytes()),
            ..self.settings()
        };
        let relay = self.shared.state.start(self.net(), settings, number).await;
        lock(&self.shared.relay_up).0 = self.now();
        *lock(&self.shared.relay) = Some(relay);
        self.net().note("relay up", 0, number);
    }

    pub(in crate::sim) fn start_relay_after(&self, down: Duration) {
        let world = self.clone();
        self.shared.tasks.spawn(async move {
            sleep(down).await;
            world.start_relay().await;
        });
    }

    /// The process is gone, and its socket with it.
    pub(in crate::sim) fn crash_relay(&self) {
        let relay = lock(&self.shared.relay).take();
        if let Some(relay) = &relay {
            self.shared.watch.remember(self.now(), relay);
        }
        self.net().kill(Host(0));
        let Some(relay) = relay else {
            return;
        };
        let world = self.clone();
        self.shared.tasks.spawn(async move {
            if timeout(RELAY_REMAINS_MAX, relay.ended()).await.is_err() {
                world.violation("a relay's tasks outlive it");
            }
        });
    }

    pub(in crate::sim) fn restart_relay(&self, grace: Duration, down: Duration) {
        let world = self.clone();
        self.shared.tasks.spawn(async move {
            if let Some(relay) = world.running_relay() {
                relay.drain(grace).await;
            }
            world.crash_relay();
            sleep(down).await;
            world.start_relay().await;
        });
    }

    /// Watches that a process ends.
    pub(in crate::sim) fn bury(&self, remains: Option<Remains>) {
        let Some(remains) = remains else { return };
        let world = self.clone();
        self.shared.tasks.spawn(async move {
            if timeout(REMAINS_MAX, remains.ended()).await.is_err() {
                world.violation("an agent's tasks outlive it");
            }
        });
    }

    pub(in crate::sim) fn start_agent_after(&self, device: &Arc<Device>, down: Duration) {
        let device = Arc::clone(device);
        self.shared.tasks.spawn(async move {
            sleep(down).await;
            device.start();
        });
    }

    pub(in crate::sim) fn restart_agent(&self, device: &Arc<Device>, down: Duration) {
        let (world, device) = (self.clone(), Arc::clone(device));
        self.shared.tasks.spawn(async move {
            if let Some(remains) = device.stop() {
                if timeout(REMAINS_MAX, remains.ended()).await.is_err() {
                    world.violation("an agent does not stop");
                }
                sleep(down).await;
                device.start();
            }
        });
    }

    pub(in crate::sim) fn start_twin(&self, device: &Arc<Device>) {
        let host = self.net().host(self.net().quality(device.host));
        let twin = Arc::new(device.twin(host));
        twin.start();
        let before = lock(&self.shared.twins).insert(device.name.clone(), twin);
        self.bury(before.and_then(|before| before.kill()));
    }

    pub(in crate::sim) fn kill_twin(&self, device: &Device) {
        let twin = lock(&self.shared.twins).remove(&device.name);
        self.bury(twin.and_then(|twin| twin.kill()));
    }
}
