//! Starting, stopping and being watched, with requests in flight.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ginnel_agent::status::LinkState;
use ginnel_relay::admin::LiveDevice;
use ginnel_tests::caller::{Caller, text};
use ginnel_tests::lab::{Lab, start_relay};
use ginnel_tests::origin::Origin;
use ginnel_tests::wait::{in_time, promptly, until, until_true};
use ginnel_tests::wire::{field, read_all, read_bytes, read_head};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;

const ASK: &str = "GET / HTTP/1.1\r\nHost: web.localhost\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GRACE: Duration = Duration::from_secs(20);

async fn admin(lab: &Lab, path: &str, token: Option<&str>) -> Response<Incoming> {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let caller = Caller::new(lab.relay.admin_address);
    caller
        .send(request.body(Empty::<Bytes>::new()).expect("valid"))
        .await
}

#[tokio::test]
async fn a_relay_that_stops_lets_requests_finish() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.say(ASK).await;
    let (mut service, _) = origin.request().await;
    let http2 = lab
        .request_over(http::Version::HTTP_2, "web", "/")
        .body(Empty::<Bytes>::new());
    let mut sender = lab.caller.http2().await;
    let http2 = sender.send_request(http2.expect("valid"));
    let (mut service2, _) = origin.request().await;
    let ready = Request::get("/ready")
        .body(Empty::<Bytes>::new())
        .expect("valid");
    let watcher = Caller::new(lab.relay.admin_address);

    let relay = std::sync::Arc::clone(&lab.relay.relay);
    let stop = lab.relay.stop(GRACE);
    let requests = async {
        until_true("the relay drains", || relay.is_draining()).await;
        assert_eq!(watcher.send(ready).await.status(), 503);
        for service in [&mut service, &mut service2] {
            service.write_all(OK.as_bytes()).await.expect("sent");
        }
        assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 200 "));
        assert_eq!(read_bytes(&mut caller, 2).await, b"ok");
        assert_eq!(
            text(in_time("an answer", http2).await.expect("an answer")).await,
            "ok"
        );
        // Nobody else is let in.
        assert!(
            tokio::net::TcpStream::connect(lab.caller.address)
                .await
                .is_err()
        );
    };
    let began = Instant::now();
    let (stopped, ()) = in_time("the end", async { tokio::join!(stop, requests) }).await;
    stopped.expect("stops");
    assert!(began.elapsed() < GRACE, "it waited for nothing");
}

/// Bodies both ways, an upgraded connection and a stream of events go on
/// while a relay drains.
#[tokio::test]
async fn a_relay_that_stops_lets_streams_finish() {
    let (lab, origin) = Lab::by_hand().await;
    let chat = "GET / HTTP/1.1\r\nHost: web.localhost\r\nConnection: upgrade\r\n\
                Upgrade: chat\r\n\r\n";
    let mut chatting = lab.caller.say(chat).await;
    let (mut chat_service, _) = origin.request().await;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";
    chat_service
        .write_all(switch.as_bytes())
        .await
        .expect("sent");
    read_head(&mut chatting).await;
    let upload = "POST / HTTP/1.1\r\nHost: web.localhost\r\nContent-Length: 10\r\n\r\n12345";
    let mut uploading = lab.caller.say(upload).await;
    let (mut upload_service, _) = origin.request().await;

    let relay = std::sync::Arc::clone(&lab.relay.relay);
    let stop = lab.relay.stop(GRACE);
    let streams = async {
        until_true("the relay drains", || relay.is_draining()).await;
        chatting.write_all(b"still there?").await.expect("sent");
        assert_eq!(read_bytes(&mut chat_service, 12).await, b"still there?");
        uploading.write_all(b"67890").await.expect("sent");
        assert_eq!(read_bytes(&mut upload_service, 10).await, b"1234567890");
        upload_service.write_all(OK.as_bytes()).await.expect("sent");
        assert!(read_head(&mut uploading).await.starts_with("HTTP/1.1 200 "));
        chatting.shutdown().await.expect("half closed");
        read_all(&mut chat_service).await;
        drop(chat_service);
        read_all(&mut chatting).await;
    };
    let began = Instant::now();
    let (stopped, ()) = in_time("the end", async { tokio::join!(stop, streams) }).await;
    stopped.expect("stops");
    assert!(began.elapsed() < GRACE, "it waited for nothing");
}

