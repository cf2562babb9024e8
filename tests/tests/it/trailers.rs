//! Fields that come after the body.

use bytes::Bytes;
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::Origin;
use ginnel_tests::wire::{field, read_bytes, read_head};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::AsyncWriteExt as _;

const TRAILED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                       3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n";

#[tokio::test]
async fn an_answers_trailers_arrive_over_http_2() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(TRAILED).await;
    lab.agent.share("web", &origin.target()).await;
    let request = lab
        .request_over(Version::HTTP_2, "web", "/")
        .header("te", "trailers");
    let request = request.body(Full::<Bytes>::default()).expect("valid");
    let response = lab.caller.send_http2(request).await;
    let collected = response.into_body().collect().await.expect("a whole body");
    assert_eq!(collected.trailers().expect("trailers")["x-sum"], "6");
    assert_eq!(collected.to_bytes(), "abc");
    let seen = heads.next().await;
    assert_eq!(field(&seen, "te"), Some("trailers"));
}

#[tokio::test]
async fn an_answers_trailers_arrive_over_http_1() {
    let lab = Lab::start().await;
    let (origin, _heads) = Origin::canned(TRAILED).await;
    lab.agent.share("web", &origin.target()).await;
    let head = "GET / HTTP/1.1\r\nHost: web.localhost\r\nTE: trailers\r\n\
                Connection: TE, close\r\n\r\n";
    let answer = lab.caller.exchange(head).await;
    assert_eq!(field(&answer, "trailer"), Some("X-Sum"));
    assert!(
        answer.to_lowercase().ends_with("\r\n0\r\nx-sum: 6\r\n\r\n"),
        "{answer}"
    );
}

/// A request body of two slices and trailers, one of which may not stand
/// there.
fn trailed_body() -> impl hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> + Unpin
{
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("6"));
    trailers.insert("content-length", HeaderValue::from_static("666"));
    let frames = [
        Frame::data(Bytes::from_static(b"ab")),
        Frame::data(Bytes::from_static(b"c")),
        Frame::trailers(trailers),
    ];
    StreamBody::new(futures_util::stream::iter(frames.map(Ok)))
}

#[tokio::test]
async fn a_requests_trailers_arrive_from_http_2() {
    let lab = Lab::start().await;
    let origin = Origin::http(|request: Request<Incoming>| async move {
        let collected = request.into_body().collect().await.expect("a whole body");
        let trailers = collected.trailers().cloned().unwrap_or_default();
        assert!(!trailers.contains_key("content-length"));
        let mut response = Response::new(Full::new(collected.to_bytes()));
        let sum = trailers.get("x-sum").cloned();
        let missing = HeaderValue::from_static("missing");
        response
            .headers_mut()
            .insert("x-seen", sum.unwrap_or(missing));
        response
    })
    .await;
    lab.agent.share("web", &origin.target()).await;
    let request = lab.request_over(Version::HTTP_2, "web", "/").method("POST");
    let request = request.header("trailer", "x-sum").body(trailed_body());
    let response = lab.caller.send_http2(request.expect("valid")).await;
    assert_eq!(response.headers()["x-seen"], "6");
    assert_eq!(ginnel_tests::caller::text(response).await, "abc");
}

#[tokio::test]
async fn a_requests_trailers_arrive_from_http_1() {
    let (lab, origin) = Lab::by_hand().await;
    let request = "POST / HTTP/1.1\r\nHost: web.localhost\r\nTransfer-Encoding: chunked\r\n\
                   Trailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n";
    let mut caller = lab.caller.say(request).await;
    let (mut service, seen) = origin.request().await;
    assert_eq!(field(&seen, "transfer-encoding"), Some("chunked"));
    let body = b"3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n";
    let seen = read_bytes(&mut service, body.len()).await;
    assert_eq!(seen.to_ascii_lowercase(), body);
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    service.write_all(answer).await.expect("sent");
    assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 204 "));
}
