//! One request from the relay, to a local service and back.
//!
//! The other half is the relay's `edge/proxy.rs`.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use ginnel_link::body::{RecvBody, send_body};
use ginnel_link::error::StreamError;
use ginnel_link::splice::{Spliced, splice};
use ginnel_link::stream::{RecvHalf, SendHalf, Stream};
use ginnel_proto::code::Code;
use ginnel_proto::control::ServiceKind;
use ginnel_proto::hop::strip_hop_by_hop;
use ginnel_proto::http::{RequestHead, ResponseHead};
use ginnel_proto::id::ServiceName;
use ginnel_proto::limits::HEAD_TIMEOUT;
use ginnel_proto::message::{announce_body, expects_100, is_grpc};
use ginnel_proto::open::Open;
use http::header::{CONNECTION, HOST, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tracing::debug;

use crate::failures::Failures;
use crate::local::{self, ConnectError, Inside, LocalClient, LocalStream};
use crate::services::Services;
use crate::services::spec::SharedService;

/// How long a service may take to say that it wants a body it was offered
/// with `Expect: 100-continue`. Many never say so and simply wait (RFC 9110
/// §10.1.1 allows the sender to go on).
const CONTINUE_AFTER: Duration = Duration::from_secs(1);

/// The body of a request to a local service.
type RequestBody = Either<RecvBody, Empty<ginnel_link::chunks::Chunks>>;

/// Serves what the relay asks for from the services on the allow list.
#[derive(Debug)]
pub struct Server {
    services: Services,
    http1: LocalClient<RequestBody>,
    http2: LocalClient<RequestBody>,
    inside: Inside,
    failures: Failures,
    /// One for each request that may be worked on.
    room: Semaphore,
}

/// Why a request ended early: the code for the relay, the reason for the log.
type Ended = (Code, String);

impl Server {
    /// Serves `services`, at most `max_requests` at once.
    #[must_use]
    pub fn new(services: Services, max_requests: usize, inside: Inside) -> Self {
        Self {
            http1: local::http1(services.clone(), inside.clone()),
            http2: local::http2(services.clone(), inside.clone()),
            inside,
            failures: Failures::default(),
            room: Semaphore::new(max_requests),
            services,
        }
    }

    /// Serves one stream that the relay opened.
    pub async fn serve(&self, stream: Stream) {
        let Stream { mut send, mut recv } = stream;
        let Ok(_place) = self.room.try_acquire() else {
            send.reset(Code::Overloaded);
            recv.stop(Code::Overloaded);
            return;
        };
        let result = match timeout(HEAD_TIMEOUT, recv.open()).await {
            Ok(Ok(Open::Http { service })) => self.serve_http(&service, &mut send, recv).await,
            // What is rare is boxed: a task is as large as its largest part,
            // and is copied when it is spawned.
            Ok(Ok(Open::Tcp { service })) => Box::pin(self.serve_tcp(&service, send, recv)).await,
            Ok(Ok(open)) => reset(send, Code::Denied, format!("not for a device: {open:?}")),
            Ok(Err(error)) => reset(send, error.code(), error.to_string()),
            Err(_) => reset(send, Code::HeadTimeout, "no OPEN in time".into()),
        };
        if let Err((code, reason)) = result {
            debug!(%code, reason, "request ended early");
        }
    }

    async fn serve_http(
        &self,
        name: &ServiceName,
        send: &mut SendHalf,
        recv: RecvHalf,
    ) -> Result<(), Ended> {
        let result = self.exchange(name, send, recv).await;
        if let Err((code, _)) = &result {
            send.reset(*code);
        }
        result
    }

    async fn exchange(
        &self,
        name: &ServiceName,
        send: &mut SendHalf,
        mut recv: RecvHalf,
    ) -> Result<(), Ended> {
        let service = self.find(name, ServiceKind::Http)?;
        let head = match timeout(HEAD_TIMEOUT, recv.request()).await {
            Ok(head) => head.map_err(ended)?,
            Err(_) => return Err((Code::HeadTimeout, "no HEAD in time".into())),
        };
        if let Some(protocol) = head.upgrade.clone() {
            return Box::pin(self.exchange_upgrade(&service, protocol, head, send, recv)).await;
        }

        // To the service.
        let client = self.client(&head);
        let expects_100 = expects_100(&head.headers);
        let body = match head.end {
            true => Either::Right(Empty::new()),
            false => Either::Left(recv.into_body()),
        };
        let mut request = self.request(&service, head, body)?;
        let asked = Arc::new(Notify::new());
        if expects_100 {
            let asked = Arc::clone(&asked);
            hyper::ext::on_informational(&mut request, move |interim| {
                if interim.status() == StatusCode::CONTINUE {
                    asked.notify_one();
                }
            });
        }
        let answered = client.request(request);
        let mut answered = std::pin::pin!(answered);

        // Until it answers, its interest in the body and the caller's in the
        // answer may change.
        let mut waiting = expects_100;
        let stopped = send.stopped();
        let mut stopped = std::pin::pin!(stopped);
        let response = loop {
            tokio::select! {
                biased;
                answered = answered.as_mut() => {
                    break answered.map_err(|error| self.told(name, failed(&error)))?;
                }
                error = stopped.as_mut() => return Err(ended(error)),
                () = wants_body(&asked), if waiting => {
                    waiting = false;
                    let head = ResponseHead::continue_100();
                    send.send_response(&head).await.map_err(ended)?;
                }
            }
        };

        // And back.
        let answered = answer(response, send).await;
        answered.map_err(|ended| self.told(name, ended))
    }

    /// Lets the service switch protocols, and carries raw bytes if it does.
    async fn exchange_upgrade(
        &self,
        service: &SharedService,
        protocol: HeaderValue,
        head: RequestHead,
        send: &mut SendHalf,
        recv: RecvHalf,
    ) -> Result<(), Ended> {
        let mut request = self.request(service, head, Either::Right(Empty::new()))?;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
        let mut response = tokio::select! {
            biased;
            answered = self.http1.request(request) => {
                answered.map_err(|error| self.told(&service.name, failed(&error)))?
            }
            error = send.stopped() => return Err(ended(error)),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let answered = answer(response, send).await;
            return answered.map_err(|ended| self.told(&service.name, ended));
        }
        let upgrade = response.headers().get(UPGRADE).cloned();
        strip_hop_by_hop(response.headers_mut());
        let head = ResponseHead {
            status: StatusCode::SWITCHING_PROTOCOLS,
            upgrade,
            headers: response.headers().clone(),
            end: false,
        };
        send.send_response(&head).await.map_err(ended)?;
        let upgraded = hyper::upgrade::on(&mut response)
            .await
            .map_err(|error| (Code::ServiceFailed, error.to_string()))?;
        let Ok(parts) = upgraded.downcast::<TokioIo<LocalStream>>() else {
            return Err((Code::ServiceFailed, "another connection switched".into()));
        };
        let connection = parts.io.into_inner();
        let cut = connection.cut();
        let (reader, writer) = tokio::io::split(connection);
        // What the service said right behind its 101 comes first.
        let reader = AsyncReadExt::chain(Cursor::new(parts.read_buf), reader);
        self.carry(service, splice(reader, writer, &cut, send, recv))
            .await
    }

    async fn serve_tcp(
        &self,
        name: &ServiceName,
        mut send: SendHalf,
        recv: RecvHalf,
    ) -> Result<(), Ended> {
        let service = match self.find(name, ServiceKind::Tcp) {
            Ok(service) => service,
            Err((code, reason)) => return reset(send, code, reason),
        };
        let connection = match local::connect_tcp(&service, &self.inside).await {
            Ok(connection) => connection,
            Err(error) => {
                let (code, reason) = self.told(name, (error.code(), error.to_string()));
                return reset(send, code, reason);
            }
        };
        let cut = connection.cut();
        let (reader, writer) = tokio::io::split(connection);
        let spliced = splice(reader, writer, &cut, &mut send, recv);
        let carried = self.carry(&service, spliced).await;
        if let Err((code, _)) = &carried {
            send.reset(*code);
        }
        carried
    }

    /// Carries raw bytes while the service is shared. A request ends by
    /// itself, but such a connection could go on for ever.
    async fn carry(
        &self,
        service: &SharedService,
        spliced: impl Future<Output = Result<Spliced, StreamError>>,
    ) -> Result<(), Ended> {
        tokio::select! {
            biased;
            spliced = spliced => spliced.map(drop).map_err(ended),
            () = self.services.ended(service) => {
                let reason = format!("not shared any more, service={}", service.name);
                Err((Code::UnknownService, reason))
            }
        }
    }

    /// Tells the owner why a request ended, where the service is to blame. Raw
    /// bytes that break off are left out: that is how many programs hang up.
    fn told(&self, name: &ServiceName, (code, reason): Ended) -> Ended {
        self.failures.tell(name, code, &reason);
        (code, reason)
    }

    fn find(&self, name: &ServiceName, kind: ServiceKind) -> Result<Arc<SharedService>, Ended> {
        let Some(service) = self.services.find(name) else {
            return Err((Code::UnknownService, format!("not shared, service={name}")));
        };
        if service.target.kind() != kind {
            return Err((Code::WrongKind, format!("wrong kind, service={name}")));
        }
        Ok(service)
    }

    /// gRPC is HTTP/2 only, and its servers want no negotiation.
    fn client(&self, head: &RequestHead) -> &LocalClient<RequestBody> {
        match is_grpc(&head.headers) {
            true => &self.http2,
            false => &self.http1,
        }
    }

    /// The request as the service sees it. The host that the caller asked for
    /// stays; where it goes was decided by the allow list.
    fn request(
        &self,
        service: &SharedService,
        mut head: RequestHead,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, Ended> {
        let bad = |error: String| (Code::BadRequest, error);
        strip_hop_by_hop(&mut head.headers);
        let host = match &head.authority {
            Some(authority) => authority.as_str(),
            None => service.name.as_str(),
        };
        let host = HeaderValue::from_str(host).map_err(|error| bad(error.to_string()))?;
        head.headers.insert(HOST, host);
        announce_body(&mut head);
        let uri = Uri::builder()
            .scheme("http")
            .authority(local::host(&service.name, self.services.generation()))
            .path_and_query(head.path)
            .build()
            .map_err(|error| bad(error.to_string()))?;
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = head.headers;
        Ok(request)
    }
}

/// Returns when the service has asked for the body, or said nothing for long.
async fn wants_body(asked: &Notify) {
    let _ = timeout(CONTINUE_AFTER, asked.notified()).await;
}

/// Streams the service's answer back.
async fn answer(response: Response<Incoming>, send: &mut SendHalf) -> Result<(), Ended> {
    let (mut parts, body) = response.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    let head = ResponseHead {
        status: parts.status,
        headers: parts.headers,
        upgrade: None,
        end: body.is_end_stream(),
    };
    match send.send_response(&head).await {
        Ok(()) => {}
        Err(StreamError::Payload(error)) => {
            return Err((Code::ServiceFailed, format!("answer's {error}")));
        }
        Err(error) => return Err(ended(error)),
    }
    send_body(send, body).await.map_err(ended)?;
    Ok(())
}

fn reset(mut send: SendHalf, code: Code, reason: String) -> Result<(), Ended> {
    send.reset(code);
    Err((code, reason))
}

fn ended(error: StreamError) -> Ended {
    (error.code(), error.to_string())
}

/// What to tell the relay when the service did not answer.
fn failed(error: &hyper_util::client::legacy::Error) -> Ended {
    let mut code = Code::ServiceFailed;
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<ConnectError>() {
            code = error.code();
        }
        // The request's body broke off: the service did nothing wrong.
        if let Some(error) = error.downcast_ref::<StreamError>() {
            code = error.code();
        }
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    (code, reason)
}
