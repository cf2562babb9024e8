//! `r2-strict`: an HTTP proxy that holds clients of an S3 server to R2's law,
//! and does to them what networks and servers do.
//!
//! What the server keeps by itself is passed through: signatures (the `Host`
//! field stays the client's), conditions of `PutObject` and
//! `CompleteMultipartUpload`, ranges, lists, entity tags. `tests/it/bucket.rs`
//! holds SeaweedFS to that. What R2 does and SeaweedFS does not is in
//! [`law`]; nothing is kept but the sizes of parts of unfinished uploads and
//! the times of recent writes, so memory is bounded and bodies are streamed.
//!
//! By hand, with the S3 server that `tests/bucket` installs:
//!
//! ```sh
//! export AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b
//! target/bucket/seaweedfs-4.48/bin/weed mini -dir=/tmp/objects -ip=127.0.0.1 -ip.bind=127.0.0.1 -bucket=models \
//!     -s3.port=9000 -s3.port.iceberg=0 -s3.port.lance=0 &
//! cargo run -p ginnel-tests --bin r2-strict -- --upstream 127.0.0.1:9000 --listen 127.0.0.1:9001 --delay 50ms &
//! head -c 209715200 /dev/urandom > /tmp/big
//! r2=:s3,provider=Cloudflare,env_auth,endpoint=\'http://127.0.0.1:9001\',no_check_bucket:models
//! target/bucket/rclone-1.75.2/bin/rclone copyto /tmp/big "$r2/big"
//! target/bucket/rclone-1.75.2/bin/rclone copyto "$r2/big" /tmp/back
//! cmp /tmp/big /tmp/back
//! ```

mod body;
mod counts;
mod faults;
mod law;
mod operation;
mod refusal;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, RANGE};
use http::{Method, Request, Response, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use self::counts::Counts;
pub use self::faults::{Fault, Rule};
pub use self::operation::Operation;

use self::body::{Cut, PassedBody};
use self::counts::Counters;
use self::faults::Faults;
use self::law::Law;
use self::operation::Target;
use self::refusal::Refusal;

/// The body of `CompleteMultipartUpload` and of the answer to
/// `CreateMultipartUpload`: 10,000 parts with checksums fit, in bytes.
const DOCUMENT: usize = 4 * 1024 * 1024;

/// So much of a refused body is read, in bytes, so that the client reads its
/// answer: it may write all of the body first.
const DRAINED: u64 = 64 * 1024 * 1024;

/// A connection to the server that rests so long is not used again. The
/// server closes those after more.
const IDLE: Duration = Duration::from_secs(10);

/// The proxy, until dropped.
#[derive(Debug)]
pub struct Strict {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

impl Strict {
    /// Listens on loopback, in front of the server at `upstream`.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        Self::listen(listener, upstream).expect("bound")
    }

    /// As [`Strict::start`], where the listener listens.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn listen(listener: TcpListener, upstream: SocketAddr) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build_http(),
            law: Mutex::default(),
            faults: Faults::default(),
            counters: Counters::default(),
            delay: Mutex::default(),
            outage: watch::Sender::new(false),
        });
        let accepting = accept(listener, Arc::clone(&shared));
        Ok(Self {
            address,
            shared,
            _task: AbortOnDropHandle::new(TaskTracker::new().spawn(accepting)),
        })
    }

    /// Lets every request wait so long before anything is done with it.
    pub fn set_delay(&self, delay: Duration) {
        *lock(&self.shared.delay) = delay;
    }

    /// Lets a key be written so often, in place of once a second: for tests
    /// of what takes its time, or that must not depend on it.
    pub fn set_between_writes(&self, between: Duration) {
        lock(&self.shared.law).between_writes = between;
    }

    /// Cuts all connections, and from now on every new one; or no more.
    pub fn set_outage(&self, out: bool) {
        self.shared.outage.send_replace(out);
    }

    /// Does something to requests to come.
    pub fn inject(&self, rule: Rule) {
        self.shared.faults.add(rule);
    }

    /// How many injected faults have found no request yet.
    #[must_use]
    pub fn faults_left(&self) -> u64 {
        self.shared.faults.left()
    }

    /// Takes back the faults that have found no request.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// What was asked and moved so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counters.read()
    }
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    client: Client<HttpConnector, PassedBody>,
    law: Mutex<Law>,
    faults: Faults,
    counters: Counters,
    delay: Mutex<Duration>,
    outage: watch::Sender<bool>,
}

/// Serves until aborted, and all connections end with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                if !*shared.outage.borrow() {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection until it ends or an outage ends it.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut outage = shared.outage.subscribe();
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { shared.answer(request).await }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        _ = outage.wait_for(|out| *out) => {}
    }
}

