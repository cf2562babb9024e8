//! Local apps' requests to cloud APIs, through the local gateway and the
//! relay.

use bytes::Bytes;
use futures_util::future::join_all;
use ginnel_link::link::Priority;
use ginnel_proto::code::Code;
use ginnel_proto::id::UpstreamName;
use ginnel_proto::open::Open;
use ginnel_relay::registry::usage::{Amount, UsageRow};
use ginnel_tests::caller::{Caller, body, text};
use ginnel_tests::device::{Device, bare_head};
use ginnel_tests::lab::{Lab, UPSTREAM_KEY};
use ginnel_tests::origin::{FullOrigin, ManualOrigin, Origin};
use ginnel_tests::pattern::{Pattern, check};
use ginnel_tests::wait::{LOOK_AGAIN, in_time, promptly};
use ginnel_tests::wire::{field, fields, read_all, read_head};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A lab whose relay has the upstream `cloud` at `url`.
async fn lab(url: &str) -> Lab {
    lab_with(url, "").await
}

async fn lab_with(url: &str, more: &str) -> Lab {
    let variable = UPSTREAM_KEY.0;
    Lab::start_from(&format!(
        "[upstream.cloud]\nurl = '{url}'\ncredential_env = '{variable}'\n{more}"
    ))
    .await
}

fn local(lab: &Lab) -> Caller {
    Caller::new(lab.agent.local())
}

/// A request of a local app that holds the local token.
fn ask(lab: &Lab, path: &str) -> http::request::Builder {
    let token = lab.agent.token()["authorization"].clone();
    Request::builder()
        .uri(format!("/upstream{path}"))
        .header("host", lab.agent.local().to_string())
        .header("authorization", token)
}

async fn send(lab: &Lab, request: http::request::Builder) -> Response<Incoming> {
    let request = request.body(Empty::<Bytes>::new()).expect("valid");
    local(lab).send(request).await
}

#[tokio::test]
async fn the_relay_adds_the_credential_and_nobody_else_learns_it() {
    let (origin, mut heads) = Origin::canned(OK).await;
    let lab = lab(&format!("{}/v1/", origin.target())).await;
    let request = ask(&lab, "/cloud/chat/completions?a=b&c=%2F")
        .method("POST")
        .header("x-api-key", "from-the-app")
        .header("x-stays", "1")
        .header("referer", "http://127.0.0.1/private")
        .header("forwarded", "for=10.0.0.1")
        .header("cookie", "session=of-another-local-program")
        .header("x-forwarded-for", "10.0.0.1")
        .header("accept-encoding", "gzip, br");
    let response = send(&lab, request).await;
    assert_eq!(response.status(), 200);
    assert!(!format!("{:?}", response.headers()).contains(UPSTREAM_KEY.1));

    let seen = heads.next().await;
    assert!(
        seen.starts_with("POST /v1/chat/completions?a=b&c=%2F HTTP/1.1\r\n"),
        "{seen}"
    );
    let credential = format!("Bearer {}", UPSTREAM_KEY.1);
    assert_eq!(
        fields(&seen, "authorization").collect::<Vec<_>>(),
        [&credential]
    );
    let host = origin.address.to_string();
    assert_eq!(fields(&seen, "host").collect::<Vec<_>>(), [&host]);
    assert_eq!(field(&seen, "x-stays"), Some("1"));
    for name in [
        "x-api-key",
        "referer",
        "forwarded",
        "x-forwarded-for",
        "cookie",
    ] {
        assert_eq!(field(&seen, name), None, "{name}");
    }
    assert_eq!(field(&seen, "accept-encoding"), Some("identity"));
}

/// With the credential, an app must not reach beside what was configured.
#[tokio::test]
async fn paths_that_climb_out_of_the_upstream_are_refused() {
    let (origin, mut heads) = Origin::canned(OK).await;
    let lab = lab(&format!("{}/v1", origin.target())).await;
    for path in ["/cloud/../admin/keys", "/cloud/%2e%2E/admin/keys"] {
        let response = send(&lab, ask(&lab, path)).await;
        assert_eq!(response.status(), 400, "{path}");
        let told = text(response).await;
        assert!(told.contains("leave . and .. out of the path"), "{told}");
    }
    assert!(heads.is_empty());
}

