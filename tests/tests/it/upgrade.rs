//! Protocols that HTTP/1.1 is switched to: bytes both ways, untouched.

use ginnel_agent::services::spec::ServiceSpec;
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::{ManualOrigin, Origin};
use ginnel_tests::wait::{in_time, promptly};
use ginnel_tests::wire::{field, read_all, read_bytes, read_head, read_to_reset};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: web.localhost\r\nConnection: Upgrade\r\n\
                   Upgrade: shout/2\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                      Upgrade: shout/2\r\nX-Stays: 1\r\n\r\n";

/// A caller and a service that have switched to a protocol of their own.
async fn switched(lab: &Lab, origin: &ManualOrigin) -> (TcpStream, TcpStream) {
    let mut caller = lab.caller.say(ASK).await;
    let (mut service, _) = origin.request().await;
    service.write_all(SWITCH.as_bytes()).await.expect("sent");
    let seen = read_head(&mut caller).await;
    assert!(seen.starts_with("HTTP/1.1 101 "), "{seen}");
    (caller, service)
}

#[tokio::test]
async fn bytes_pass_both_ways_once_the_service_has_switched() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.say(ASK).await;
    let (mut service, seen) = origin.request().await;
    assert!(seen.starts_with("GET /chat HTTP/1.1\r\n"));
    assert_eq!(field(&seen, "upgrade"), Some("shout/2"));
    assert!(field(&seen, "connection").is_some_and(|it| it.eq_ignore_ascii_case("upgrade")));
    // What the service says with its 101 belongs to the new protocol.
    let answer = format!("{SWITCH}at once");
    service.write_all(answer.as_bytes()).await.expect("sent");
    let seen = read_head(&mut caller).await;
    assert_eq!(field(&seen, "upgrade"), Some("shout/2"));
    assert!(field(&seen, "connection").is_some_and(|it| it.eq_ignore_ascii_case("upgrade")));
    assert_eq!(field(&seen, "x-stays"), Some("1"));
    assert_eq!(read_bytes(&mut caller, 7).await, b"at once");

    for (from, to, bytes) in [(
        &mut caller,
        &mut service,
        &b"\0GET / HTTP/1.1\r\n\r\n\xff"[..],
    )] {
        from.write_all(bytes).await.expect("sent");
        assert_eq!(read_bytes(to, bytes.len()).await, bytes);
        to.write_all(bytes).await.expect("sent");
        assert_eq!(read_bytes(from, bytes.len()).await, bytes);
    }
}

#[tokio::test]
async fn each_direction_of_an_upgrade_ends_by_itself() {
    let (lab, origin) = Lab::by_hand().await;

    let (mut caller, mut service) = switched(&lab, &origin).await;
    caller.write_all(b"bye").await.expect("sent");
    caller.shutdown().await.expect("half closed");
    assert_eq!(promptly("the end", read_all(&mut service)).await, b"bye");
    service.write_all(b"not yet").await.expect("sent");
    assert_eq!(read_bytes(&mut caller, 7).await, b"not yet");
    drop(service);
    assert_eq!(promptly("the end", read_all(&mut caller)).await, b"");

    let (mut caller, mut service) = switched(&lab, &origin).await;
    service.shutdown().await.expect("half closed");
    assert_eq!(promptly("the end", read_all(&mut caller)).await, b"");
    caller.write_all(b"not yet").await.expect("sent");
    assert_eq!(read_bytes(&mut service, 7).await, b"not yet");
}

#[tokio::test]
async fn an_upgraded_connection_ends_when_its_service_is_no_longer_public() {
    let (lab, origin) = Lab::by_hand().await;
    let (mut caller, mut service) = switched(&lab, &origin).await;
    let spec = ServiceSpec::new(origin.target());
    lab.agent.share_as("web", spec).await;
    promptly("the service's end", read_to_reset(&mut service)).await;
    promptly("the caller's end", read_to_reset(&mut caller)).await;
}

/// Whoever has left cannot be told from one that does not read, once there is
/// no room for what it sent.
#[tokio::test]
async fn a_caller_that_sends_too_much_before_the_switch_is_cut_off() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.say(ASK).await;
    let (mut service, _) = origin.request().await;
    let sent = caller.write_all(&vec![0; 4 << 20]).await;
    promptly("the end of the request", read_all(&mut service)).await;
    let answer = promptly("the end", read_all(&mut caller)).await;
    assert!(sent.is_err() || answer.is_empty());
}

