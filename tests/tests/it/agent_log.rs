//! What the owner of a device reads in its log about services that fail.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ginnel_agent::services::spec::ServiceSpec;
use ginnel_tests::caller::text;
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::Origin;
use ginnel_tests::wait::in_time;
use ginnel_tests::wire::read_bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tracing::subscriber::DefaultGuard;

/// The warnings of this test's thread, of the agent unless told otherwise.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn start() -> (Self, DefaultGuard) {
        Self::of("ginnel_agent")
    }

    /// As [`Log::start`], of a crate of one's choice.
    pub(crate) fn of(target: &str) -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(format!("{target}=warn"))
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = self.0.lock().expect("whole");
        let text = String::from_utf8_lossy(&text);
        text.lines().map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_told_once() {
    let (log, _guard) = Log::start();
    let lab = Lab::start().await;
    // Bound and not listening: the port is ours and refuses.
    let socket = TcpSocket::new_v4().expect("socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("bound");
    let address = socket.local_addr().expect("bound").to_string();
    for name in ["web", "api"] {
        lab.agent.share(name, &format!("http://{address}")).await;
        for _ in 0..3 {
            assert_eq!(lab.get(name, "/").await.status(), 502);
        }
        let lines = log.lines();
        let told = format!("service={name}");
        let told: Vec<_> = lines.iter().filter(|line| line.contains(&told)).collect();
        let [line] = told[..] else {
            panic!("not one warning: {lines:?}");
        };
        assert!(line.contains("WARN") && line.contains(&address), "{line}");
    }
}

#[tokio::test]
async fn a_caller_who_leaves_is_no_failure_of_the_service() {
    let (log, _guard) = Log::start();
    let (lab, origin) = Lab::by_hand().await;
    let head = "POST / HTTP/1.1\r\nhost: web.localhost\r\ncontent-length: 9\r\n\r\nhalf";
    let caller = lab.caller.say(head).await;
    let (mut stream, _) = origin.request().await;
    assert_eq!(read_bytes(&mut stream, 4).await, b"half");
    drop(caller);
    // The agent lets go of the service then.
    let _ = in_time("an end", stream.read(&mut [0])).await;
    assert!(log.lines().is_empty(), "{:?}", log.lines());
}

/// A certificate for itself, as `openssl req -x509` makes them, and one that
/// is no authority's.
#[tokio::test]
async fn a_certificate_that_may_not_serve_is_told_with_the_reason() {
    let (log, _guard) = Log::start();
    let lab = Lab::start().await;
    let authority = IsCa::Ca(BasicConstraints::Unconstrained);
    for (name, is_ca, status) in [("own", IsCa::ExplicitNoCa, 200), ("ca", authority, 502)] {
        assert!(log.lines().is_empty(), "{:?}", log.lines());
        let file = lab.folder.path().join(name);
        let origin = tls_origin(is_ca, &file).await;
        let target = format!("https://localhost:{}", origin.address.port());
        let spec = ServiceSpec {
            public: true,
            tls_ca: Some(file.to_str().expect("UTF-8").to_owned()),
            ..ServiceSpec::new(target)
        };
        lab.agent.share_as(name, spec).await;
        let response = lab.get(name, "/").await;
        assert_eq!(response.status(), status, "{name}");
        // The caller is told no details.
        assert!(!text(response).await.contains("CaUsedAsEndEntity"));
    }
    let lines = log.lines();
    let [line] = &lines[..] else {
        panic!("not one warning: {lines:?}");
    };
    assert!(line.contains("service=ca"), "{line}");
    assert!(line.contains("CaUsedAsEndEntity"), "{line}");
}

/// Answers over TLS, and writes its certificate to `file`.
async fn tls_origin(is_ca: IsCa, file: &Path) -> Origin {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("valid");
    params.is_ca = is_ca;
    let key = KeyPair::generate().expect("key");
    let certificate = params.self_signed(&key).expect("signed");
    std::fs::write(file, certificate.pem()).expect("written");
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("they fit");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Origin::raw(move |stream: TcpStream| {
        let accepting = acceptor.accept(stream);
        async move {
            let Ok(mut stream) = accepting.await else {
                return;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}