impl Shared {
    /// Answers a request. An error cuts the connection without an answer.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<PassedBody>, Cut> {
        let target = Target::of(&request);
        self.counters.request(target.operation);
        if request.headers().contains_key(RANGE) {
            self.counters.ranged(target.operation);
        }
        let delay = *lock(&self.delay);
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let length = request.body().size_hint().exact();
        let fault = self.faults.before(&target, length);
        if let Some(Fault::Status(status)) = fault {
            let refusal = Refusal::injected(status);
            return self.refuse(&target, request, &refusal).await;
        }
        let admitted = lock(&self.law).admit(&target, request.headers(), length, Instant::now());
        if let Err(refusal) = admitted {
            return self.refuse(&target, request, &refusal).await;
        }
        let (head, body) = request.into_parts();
        let mut body = self.counters.upload(target.operation, body);
        if let Some(Fault::CutUpload { after }) = fault {
            body = body.cut(after);
        }
        let mut body = body.boxed_unsync();
        if target.operation == Operation::Complete {
            let list = Limited::new(body, DOCUMENT).collect().await?.to_bytes();
            let completed = lock(&self.law).complete(&target, &list);
            if let Err(refusal) = completed {
                return Ok(self.error(&target, &head.method, &refusal));
            }
            body = whole(list);
        }
        let cut_upload = matches!(fault, Some(Fault::CutUpload { .. }));
        let mut asked = Request::from_parts(head.clone(), body);
        *asked.uri_mut() = self.upstream(&head.uri);
        let answered = match self.client.request(asked).await {
            Ok(answered) => answered,
            Err(_) if cut_upload => return Err(Cut::on_purpose()),
            Err(_) => {
                let refusal = Refusal::unavailable();
                return Ok(self.error(&target, &head.method, &refusal));
            }
        };
        let answered = self.learn(&target, length, answered).await?;
        if matches!(fault, Some(Fault::LoseAnswer)) {
            return Err(Cut::on_purpose());
        }
        Ok(self.pass_on(&target, answered))
    }

    /// The same path and query at the server, byte for byte: they are signed.
    fn upstream(&self, uri: &Uri) -> Uri {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = format!("http://{}{path}", self.upstream);
        uri.parse().expect("an address and a path that was one")
    }

    /// Remembers what a successful request changed.
    async fn learn(
        &self,
        target: &Target,
        length: Option<u64>,
        answered: Response<Incoming>,
    ) -> Result<Response<PassedBody>, Cut> {
        let (head, body) = answered.into_parts();
        let mut body: PassedBody = body.map_err(Cut::from).boxed_unsync();
        if head.status.is_success() {
            if target.operation == Operation::Create {
                let document = Limited::new(body, DOCUMENT).collect().await?.to_bytes();
                lock(&self.law).created(&document);
                body = whole(document);
            } else {
                lock(&self.law).succeeded(target, length);
            }
        }
        Ok(Response::from_parts(head, body))
    }

    /// Passes an answer on, with what is to be done to it.
    fn pass_on(&self, target: &Target, answered: Response<PassedBody>) -> Response<PassedBody> {
        let (head, body) = answered.into_parts();
        let range = Range::of(&head.headers, body.size_hint().exact());
        let success = head.status.is_success();
        let fault = range.filter(|_| success).and_then(|range| {
            let fault = self.faults.after(target, range.start, range.length)?;
            Some((fault, range))
        });
        let mut body = self.counters.download(target.operation, body);
        match fault {
            Some((Fault::CutDownload { after }, _)) => body = body.cut(after),
            Some((Fault::FlipByte { offset }, range)) => {
                body = body.flip(offset.saturating_sub(range.start));
            }
            Some((Fault::Status(_) | Fault::LoseAnswer | Fault::CutUpload { .. }, _)) | None => {}
        }
        Response::from_parts(head, body.boxed_unsync())
    }

    /// Reads what the client still sends, and refuses it.
    async fn refuse(
        &self,
        target: &Target,
        request: Request<Incoming>,
        refusal: &Refusal,
    ) -> Result<Response<PassedBody>, Cut> {
        let (head, body) = request.into_parts();
        let mut body = self.counters.upload(target.operation, body);
        while body.passed() < DRAINED {
            let Some(frame) = body.frame().await else {
                break;
            };
            frame?;
        }
        Ok(self.error(target, &head.method, refusal))
    }

    /// An answer as R2 writes errors.
    fn error(&self, target: &Target, method: &Method, refusal: &Refusal) -> Response<PassedBody> {
        self.counters.refused(target.operation);
        let document = match *method {
            Method::HEAD => Bytes::new(),
            _ => refusal.document().into(),
        };
        let body = self.counters.download(target.operation, whole(document));
        let mut response = Response::new(body.boxed_unsync());
        *response.status_mut() = refusal.status;
        let xml = http::HeaderValue::from_static("application/xml");
        response.headers_mut().insert(CONTENT_TYPE, xml);
        response
    }
}

/// Which bytes of an object an answer carries.
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    length: u64,
}

impl Range {
    /// Of an answer with a length.
    fn of(headers: &HeaderMap, exact: Option<u64>) -> Option<Self> {
        let text = |name| headers.get(name)?.to_str().ok();
        let length = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let start = text(CONTENT_RANGE)
            .and_then(|range| range.strip_prefix("bytes ")?.split_once('-'))
            .and_then(|(start, _)| start.parse().ok());
        Some(Self {
            start: start.unwrap_or(0),
            length: exact.or(length)?,
        })
    }
}

fn whole(document: Bytes) -> PassedBody {
    let never = |never: std::convert::Infallible| match never {};
    Full::new(document).map_err(never).boxed_unsync()
}

/// What a test that failed left behind is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
