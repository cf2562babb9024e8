//! What a running relay knows of its devices, by its admin listener.

use std::future::Future;
use std::net::SocketAddr;
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
use crate::admin::LiveDevice;
use crate::config::place::RelayPlace;

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
pub async fn ask(
    place: &RelayPlace,
    token: &str,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<Option<Vec<LiveDevice>>> {
    let asked = timeout(TIMEOUT, exchange(place.admin, token)).await;
    match asked.unwrap_or_else(|elapsed| Err(elapsed.into())) {
        Ok(devices) => Ok(Some(devices)),
        Err(error) => {
            writeln!(
                terminal.notes,
                "warning: no running relay says which devices are connected, admin={}: {error:#}",
                place.admin
            )?;
            Ok(None)
        }
    }
}

async fn exchange(admin: SocketAddr, token: &str) -> anyhow::Result<Vec<LiveDevice>> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))
        .context("the admin token is not a header value")?;
    bearer.set_sensitive(true);
    let request = Request::builder()
        .uri(PATH)
        .header(HOST, admin.to_string())
        .header(AUTHORIZATION, bearer)
        .body(Empty::<Bytes>::new())?;
    let stream = TcpStream::connect(admin).await?;
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
