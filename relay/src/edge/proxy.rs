//! One public request, from its arrival to its answer.
//!
//! The other half is the agent's `serve.rs`.

use std::sync::Arc;
use std::time::Duration;

use ginnel_link::body::send_body;
use ginnel_link::cut::Cut;
use ginnel_link::error::StreamError;
use ginnel_link::link::Priority;
use ginnel_link::splice::splice;
use ginnel_link::stream::{SendHalf, Stream};
use ginnel_proto::code::{Code, REASON};
use ginnel_proto::control::{Service, ServiceKind};
use ginnel_proto::hop::{Hop, set_forwarded, strip_hop_by_hop};
use ginnel_proto::http::{RequestHead, ResponseHead};
use ginnel_proto::message::{expects_100, is_grpc};
use ginnel_proto::open::Open;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, UPGRADE};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::access;
use super::answer::{AnswerBody, Refusal};
use super::patient::{PATIENCE, Patient};
use super::route::route;
use crate::links::Connected;
use crate::relay::Relay;
use crate::shares::Share;

/// How long a request may wait for a free stream to the device.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How a caller reached us.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its address and scheme, as they are told to services.
    pub hop: Hop,
    /// Ends its connection so that it notices.
    pub cut: Cut,
}

/// Answers a public request: by the service it is for, or by saying why not.
pub async fn forward<B>(
    relay: &Arc<Relay>,
    caller: &Caller,
    request: Request<B>,
) -> Response<AnswerBody>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: std::fmt::Display + Send,
{
    let method = request.method().clone();
    let speaks_grpc = is_grpc(request.headers());
    let began = tokio::time::Instant::now();
    let response = match try_forward(relay, caller, request).await {
        Ok(response) => response,
        Err(refusal) => {
            debug!(code = %refusal.code, message = refusal.message, "request refused");
            match speaks_grpc {
                true => refusal.into_grpc_response(),
                false => refusal.into_response(),
            }
        }
    };
    relay
        .metrics
        .request(&method, response.status(), began.elapsed());
    response
}

async fn try_forward<B>(
    relay: &Arc<Relay>,
    caller: &Caller,
    mut request: Request<B>,
) -> Result<Response<AnswerBody>, Refusal>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: std::fmt::Display + Send,
{
    // Where to?
    let host = host(&request)?;
    let path = path(&request)?;
    let route = route(&relay.domain, host.as_ref(), &path)?;
    let (device, service) = relay.links.find(route.device.as_ref(), &route.service)?;

    // May they?
    let key = access::take_key(request.headers_mut());
    let keys = relay.keys.load();
    let now_ms = relay.now_ms();
    access::check(&keys, key.as_ref(), &device.id, &service, now_ms)?
        .inspect(|id| relay.key_used(id, now_ms));
    if service.kind != ServiceKind::Http {
        return Err(Refusal::new(
            Code::WrongKind,
            format!(
                "this service speaks TCP, not HTTP, service={}",
                service.name
            ),
        ));
    }

    // What do they want?
    let version = request.version();
    let upgrade = upgrade(&request);
    let switched = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let mut head = RequestHead {
        method: parts.method,
        scheme: caller.hop.scheme().clone(),
        authority: host,
        path: route.path,
        headers: parts.headers,
        upgrade,
        end: body.is_end_stream(),
    };
    rewrite(&mut head, caller, route.prefix.as_deref());
    let waits_for_100 = expects_100(&head.headers);

    // Through the tunnel, and back.
    let share = device.share(&service.name)?;
    let stream = open(&device, &service, &head).await?;
    match switched {
        Some(switched) => {
            let upgrading = (switched, caller.cut.clone());
            Box::pin(exchange_upgrade(relay, &device, (stream, share), upgrading)).await
        }
        None => {
            // gRPC's streams, which announce no length, may well be silent.
            let patient = version <= Version::HTTP_11 || body.size_hint().exact().is_some();
            let body = Patient::new(body, patient.then_some(PATIENCE));
            exchange(relay, &device, (stream, share), body, waits_for_100).await
        }
    }
}

/// The host that the caller asked for. HTTP/2 and absolute targets carry it in
/// the URI, everything else in Host.
fn host<B>(request: &Request<B>) -> Result<Option<Authority>, Refusal> {
    let bad = |reason: String| Refusal::new(Code::BadRequest, format!("bad host, {reason}"));
    let host = match (request.uri().authority(), request.headers().get(HOST)) {
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => {
            Authority::try_from(host.as_bytes()).map_err(|error| bad(error.to_string()))?
        }
        (None, None) if request.version() <= Version::HTTP_10 => return Ok(None),
        (None, None) => return Err(bad("it is missing".into())),
    };
    if host.as_str().contains('@') {
        return Err(bad("it names a user".into()));
    }
    Ok(Some(host))
}

