//! The local service that every subject forwards to.
//!
//! HTTP/1.1 by hand, so that it costs little beside what is measured:
//! `GET /1k`, `GET /bytes/N`, and `PUT /upload` with a Content-Length.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Every byte that is ever sent comes from here, so it stays in the cache.
pub static BLOCK: [u8; 256 * 1024] = [b'g'; 256 * 1024];

/// The largest request head, in bytes.
const HEAD_MAX: usize = 16 * 1024;

/// How much of an upload is read at once, in bytes.
const READ_SIZE: usize = 256 * 1024;

/// Serves until the process ends; `ready` is told the address.
///
/// # Errors
/// It cannot listen.
pub async fn serve(ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    ready(listener.local_addr()?);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(async move {
            if let Err(error) = Connection::new(stream).serve().await {
                eprintln!("origin: {error:#}");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What a head asks for.
enum Asked {
    Bytes(u64),
    Upload(u64),
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(HEAD_MAX),
        }
    }

    async fn serve(mut self) -> anyhow::Result<()> {
        while let Some(asked) = self.read_head().await? {
            match asked {
                Asked::Bytes(length) => self.answer(length).await?,
                Asked::Upload(length) => {
                    self.take(length).await?;
                    self.answer(0).await?;
                }
            }
        }
        Ok(())
    }

    /// `None` when the peer has no more requests.
    async fn read_head(&mut self) -> anyhow::Result<Option<Asked>> {
        loop {
            if let Some((asked, end)) = parse(&self.buffer)? {
                self.buffer.drain(..end);
                return Ok(Some(asked));
            }
            if self.buffer.len() >= HEAD_MAX {
                bail!("head is too large");
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Head and first bytes go in one write.
    async fn answer(&mut self, length: u64) -> anyhow::Result<()> {
        let head = format!(
            "HTTP/1.1 200 OK\r\nserver: bench\r\ncontent-type: application/octet-stream\r\ncontent-length: {length}\r\n\r\n"
        );
        let first = usize::try_from(length)?.min(8 * 1024);
        let mut begin = head.into_bytes();
        begin.extend_from_slice(BLOCK.get(..first).unwrap_or_default());
        self.stream.write_all(&begin).await?;
        write_block(&mut self.stream, length - first as u64).await?;
        Ok(())
    }

    async fn take(&mut self, length: u64) -> anyhow::Result<()> {
        let already = usize::try_from(length)?.min(self.buffer.len());
        self.buffer.drain(..already);
        let mut left = length - already as u64;
        let mut scratch = vec![0; READ_SIZE.min(usize::try_from(left)?)];
        while left > 0 {
            let room = READ_SIZE.min(usize::try_from(left)?);
            let room = scratch.get_mut(..room).unwrap_or_default();
            match self.stream.read(room).await? {
                0 => bail!("upload broke off, missing={left}"),
                count => left -= count as u64,
            }
        }
        Ok(())
    }
}

/// Writes `length` bytes of [`BLOCK`], over and over.
///
/// # Errors
/// The other side is gone.
pub async fn write_block(
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    length: u64,
) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK.len());
        to.write_all(BLOCK.get(..count).unwrap_or_default()).await?;
        left -= count as u64;
    }
    Ok(())
}

/// What the head asks for and where it ends, once it is whole.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(Asked, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(end) = request.parse(bytes)? else {
        return Ok(None);
    };
    let path = request.path.unwrap_or_default();
    let asked = match path.strip_prefix("/bytes/") {
        Some(length) => Asked::Bytes(length.parse()?),
        None if path == "/1k" => Asked::Bytes(1024),
        None if path == "/upload" => {
            let mut headers = request.headers.iter();
            let length = headers.find(|line| line.name.eq_ignore_ascii_case("content-length"));
            let length = length.context("upload has no content-length")?;
            Asked::Upload(std::str::from_utf8(length.value)?.parse()?)
        }
        None => bail!("no such path, path={path}"),
    };
    Ok(Some((asked, end)))
}
