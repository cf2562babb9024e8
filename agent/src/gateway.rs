//! Local apps' way out: HTTP to upstreams, and raw bytes to other devices'
//! services, both through the link.

use std::io::Cursor;
use std::time::Duration;

use bytes::Buf as _;
use futures_util::future::BoxFuture;
use ginnel_link::body::{RecvBody, send_body};
use ginnel_link::cut::Cuttable;
use ginnel_link::error::StreamError;
use ginnel_link::link::{Link, Priority};
use ginnel_link::splice::splice;
use ginnel_link::stream::Stream;
use ginnel_proto::code::{Code, REASON};
use ginnel_proto::frame::FrameType;
use ginnel_proto::hop::strip_hop_by_hop;
use ginnel_proto::http::RequestHead;
use ginnel_proto::id::{DeviceName, ServiceName, UpstreamName};
use ginnel_proto::open::Open;
use http::header::{CONNECTION, EXPECT, HOST, HeaderValue, UPGRADE};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::debug;

use crate::api::Forward;
use crate::api::answer::{ApiBody, BoxError, Problem};

/// How long a request may wait for a free stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a raw connection switches to.
pub const TCP_PROTOCOL: &str = "ginnel-tcp";

/// Sends local requests through the live link. Clones are the same gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    link: watch::Receiver<Option<Link>>,
    tasks: TaskTracker,
}

impl Gateway {
    /// Uses whatever link is live; its tasks belong to `tasks`.
    #[must_use]
    pub fn new(link: watch::Receiver<Option<Link>>, tasks: TaskTracker) -> Self {
        Self { link, tasks }
    }

    /// Answers one request; for [`crate::api::ApiContext::forward`].
    #[must_use]
    pub fn forward(
        &self,
        to: Forward,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Response<ApiBody>> {
        let gateway = self.clone();
        Box::pin(async move {
            let answered = match to {
                Forward::Upstream { name, path } => gateway.upstream(name, &path, request).await,
                Forward::Tcp { device, service } => gateway.tcp(device, service, request).await,
            };
            answered.unwrap_or_else(Problem::into_response)
        })
    }

    async fn upstream(
        &self,
        upstream: UpstreamName,
        path: &str,
        request: Request<Incoming>,
    ) -> Result<Response<ApiBody>, Problem> {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::TRACE || parts.method == Method::CONNECT {
            let message = format!("{} is not passed on to upstreams", parts.method);
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                Code::BadRequest.name(),
                message,
            ));
        }
        strip_hop_by_hop(&mut parts.headers);
        parts.headers.remove(HOST);
        // The relay reads the body anyway, to count it.
        parts.headers.remove(EXPECT);
        let head = RequestHead {
            method: parts.method,
            scheme: Scheme::HTTP,
            authority: None,
            path: with_query(path, parts.uri.query())?,
            headers: parts.headers,
            upgrade: None,
            end: body.is_end_stream(),
        };
        let Stream { mut send, mut recv } = self.open().await?;
        let open = Open::Upstream {
            upstream: upstream.clone(),
        };
        let sent = send.send_request(&open, &head).await;
        sent.map_err(|error| failed(&error, &upstream))?;
        let upload = if head.end {
            send.finish();
            None
        } else {
            Some(AbortOnDropHandle::new(self.tasks.spawn(async move {
                if let Err(error) = send_body(&mut send, body).await {
                    debug!(%error, "upload to an upstream ended early");
                }
            })))
        };
        let head = loop {
            let head = recv.response().await;
            let head = head.map_err(|error| failed(&error, &upstream))?;
            if !head.is_interim() {
                break head;
            }
        };
        let mut response = Response::new(stream_body(recv.into_body(), upload));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        // Only what the relay says of itself is a reason.
        response.headers_mut().remove(REASON);
        Ok(response)
    }

    async fn tcp(
        &self,
        device: Option<DeviceName>,
        service: ServiceName,
        mut request: Request<Incoming>,
    ) -> Result<Response<ApiBody>, Problem> {
        let wanted = request.headers().get(UPGRADE);
        if wanted.is_none_or(|protocol| protocol != TCP_PROTOCOL) {
            return Err(Problem::new(
                StatusCode::UPGRADE_REQUIRED,
                "upgrade_required",
                format!("send Upgrade: {TCP_PROTOCOL}"),
            ));
        }
        let Stream { mut send, mut recv } = self.open().await?;
        let open = match device {
            Some(device) => Open::Dial {
                device,
                service: service.clone(),
            },
            None => Open::Tcp {
                service: service.clone(),
            },
        };
        let opened = async {
            send.send_frame(FrameType::Open, &open.encode()).await?;
            recv.rest_begins().await
        };
        opened.await.map_err(|error| failed(&error, &service))?;
        let switched = hyper::upgrade::on(&mut request);
        self.tasks.spawn(async move {
            let Ok(upgraded) = switched.await else {
                return;
            };
            let Ok(parts) = upgraded.downcast::<TokioIo<Cuttable>>() else {
                return;
            };
            let connection = parts.io.into_inner();
            let cut = connection.cut();
            let (reader, writer) = tokio::io::split(connection);
            let reader = AsyncReadExt::chain(Cursor::new(parts.read_buf), reader);
            if let Err(error) = splice(reader, writer, &cut, &mut send, recv).await {
                debug!(%error, %service, "raw connection broke off");
            }
        });
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(TCP_PROTOCOL));
        Ok(response)
    }

    /// A stream on the live link.
    async fn open(&self) -> Result<Stream, Problem> {
        let link = self.link.borrow().clone();
        let Some(link) = link.filter(|link| link.close_reason().is_none()) else {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::DeviceOffline.name(),
                "there is no link to the relay now",
            )
            .hint("see: ginnel status"));
        };
        match timeout(OPEN_TIMEOUT, link.open(Priority::Interactive)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(failed(&error.into(), &"relay")),
            Err(_) => Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Overloaded.name(),
                "the relay takes no more requests now",
            )),
        }
    }
}

