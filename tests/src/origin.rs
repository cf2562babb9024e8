//! Local services whose every byte a test decides.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::wait::in_time;
use crate::wire::{next_head, read_head};

/// A local service, until dropped.
#[derive(Debug)]
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Origin {
    /// What `share` takes for it.
    #[must_use]
    pub fn target(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers every HTTP request with `answer`.
    pub async fn http<F, A, B>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::raw(move |stream| {
            let answer = answer.clone();
            async move {
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                let io = TokioIo::new(stream);
                let _ = builder.serve_connection_with_upgrades(io, service).await;
            }
        })
        .await
    }

    /// Answers every request, which may have no body, with these bytes, and
    /// tells each request's head.
    pub async fn canned(answer: impl Into<Vec<u8>>) -> (Self, Heads) {
        let answer: Vec<u8> = answer.into();
        let (tell, heads) = mpsc::channel(256);
        let origin = Self::raw(move |mut stream| {
            let (tell, answer) = (tell.clone(), answer.clone());
            async move {
                loop {
                    let head = next_head(&mut stream).await;
                    if head.is_empty() {
                        return;
                    }
                    // A test that counts none of them is not held up.
                    let _ = tell.try_send(head);
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        (origin, Heads(heads))
    }

    /// Serves every connection with `serve`.
    pub async fn raw<F, S>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> S + Send + Sync + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let connections = TaskTracker::new();
        let accepting = async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream));
            }
        };
        Self {
            address,
            _task: AbortOnDropHandle::new(TaskTracker::new().spawn(accepting)),
        }
    }
}

/// The heads of the requests that [`Origin::canned`] answers.
#[derive(Debug)]
pub struct Heads(mpsc::Receiver<String>);

impl Heads {
    /// The next request's head.
    pub async fn next(&mut self) -> String {
        let head = in_time("a request", self.0.recv()).await;
        head.expect("the service runs")
    }

    /// Whether there was no other request.
    pub fn is_empty(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

/// A local service whose queue of connections is full: what knocks is not
/// heard.
#[derive(Debug)]
pub struct FullOrigin {
    /// Where it listens.
    pub address: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl FullOrigin {
    /// Listens, and fills the queue.
    pub async fn bind() -> Self {
        let socket = TcpSocket::new_v4().expect("socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("bound");
        let listener = socket.listen(1).expect("listening");
        let address = listener.local_addr().expect("bound");
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(HEARD, TcpStream::connect(address)).await {
            queued.push(stream.expect("queued"));
            assert!(queued.len() < 100, "the queue does not fill");
        }
        Self {
            address,
            _listener: listener,
            _queued: queued,
        }
    }

    /// What `share` takes for it as an HTTP service.
    #[must_use]
    pub fn target(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Whoever is heard at all on loopback is heard by then.
const HEARD: Duration = Duration::from_millis(300);

/// A local service that a test plays itself, connection by connection.
#[derive(Debug)]
pub struct ManualOrigin {
    /// Where it listens.
    pub address: SocketAddr,
    listener: TcpListener,
}

impl ManualOrigin {
    /// Listens.
    pub async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        Self {
            address: listener.local_addr().expect("bound"),
            listener,
        }
    }

    /// What `share` takes for it as an HTTP service.
    #[must_use]
    pub fn target(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What `share` takes for it as a TCP service.
    #[must_use]
    pub fn tcp_target(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// The next connection.
    pub async fn accept(&self) -> TcpStream {
        let accepted = in_time("a connection to the service", self.listener.accept()).await;
        let (stream, _) = accepted.expect("accepted");
        stream.set_nodelay(true).expect("connected");
        stream
    }

    /// The next connection and the request head on it.
    pub async fn request(&self) -> (TcpStream, String) {
        let mut stream = self.accept().await;
        let head = read_head(&mut stream).await;
        (stream, head)
    }
}