/// An upstream that follows RFC 9110 answers TRACE with the request as it
/// came, and so with the credential.
#[tokio::test]
async fn methods_that_would_show_the_credential_are_refused() {
    let (origin, mut heads) = Origin::canned(OK).await;
    let lab = lab(&origin.target()).await;
    let token = lab.agent.token()["authorization"]
        .to_str()
        .expect("text")
        .to_owned();
    for line in ["TRACE /upstream/cloud/v1", "CONNECT /upstream/cloud/v1"] {
        let host = lab.agent.local();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
        );
        let answer = local(&lab).exchange(head).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{line}: {answer}");
    }
    assert!(heads.is_empty());
}

/// An agent that was changed to let it through is refused by the relay.
#[tokio::test]
async fn the_relay_passes_no_trace_on() {
    let (origin, mut heads) = Origin::canned(OK).await;
    let lab = lab(&origin.target()).await;
    let state = lab.folder.path().join("changed");
    let device = Device::join(&lab.relay, &state, "alice", "changed").await;
    let driver = device.greet().await.expect("welcome");
    let link = driver.link();
    let mut stream = in_time("a stream", link.open(Priority::Interactive))
        .await
        .expect("open");
    let head = bare_head("TRACE");
    let open = Open::Upstream {
        upstream: UpstreamName::parse("cloud").expect("valid"),
    };
    stream.send.send_request(&open, &head).await.expect("sent");
    stream.send.finish();
    let answer = promptly("the verdict", stream.recv.response()).await;
    let error = answer.expect_err("refused");
    assert_eq!(error.code(), Code::BadRequest, "{error}");
    assert!(heads.is_empty());
}

#[tokio::test]
async fn an_upstream_may_want_its_credential_elsewhere() {
    let (origin, mut heads) = Origin::canned(OK).await;
    let lab = lab_with(&origin.target(), "header = 'x-api-key'\n").await;
    // The app sends the local token the same way.
    let token = lab.agent.token()["authorization"]
        .to_str()
        .expect("text")
        .to_owned();
    let token = token.trim_start_matches("Bearer ").to_owned();
    let request = Request::get("/upstream/cloud/v1/messages")
        .header("host", lab.agent.local().to_string())
        .header("x-api-key", &token)
        .header("authorization", "Bearer from-the-app");
    assert_eq!(send(&lab, request).await.status(), 200);
    let seen = heads.next().await;
    assert_eq!(
        fields(&seen, "x-api-key").collect::<Vec<_>>(),
        [UPSTREAM_KEY.1]
    );
    assert_eq!(field(&seen, "authorization"), None);
    assert!(!seen.contains(&token));
}

#[tokio::test]
async fn tokens_pass_one_by_one() {
    let origin = ManualOrigin::bind().await;
    let lab = lab(&origin.target()).await;
    let request = ask(&lab, "/cloud/stream")
        .body(Empty::<Bytes>::new())
        .expect("valid");
    let caller = local(&lab);
    let service = async {
        let (mut service, _) = origin.request().await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                     Transfer-Encoding: chunked\r\n\r\n";
        service.write_all(head).await.expect("sent");
        service
    };
    let (response, mut service) = tokio::join!(caller.send(request), service);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    for number in 0..10 {
        let event = format!("data: {number}\n\n");
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        service.write_all(chunk.as_bytes()).await.expect("sent");
        let frame = promptly("a token", body.frame())
            .await
            .expect("more")
            .expect("whole");
        assert_eq!(frame.into_data().expect("data"), event);
    }
    // The app has heard enough.
    drop(body);
    promptly("the end of the upstream's answer", read_all(&mut service)).await;
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    const LENGTH: u64 = 16 * 1024 * 1024;
    let origin = Origin::http(|request: Request<Incoming>| async move {
        assert_eq!(check(request.into_body(), LENGTH).await, LENGTH);
        Response::new(Pattern::sized(LENGTH))
    })
    .await;
    let lab = lab(&origin.target()).await;
    let request = ask(&lab, "/cloud/")
        .method("POST")
        .body(Pattern::sized(LENGTH));
    let response = local(&lab).send(request.expect("valid")).await;
    assert_eq!(check(response.into_body(), LENGTH).await, LENGTH);
}