fn path<B>(request: &Request<B>) -> Result<PathAndQuery, Refusal> {
    if request.method() == Method::CONNECT {
        let reason = "CONNECT is not supported; for raw TCP use: ginnel tcp NAME --listen ADDRESS";
        return Err(Refusal::new(Code::BadRequest, reason));
    }
    let path = request.uri().path_and_query();
    Ok(path
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/")))
}

/// The protocol that the caller wants to switch to.
fn upgrade<B>(request: &Request<B>) -> Option<HeaderValue> {
    let wanted = request
        .headers()
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    let protocol = request.headers().get(UPGRADE)?;
    // A caller that wants HTTP/2 has other ways (RFC 9113 §3.1); what it
    // needs for this one does not survive a proxy.
    let wanted = wanted && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c");
    // A body would have to come first (RFC 9110 §7.8); nobody does that.
    let bodiless = !request
        .headers()
        .contains_key(http::header::TRANSFER_ENCODING)
        && request
            .headers()
            .get(http::header::CONTENT_LENGTH)
            .is_none_or(|length| length == "0");
    (wanted && bodiless && request.version() == Version::HTTP_11).then(|| protocol.clone())
}

/// Makes the head what the next hop shall see.
fn rewrite(head: &mut RequestHead, caller: &Caller, prefix: Option<&str>) {
    const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

    strip_hop_by_hop(&mut head.headers);
    join_cookies(&mut head.headers);
    head.headers.remove(HOST);
    set_forwarded(&mut head.headers, &caller.hop, head.authority.as_ref());
    if let Some(Ok(prefix)) = prefix.map(HeaderValue::from_str) {
        head.headers.insert(X_FORWARDED_PREFIX, prefix);
    }
}

/// HTTP/2 may split a cookie into several fields; HTTP/1 may not (RFC 9113
/// §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(http::header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(http::header::COOKIE, cookie);
    }
}

/// Opens a stream to the device and sends the head on it.
async fn open(
    device: &Connected,
    service: &Service,
    head: &RequestHead,
) -> Result<Stream, Refusal> {
    let opened = timeout(OPEN_TIMEOUT, device.link.open(Priority::Interactive)).await;
    let Ok(opened) = opened else {
        return Err(Refusal::new(
            Code::Overloaded,
            format!(
                "the device takes no more requests now, device={}",
                device.id
            ),
        ));
    };
    let mut stream = opened.map_err(|error| failed(device, &error.into()))?;
    let open = Open::Http {
        service: service.name.clone(),
    };
    let sent = stream.send.send_request(&open, head).await;
    sent.map_err(|error| failed(device, &error))?;
    Ok(stream)
}

/// Sends the body up while the answer comes down.
async fn exchange<B>(
    relay: &Arc<Relay>,
    device: &Connected,
    (stream, share): (Stream, Share),
    body: Patient<B>,
    waits_for_100: bool,
) -> Result<Response<AnswerBody>, Refusal>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: std::fmt::Display + Send,
{
    let Stream { mut send, mut recv } = stream;
    let mut upload = None;
    // hyper asks the caller for the body when it is first read: not before
    // the device has asked for it.
    let mut waiting = None;
    if body.is_end_stream() {
        send.finish();
    } else if waits_for_100 {
        waiting = Some((send, body));
    } else {
        upload = Some(start_upload(relay, send, body));
    }
    let head = loop {
        let head = match recv.response().await {
            Ok(head) => head,
            Err(error) => {
                recv.stop(error.code());
                return Err(no_answer(device, &error));
            }
        };
        if !head.is_interim() {
            break head;
        }
        // hyper can send no other interim response than its own 100.
        if head.status == StatusCode::CONTINUE
            && let Some((send, body)) = waiting.take()
        {
            upload = Some(start_upload(relay, send, body));
        }
    };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let reason = "the service switched protocols without being asked";
        return Err(Refusal::new(Code::ServiceFailed, reason));
    }
    let body = match head.end {
        true => AnswerBody::Own(None),
        false => {
            let withheld = waiting.map(|(send, _)| send);
            let metrics = Arc::clone(&relay.metrics);
            AnswerBody::streamed(recv.into_body(), metrics, share, upload, withheld)
        }
    };
    Ok(response(head, body))
}

/// Pumps the body up in a task that ends with the returned handle.
fn start_upload<B>(
    relay: &Arc<Relay>,
    mut send: SendHalf,
    body: Patient<B>,
) -> AbortOnDropHandle<()>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: std::fmt::Display + Send,
{
    let metrics = Arc::clone(&relay.metrics);
    AbortOnDropHandle::new(relay.tasks.spawn(async move {
        let mut body = std::pin::pin!(body);
        match send_body(&mut send, body.as_mut()).await {
            Ok(bytes) => {
                metrics.bytes_up.inc_by(bytes);
            }
            Err(error) => {
                // Stopped: the service has answered and wants no more of it.
                // Source: the caller went away, and dropping `send` says so,
                // or it is there and sends nothing.
                debug!(%error, "upload ended early");
                if body.is_idle() {
                    send.reset(Code::IdleTimeout);
                }
            }
        }
    }))
}