#[tokio::test]
async fn an_upgraded_connection_that_breaks_off_ends_at_both_ends() {
    let (lab, origin) = Lab::by_hand().await;
    let (caller, mut service) = switched(&lab, &origin).await;
    caller.set_zero_linger().expect("set");
    drop(caller);
    promptly("the service's end", read_to_reset(&mut service)).await;
    let (mut caller, service) = switched(&lab, &origin).await;
    service.set_zero_linger().expect("set");
    drop(service);
    promptly("the caller's end", read_to_reset(&mut caller)).await;
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_switch_frees_the_service() {
    let (lab, origin) = Lab::by_hand().await;
    let caller = lab.caller.say(ASK).await;
    let (mut service, _) = origin.request().await;
    drop(caller);
    promptly("the end of the request", read_all(&mut service)).await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.say(ASK).await;
    let (mut service, _) = origin.request().await;
    let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    service.write_all(refusal).await.expect("sent");
    assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 403 "));
    assert_eq!(read_bytes(&mut caller, 2).await, b"no");

    // The connection is HTTP as before.
    caller
        .write_all(b"GET /again HTTP/1.1\r\nHost: web.localhost\r\n\r\n")
        .await
        .expect("sent");
    assert!(read_head(&mut service).await.starts_with("GET /again "));
    service
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .expect("sent");
    assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 204 "));
}

#[tokio::test]
async fn bytes_sent_right_behind_an_upgrade_reach_the_new_protocol() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.say(format!("{ASK}\x01\x02 too early\n")).await;
    let (mut service, _) = origin.request().await;
    service.write_all(SWITCH.as_bytes()).await.expect("sent");
    assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 101 "));
    assert_eq!(read_bytes(&mut service, 13).await, b"\x01\x02 too early\n");
}

#[tokio::test]
async fn a_request_right_behind_a_refused_upgrade_is_answered() {
    let lab = Lab::start().await;
    let (origin, mut heads) =
        Origin::canned("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    lab.agent.share("web", &origin.target()).await;
    let behind = "GET /behind HTTP/1.1\r\nHost: web.localhost\r\nConnection: close\r\n\r\n";
    let answers = lab.caller.exchange(format!("{ASK}{behind}")).await;
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 2, "{answers}");
    heads.next().await;
    assert!(heads.next().await.starts_with("GET /behind "));
}

/// The answer to an earlier request says nothing about the upgrade.
#[tokio::test]
async fn an_upgrade_right_behind_another_request_switches() {
    let (lab, origin) = Lab::by_hand().await;
    let first = "GET /first HTTP/1.1\r\nHost: web.localhost\r\n\r\n";
    let mut caller = lab.caller.say(format!("{first}{ASK}")).await;
    let (mut service, seen) = origin.request().await;
    assert!(seen.starts_with("GET /first "));
    service
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .expect("sent");
    assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 204 "));
    assert!(read_head(&mut service).await.starts_with("GET /chat "));
    service.write_all(SWITCH.as_bytes()).await.expect("sent");
    assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 101 "));
    caller.write_all(b"\0 not HTTP\n").await.expect("sent");
    assert_eq!(read_bytes(&mut service, 11).await, b"\0 not HTTP\n");
}

#[tokio::test]
async fn nothing_switches_unless_the_connection_says_so() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned("HTTP/1.1 204 No Content\r\n\r\n").await;
    lab.agent.share("web", &origin.target()).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: web.localhost\r\nUpgrade: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web.localhost\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\
         Connection: Upgrade, HTTP2-Settings, close\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: web.localhost\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ] {
        let answer = lab.caller.exchange(request).await;
        assert!(
            answer.get(8..).is_some_and(|it| it.starts_with(" 204 ")),
            "{answer}"
        );
        let seen = heads.next().await;
        assert_eq!(field(&seen, "upgrade"), None, "{seen}");
        assert_eq!(field(&seen, "http2-settings"), None, "{seen}");
    }
}

#[tokio::test]
async fn megabytes_pass_an_upgrade_both_ways_at_once() {
    const LENGTH: u64 = 16 * 1024 * 1024;
    let (lab, origin) = Lab::by_hand().await;
    let (caller, service) = switched(&lab, &origin).await;
    let sent = ginnel_tests::pattern::Pattern::bytes(LENGTH);
    let exchange = |stream: TcpStream| {
        let sent = &sent;
        async move {
            let (mut reader, mut writer) = stream.into_split();
            let mut seen = Vec::new();
            let write = async {
                writer.write_all(sent).await.expect("sent");
                writer.shutdown().await.expect("half closed");
            };
            let read = async { reader.read_to_end(&mut seen).await.expect("whole") };
            tokio::join!(write, read);
            assert!(seen == *sent, "the bytes differ");
        }
    };
    let both = async { tokio::join!(exchange(caller), exchange(service)) };
    in_time("all bytes", both).await;
}
