//! gRPC with a client and a server that others wrote, through the relay's
//! HTTP/2 and the device's.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use ginnel_agent::services::spec::ServiceSpec;
use ginnel_tests::lab::Lab;
use ginnel_tests::wait::{in_time, promptly};
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use crate::grpc_service::{Text, TextService};

const UNARY: PathAndQuery = PathAndQuery::from_static("/test.Text/Unary");
const COLLECT: PathAndQuery = PathAndQuery::from_static("/test.Text/Collect");
const REPEAT: PathAndQuery = PathAndQuery::from_static("/test.Text/Repeat");
const ECHO: PathAndQuery = PathAndQuery::from_static("/test.Text/Echo");
const FAIL: PathAndQuery = PathAndQuery::from_static("/test.Text/Fail");
const HANG: PathAndQuery = PathAndQuery::from_static("/test.Text/Hang");

/// A client of a gRPC service behind a relay and an agent.
async fn client(lab: &Lab, service: &TextService) -> Grpc<Channel> {
    lab.agent.share("text", &service.target()).await;
    connect(lab).await
}

/// A client of whatever is shared as "text".
async fn connect(lab: &Lab) -> Grpc<Channel> {
    let relay = Endpoint::from_shared(format!("http://{}", lab.caller.address)).expect("valid");
    let relay = relay.origin("http://text.laptop.localhost".parse().expect("valid"));
    let mut client = Grpc::new(
        in_time("a channel", relay.connect())
            .await
            .expect("connects"),
    );
    in_time("readiness", client.ready()).await.expect("ready");
    client
}

#[tokio::test]
async fn unary() {
    let lab = Lab::start().await;
    let service = TextService::start().await;
    let mut client = client(&lab, &service).await;
    let mut request = Request::new("hello".to_owned());
    request
        .metadata_mut()
        .insert("x-who", "alice".parse().expect("valid"));
    let answer = in_time("an answer", client.unary(request, UNARY, Text))
        .await
        .expect("ok");
    assert_eq!(answer.metadata().get("x-greets").expect("sent"), "alice");
    assert_eq!(answer.into_inner(), "hello!");
}

#[tokio::test]
async fn client_streaming() {
    let lab = Lab::start().await;
    let service = TextService::start().await;
    let mut client = client(&lab, &service).await;
    let words = stream::iter(["a", "b", "c"].map(str::to_owned));
    let answer = client.client_streaming(Request::new(words), COLLECT, Text);
    let answer = in_time("an answer", answer).await.expect("ok");
    assert_eq!(answer.into_inner(), "a b c");
}

#[tokio::test]
async fn server_streaming() {
    let lab = Lab::start().await;
    let service = TextService::start().await;
    let mut client = client(&lab, &service).await;
    let request = Request::new("again".to_owned());
    let answer = client.server_streaming(request, REPEAT, Text);
    let words = in_time("an answer", answer).await.expect("ok").into_inner();
    let words: Vec<_> = in_time("all words", words.collect()).await;
    let words: Result<Vec<_>, _> = words.into_iter().collect();
    assert_eq!(words.expect("whole"), ["again 0", "again 1", "again 2"]);
}

#[tokio::test]
async fn bidirectional_streaming_is_a_conversation() {
    let lab = Lab::start().await;
    let service = TextService::start().await;
    let mut client = client(&lab, &service).await;
    let (say, said) = mpsc::channel(1);
    let answer = client.streaming(Request::new(ReceiverStream::new(said)), ECHO, Text);
    let mut echo = in_time("an answer", answer).await.expect("ok").into_inner();
    for number in 0..10 {
        say.send(format!("word {number}")).await.expect("room");
        let heard = promptly("an echo", echo.message()).await.expect("ok");
        assert_eq!(heard.as_deref(), Some(&*format!("word {number}!")));
    }
    drop(say);
    assert_eq!(in_time("the end", echo.message()).await.expect("ok"), None);
}

#[tokio::test]
async fn a_status_without_messages_arrives() {
    let lab = Lab::start().await;
    let service = TextService::start().await;
    let mut client = client(&lab, &service).await;
    let answer = client.unary(Request::new("no such thing".to_owned()), FAIL, Text);
    let status = in_time("an answer", answer).await.expect_err("fails");
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.message(), "no such thing");
    assert_eq!(status.metadata().get("x-detail").expect("sent"), "42");
}

#[tokio::test]
async fn a_status_after_messages_arrives() {
    let lab = Lab::start().await;
    let service = TextService::start().await;
    let mut client = client(&lab, &service).await;
    let words = stream::iter(["one", "fail"].map(str::to_owned)).chain(stream::pending());
    let answer = client.streaming(Request::new(words), ECHO, Text);
    let mut echo = in_time("an answer", answer).await.expect("ok").into_inner();
    assert_eq!(
        in_time("a word", echo.message())
            .await
            .expect("ok")
            .as_deref(),
        Some("one!")
    );
    let status = promptly("the status", echo.message())
        .await
        .expect_err("fails");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Aborted, "asked to")
    );
}

#[tokio::test]
async fn large_messages_pass() {
    let lab = Lab::start().await;
    let service = TextService::start().await;
    let mut client = client(&lab, &service).await;
    let word = "w".repeat(3_000_000);
    let answer = client.unary(Request::new(word.clone()), UNARY, Text);
    let answer = in_time("an answer", answer).await.expect("ok");
    assert!(answer.into_inner() == word + "!");
}

#[tokio::test]
async fn a_deadline_reaches_the_service() {
    let lab = Lab::start().await;
    let service = TextService::start().await;
    let mut client = client(&lab, &service).await;
    let mut request = Request::new("200m".to_owned());
    request.set_timeout(Duration::from_millis(200));
    let answer = client.unary(request, HANG, Text);
    let status = promptly("the deadline", answer)
        .await
        .expect_err("too late");
    assert!(
        matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded),
        "{status:?}"
    );
    promptly("the service's call ends", service.dropped()).await;
}

#[tokio::test]
async fn a_cancelled_call_ends_at_the_service() {
    let lab = Lab::start().await;
    let service = TextService::start().await;
    let mut client = client(&lab, &service).await;
    let call = client.unary(Request::new(String::new()), HANG, Text);
    tokio::select! {
        answer = call => panic!("nobody answers: {answer:?}"),
        () = service.called() => {}
    }
    promptly("the service's call ends", service.dropped()).await;
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    let lab = Lab::start().await;
    let service = TextService::start().await;
    let mut client = client(&lab, &service).await;
    lab.agent.share("text", "http://127.0.0.1:1").await;
    let answer = client.unary(Request::new("hello".to_owned()), UNARY, Text);
    let status = in_time("an answer", answer).await.expect_err("fails");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

/// A gRPC client reads statuses, not pages.
#[tokio::test]
async fn refusals_are_grpc_statuses_that_say_why() {
    let lab = Lab::start().await;
    let service = TextService::start().await;
    lab.agent
        .share_as("text", ServiceSpec::new(service.target()))
        .await;
    let mut client = connect(&lab).await;
    let answer = client.unary(Request::new("hello".to_owned()), UNARY, Text);
    let status = in_time("an answer", answer).await.expect_err("fails");
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let told = status.message();
    assert!(
        told.starts_with("this service is private and needs an API key") && told.contains('…'),
        "{told}"
    );
}
