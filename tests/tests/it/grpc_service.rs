//! A gRPC service of plain texts, without a schema.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::codegen::{BoxFuture, BoxStream, Context, Poll, Service};
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A running service, until dropped.
#[derive(Debug)]
pub(crate) struct TextService {
    address: SocketAddr,
    calls: Calls,
    _task: AbortOnDropHandle<()>,
}

/// Hanging calls: how many began, how many ended.
#[derive(Debug, Clone)]
struct Calls {
    began: Arc<Semaphore>,
    ended: Arc<Semaphore>,
}

impl TextService {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let calls = Calls {
            began: Arc::new(Semaphore::new(0)),
            ended: Arc::new(Semaphore::new(0)),
        };
        let methods = Methods(calls.clone());
        let serving = async move {
            let incoming = TcpIncoming::from(listener);
            let served = Server::builder()
                .add_service(methods)
                .serve_with_incoming(incoming);
            served.await.expect("served");
        };
        Self {
            address,
            calls,
            _task: AbortOnDropHandle::new(TaskTracker::new().spawn(serving)),
        }
    }

    pub(crate) fn target(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until a call hangs.
    pub(crate) async fn called(&self) {
        self.calls.began.acquire().await.expect("open").forget();
    }

    /// Waits until a hanging call was given up.
    pub(crate) async fn dropped(&self) {
        self.calls.ended.acquire().await.expect("open").forget();
    }
}

#[derive(Debug, Clone)]
struct Methods(Calls);

impl NamedService for Methods {
    const NAME: &'static str = "test.Text";
}

impl Service<http::Request<Body>> for Methods {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let calls = self.0.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(Text);
            Ok(match request.uri().path() {
                "/test.Text/Unary" => grpc.unary(Method(unary), request).await,
                "/test.Text/Collect" => grpc.client_streaming(Method(collect), request).await,
                "/test.Text/Repeat" => grpc.server_streaming(Method(repeat), request).await,
                "/test.Text/Echo" => grpc.streaming(Method(echo), request).await,
                "/test.Text/Fail" => grpc.unary(Method(fail), request).await,
                "/test.Text/Hang" => {
                    let hang = move |request| hang(calls.clone(), request);
                    grpc.unary(Method(hang), request).await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

async fn unary(request: Request<String>) -> Result<Response<String>, Status> {
    let who = request.metadata().get("x-who").cloned();
    let mut response = Response::new(request.into_inner() + "!");
    if let Some(who) = who {
        response.metadata_mut().insert("x-greets", who);
    }
    Ok(response)
}

async fn collect(request: Request<Streaming<String>>) -> Result<Response<String>, Status> {
    let words: Vec<_> = request.into_inner().collect().await;
    let words: Result<Vec<_>, _> = words.into_iter().collect();
    Ok(Response::new(words?.join(" ")))
}

async fn repeat(request: Request<String>) -> Result<Response<BoxStream<String>>, Status> {
    let word = request.into_inner();
    let words = stream::iter(0..3).map(move |number| Ok(format!("{word} {number}")));
    Ok(Response::new(Box::pin(words)))
}

async fn echo(
    request: Request<Streaming<String>>,
) -> Result<Response<impl Stream<Item = Result<String, Status>> + Send>, Status> {
    let words = request.into_inner().map(|word| match word?.as_str() {
        "fail" => Err(Status::aborted("asked to")),
        word => Ok(format!("{word}!")),
    });
    Ok(Response::new(words))
}

async fn fail(request: Request<String>) -> Result<Response<String>, Status> {
    let mut status = Status::not_found(request.into_inner());
    status
        .metadata_mut()
        .insert("x-detail", "42".parse().expect("valid"));
    Err(status)
}

async fn hang(calls: Calls, request: Request<String>) -> Result<Response<String>, Status> {
    struct Ended(Calls);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.ended.add_permits(1);
        }
    }
    let _ended = Ended(calls.clone());
    let deadline = request.metadata().get("grpc-timeout");
    if request.get_ref() == "200m" && deadline.is_none() {
        return Err(Status::invalid_argument("the deadline is missing"));
    }
    calls.began.add_permits(1);
    std::future::pending().await
}

/// A function as one of tonic's services.
#[derive(Debug, Clone)]
struct Method<F>(F);

impl<F, Q, A, R> Service<Request<Q>> for Method<F>
where
    F: FnMut(Request<Q>) -> A,
    A: Future<Output = Result<Response<R>, Status>> + Send + 'static,
{
    type Response = Response<R>;
    type Error = Status;
    type Future = A;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Q>) -> A {
        (self.0)(request)
    }
}

/// Messages that are plain texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
