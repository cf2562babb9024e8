//! TLS with the web's certificates: callers' to the relay, the agent's to
//! local services, the relay's to upstreams.

use bytes::Bytes;
use ginnel_agent::services::spec::ServiceSpec;
use ginnel_tests::caller::{Caller, text};
use ginnel_tests::lab::{Lab, UPSTREAM_KEY};
use ginnel_tests::origin::Origin;
use ginnel_tests::tls::{SelfSigned, connect};
use ginnel_tests::wait::in_time;
use ginnel_tests::wire::{field, read_all};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ProtocolVersion;
use tokio::io::AsyncWriteExt as _;
use tokio_util::task::TaskTracker;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The name that callers ask for.
const HOST: &str = "web.laptop.localhost";

/// A lab whose public side shows this certificate.
async fn lab(own: &SelfSigned) -> Lab {
    Lab::start_from(&format!(
        "[public.tls]\ncertificate = '{}'\nkey = '{}'\n",
        own.certificate().display(),
        own.key().display()
    ))
    .await
}

fn get(uri: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(uri).header("host", HOST);
    request.body(Empty::new()).expect("valid")
}

#[tokio::test]
async fn http_1_1_goes_over_tls_1_3() {
    let own = SelfSigned::new(&[HOST]);
    let lab = lab(&own).await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    // Offered alone, and by a caller that knows no ALPN.
    for protocols in [&["http/1.1"][..], &[]] {
        let stream = connect(&lab.caller, HOST, &own.certificate(), protocols).await;
        let mut stream = stream.expect("a handshake");
        let tls = stream.get_ref().1;
        assert_eq!(tls.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let chosen = protocols.first().map(|name| name.as_bytes());
        assert_eq!(tls.alpn_protocol(), chosen);
        let head = format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let answer = String::from_utf8(read_all(&mut stream).await).expect("text");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        let seen = heads.next().await;
        assert!(seen.starts_with("GET /a HTTP/1.1\r\n"), "{seen}");
        assert_eq!(field(&seen, "x-forwarded-proto"), Some("https"));
    }
}

#[tokio::test]
async fn http_2_goes_over_tls_1_3_and_is_preferred() {
    let own = SelfSigned::new(&[HOST]);
    let lab = lab(&own).await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    let protocols = ["http/1.1", "h2"];
    let stream = connect(&lab.caller, HOST, &own.certificate(), &protocols).await;
    let stream = stream.expect("a handshake");
    let tls = stream.get_ref().1;
    assert_eq!(tls.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(tls.alpn_protocol(), Some(&b"h2"[..]));
    let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = client
        .handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    TaskTracker::new().spawn(connection);
    for path in ["/a", "/b"] {
        let answered = sender.send_request(get(&format!("https://{HOST}{path}")));
        let response = in_time("an answer", answered).await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await, "ok");
        let seen = heads.next().await;
        assert!(
            seen.starts_with(&format!("GET {path} HTTP/1.1\r\n")),
            "{seen}"
        );
        assert_eq!(field(&seen, "x-forwarded-proto"), Some("https"));
    }
}

/// As a browser of 2015 begins; this side of Ginnel speaks TLS 1.3 only.
#[tokio::test]
async fn tls_1_2_is_told_that_it_is_too_old() {
    let own = SelfSigned::new(&[HOST]);
    let lab = lab(&own).await;
    let mut caller = lab.caller.say(hello_of_tls_1_2()).await;
    // A fatal alert (RFC 8446 §6): protocol_version.
    let answer = read_all(&mut caller).await;
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
    assert!(answer.ends_with(&[2, 70]), "{answer:?}");
}

/// A caller that speaks plain HTTP gets an alert and no answer.
#[tokio::test]
async fn plain_http_gets_no_answer_where_tls_is_spoken() {
    let own = SelfSigned::new(&[HOST]);
    let lab = lab(&own).await;
    lab.agent.share("web", "demo").await;
    let said = format!("GET /echo HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let answer = lab.caller.exchange(said).await;
    assert!(!answer.contains("HTTP/"), "{answer}");
}

/// A ClientHello (RFC 5246 §7.4.1.2) without the versions of TLS 1.3.
fn hello_of_tls_1_2() -> Vec<u8> {
    let extensions = [
        // supported_groups: secp256r1
        &[0x00, 0x0a, 0, 4, 0, 2, 0x00, 0x17][..],
        // ec_point_formats: uncompressed
        &[0x00, 0x0b, 0, 2, 1, 0],
        // signature_algorithms: ecdsa_secp256r1_sha256
        &[0x00, 0x0d, 0, 4, 0, 2, 0x04, 0x03],
    ]
    .concat();
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&[7; 32]);
    // No session; ECDHE_ECDSA_WITH_AES_128_GCM_SHA256; no compression.
    hello.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0]);
    hello.extend_from_slice(&[0, u8::try_from(extensions.len()).expect("short")]);
    hello.extend_from_slice(&extensions);
    let length = u8::try_from(hello.len()).expect("short");
    let head = [22, 3, 1, 0, length + 4, 1, 0, 0, length];
    [&head[..], &hello].concat()
}

