//! The load generator's HTTP/1.1 client: one connection, kept alive.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::origin::write_block;

/// How much is read at once, in bytes.
const READ_SIZE: usize = 256 * 1024;

/// By which the relay knows the service. The others do not look at it.
pub const HOST: &str = "bench.localhost";

/// A connection to a public side.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the buffer that hold something.
    filled: usize,
}

impl Connection {
    /// Connects. `READ_SIZE` bytes of buffer are for bulk; small answers touch
    /// the first pages only.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; READ_SIZE],
            filled: 0,
        })
    }

    /// Asks for 1 KiB.
    ///
    /// # Errors
    /// As [`Connection::download`].
    pub async fn small(&mut self) -> anyhow::Result<()> {
        self.send(&format!("GET /1k HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
            .await?;
        self.answer(1024).await
    }

    /// Asks for `length` bytes.
    ///
    /// # Errors
    /// The answer is not 200, or not of that length.
    pub async fn download(&mut self, length: u64) -> anyhow::Result<()> {
        self.send(&format!(
            "GET /bytes/{length} HTTP/1.1\r\nhost: {HOST}\r\n\r\n"
        ))
        .await?;
        self.answer(length).await
    }

    /// Sends `length` bytes; the origin answers when it has them all.
    ///
    /// # Errors
    /// As [`Connection::download`].
    pub async fn upload(&mut self, length: u64) -> anyhow::Result<()> {
        self.send(&format!(
            "PUT /upload HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await?;
        write_block(&mut self.stream, length).await?;
        self.answer(0).await
    }

    async fn send(&mut self, head: &str) -> anyhow::Result<()> {
        Ok(self.stream.write_all(head.as_bytes()).await?)
    }

    async fn answer(&mut self, expected: u64) -> anyhow::Result<()> {
        let mut left = self.head().await?;
        ensure!(left == expected, "answer has a wrong length, bytes={left}");
        let already = usize::try_from(left)?.min(self.filled);
        ensure!(already == self.filled, "bytes after the answer's end");
        self.filled = 0;
        left -= already as u64;
        while left > 0 {
            match self.stream.read(&mut self.buffer).await? {
                0 => bail!("answer broke off, missing={left}"),
                count => {
                    left = left
                        .checked_sub(count as u64)
                        .context("answer is too long")?
                }
            }
        }
        Ok(())
    }

    /// Reads the head, leaves what follows in the buffer, and returns the
    /// body's length.
    async fn head(&mut self) -> anyhow::Result<u64> {
        loop {
            let so_far = self.buffer.get(..self.filled).unwrap_or_default();
            if let Some((length, end)) = parse(so_far)? {
                self.buffer.copy_within(end..self.filled, 0);
                self.filled -= end;
                return Ok(length);
            }
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match self.stream.read(room).await? {
                0 => bail!("answer has no end of its head"),
                count => self.filled += count,
            }
        }
    }
}

fn parse(bytes: &[u8]) -> anyhow::Result<Option<(u64, usize)>> {
    if memchr::memmem::find(bytes, b"\r\n\r\n").is_none() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = response.parse(bytes)? else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    ensure!(status == 200, "answer is not 200, status={status}");
    let mut headers = response.headers.iter();
    let length = headers.find(|line| line.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("answer has no content-length")?;
    Ok(Some((std::str::from_utf8(length.value)?.parse()?, end)))
}