/// Lets the service switch protocols, and carries raw bytes if it does.
async fn exchange_upgrade(
    relay: &Arc<Relay>,
    device: &Connected,
    (mut stream, share): (Stream, Share),
    (switched, cut): (OnUpgrade, Cut),
) -> Result<Response<AnswerBody>, Refusal> {
    let mut head = loop {
        let head = stream.recv.response().await;
        let head = head.map_err(|error| no_answer(device, &error))?;
        if !head.is_interim() {
            break head;
        }
    };
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        stream.send.finish();
        let body = AnswerBody::streamed(
            stream.recv.into_body(),
            Arc::clone(&relay.metrics),
            share,
            None,
            None,
        );
        return Ok(response(head, body));
    }
    let protocol = head.upgrade.take();
    relay.tasks.spawn(async move {
        let _share = share;
        // Comes once hyper has sent the 101 below.
        let Ok(upgraded) = switched.await else {
            return;
        };
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        let spliced = splice(reader, writer, &cut, &mut stream.send, stream.recv);
        if let Err(error) = spliced.await {
            debug!(%error, "upgraded connection broke off");
        }
    });
    let mut response = response(head, AnswerBody::Own(None));
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }
    Ok(response)
}

fn response(mut head: ResponseHead, body: AnswerBody) -> Response<AnswerBody> {
    strip_hop_by_hop(&mut head.headers);
    // Ours alone: it tells programs that the service did not answer.
    head.headers.remove(REASON);
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

/// What to tell the caller when the device's answer could not be had. One
/// over a limit is not the caller's fault.
fn no_answer(device: &Connected, error: &StreamError) -> Refusal {
    match error {
        StreamError::Frame(_) | StreamError::Payload(_) => Refusal::new(
            Code::Malformed,
            format!("the device's answer cannot be read, device={}", device.id),
        ),
        StreamError::Stopped(_)
        | StreamError::LinkLost(_)
        | StreamError::Ended(_)
        | StreamError::OutOfPlace(_)
        | StreamError::Stalled
        | StreamError::Source(_)
        | _ => failed(device, error),
    }
}

/// What to tell the caller when the tunnel or the service failed.
fn failed(device: &Connected, error: &StreamError) -> Refusal {
    const KNOWN: [(Code, &str); 6] = [
        (
            Code::UnknownService,
            "the device does not share this service any more",
        ),
        (
            Code::ServiceUnreachable,
            "the local service cannot be reached",
        ),
        (Code::ServiceFailed, "the local service broke off"),
        (
            Code::ConnectTimeout,
            "the local service did not accept in time",
        ),
        (Code::HeadTooLarge, "the request's head is too large"),
        (Code::IdleTimeout, "nothing moved for too long"),
    ];
    let code = error.code();
    let message = KNOWN.iter().find(|(known, _)| *known == code).map_or_else(
        || format!("the tunnel failed: {error}"),
        |(_, text)| (*text).to_owned(),
    );
    Refusal::new(code, format!("{message}, device={}", device.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_joined_again() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1"));
        headers.append("cookie", HeaderValue::from_static("b=2"));
        join_cookies(&mut headers);
        let all: Vec<_> = headers.get_all("cookie").iter().collect();
        assert_eq!(all, ["a=1; b=2"]);
    }

    #[test]
    fn only_a_bodiless_http_1_1_request_upgrades() {
        let request = |version, length: &'static str| {
            Request::builder()
                .version(version)
                .header("connection", "keep-alive, Upgrade")
                .header("upgrade", "websocket")
                .header("content-length", length)
                .body(())
                .expect("valid")
        };
        assert!(upgrade(&request(Version::HTTP_11, "0")).is_some());
        assert!(upgrade(&request(Version::HTTP_11, "5")).is_none());
        assert!(upgrade(&request(Version::HTTP_2, "0")).is_none());
        assert!(upgrade(&request(Version::HTTP_10, "0")).is_none());
    }

    #[test]
    fn a_bad_host_is_a_bad_request() {
        let with_host = |host: &'static str| {
            host_of(
                Request::builder()
                    .header("host", host)
                    .body(())
                    .expect("valid"),
            )
        };
        assert!(with_host("web.localhost:7480").is_ok());
        for bad in ["", "a b", "user@host", "a/b"] {
            let refusal = with_host(bad).expect_err(bad);
            assert_eq!(refusal.code, Code::BadRequest);
        }
    }

    fn host_of(request: Request<()>) -> Result<Option<Authority>, Refusal> {
        host(&request)
    }
}