/// An answer of each style, and what it cost.
const ANSWERS: [(&str, &str, u64, u64); 4] = [
    (
        "application/json",
        r#"{"id":"a","model":"gpt-x","choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":9}"}}],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}"#,
        11,
        7,
    ),
    (
        "text/event-stream",
        "data: {\"model\":\"gpt-x\",\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\n\
         data: {\"model\":\"gpt-x\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3}}\n\n\
         data: [DONE]\n\n",
        5,
        3,
    ),
    (
        "application/json; charset=utf-8",
        r#"{"type":"message","model":"claude-x","content":[],"usage":{"input_tokens":20,"cache_read_input_tokens":4,"output_tokens":2}}"#,
        24,
        2,
    ),
    (
        "text/event-stream",
        "event: message_start\n\
         data: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-x\",\"usage\":{\"input_tokens\":30,\"output_tokens\":1}}}\n\n\
         event: message_delta\n\
         data: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":15}}\n\n\
         event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        30,
        15,
    ),
];

#[tokio::test]
async fn tokens_and_bytes_are_counted_for_the_user_and_in_metrics() {
    join_all(ANSWERS.map(assert_counted)).await;
}

async fn assert_counted((kind, answer, input, output): (&'static str, &'static str, u64, u64)) {
    let origin = Origin::http(move |request: Request<Incoming>| async move {
        request.into_body().collect().await.expect("a whole body");
        let response = Response::builder().header("content-type", kind);
        let body = Full::new(Bytes::from_static(answer.as_bytes()));
        response.body(body).expect("valid")
    })
    .await;
    let lab = lab(&origin.target()).await;
    let request = ask(&lab, "/cloud/v1")
        .method("POST")
        .body(Full::<Bytes>::from("question"));
    let response = local(&lab).send(request.expect("valid")).await;
    assert_eq!(text(response).await, answer);

    let row = in_time("usage is written", usage(&lab)).await;
    assert_eq!(row.user.as_str(), "alice");
    assert_eq!(row.upstream.as_str(), "cloud");
    let model = row.model.as_deref();
    assert!(model.is_some_and(|model| answer.contains(model)));
    let amount = Amount {
        requests: 1,
        bytes_in: 8,
        bytes_out: answer.len() as u64,
        input_tokens: input,
        output_tokens: output,
    };
    assert_eq!(row.amount, amount, "{answer}");

    let metrics = Caller::new(lab.relay.admin_address);
    let request = Request::get("/metrics").body(Empty::<Bytes>::new());
    let metrics = text(metrics.send(request.expect("valid")).await).await;
    let line = |name: &str, label: &str, value: u64| {
        format!("ginnel_upstream_{name}_total{{upstream=\"cloud\",{label}}} {value}")
    };
    for line in [
        line("requests", "status=\"200\"", 1),
        line("tokens", "direction=\"in\"", input),
        line("tokens", "direction=\"out\"", output),
        line("bytes", "direction=\"in\"", 8),
        line("bytes", "direction=\"out\"", answer.len() as u64),
    ] {
        assert!(metrics.contains(&line), "{line} is missing:\n{metrics}");
    }
}

