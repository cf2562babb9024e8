//! A device's link, from the knock at the door to its end.

use std::sync::Arc;
use std::time::Duration;

use ginnel_certs::server::peer_leaf;
use ginnel_certs::{ALPN_JOIN, ALPN_LINK};
use ginnel_link::driver::RelayDriver;
use ginnel_link::endpoint::{Arrival, Knock, Listener};
use ginnel_link::error::LinkError;
use ginnel_link::link::Link;
use ginnel_link::stream::Stream;
use ginnel_proto::code::Code;
use ginnel_proto::control::{ARTIFACTS, Address, Hello, KNOWLEDGE, Register, ServiceKind, Welcome};
use ginnel_proto::id::DeviceId;
use ginnel_proto::limits::{HEAD_TIMEOUT, HEARTBEAT, HELLO_TIMEOUT};
use ginnel_proto::link::session::RelayEvent;
use ginnel_proto::open::Open;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::links::Connected;
use crate::registry::devices::Refusal;
use crate::registry::serial::Serial;
use crate::relay::Relay;
use crate::{dial, join, knowledge, sync, upstream};

/// A handshake must be over by then, the first message included.
const HANDSHAKE_TIMEOUT: Duration = HELLO_TIMEOUT;

/// Handshakes worked on at once. Each costs about a millisecond of CPU; more
/// at once would only make all of them slower.
const HANDSHAKES: usize = 64;

/// Devices that may queue for a handshake, have one under way, or have yet to
/// be welcomed or enrolled. The rest is refused and tries again with back-off.
/// Each may make us hold [`WINDOW_BEFORE_WELCOME`] bytes.
///
/// [`WINDOW_BEFORE_WELCOME`]: ginnel_proto::limits::WINDOW_BEFORE_WELCOME
const UNPROVED_MAX: usize = 1024;

/// Takes links until `stop`, then returns when those there are have ended.
pub async fn serve(relay: Arc<Relay>, listener: Listener, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(HANDSHAKES));
    let unproved = Arc::new(Semaphore::new(UNPROVED_MAX));
    let links = TaskTracker::new();
    loop {
        let knock = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            knock = listener.accept() => knock,
        };
        let Some(knock) = knock else { break };
        if relay.is_draining() {
            knock.refuse();
            continue;
        }
        // Under load a device first proves its address, so that forged
        // packets cost us nothing but an answer.
        if room.available_permits() == 0 && !knock.is_validated() {
            knock.retry();
            continue;
        }
        let Ok(place) = Arc::clone(&unproved).try_acquire_owned() else {
            relay.metrics.handshakes_refused.inc();
            knock.refuse();
            continue;
        };
        let (relay, room) = (Arc::clone(&relay), Arc::clone(&room));
        let span = info_span!("link", address = %knock.address());
        let task = async move {
            let arrival = {
                let Ok(_working) = room.acquire_owned().await else {
                    return;
                };
                shake_hands(&relay, knock).await
            };
            if let Some(arrival) = arrival {
                serve_arrival(&relay, arrival, place).await;
            }
        };
        links.spawn(task.instrument(span));
    }
    links.close();
    links.wait().await;
}

async fn shake_hands(relay: &Relay, knock: Knock) -> Option<Arrival> {
    match timeout(HANDSHAKE_TIMEOUT, knock.handshake()).await {
        Ok(Ok(arrival)) => Some(arrival),
        Ok(Err(error)) => {
            relay.metrics.handshakes_failed.inc();
            debug!(%error, "handshake failed");
            None
        }
        Err(_) => {
            relay.metrics.handshakes_failed.inc();
            debug!("handshake took too long");
            None
        }
    }
}

