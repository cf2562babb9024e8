//! What a running relay knows of its devices, by its admin listener.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Terminal;
use super::opened::Opened;
use crate::admin::LiveDevice;
use crate::running::{self, RelayNote};
use ginnel_daemon::running::Running;

/// Where the admin listener lists its live devices.
const PATH: &str = "/v1/devices";

/// The largest answer that is read, in bytes: tens of thousands of devices.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// How long a running relay on this machine may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The devices that are connected; `None`, and a note to the person, if no
/// running relay can tell.
///
/// # Errors
/// The note cannot be written.
pub(super) async fn ask(
    opened: &Opened,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<Option<Vec<LiveDevice>>> {
    let why = match &opened.running {
        Running::No => "none runs".to_owned(),
        Running::Silent => "it starts or stops".to_owned(),
        Running::Listening(relay) => match timeout(TIMEOUT, exchange(opened, relay)).await {
            Ok(Ok(devices)) => return Ok(Some(devices)),
            Ok(Err(error)) => format!("{error:#}, admin={}", relay.admin),
            Err(elapsed) => format!("{elapsed}, admin={}", relay.admin),
        },
    };
    writeln!(
        terminal.notes,
        "warning: no running relay says which devices are connected: {why}, state={}",
        opened.folder.display()
    )?;
    Ok(None)
}

async fn exchange(opened: &Opened, relay: &RelayNote) -> anyhow::Result<Vec<LiveDevice>> {
    let token = &opened.state.admin_token;
    let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))
        .context("the admin token is not a header value")?;
    bearer.set_sensitive(true);
    let request = Request::builder()
        .uri(PATH)
        .header(HOST, relay.admin.to_string())
        .header(AUTHORIZATION, bearer)
        .body(Empty::<Bytes>::new())?;
    let stream = TcpStream::connect(relay.admin).await?;
    // It listened until now, so it is the one that we are connected to; else
    // another program may have taken over its port.
    let still = running::find(&opened.folder)?;
    let is_same = matches!(&still, Running::Listening(now) if now == relay);
    ensure!(is_same, "it stopped just now");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?;
        anyhow::Ok((head.status, body.to_bytes()))
    };
    let (status, body) = drive(exchange, connection).await?;
    if status == StatusCode::UNAUTHORIZED {
        bail!("it refuses this folder's admin token, so it is another relay");
    }
    ensure!(status.is_success(), "it answered with {status}");
    serde_json::from_slice(&body).context("its answer cannot be read")
}

/// Runs an exchange and the connection under it, until the exchange is done.
async fn drive<T>(exchange: impl Future<Output = T>, connection: impl Future) -> T {
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, exchange)) => exchange.await,
    }
}