/// The one line of the registry's summary, once it is there.
async fn usage(lab: &Lab) -> UsageRow {
    let registry = lab.registry().await;
    loop {
        let rows = registry.usage_summary(0).await.expect("readable");
        if let [row] = &rows[..] {
            return row.clone();
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test]
async fn an_unknown_upstream_is_404_and_says_what_to_configure() {
    let lab = Lab::start().await;
    let response = send(&lab, ask(&lab, "/cloud/v1")).await;
    assert_eq!(response.status(), 404);
    let told = text(response).await;
    assert!(
        told.contains("unknown_upstream") && told.contains("[upstream.cloud]"),
        "{told}"
    );
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_502() {
    let lab = lab("http://127.0.0.1:1/").await;
    let response = send(&lab, ask(&lab, "/cloud/v1")).await;
    assert_eq!(response.status(), 502);
    let told = text(response).await;
    assert!(told.contains("upstream_unreachable"), "{told}");
    assert!(!told.contains(UPSTREAM_KEY.1));
}

/// Neither TCP nor TLS may keep an app waiting for ever.
#[tokio::test]
async fn an_upstream_that_does_not_accept_in_time_is_504() {
    let full = FullOrigin::bind().await;
    let silent = ManualOrigin::bind().await;
    let is_504 = async |url: String| {
        let lab = lab(&url).await;
        let response = send(&lab, ask(&lab, "/cloud/v1")).await;
        assert_eq!(response.status(), 504, "{url}");
        let told = text(response).await;
        assert!(told.contains("connect_timeout"), "{told}");
    };
    tokio::join!(
        is_504(full.target()),
        is_504(format!("https://{}", silent.address)),
    );
}

#[tokio::test]
async fn an_upstream_that_breaks_off_never_looks_whole() {
    let origin = ManualOrigin::bind().await;
    let lab = lab(&origin.target()).await;
    let request = ask(&lab, "/cloud/v1")
        .body(Empty::<Bytes>::new())
        .expect("valid");
    let caller = local(&lab);
    let service = async {
        let (mut service, _) = origin.request().await;
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n";
        service.write_all(answer).await.expect("sent");
        service
    };
    let (response, service) = tokio::join!(caller.send(request), service);
    drop(service);
    assert!(
        in_time("the end", response.into_body().collect())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn only_who_holds_the_local_token_may_ask() {
    let (origin, mut heads) = Origin::canned(OK).await;
    let lab = lab(&origin.target()).await;
    let host = lab.agent.local().to_string();
    let path = "/upstream/cloud/v1";
    let bare = || Request::get(path).header("host", &host);
    let nobody = send(&lab, bare()).await;
    assert_eq!(nobody.status(), 401);
    assert!(nobody.headers().contains_key("www-authenticate"));
    let wrong = bare().header("authorization", "Bearer 0123");
    assert_eq!(send(&lab, wrong).await.status(), 401);

    let foreign = [
        ask(&lab, "/cloud/v1").header("origin", "https://evil.example"),
        ask(&lab, "/cloud/v1").header("origin", "null"),
    ];
    for request in foreign {
        assert_eq!(send(&lab, request).await.status(), 403);
    }
    let port = lab.agent.local().port();
    for host in [format!("evil.example:{port}"), "127.0.0.1:1".to_owned()] {
        let token = lab.agent.token()["authorization"].clone();
        let request = Request::get(path)
            .header("host", host)
            .header("authorization", token);
        assert_eq!(send(&lab, request).await.status(), 403);
    }
    assert!(heads.is_empty(), "the upstream was asked");
}

#[tokio::test]
async fn without_a_link_it_is_503() {
    let (origin, _heads) = Origin::canned(OK).await;
    let lab = lab(&origin.target()).await;
    let request = ask(&lab, "/cloud/v1")
        .body(Empty::<Bytes>::new())
        .expect("valid");
    let caller = local(&lab);
    lab.relay
        .stop(std::time::Duration::ZERO)
        .await
        .expect("stops");
    let report = &lab.agent.daemon.report;
    let connected = ginnel_agent::status::LinkState::Connected;
    ginnel_tests::wait::until_true("the agent notices", || report.status().state != connected)
        .await;
    let response = caller.send(request).await;
    assert_eq!(response.status(), 503);
    assert!(text(response).await.contains("device_offline"));
}

/// The gateway is for requests: it does not switch protocols.
#[tokio::test]
async fn an_upgrade_is_not_passed_to_an_upstream() {
    let (origin, mut heads) = Origin::canned(OK).await;
    let lab = lab(&origin.target()).await;
    let request = ask(&lab, "/cloud/v1")
        .header("connection", "upgrade")
        .header("upgrade", "x");
    let response = send(&lab, request).await;
    assert_eq!(response.status(), 200);
    assert!(body(response).await.is_empty());
    let seen = heads.next().await;
    assert_eq!(field(&seen, "upgrade"), None);
}

#[tokio::test]
async fn an_app_that_leaves_before_the_answer_frees_the_upstream() {
    let origin = ManualOrigin::bind().await;
    let lab = lab(&origin.target()).await;
    let request = ask(&lab, "/cloud/v1")
        .body(Empty::<Bytes>::new())
        .expect("valid");
    let caller = local(&lab);
    let mut service = tokio::select! {
        _ = caller.send(request) => panic!("no answer"),
        (service, _) = origin.request() => service,
    };
    promptly("the end of the request", read_head(&mut service)).await;
}
