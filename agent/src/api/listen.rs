//! Accepts local connections and owns the tasks that serve them.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ginnel_daemon::tally::Tally;
use ginnel_link::cut::Cuttable;
use http::Request;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, debug, debug_span, warn};

use super::answer::{ApiBody, BrokenOff};
use super::socket::{Accepted, Listeners};
use super::{ApiContext, Way, handle};
use crate::accept::CONNECTIONS_MAX;

/// How long a client may take to send a request's head, and how long an idle
/// connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests may go on after the daemon was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(30);

fn name_error(body: ApiBody) -> UnsyncBoxBody<Bytes, BrokenOff> {
    body.map_err(BrokenOff).boxed_unsync()
}

/// Serves the local API until `shutdown`, then lets requests finish for a
/// while. Returns when no connection is left.
pub async fn serve(listeners: Listeners, context: Arc<ApiContext>, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let now = CancellationToken::new();
    let failures = Tally::default();
    let accept_all = async {
        // The semaphore is never closed, so there is always a place in time.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let accepted = listeners.accept(&failures).await;
            let context = Arc::clone(&context);
            let (now, shutdown) = (now.clone(), shutdown.clone());
            let connection = async move {
                let _place = place;
                let served = accepted.serve(context, shutdown);
                now.run_until_cancelled(served).await;
            };
            connections.spawn(connection.instrument(debug_span!("local")));
        }
    };
    shutdown.run_until_cancelled(accept_all).await;
    drop(listeners);
    connections.close();
    if tokio::time::timeout(STOP_GRACE, connections.wait())
        .await
        .is_err()
    {
        warn!(left = connections.len(), "local requests cut off");
        now.cancel();
        connections.wait().await;
    }
}

impl Accepted {
    async fn serve(self, context: Arc<ApiContext>, shutdown: CancellationToken) {
        match self {
            Self::Tcp(stream) => {
                // Answers are small and someone waits for each.
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%error, "no TCP_NODELAY");
                }
                serve_connection(Cuttable::new(stream), Way::Tcp, context, shutdown).await;
            }
            #[cfg(unix)]
            Self::Socket(stream) => serve_connection(stream, Way::Socket, context, shutdown).await,
        }
    }
}

async fn serve_connection<T>(
    stream: T,
    way: Way,
    context: Arc<ApiContext>,
    shutdown: CancellationToken,
) where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let context = Arc::clone(&context);
        async move {
            let response = handle(&context, request, way).await;
            Ok::<_, Infallible>(response.map(name_error))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = match shutdown.run_until_cancelled(connection.as_mut()).await {
        Some(served) => served,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "local connection ended");
    }
}