/// Shares a service at the `https` address of `origin`.
async fn share(lab: &Lab, origin: &Origin, trust: ServiceSpec) {
    let spec = ServiceSpec {
        target: format!("https://{}", origin.address),
        public: true,
        ..trust
    };
    lab.agent.share_as("web", spec).await;
}

/// `--tls-ca`.
fn trusting(own: &SelfSigned) -> ServiceSpec {
    ServiceSpec {
        tls_ca: Some(own.certificate().display().to_string()),
        ..ServiceSpec::default()
    }
}

/// `--tls-insecure`.
fn trusting_anything() -> ServiceSpec {
    ServiceSpec {
        tls_insecure: true,
        ..ServiceSpec::default()
    }
}

#[tokio::test]
async fn a_local_https_service_is_reached_if_it_is_trusted() {
    let lab = Lab::start().await;
    let own = SelfSigned::new(&["127.0.0.1"]);
    let origin = own.origin().await;
    for trust in [trusting(&own), trusting_anything()] {
        share(&lab, &origin, trust.clone()).await;
        for _ in 0..2 {
            let response = lab.get("web", "/").await;
            assert_eq!(response.status(), 200, "{trust:?}");
            assert_eq!(text(response).await, "HTTP/1.1 http/1.1");
        }
        // gRPC servers insist on being offered HTTP/2.
        let request = lab.request("web", "/").method("POST");
        let request = request.header("content-type", "application/grpc");
        let request = request.body(Empty::<Bytes>::new()).expect("valid");
        let response = lab.caller.send(request).await;
        assert_eq!(text(response).await, "HTTP/2.0 h2", "{trust:?}");
    }
    // Whoever it says it is.
    let other = SelfSigned::new(&["other.example"]);
    let origin = other.origin().await;
    share(&lab, &origin, trusting_anything()).await;
    assert_eq!(lab.get("web", "/").await.status(), 200);
}

#[tokio::test]
async fn a_local_https_service_that_is_not_trusted_is_502() {
    let lab = Lab::start().await;
    let own = SelfSigned::new(&["127.0.0.1"]);
    let namesake = SelfSigned::new(&["127.0.0.1"]);
    let other = SelfSigned::new(&["other.example"]);
    let plain = Origin::raw(async |mut stream| {
        let _ = stream.write_all(OK.as_bytes()).await;
    })
    .await;
    for (origin, trust) in [
        // No public authority signed it.
        (own.origin().await, ServiceSpec::default()),
        // Another key, another name, no TLS.
        (namesake.origin().await, trusting(&own)),
        (other.origin().await, trusting(&other)),
        (plain, trusting_anything()),
    ] {
        share(&lab, &origin, trust.clone()).await;
        let response = lab.get("web", "/").await;
        assert_eq!(response.status(), 502, "{trust:?}");
        assert_eq!(response.headers()["ginnel-reason"], "service_unreachable");
    }
}

/// The answer to a request for the upstream `cloud` at `origin`.
async fn ask_upstream(origin: &Origin, more: &str) -> Response<Incoming> {
    let lab = Lab::start_from(&format!(
        "[upstream.cloud]\nurl = 'https://{}'\ncredential_env = '{}'\n{more}",
        origin.address, UPSTREAM_KEY.0
    ))
    .await;
    let request = Request::get("/upstream/cloud/chat")
        .header("host", lab.agent.local().to_string())
        .header("authorization", &lab.agent.token()["authorization"]);
    let request = request.body(Empty::<Bytes>::new()).expect("valid");
    Caller::new(lab.agent.local()).send(request).await
}

#[tokio::test]
async fn an_https_upstream_is_called_if_it_is_trusted() {
    let own = SelfSigned::new(&["127.0.0.1"]);
    let origin = own.origin().await;
    let trusts = |file: &SelfSigned| format!("ca_file = '{}'\n", file.certificate().display());
    let response = ask_upstream(&origin, &trusts(&own)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "HTTP/2.0 h2");
    // No public authority signed it; nor did its namesake.
    let namesake = SelfSigned::new(&["127.0.0.1"]);
    for trust in [String::new(), trusts(&namesake)] {
        let response = ask_upstream(&origin, &trust).await;
        assert_eq!(response.status(), 502, "{trust}");
        let told = text(response).await;
        assert!(told.contains("upstream_unreachable"), "{told}");
    }
}
