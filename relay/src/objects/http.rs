//! How requests reach the bucket: by the same client as those to upstreams.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use rustls::RootCertStore;
use tokio::time::{Sleep, sleep, timeout};

use crate::upstream::connect::Connector;

/// How long the bucket may take from the request's first byte to its answer's:
/// the largest part goes in that time at half a megabyte a second.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the bucket may send nothing of a body.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long an unused connection is kept; R2 closes them after a while too.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that are kept for later.
const IDLE_MAX: usize = 32;

/// The client of a bucket.
#[derive(Debug, Clone)]
pub(super) struct Http(Client<Connector, HttpRequestBody>);

impl Http {
    /// Trusts the certificates that `roots` vouch for.
    pub(super) fn new(roots: RootCertStore) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(Connector::new(roots));
        Self(client)
    }
}

impl HttpConnector for Http {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answered = timeout(ANSWER_TIMEOUT, self.0.request(request));
        match answered.await {
            Ok(Ok(response)) => Ok(response.map(|body| HttpResponseBody::new(Patient::new(body)))),
            Ok(Err(error)) => Err(HttpError::new(kind(&error), error)),
            Err(_) => Err(silent("no answer in time")),
        }
    }
}

fn silent(reason: &'static str) -> HttpError {
    let error = io::Error::new(io::ErrorKind::TimedOut, reason);
    HttpError::new(HttpErrorKind::Timeout, error)
}

/// Whether a request may be sent again: what was never sent may always, what
/// was perhaps done only if doing it twice is the same.
fn kind(error: &legacy::Error) -> HttpErrorKind {
    if error.is_connect() {
        return HttpErrorKind::Connect;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_canceled() {
                return HttpErrorKind::Request;
            }
            if error.is_timeout() {
                return HttpErrorKind::Timeout;
            }
        }
        cause = error.source();
    }
    HttpErrorKind::Interrupted
}

/// A body that ends with an error if nothing comes for too long.
struct Patient {
    body: Incoming,
    silence: Pin<Box<Sleep>>,
}

impl Patient {
    fn new(body: Incoming) -> Self {
        let silence = Box::pin(sleep(SILENCE_TIMEOUT));
        Self { body, silence }
    }
}

impl Body for Patient {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let from_now = tokio::time::Instant::now() + SILENCE_TIMEOUT;
            self.silence.as_mut().reset(from_now);
            return Poll::Ready(frame.map(|frame| {
                frame.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))
            }));
        }
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Some(Err(silent("the answer stands still"))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