/// Enrols or admits whoever it is; `place` is its place among those who have
/// proved nothing.
async fn serve_arrival(relay: &Arc<Relay>, arrival: Arrival, place: OwnedSemaphorePermit) {
    let Arrival {
        link,
        alpn,
        certificates,
    } = arrival;
    if alpn == ALPN_JOIN {
        join::answer(relay, &link).await;
        return;
    }
    if alpn != ALPN_LINK {
        link.close(Code::Violation, "unknown protocol");
        return;
    }
    let admitted = timeout(
        HANDSHAKE_TIMEOUT,
        admit(relay, &link, certificates.as_deref()),
    );
    let admitted = admitted.await;
    drop(place);
    match admitted {
        Ok(Ok((driver, device))) => serve_link(relay, driver, device).await,
        Ok(Err(no)) => {
            relay.metrics.links_refused.inc();
            let No { code, reason } = &no;
            debug!(%code, reason, "link refused");
            if let Some(times) = relay.refused_links.count(Instant::now()) {
                warn!(times, %code, reason, "links refused, the last for this reason; told once a minute");
            }
            link.close(no.code, &no.reason);
        }
        Err(_) => link.close(Code::HelloTimeout, "no Hello in time"),
    }
}

/// Why a device may not link.
#[derive(Debug)]
struct No {
    code: Code,
    reason: String,
}

/// Judges the device's certificate and waits for its Hello.
async fn admit(
    relay: &Arc<Relay>,
    link: &Link,
    certificates: Option<&[rustls::pki_types::CertificateDer<'static>]>,
) -> Result<(RelayDriver, Arc<Connected>), No> {
    let (id, serial) = judge(relay, certificates).await?;
    let mut driver = RelayDriver::start(link.clone(), Arc::clone(&relay.wall_clock))
        .await
        .map_err(no_link)?;
    let hello = loop {
        match driver.next().await.map_err(no_link)? {
            Some(RelayEvent::Hello(hello)) => break hello,
            Some(RelayEvent::Close(code)) => {
                let reason = "no Hello in time".into();
                return Err(No { code, reason });
            }
            Some(RelayEvent::Goodbye(_)) => {
                let (code, reason) = (Code::Goodbye, String::new());
                return Err(No { code, reason });
            }
            Some(_) | None => {}
        }
    };
    let device = welcome(relay, &mut driver, id, serial, hello);
    Ok((driver, device))
}

async fn judge(
    relay: &Relay,
    certificates: Option<&[rustls::pki_types::CertificateDer<'static>]>,
) -> Result<(DeviceId, Serial), No> {
    if certificates.is_none() {
        return Err(No {
            code: Code::CertificateRequired,
            reason: "a link needs a device certificate".into(),
        });
    }
    let wrong = |reason: String| No {
        code: Code::WrongIdentity,
        reason,
    };
    let leaf = peer_leaf(certificates).map_err(|error| wrong(error.to_string()))?;
    leaf.identity
        .check_trust(&relay.domain, &relay.environment)
        .map_err(|error| wrong(error.to_string()))?;
    let serial = leaf
        .serial
        .parse::<Serial>()
        .map_err(|error| wrong(error.to_string()))?;
    let id = leaf.identity.device;
    match relay
        .registry
        .authorize_link(&id, &serial, relay.now_ms())
        .await
    {
        Ok(_) => Ok((id, serial)),
        Err(refusal) => Err(No {
            code: refusal_code(&refusal),
            reason: refusal.to_string(),
        }),
    }
}

/// What a refused device is told.
#[must_use]
pub fn refusal_code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Unknown(_) | Refusal::WrongUser(_) => Code::UnknownDevice,
        Refusal::Revoked(_) => Code::Revoked,
        Refusal::Superseded { .. } | Refusal::Expired(_) => Code::StaleCertificate,
        Refusal::Registry(_) => Code::Internal,
    }
}

fn no_link(error: LinkError) -> No {
    No {
        code: error.code().unwrap_or(Code::Violation),
        reason: error.to_string(),
    }
}

fn welcome(
    relay: &Relay,
    driver: &mut RelayDriver,
    id: DeviceId,
    serial: Serial,
    hello: Hello,
) -> Arc<Connected> {
    let link_id = relay.links.next_id();
    let unix_ms = (relay.wall_clock)();
    driver.welcome(Welcome {
        relay: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: capabilities(relay),
        device: id.clone(),
        link: link_id,
        unix_ms,
        heartbeat: HEARTBEAT,
    });
    let link = driver.link().clone();
    Arc::new(Connected::new(
        id,
        link_id,
        link,
        hello.agent,
        serial,
        unix_ms,
    ))
}

