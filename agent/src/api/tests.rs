//! Through the front door: a listener, and clients that know HTTP only.

use std::path::Path;
use std::time::Duration;

use ginnel_daemon::running::RunLock;
use ginnel_proto::limits::SERVICES_MAX;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::described::{self, Description};
use super::*;
use crate::knowledge::tests::World;
use crate::local_client::{ClientError, LocalClient};
use crate::running::{self, DaemonNote};
use crate::status::{LinkStatus, StoreStatus};

#[tokio::test]
async fn health_needs_no_token_and_all_else_does() {
    let api = Api::start().await;
    let (status, body) = api.ask("GET", "/health", &[]).await;
    assert_eq!((status, body.as_str()), (200, r#"{"status":"ok"}"#));
    for path in [
        "/v1/status",
        "/v1/services",
        "/upstream/ai/x",
        "/nothing",
        "/",
    ] {
        let (status, body) = api.ask("GET", path, &[]).await;
        assert_eq!(status, 401, "{path}");
        assert!(body.contains(r#""code":"no_token""#), "{path}: {body}");
        let (status, _) = api.ask("GET", path, &["x-api-key: guess"]).await;
        assert_eq!(status, 401, "{path}");
    }
    let (status, _) = api.ask("GET", "/nothing", &[&api.key()]).await;
    assert_eq!(status, 404);
    let (status, _) = api.ask("POST", "/v1/status", &[&api.key()]).await;
    assert_eq!(status, 405);
}

/// What this device knows is held to the description beside its own tests.
#[tokio::test]
async fn answers_are_as_described() {
    let api = Api::start().await;
    let description = Description::read();
    let key = api.key();
    let service = r#"{"target":"http://127.0.0.1:3000","public":true}"#;
    for (method, path, body) in [
        ("GET", "/health", ""),
        ("GET", "/v1/status", ""),
        ("PUT", "/v1/services/web", service),
        ("PUT", "/v1/services/web", service),
        ("GET", "/v1/services/web", ""),
        ("GET", "/v1/services", ""),
        ("DELETE", "/v1/services/web", ""),
        ("POST", "/v1/stop", ""),
    ] {
        let (status, answer) = match method {
            "PUT" => api.put(path, body).await,
            _ => api.ask(method, path, &[&key]).await,
        };
        let operation = description.operation(method, path);
        let described = operation["responses"].get(status.to_string());
        let described = described.unwrap_or_else(|| panic!("{method} {path} answers {status}"));
        match described::body_of(Some(described)) {
            Some(schema) => {
                let answer = serde_json::from_str(&answer).expect(path);
                description.fits(&answer, schema, &format!("{method} {path}"));
            }
            None => assert_eq!(answer, "", "{method} {path}"),
        }
    }
}

#[tokio::test]
async fn web_pages_and_rebound_names_are_refused() {
    let api = Api::start().await;
    let key = api.key();
    let evil = ["Origin: http://evil.example", &key];
    let (status, body) = api.ask("GET", "/v1/status", &evil).await;
    assert_eq!(status, 403);
    assert!(body.contains("foreign_origin"), "{body}");
    let request = "GET /health HTTP/1.0\r\nHost: evil.example:7411\r\n\r\n";
    let (status, body) = api.raw(request).await;
    assert_eq!(status, 403);
    assert!(body.contains("foreign_host"), "{body}");
    let ours = ["Origin: http://localhost:3000", &key];
    assert_eq!(api.ask("GET", "/v1/status", &ours).await.0, 200);
}

#[tokio::test]
async fn the_client_reads_the_status() {
    let api = Api::start().await;
    let status = api.client().await.status().await.expect("answered");
    assert_eq!(status, told_status());
}

#[tokio::test]
async fn services_are_shared_listed_and_unshared() {
    let api = Api::start().await;
    let client = api.client().await;
    let name: ServiceName = "web".parse().expect("valid");
    let shared = client.share(&name, &ServiceSpec::new("3000")).await;
    let shared = shared.expect("shared");
    assert_eq!(shared.spec.target, "http://127.0.0.1:3000");
    // From the status: the relay has told this one's.
    assert_eq!(shared.url.as_deref(), Some("https://web.box.example"));
    assert!(api.context.services.find(&name).is_some());
    assert_eq!(client.services().await.expect("listed"), [shared]);

    let body = r#"{"target":"3001","public":true}"#;
    let (status, _) = api.put("/v1/services/web", body).await;
    assert_eq!(status, 200, "replaced");
    let (status, body) = api.ask("GET", "/v1/services/web", &[&api.key()]).await;
    assert_eq!(status, 200);
    assert!(body.contains(r#""public":true"#), "{body}");

    client.unshare(&name).await.expect("unshared");
    let error = client.unshare(&name).await.expect_err("gone");
    assert!(matches!(
        error,
        ClientError::Refused {
            status: StatusCode::NOT_FOUND,
            ..
        }
    ));
    assert_eq!(
        api.ask("GET", "/v1/services/web", &[&api.key()]).await.0,
        404
    );
}

#[tokio::test]
async fn bad_services_are_refused_and_change_nothing() {
    let api = Api::start().await;
    let long = format!(r#"{{"target":"{}"}}"#, "x".repeat(BODY_MAX));
    for (path, body, status, code) in [
        ("/v1/services/web", "", 400, "invalid_service"),
        ("/v1/services/web", "{}", 400, "invalid_service"),
        (
            "/v1/services/web",
            r#"{"target":"3000","x":1}"#,
            400,
            "invalid_service",
        ),
        (
            "/v1/services/web",
            r#"{"target":"http://10.0.0.1:1"}"#,
            400,
            "invalid_service",
        ),
        (
            "/v1/services/Web",
            r#"{"target":"3000"}"#,
            400,
            "invalid_name",
        ),
        ("/v1/services/web", &long, 413, "body_too_large"),
    ] {
        let (found, answer) = api.put(path, body).await;
        assert_eq!(found, status, "{answer}");
        assert!(answer.contains(code), "{answer}");
    }
    assert!(api.context.services.list().is_empty());

    for n in 0..SERVICES_MAX {
        let name = format!("s{n}").parse().expect("valid");
        let service = SharedService::new(name, &ServiceSpec::new("demo")).expect("valid");
        api.context.services.share(service).expect("room");
    }
    let (status, _) = api.put("/v1/services/web", r#"{"target":"3000"}"#).await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn forwarded_requests_reach_the_gateway_without_the_token() {
    let api = Api::start().await;
    let keys = [&*api.key(), "Authorization: Bearer other", "Accept: x"];
    let (status, body) = api.ask("GET", "/upstream/ai/v1/chat?q=1", &keys).await;
    assert_eq!(status, 200);
    assert!(body.contains(r#"path: "/v1/chat""#), "{body}");
    assert!(body.contains("/upstream/ai/v1/chat?q=1"), "{body}");
    assert!(body.contains(r#""accept": "x""#), "{body}");
    assert!(
        !body.contains("authorization") && !body.contains("x-api-key"),
        "{body}"
    );

    let (_, body) = api.ask("GET", "/v1/tcp/box/db", &[&api.key()]).await;
    assert!(
        body.contains(r#"Tcp { device: Some("box"), service: "db" }"#),
        "{body}"
    );
}

#[tokio::test]
async fn stopping_answers_first_then_closes() {
    let mut api = Api::start().await;
    let mut idle = TcpStream::connect(api.context.local)
        .await
        .expect("connected");
    api.client().await.stop().await.expect("told to stop");
    assert!(api.context.stop.is_cancelled());
    api.serving
        .join_next()
        .await
        .expect("served")
        .expect("no panic");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.expect("closed");
    assert!(rest.is_empty());
    TcpStream::connect(api.context.local)
        .await
        .expect_err("closed");
}

#[tokio::test]
async fn a_request_in_flight_is_finished_before_the_end() {
    let mut api = Api::start().await;
    let mut stream = TcpStream::connect(api.context.local)
        .await
        .expect("connected");
    let body = r#"{"target":"3000"}"#;
    let head = format!(
        "PUT /v1/services/web HTTP/1.1\r\nHost: {}\r\n{}\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        api.context.local,
        api.key(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    // The daemon asks for the body: the request is under way.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.expect("100 Continue");
    api.context.stop.cancel();
    stream.write_all(body.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    api.serving
        .join_next()
        .await
        .expect("served")
        .expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_request_is_dropped() {
    let api = Api::start().await;
    let mut stream = TcpStream::connect(api.context.local)
        .await
        .expect("connected");
    stream.write_all(b"GET /health HT").await.expect("sent");
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    tokio::time::timeout(Duration::from_secs(60), read)
        .await
        .expect("dropped in time")
        .expect("closed");
}

#[tokio::test]
async fn without_a_daemon_the_client_says_what_to_do() {
    let dir = tempfile::tempdir().expect("folder");
    let error = LocalClient::find(dir.path()).await.expect_err("no daemon");
    assert!(error.is_not_running());
    assert!(
        error
            .to_string()
            .ends_with("hint: start it with: ginnel up")
    );
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_never_listens_is_given_up() {
    let dir = tempfile::tempdir().expect("folder");
    let _lock = running::lock(dir.path()).await.expect("free");
    let error = LocalClient::find(dir.path()).await.expect_err("silent");
    assert!(matches!(error, ClientError::NotListening), "{error}");
}

/// At once, not when the time that requests have is over.
#[tokio::test]
async fn answers_that_go_on_end_with_the_daemon() {
    let world = World::without_model().await;
    world.write("a.txt", "apples");
    let mut api = Api::with(Opening::ended(Ok(world.knowledge.clone()))).await;
    let add = serde_json::json!({ "path": world.root(), "watch": true }).to_string();
    let _adding = api.begin("POST /v1/add", &add, r#""done""#).await;
    let _reading = api.begin("GET /v1/events", "", "event: change").await;
    api.context.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), api.serving.join_next()).await;
    ended.expect("at once").expect("served").expect("well");
}

/// A daemon's local API, served on a port of its own.
struct Api {
    state: tempfile::TempDir,
    context: Arc<ApiContext>,
    serving: JoinSet<()>,
    _lock: RunLock,
}

impl Api {
    async fn start() -> Self {
        Self::with(no_store()).await
    }

    async fn with(knowledge: Opening) -> Self {
        let state = tempfile::tempdir().expect("folder");
        let lock = running::lock(state.path()).await.expect("free");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let local = listener.local_addr().expect("bound");
        lock.announce(&DaemonNote { pid: 7, local })
            .expect("written");
        let context = Arc::new(ApiContext {
            knowledge,
            ..context(state.path(), local)
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(
            listener.into(),
            Arc::clone(&context),
            context.stop.clone(),
        ));
        Self {
            state,
            context,
            serving,
            _lock: lock,
        }
    }

    async fn client(&self) -> LocalClient {
        LocalClient::find(self.state.path()).await.expect("running")
    }

    /// A header line with the token.
    fn key(&self) -> String {
        let header = self.context.token.to_header();
        let token = header.to_str().expect("text").replace("Bearer ", "");
        format!("X-Api-Key: {token}")
    }

    async fn ask(&self, method: &str, path: &str, headers: &[&str]) -> (u16, String) {
        self.send(method, path, headers, "").await
    }

    async fn put(&self, path: &str, body: &str) -> (u16, String) {
        self.send("PUT", path, &[&self.key()], body).await
    }

    async fn send(&self, method: &str, path: &str, headers: &[&str], body: &str) -> (u16, String) {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let (host, length) = (self.context.local, body.len());
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    /// Sends a request with a body, and reads until the answer has `wanted`.
    async fn begin(&self, request: &str, body: &str, wanted: &str) -> TcpStream {
        let (host, key, length) = (self.context.local, self.key(), body.len());
        let request = format!(
            "{request} HTTP/1.1\r\nHost: {host}\r\n{key}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut stream = TcpStream::connect(host).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).contains(wanted) {
            let read = stream.read_buf(&mut answer).await.expect("answered");
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
        }
        stream
    }

    /// Sends bytes and splits the answer into status and body.
    async fn raw(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.context.local)
            .await
            .expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        // What was read counts, also if the daemon then resets.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .get(9..12)
            .expect("a status")
            .parse()
            .expect("a number");
        (status, body.to_owned())
    }
}

fn context(state: &Path, local: SocketAddr) -> ApiContext {
    let echo: Forwarder = Arc::new(|forward, request| {
        Box::pin(async move {
            let text = format!("{forward:?} {} {:?}", request.uri(), request.headers());
            Response::new(answer::full(text))
        })
    });
    ApiContext {
        services: Services::load(state).expect("empty"),
        status: Arc::new(told_status),
        stop: CancellationToken::new(),
        token: LocalToken::open(state).expect("made"),
        local,
        forward: echo,
        knowledge: no_store(),
    }
}

fn no_store() -> Opening {
    Opening::ended(Err("the store cannot be opened".to_owned()))
}

fn told_status() -> Status {
    Status {
        version: "1".into(),
        pid: 7,
        uptime_s: 1,
        device: Some("alice/box".into()),
        relay: None,
        certificate_ends_unix_ms: None,
        warning: None,
        link: LinkStatus::default(),
        store: StoreStatus::Opening,
        services: vec![ServiceStatus {
            name: "web".into(),
            target: "http://127.0.0.1:3000".into(),
            public: false,
            url: Some("https://web.box.example".into()),
        }],
    }
}
