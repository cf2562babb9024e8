//! How a relay lets go of its devices and callers, so that no request is lost.

use std::sync::Arc;
use std::time::Duration;

use ginnel_link::endpoint::Listener;
use ginnel_proto::code::Code;
use ginnel_proto::control::Drain;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::links::Connected;
use crate::relay::Relay;

/// Devices told to reconnect spread their first attempts at this rate, so
/// that a thousand of them do not knock at once.
const RECONNECTS_PER_SECOND: u32 = 400;

/// How long closed links may take to tell their devices.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Tells every device to go to the relay's successor, takes no more callers
/// (`edge`), lets requests finish for at most `grace`, and closes the links.
/// `links` is cancelled at the end: until then who knocks is told no.
pub async fn drain(
    relay: &Relay,
    listener: &Listener,
    edge: &CancellationToken,
    links: &CancellationToken,
    grace: Duration,
) {
    relay.begin_drain();
    let devices = relay.links.all();
    info!(devices = devices.len(), "draining");
    send_away(&devices, grace);
    edge.cancel();
    relay.tasks.close();
    if timeout(grace, relay.tasks.wait()).await.is_err() {
        warn!(left = relay.tasks.len(), "requests cut off");
    }
    // Drain goes out before the close that would overtake it.
    sleep(Duration::from_millis(20)).await;
    listener.close(Code::Draining, "the relay is stopping");
    let _ = timeout(CLOSE_TIMEOUT, listener.wait_idle()).await;
    links.cancel();
}

fn send_away(devices: &[Arc<Connected>], grace: Duration) {
    for (slot, device) in (0_u32..).zip(devices) {
        device.drain(Drain {
            reconnect_in: Duration::from_secs(1) * slot / RECONNECTS_PER_SECOND,
            try_for: grace,
        });
    }
}
