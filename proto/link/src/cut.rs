//! TCP connections that can be cut off: their other end then sees a reset, not
//! an end, and does not take half of what it got for the whole.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Says how a [`Cuttable`] connection ends, from afar: it may be wrapped in
/// TLS or HTTP, which give nothing underneath away. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Cut(Arc<AtomicBool>);

impl Cut {
    /// The connection will be reset when it is dropped.
    pub fn cut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// It will end in good order after all.
    pub fn spare(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A TCP connection that ends as its [`Cut`] says.
#[derive(Debug)]
pub struct Cuttable {
    stream: TcpStream,
    cut: Cut,
}

impl Cuttable {
    /// A connection that ends in good order unless it is cut.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        let cut = Cut::default();
        Self { stream, cut }
    }

    /// What cuts this connection.
    #[must_use]
    pub fn cut(&self) -> Cut {
        self.cut.clone()
    }
}

impl Drop for Cuttable {
    fn drop(&mut self) {
        if self.cut.0.load(Ordering::Relaxed) {
            // If the system refuses, the end looks like any other.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// What the other end of a connection sees when it is dropped.
    async fn seen(end: impl FnOnce(&Cuttable)) -> io::Result<usize> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
        let (stream, _) = accepted.expect("accepted");
        let ours = Cuttable::new(stream);
        end(&ours);
        drop(ours);
        connected.expect("connected").read(&mut [0]).await
    }

    #[tokio::test]
    async fn a_connection_that_is_cut_is_reset() {
        assert_eq!(seen(|_| {}).await.expect("an end"), 0);
        let spared = seen(|ours| {
            ours.cut().cut();
            ours.cut().spare();
        });
        assert_eq!(spared.await.expect("an end"), 0);
        let error = seen(|ours| ours.cut().cut()).await.expect_err("no end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