#[tokio::test]
async fn a_relay_waits_for_requests_no_longer_than_its_grace() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.say(ASK).await;
    let (mut service, _) = origin.request().await;
    let stop = lab.relay.stop(Duration::from_millis(200));
    promptly("the end", stop).await.expect("stops");
    read_all(&mut caller).await;
    promptly("the request's end", read_all(&mut service)).await;
}

#[tokio::test]
async fn an_agent_finds_the_relay_that_replaces_its_own() {
    let lab = Lab::start().await;
    lab.agent.share("web", "demo").await;
    let address = lab.relay.link_address;
    in_time("the end", lab.relay.stop(GRACE))
        .await
        .expect("stops");
    let relay = start_relay(lab.folder.path(), |config| config.link.listen = address).await;
    let began = Instant::now();
    let web = ginnel_proto::id::ServiceName::parse("web").expect("valid");
    until_true("the service is back", || {
        relay.relay.links.find(None, &web).is_ok()
    })
    .await;
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    let request = Request::get("/echo").header("host", "web.localhost");
    let request = request.body(Empty::<Bytes>::new()).expect("valid");
    let response = Caller::new(relay.public_address).send(request).await;
    assert_eq!(response.status(), 200);
    let status = lab.agent.daemon.report.status();
    assert_eq!((status.state, status.problem), (LinkState::Connected, None));
}

#[tokio::test]
async fn an_agent_that_stops_lets_requests_finish() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.say(ASK).await;
    let (mut service, _) = origin.request().await;
    lab.agent.daemon.stop.cancel();
    let stopped = lab.agent.daemon.wait();
    let finish = async {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha";
        service.write_all(head).await.expect("sent");
        assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 200 "));
        assert_eq!(read_bytes(&mut caller, 2).await, b"ha");
        service.write_all(b"lf").await.expect("sent");
        assert_eq!(read_bytes(&mut caller, 2).await, b"lf");
    };
    let (stopped, ()) = promptly("the end", async { tokio::join!(stopped, finish) }).await;
    stopped.expect("stops");
    let links = &lab.relay.relay.links;
    until_true("the relay knows", || links.all().is_empty()).await;
}

/// Requests that come late are served or refused, and soon all are refused.
#[tokio::test]
async fn requests_to_an_agent_that_stops_are_not_left_hanging() {
    let (lab, origin) = Lab::by_hand().await;
    let _under_way = lab.caller.say(ASK).await;
    let (_service, _) = origin.request().await;
    lab.agent.daemon.stop.cancel();
    let stopped = lab.agent.daemon.wait();
    let serve = async {
        loop {
            let (mut service, _) = origin.request().await;
            service.write_all(OK.as_bytes()).await.expect("sent");
        }
    };
    let refused = async {
        loop {
            let late = Request::get("/").header("host", "web.laptop.localhost");
            let late = late.body(Empty::<Bytes>::new()).expect("valid");
            let answer = promptly("an answer", lab.caller.send(late)).await;
            match answer.status().as_u16() {
                200 => {}
                503 => return,
                other => panic!("neither served nor refused: {other}"),
            }
        }
    };
    tokio::select! {
        stopped = stopped => panic!("a request was under way: {stopped:?}"),
        () = serve => {}
        () = refused => {}
    }
}

#[tokio::test]
async fn heartbeats_show_at_both_ends() {
    let lab = Lab::start().await;
    let report = &lab.agent.daemon.report;
    let status = until("an answered heartbeat", || {
        let status = report.status();
        status.heartbeat_rtt_ms.is_some().then_some(status)
    })
    .await;
    assert!(
        status
            .heartbeat_rtt_ms
            .is_some_and(|rtt| rtt > 0.0 && rtt < 10_000.0)
    );
    assert_eq!(status.heartbeat_loss_percent, Some(0.0));
    assert!(status.link_id.is_some() && status.bytes_sent > 0 && status.bytes_received > 0);

    let token = std::fs::read_to_string(lab.relay_state().join("admin.token")).expect("readable");
    let response = admin(&lab, "/v1/devices", Some(token.trim())).await;
    assert_eq!(response.status(), 200);
    let devices: Vec<LiveDevice> = serde_json::from_str(&text(response).await).expect("devices");
    let [device] = &devices[..] else {
        panic!("not one device: {devices:?}");
    };
    assert_eq!(device.device, "alice/laptop");
    assert_eq!(Some(device.link), status.link_id);
    assert!(device.heartbeats >= 1 && device.heartbeat_age_s.is_some());
    assert_eq!(device.heartbeats_missed, 0);
}

