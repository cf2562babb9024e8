//! What a device knows, asked from outside and from its own machine.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ginnel_agent::config::Config;
use ginnel_agent::daemon::Daemon;
use ginnel_agent::knowledge::opening::Stage;
use ginnel_agent::services::spec::ServiceSpec;
use ginnel_proto::id::DeviceName;
use ginnel_tests::caller::text;
use ginnel_tests::lab::{Lab, LabAgent, invite, restart_agent};
use ginnel_tests::wait::{in_time, promptly, until_true};
use http::{Method, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// A lab whose device knows something and shares it, and a key for it.
async fn shared() -> (Lab, String) {
    let lab = Lab::start().await;
    let socket = lab.agent.state.join("ginnel.sock");
    let new = json!({"source": "mail:1", "text": "the ferry leaves at noon"});
    let (status, stored) = over_socket(&socket, "POST", "/v1/documents", &new).await;
    assert_eq!((status, &stored["outcome"]), (201, &json!("added")));
    lab.agent
        .share_as("knowledge", ServiceSpec::new("knowledge"))
        .await;
    let key = lab.key("forward:laptop/knowledge").await;
    (lab, key)
}

async fn ask(
    lab: &Lab,
    key: Option<&str>,
    method: Method,
    path: &str,
    body: &Value,
) -> Response<Incoming> {
    let mut request = lab.request("knowledge", path).method(method);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let body = Full::new(Bytes::from(body.to_string()));
    lab.caller.send(request.body(body).expect("valid")).await
}

#[tokio::test]
async fn callers_with_a_key_search_and_read() {
    let (lab, key) = shared().await;
    let key = Some(key.as_str());
    let found = ask(&lab, key, Method::GET, "/v1/search?q=ferry", &Value::Null).await;
    assert_eq!(found.status(), 200);
    let found: Value = serde_json::from_str(&text(found).await).expect("JSON");
    assert_eq!(found["hits"][0]["text"], "the ferry leaves at noon");
    let asked = json!({"query": "noon", "limit": 1});
    let found = ask(&lab, key, Method::POST, "/v1/search", &asked).await;
    let found: Value = serde_json::from_str(&text(found).await).expect("JSON");
    assert_eq!(found["hits"][0]["source"], "mail:1");
    for path in [
        "/",
        "/v1/collections",
        "/v1/documents",
        "/v1/knowledge",
        "/v1/openapi.json",
    ] {
        let answer = ask(&lab, key, Method::GET, path, &Value::Null).await;
        assert_eq!(answer.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn callers_without_a_key_learn_nothing() {
    let (lab, _) = shared().await;
    let other = lab.key("forward:laptop/other").await;
    for (key, status) in [(None, 401), (Some(other.as_str()), 403)] {
        let refused = ask(&lab, key, Method::GET, "/v1/search?q=ferry", &Value::Null).await;
        assert_eq!(refused.status(), status);
        assert!(!text(refused).await.contains("noon"));
    }
}

#[tokio::test]
async fn nobody_changes_anything_from_outside() {
    let (lab, key) = shared().await;
    let id = "00".repeat(16);
    for (method, path) in [
        (Method::POST, "/v1/documents"),
        (Method::PUT, &format!("/v1/documents/{id}")),
        (Method::DELETE, &format!("/v1/documents/{id}")),
        (Method::PUT, "/v1/models/mine"),
        (Method::DELETE, "/v1/models/mine"),
        (Method::POST, "/v1/add"),
        (Method::GET, "/v1/events"),
        (Method::POST, "/v1/store/check"),
        (Method::POST, "/v1/store/rebuild-index"),
        (Method::POST, "/v1/store/backup"),
    ] {
        let body = json!({"text": "x", "path": "/etc", "dimensions": 2});
        let refused = ask(&lab, Some(&key), method.clone(), path, &body).await;
        assert_eq!(refused.status(), 403, "{method} {path}");
        assert!(text(refused).await.contains("read_only"), "{method} {path}");
    }
    // Nor do they reach what else the local API has.
    for path in [
        "/v1/status",
        "/v1/services",
        "/v1/stop",
        "/upstream/x/",
        "/health",
        "/v1/tcp/x",
    ] {
        let refused = ask(&lab, Some(&key), Method::GET, path, &Value::Null).await;
        assert_eq!(refused.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn over_tcp_the_token_and_the_address_count() {
    let (lab, _) = shared().await;
    let local = lab.agent.local();
    let token = lab.agent.token()["authorization"]
        .to_str()
        .expect("text")
        .to_owned();
    let right = format!("Host: {local}\r\nAuthorization: {token}\r\n");
    for (headers, status) in [
        (right.clone(), 200),
        (format!("Host: {local}\r\n"), 401),
        (
            format!("Host: {local}\r\nAuthorization: Bearer wrong\r\n"),
            401,
        ),
        (
            format!("Host: evil.example\r\nAuthorization: {token}\r\n"),
            403,
        ),
        (format!("{right}Origin: http://evil.example\r\n"), 403),
    ] {
        let mut stream = TcpStream::connect(local).await.expect("connected");
        let head = format!("GET /v1/search?q=ferry HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        let (found, _) = exchange(&mut stream, &head).await;
        assert_eq!(found, status, "{headers}");
    }
}

#[tokio::test]
async fn the_socket_is_this_users_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let (lab, _) = shared().await;
    let socket = lab.agent.state.join("ginnel.sock");
    let mode = std::fs::metadata(&socket)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let (status, found) = over_socket(&socket, "GET", "/v1/search?q=ferry", &Value::Null).await;
    assert_eq!(
        (status, &found["hits"][0]["source"]),
        (200, &json!("mail:1"))
    );
    let (status, _) = over_socket(&socket, "GET", "/v1/tcp/x", &Value::Null).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_device_that_has_not_joined_knows_things_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    std::fs::create_dir(&state).expect("made");
    let mut config = Config::new(&state);
    config.local = ([127, 0, 0, 1], 0).into();
    let daemon = Daemon::start(&config).await.expect("it starts");
    let socket = state.join("ginnel.sock");
    let new = json!({"source": "a", "text": "offline and well"});
    let (status, _) = over_socket(&socket, "POST", "/v1/documents", &new).await;
    assert_eq!(status, 201);
    let (_, status) = over_socket(&socket, "GET", "/v1/status", &Value::Null).await;
    assert_eq!(status["link"]["state"], "not_joined");
    daemon.stop.cancel();
    in_time("the end", daemon.wait())
        .await
        .expect("it ends well");
    // What was acknowledged is there the next time.
    let daemon = Daemon::start(&config).await.expect("it starts");
    let (_, found) = over_socket(&socket, "GET", "/v1/search?q=offline", &Value::Null).await;
    assert_eq!(found["hits"][0]["source"], "a");
    daemon.stop.cancel();
    in_time("the end", daemon.wait())
        .await
        .expect("it ends well");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_does_not_stop_the_tunnel() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    std::fs::create_dir_all(state.join("store")).expect("made");
    std::fs::write(state.join("store/store.db"), vec![7; 9000]).expect("written");
    let mut config = Config::new(&state);
    config.local = ([127, 0, 0, 1], 0).into();
    let daemon = Daemon::start(&config).await.expect("it starts");
    let socket = state.join("ginnel.sock");
    let (status, answer) = over_socket(&socket, "GET", "/v1/collections", &Value::Null).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (503, &json!("store_unavailable"))
    );
    let (status, answer) = over_socket(&socket, "GET", "/v1/status", &Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(answer["store"]["state"], "failed");
    daemon.stop.cancel();
    in_time("the end", daemon.wait())
        .await
        .expect("it ends well");
}

/// The link, other services and what they are asked by the local API do not
/// wait for a store whose opening takes long.
#[tokio::test]
async fn all_else_works_while_the_store_is_opened() {
    let lab = Lab::start().await;
    let state = lab.folder.path().join("agent-slow");
    let code = invite(&lab.relay, "alice").await;
    let device: DeviceName = "slow".parse().expect("a name");
    let joined = ginnel_agent::join::join(&state, &code, Some(device.clone())).await;
    joined.expect("the device joins");
    let lock = hold_store(&state);
    let agent = LabAgent {
        daemon: restart_agent(&state).await,
        device,
        state,
    };
    agent.connected().await;
    agent.share("lore", "knowledge").await;
    agent.share("show", "demo").await;
    assert_eq!(lab.get("show", "/").await.status(), 200);

    let socket = agent.state.join("ginnel.sock");
    let (_, status) = over_socket(&socket, "GET", "/v1/status", &Value::Null).await;
    assert_eq!(status["store"]["state"], "opening");
    let (status, answer) = over_socket(&socket, "GET", "/v1/knowledge", &Value::Null).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (503, &json!("store_opening"))
    );
    let answer = lab.get("lore", "/v1/search?q=ferry").await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "2");
    assert!(text(answer).await.contains("the store is being opened"));

    let open = tokio::task::spawn_blocking(move || std::fs::File::open(lock)).await;
    let _reader = open.expect("ended").expect("a pipe");
    let new = json!({"source": "mail:1", "text": "the ferry leaves at noon"});
    until_true("the store is open", || {
        matches!(agent.daemon.knowledge.stage(), Stage::Open(_))
    })
    .await;
    let (status, _) = over_socket(&socket, "POST", "/v1/documents", &new).await;
    assert_eq!(status, 201);
    let found = lab.get("lore", "/v1/search?q=ferry").await;
    assert!(text(found).await.contains("noon"));
    let (_, status) = over_socket(&socket, "GET", "/v1/status", &Value::Null).await;
    assert_eq!(status["store"]["state"], "open");
}

#[tokio::test]
async fn a_daemon_ends_while_its_store_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    hold_store(&state);
    let mut config = Config::new(&state);
    config.local = ([127, 0, 0, 1], 0).into();
    let daemon = Daemon::start(&config).await.expect("it starts");
    let socket = state.join("ginnel.sock");
    let (status, _) = over_socket(&socket, "POST", "/v1/stop", &Value::Null).await;
    assert_eq!(status, 202);
    promptly("the end", daemon.wait())
        .await
        .expect("it ends well");
}

/// Puts a store's lock file on a disk that does not answer: opening a named
/// pipe to write waits for somebody who reads. Gives its path.
fn hold_store(state: &Path) -> PathBuf {
    std::fs::create_dir_all(state.join("store")).expect("made");
    let lock = state.join("store/store.lock");
    let made = std::process::Command::new("mkfifo").arg(&lock).status();
    assert!(made.expect("mkfifo runs").success());
    lock
}

/// A request over the unix socket; the answer's status and JSON.
async fn over_socket(socket: &Path, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut stream = UnixStream::connect(socket).await.expect("connected");
    let body = body.to_string();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUpgrade: ginnel-tcp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, body) = exchange(&mut stream, &head).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

async fn exchange<T>(stream: &mut T, request: &str) -> (u16, String)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    in_time("an answer", read).await.expect("read");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head[9..12].parse().expect("a status"), body.to_owned())
}
