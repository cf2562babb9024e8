//! Local services that fail, each in its way, and what callers are told.

use bytes::Bytes;
use ginnel_agent::services::spec::ServiceSpec;
use ginnel_proto::id::ServiceName;
use ginnel_tests::caller::text;
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::{FullOrigin, ManualOrigin, Origin};
use ginnel_tests::wait::until_true;
use ginnel_tests::wire::read_head;
use http::Response;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

fn assert_reason(response: &Response<Incoming>, status: u16, reason: &str) {
    let seen = response
        .headers()
        .get("ginnel-reason")
        .map(|value| value.as_bytes());
    let seen = seen.map(String::from_utf8_lossy);
    assert_eq!(
        (response.status().as_u16(), seen.as_deref()),
        (status, Some(reason))
    );
}

fn service(name: &str) -> ServiceName {
    ServiceName::parse(name).expect("valid")
}

#[tokio::test]
async fn a_refused_connection_is_502() {
    let lab = Lab::start().await;
    // Bound and not listening: the port is ours and refuses.
    let socket = TcpSocket::new_v4().expect("socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("bound");
    let address = socket.local_addr().expect("bound");
    lab.agent.share("web", &format!("http://{address}")).await;
    let response = lab.get("web", "/").await;
    assert_reason(&response, 502, "service_unreachable");
    // What stands where in the local network is not the caller's business.
    let told = text(response).await;
    assert!(!told.contains(&address.port().to_string()), "{told}");
}

#[tokio::test]
async fn a_missing_unix_socket_is_502() {
    let lab = Lab::start().await;
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("missing.sock");
    lab.agent
        .share("web", &format!("unix:{}", path.display()))
        .await;
    assert_reason(&lab.get("web", "/").await, 502, "service_unreachable");
}

#[tokio::test]
async fn a_service_that_hangs_up_or_babbles_is_502() {
    let lab = Lab::start().await;
    let long_head = format!(
        "HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n",
        "v".repeat(80 * 1024)
    );
    let longer_head = format!(
        "HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n",
        "v".repeat(300 * 1024)
    );
    let many_fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Many: 1\r\n".repeat(101));
    for answer in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nX-Cut",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "\0\x01\x02garbage\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        &long_head,
        &longer_head,
        &many_fields,
    ] {
        let shown = answer.get(..60).unwrap_or(answer).to_owned();
        let answer = answer.to_owned();
        let origin = Origin::raw(move |mut stream| {
            let answer = answer.clone();
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        })
        .await;
        lab.agent.share("web", &origin.target()).await;
        let response = lab.get("web", "/").await;
        assert_eq!(response.status(), 502, "{shown:?}");
        assert_reason(&response, 502, "service_failed");
    }
}

#[tokio::test]
async fn a_service_that_does_not_accept_in_time_is_504() {
    let lab = Lab::start().await;
    let origin = FullOrigin::bind().await;
    lab.agent.share("web", &origin.target()).await;
    assert_reason(&lab.get("web", "/").await, 504, "connect_timeout");
}

#[tokio::test]
async fn an_unknown_service_is_404_and_an_absent_device_503() {
    let lab = Lab::start().await;
    lab.agent.share("web", "demo").await;
    for name in ["other", "other.laptop"] {
        assert_reason(&lab.get(name, "/").await, 404, "unknown_service");
    }
    let response = lab.get("web.desktop", "/").await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_reason(&response, 503, "device_offline");
}

#[tokio::test]
async fn a_service_can_be_unshared_and_shared_again_elsewhere() {
    let lab = Lab::start().await;
    for says in ["one", "two"] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{says}");
        let (origin, _heads) = Origin::canned(answer).await;
        lab.agent.share("web", &origin.target()).await;
        // By now the agent has an idle connection to it.
        for _ in 0..2 {
            assert_eq!(text(lab.get("web", "/").await).await, says);
        }
    }
    lab.agent
        .daemon
        .services
        .unshare(&service("web"))
        .expect("stored");
    let report = &lab.agent.daemon.report;
    until_true("the relay knows", || report.url(&service("web")).is_none()).await;
    assert_reason(&lab.get("web", "/").await, 404, "unknown_service");
}

#[tokio::test]
async fn a_request_under_way_outlives_its_share() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab
        .caller
        .say("GET / HTTP/1.1\r\nHost: web.localhost\r\n\r\n")
        .await;
    let (mut stream, _) = origin.request().await;
    lab.agent
        .daemon
        .services
        .unshare(&service("web"))
        .expect("stored");
    let report = &lab.agent.daemon.report;
    until_true("the relay knows", || report.url(&service("web")).is_none()).await;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(answer).await.expect("sent");
    assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_tcp_service_does_not_speak_http() {
    let lab = Lab::start().await;
    let origin = ManualOrigin::bind().await;
    lab.agent.share("db", &origin.tcp_target()).await;
    let relay = &lab.relay.relay;
    until_true("the relay knows", || {
        relay.links.find(None, &service("db")).is_ok()
    })
    .await;
    assert_reason(&lab.get("db", "/").await, 421, "wrong_kind");
}

/// A service may close an idle connection whenever it likes.
#[tokio::test]
async fn a_service_that_closes_after_each_answer_is_no_failure() {
    let lab = Lab::start().await;
    let origin = Origin::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
    })
    .await;
    lab.agent.share("web", &origin.target()).await;
    for _ in 0..50 {
        let response = lab.get("web", "/").await;
        assert_eq!(response.status(), 200, "{:?}", response.headers());
    }
}

/// What the agent may reach is on its list, and nothing else.
#[tokio::test]
async fn a_target_on_another_machine_needs_leave() {
    let lab = Lab::start().await;
    let spec = ServiceSpec::new("http://192.0.2.1:80");
    let shared = ginnel_agent::services::spec::SharedService::new(service("web"), &spec);
    assert!(shared.is_err());
    let unshared = lab.get("web", "/").await;
    assert_eq!(
        ginnel_tests::caller::body(unshared).await.slice(..2),
        Bytes::from_static(b"no")
    );
}