#[tokio::test]
async fn live_devices_are_told_to_who_holds_the_admin_token() {
    let lab = Lab::start().await;
    for token in [None, Some(""), Some("wrong")] {
        assert_eq!(
            admin(&lab, "/v1/devices", token).await.status(),
            401,
            "{token:?}"
        );
    }
}

#[tokio::test]
async fn who_holds_the_admin_token_learns_what_does_not_exist() {
    let lab = Lab::start().await;
    let token = std::fs::read_to_string(lab.relay_state().join("admin.token")).expect("readable");
    for (token, status) in [(Some(token.trim()), 404), (Some("wrong"), 401), (None, 401)] {
        let answer = admin(&lab, "/v1/nope", token).await;
        assert_eq!(answer.status(), status, "{token:?}");
    }
}

#[tokio::test]
async fn watchers_ask_by_get_or_head() {
    let lab = Lab::start().await;
    let watcher = Caller::new(lab.relay.admin_address);
    for path in ["/health", "/ready", "/metrics"] {
        for (method, status) in [("GET", 200), ("HEAD", 200), ("POST", 405), ("PUT", 405)] {
            let ask =
                format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let answer = watcher.exchange(ask).await;
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "{method} {path}: {answer}");
            let allow = answer.contains("\r\nallow: GET, HEAD\r\n");
            assert_eq!(allow, status == 405, "{method} {path}: {answer}");
            let length = field(&answer, "content-length").expect("a length");
            assert_ne!(length, "0", "{method} {path}");
            let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
            assert_eq!(
                body.is_empty(),
                method == "HEAD",
                "{method} {path}: {answer}"
            );
        }
    }
    let nowhere = "POST /nope HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = watcher.exchange(nowhere).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

/// A web page that lets its name lead to this machine reads nothing.
#[tokio::test]
async fn a_loopback_admin_listener_is_asked_by_local_names_only() {
    let lab = Lab::start().await;
    let address = lab.relay.admin_address;
    let watcher = Caller::new(address);
    for (host, status) in [
        ("localhost", 200),
        (&*address.to_string(), 200),
        ("rebound.example", 403),
        (&*format!("rebound.example:{}", address.port()), 403),
    ] {
        for path in ["/health", "/metrics"] {
            let ask = Request::get(path).header("host", host);
            let ask = ask.body(Empty::<Bytes>::new()).expect("valid");
            assert_eq!(watcher.send(ask).await.status(), status, "{host} {path}");
        }
    }
}

#[tokio::test]
async fn an_admin_listener_of_the_network_is_asked_by_any_name() {
    let any = ([0, 0, 0, 0], 0).into();
    let lab = Lab::start_with(|config| config.admin = any).await;
    let port = lab.relay.admin_address.port();
    let watcher = Caller::new(([127, 0, 0, 1], port).into());
    for host in ["relay.monitoring:7490", "192.0.2.1"] {
        let ask = Request::get("/health").header("host", host);
        let ask = ask.body(Empty::<Bytes>::new()).expect("valid");
        assert_eq!(watcher.send(ask).await.status(), 200, "{host}");
    }
}

#[tokio::test]
async fn a_relay_can_be_watched_without_a_token() {
    let lab = Lab::start().await;
    let (origin, _heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    for (path, word) in [("/health", "\"ok\""), ("/ready", "\"ok\"")] {
        let response = admin(&lab, path, None).await;
        assert_eq!(response.status(), 200, "{path}");
        assert!(text(response).await.contains(word), "{path}");
    }
    assert_eq!(admin(&lab, "/elsewhere", None).await.status(), 404);

    assert_eq!(text(lab.get("web", "/").await).await, "ok");
    assert_eq!(lab.get("other", "/").await.status(), 404);
    let metrics = text(admin(&lab, "/metrics", None).await).await;
    for line in [
        "requests_total{method=\"GET\",status=\"200\"} 1",
        "requests_total{method=\"GET\",status=\"404\"} 1",
        "ginnel_devices_connected 1",
        "ginnel_body_bytes_down_total 2",
    ] {
        assert!(metrics.contains(line), "{line} is missing:\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}

/// The public side has no window into the relay.
#[tokio::test]
async fn callers_cannot_reach_the_admin_listener() {
    let lab = Lab::start().await;
    for path in ["/health", "/ready", "/metrics", "/v1/devices"] {
        let response = lab.get("127.0.0.1", path).await;
        assert_eq!(response.headers()["ginnel-reason"], "no_route", "{path}");
        let body = response.into_body().collect().await.expect("a whole body");
        assert!(!String::from_utf8_lossy(&body.to_bytes()).contains("alice"));
    }
}