/// What the relay does beyond what each does.
fn capabilities(relay: &Relay) -> Vec<u32> {
    let artifacts = relay.sync.is_some().then_some(ARTIFACTS);
    let knowledge = relay.knowledge.is_some().then_some(KNOWLEDGE);
    artifacts.into_iter().chain(knowledge).collect()
}

/// Serves a welcome device until its link ends.
async fn serve_link(relay: &Arc<Relay>, driver: RelayDriver, device: Arc<Connected>) {
    if let Some(older) = relay.links.insert(Arc::clone(&device)) {
        let links = Arc::clone(relay);
        relay
            .tasks
            .spawn(async move { links.links.retire(&older).await });
    }
    let _connected = relay.metrics.device();
    relay.seen(&device.id);
    info!(device = %device.id, link = device.link_id, agent = device.agent, "device connected");

    let error = run(relay, driver, &device).await;

    relay.links.remove(&device);
    relay.seen(&device.id);
    info!(device = %device.id, link = device.link_id, reason = %error, "device disconnected");
}

async fn run(relay: &Arc<Relay>, mut driver: RelayDriver, device: &Arc<Connected>) -> LinkError {
    let link = device.link.clone();
    let mut drains = device.drains();
    let mut news = device.subscribe_news();
    loop {
        tokio::select! {
            biased;
            event = driver.next() => match event {
                Ok(None) => device.set_pulse(driver.pulse()),
                Ok(Some(RelayEvent::Register(register))) => {
                    let Register { generation, services } = register;
                    debug!(device = %device.id, count = services.len(), "services registered");
                    device.set_services(services);
                    driver.registered(generation, addresses(relay, device));
                }
                Ok(Some(RelayEvent::Goodbye(goodbye))) => {
                    debug!(device = %device.id, reason = goodbye.reason, "device says goodbye");
                    // Requests under way go on; no more are sent there.
                    relay.links.remove(device);
                }
                Ok(Some(RelayEvent::Close(code))) => link.close(code, ""),
                Ok(Some(other)) => warn!(?other, "event out of place"),
                Err(error) => return error,
            },
            Ok(()) = drains.changed() => {
                let drain = *drains.borrow_and_update();
                if let Some(drain) = drain {
                    driver.drain(drain);
                }
            }
            Ok(()) = news.changed() => {
                news.borrow_and_update();
                device.take_news().into_iter().for_each(|news| driver.news(news));
            }
            stream = link.accept() => match stream {
                Ok(stream) => {
                    let (relay, device) = (Arc::clone(relay), Arc::clone(device));
                    relay.tasks.clone().spawn(serve_stream(relay, device, stream));
                }
                Err(error) => return error,
            },
        }
    }
}

/// Where callers find the device's services.
fn addresses(relay: &Relay, device: &Connected) -> Vec<Address> {
    device
        .services()
        .into_iter()
        .filter(|service| service.kind == ServiceKind::Http)
        .map(|service| Address {
            url: relay.public_url.of(&service.name, &device.id.device),
            service: service.name,
        })
        .collect()
}

/// Serves one stream that the device opened.
async fn serve_stream(relay: Arc<Relay>, device: Arc<Connected>, mut stream: Stream) {
    let code = match timeout(HEAD_TIMEOUT, stream.recv.open()).await {
        Ok(Ok(Open::Upstream { upstream })) => {
            return upstream::serve(&relay, &device, &upstream, stream).await;
        }
        Ok(Ok(Open::Dial {
            device: target,
            service,
        })) => return dial::serve(&relay, &device, Some(&target), &service, stream).await,
        Ok(Ok(Open::Tcp { service })) => {
            return dial::serve(&relay, &device, None, &service, stream).await;
        }
        Ok(Ok(Open::Push)) => return sync::receive::serve(&relay, &device, stream).await,
        Ok(Ok(Open::Catalog)) => return sync::deliver::serve(&relay, &device, stream).await,
        Ok(Ok(Open::Knowledge)) => return knowledge::serve::serve(&relay, &device, stream).await,
        Ok(Ok(open)) => {
            debug!(?open, "a device may not open this");
            Code::Denied
        }
        Ok(Err(error)) => error.code(),
        Err(_) => Code::HeadTimeout,
    };
    stream.send.reset(code);
    stream.recv.stop(code);
}