fn with_query(path: &str, query: Option<&str>) -> Result<PathAndQuery, Problem> {
    let whole = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    PathAndQuery::try_from(whole).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            Code::BadRequest.name(),
            error.to_string(),
        )
    })
}

/// The answer as it arrives. Slices are joined, since the local API's bodies
/// are plain `Bytes`: one copy, at the speed of the cloud.
fn stream_body(body: RecvBody, upload: Option<AbortOnDropHandle<()>>) -> ApiBody {
    body.map_frame(move |frame| {
        // Stops the upload when the caller no longer reads the answer.
        let _held = &upload;
        frame.map_data(|mut chunks| chunks.copy_to_bytes(chunks.remaining()))
    })
    .map_err(|error| -> BoxError { error.into() })
    .boxed_unsync()
}

fn empty() -> ApiBody {
    http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// What to tell a local app when the relay said no or the link broke.
fn failed(error: &StreamError, what: &dyn std::fmt::Display) -> Problem {
    const KNOWN: [(Code, &str, Option<&str>); 6] = [
        (
            Code::BadRequest,
            "the relay passes no such request on to it",
            Some("leave . and .. out of the path"),
        ),
        (Code::UpstreamUnreachable, "the relay cannot reach it", None),
        (Code::UpstreamFailed, "it broke off", None),
        (
            Code::ConnectTimeout,
            "it did not accept a connection in time",
            None,
        ),
        (
            Code::UnknownService,
            "no device of yours shares such a service",
            Some("see which there are: ginnel services, on the device that shares it"),
        ),
        (
            Code::WrongKind,
            "it is not a TCP service",
            Some("share it with tcp://HOST:PORT"),
        ),
    ];
    let code = error.code();
    let problem = |message: String| Problem::new(code.status(), code.name(), message);
    if code == Code::UnknownUpstream {
        return problem(format!("{what}: the relay has no such upstream")).hint(format!(
            "the relay's configuration needs a section [upstream.{what}]"
        ));
    }
    match KNOWN.iter().find(|(known, ..)| *known == code) {
        Some((_, text, Some(hint))) => problem(format!("{what}: {text}")).hint(*hint),
        Some((_, text, None)) => problem(format!("{what}: {text}")),
        None => problem(format!("{what} cannot be reached: {error}")),
    }
}
