//! Raw bytes from one device to a service of another device of its user, and
//! from a port of the relay to a public service.

use std::sync::Arc;
use std::time::Duration;

use ginnel_link::cut::Cuttable;
use ginnel_link::link::Priority;
use ginnel_link::splice::{bridge, splice};
use ginnel_link::stream::Stream;
use ginnel_proto::code::Code;
use ginnel_proto::control::{Access, Service, ServiceKind};
use ginnel_proto::frame::FrameType;
use ginnel_proto::id::{DeviceName, ServiceName};
use ginnel_proto::open::Open;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::edge::accept::Acceptor;
use crate::edge::answer::Refusal;
use crate::links::Connected;
use crate::relay::Relay;
use crate::shares::Share;

/// How long a connection may wait for a free stream to the device.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects a stream that `from` opened with a service of another device.
pub async fn serve(
    relay: &Relay,
    from: &Connected,
    device: Option<&DeviceName>,
    service: &ServiceName,
    mut stream: Stream,
) {
    let found = relay.links.find_of_user(&from.id.user, device, service);
    let target = match found {
        Ok((target, service)) => open_tcp(&target, &service).await,
        Err(refusal) => Err(refusal),
    };
    match target {
        Ok((target, _share)) => {
            if let Err(error) = bridge(stream, target).await {
                debug!(%error, from = %from.id, %service, "connection ended");
            }
        }
        Err(refusal) => {
            debug!(from = %from.id, %service, code = %refusal.code, "dial refused");
            stream.send.reset(refusal.code);
            stream.recv.stop(refusal.code);
        }
    }
}

/// Serves a port of the relay for a public TCP service, until `stop`.
pub async fn listen(
    relay: Arc<Relay>,
    acceptor: Acceptor,
    device: DeviceName,
    service: ServiceName,
    stop: CancellationToken,
) {
    while let Some(accepted) = acceptor.next(&stop).await {
        let opened = Arc::clone(&relay);
        let (device, service) = (device.clone(), service.clone());
        relay.tasks.spawn(async move {
            connect(&opened, accepted.stream, &device, &service).await;
            drop(accepted.place);
        });
    }
}

async fn connect(relay: &Relay, connection: TcpStream, device: &DeviceName, service: &ServiceName) {
    let _active = relay.metrics.connection();
    let stream = match relay.links.find(Some(device), service) {
        // Raw TCP carries no API key, so only what is public is reached.
        Ok((_, service)) if service.access == Access::Private => Err(Refusal::new(
            Code::Denied,
            format!("the service is private, service={}", service.name),
        )),
        Ok((target, service)) => open_tcp(&target, &service).await,
        Err(refusal) => Err(refusal),
    };
    match stream {
        Ok((mut stream, _share)) => {
            let connection = Cuttable::new(connection);
            let cut = connection.cut();
            let (reader, writer) = tokio::io::split(connection);
            let spliced = splice(reader, writer, &cut, &mut stream.send, stream.recv);
            if let Err(error) = spliced.await {
                debug!(%error, %device, %service, "TCP connection broke off");
            }
        }
        Err(refusal) => debug!(%device, %service, message = refusal.message, "TCP refused"),
    }
}

async fn open_tcp(target: &Connected, service: &Service) -> Result<(Stream, Share), Refusal> {
    if service.kind != ServiceKind::Tcp {
        return Err(Refusal::new(
            Code::WrongKind,
            format!("this service speaks HTTP, service={}", service.name),
        ));
    }
    let share = target.share(&service.name)?;
    let busy = || Refusal::new(Code::Overloaded, "the device takes no more streams now");
    let lost = |error: String| Refusal::new(Code::LinkLost, error);
    let opened = timeout(OPEN_TIMEOUT, target.link.open(Priority::Interactive)).await;
    let mut stream = opened
        .map_err(|_| busy())?
        .map_err(|error| lost(error.to_string()))?;
    let open = Open::Tcp {
        service: service.name.clone(),
    };
    stream
        .send
        .send_frame(FrameType::Open, &open.encode())
        .await
        .map_err(|error| lost(error.to_string()))?;
    Ok((stream, share))
}
