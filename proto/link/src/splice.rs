//! Raw bytes between a local connection and a stream: TCP services, and
//! whatever an HTTP upgrade switched to.

use bytes::{Buf, BufMut, BytesMut};
use ginnel_proto::code::Code;
use ginnel_proto::frame::{self, Piece};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::body::RecvBody;
use crate::cut::Cut;
use crate::error::StreamError;
use crate::stream::{RecvHalf, SendHalf, Stream};

/// How much is read from the local side at once. More was no faster.
const READ_SIZE: usize = 64 * 1024;

/// What went each way, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spliced {
    /// From the local side into the stream.
    pub sent: u64,
    /// From the stream to the local side.
    pub received: u64,
}

/// Copies both ways until both sides have ended. REST is sent first and
/// expected first. The end of one direction leaves the other open; an error
/// in one ends both.
///
/// Until both have ended well, `cut` is set: whoever drops this, for whatever
/// reason, resets the local connection.
///
/// # Errors
/// The stream or the local side broke off; the stream is reset.
pub async fn splice(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    cut: &Cut,
    send: &mut SendHalf,
    mut recv: RecvHalf,
) -> Result<Spliced, StreamError> {
    cut.cut();
    let (mut reader, mut writer) = (reader, writer);
    let up = async {
        send.send(&mut [frame::REST]).await?;
        pump_in(&mut reader, send).await
    };
    let down = async {
        recv.rest_begins().await?;
        pump_out(recv.into_body(), &mut writer).await
    };
    let (sent, received) = tokio::try_join!(up, down)?;
    cut.spare();
    Ok(Spliced { sent, received })
}

/// Copies raw bytes between two streams until both have ended, without
/// looking at them. An error on one side is told to the other by its code.
///
/// # Errors
/// One of the streams broke off; both are reset.
pub async fn bridge(left: Stream, right: Stream) -> Result<Spliced, StreamError> {
    let (mut left, mut right) = (left, right);
    let there = carry(&mut left.recv, &mut right.send);
    let back = carry(&mut right.recv, &mut left.send);
    match tokio::try_join!(there, back) {
        Ok((sent, received)) => Ok(Spliced { sent, received }),
        Err(error) => {
            let code = error.code();
            for stream in [&mut left, &mut right] {
                stream.send.reset(code);
                stream.recv.stop(code);
            }
            Err(error)
        }
    }
}

/// One direction of a bridge, REST and all.
async fn carry(recv: &mut RecvHalf, send: &mut SendHalf) -> Result<u64, StreamError> {
    let mut stopped = std::pin::pin!(send.stopped());
    let mut total = 0;
    loop {
        let piece = tokio::select! {
            biased;
            piece = recv.next() => piece?,
            error = &mut stopped => return Err(error),
        };
        match piece {
            Some(Piece::RestBegins) => send.send(&mut [frame::REST]).await?,
            Some(Piece::Body(slice)) => {
                total += slice.len() as u64;
                send.send(&mut [slice]).await?;
            }
            Some(_) => return Err(StreamError::OutOfPlace("raw bytes")),
            None => {
                send.finish();
                return Ok(total);
            }
        }
    }
}

/// From the local side into the stream.
async fn pump_in(
    mut reader: impl AsyncRead + Unpin,
    send: &mut SendHalf,
) -> Result<u64, StreamError> {
    let mut buffer = BytesMut::new();
    let mut stopped = std::pin::pin!(send.stopped());
    let mut total = 0;
    loop {
        buffer.reserve(READ_SIZE);
        let mut room = (&mut buffer).limit(READ_SIZE);
        let count = tokio::select! {
            biased;
            read = reader.read_buf(&mut room) => read,
            error = &mut stopped => return Err(error),
        };
        match count {
            Ok(0) => {
                send.finish();
                return Ok(total);
            }
            Ok(count) => {
                total += count as u64;
                send.send(&mut [buffer.split().freeze()]).await?;
            }
            Err(error) => {
                send.reset(Code::ServiceFailed);
                return Err(StreamError::Source(error.to_string()));
            }
        }
    }
}

/// From the stream to the local side.
async fn pump_out(
    mut body: RecvBody,
    mut writer: impl AsyncWrite + Unpin,
) -> Result<u64, StreamError> {
    let mut total = 0;
    while let Some(frame) = next(&mut body).await {
        let Ok(mut chunks) = frame?.into_data() else {
            continue;
        };
        total += chunks.remaining() as u64;
        let written = async {
            writer.write_all_buf(&mut chunks).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return Err(StreamError::Source(error.to_string()));
        }
    }
    // The local side may have gone already; all bytes were taken.
    let _ = writer.shutdown().await;
    Ok(total)
}

async fn next(
    body: &mut RecvBody,
) -> Option<Result<http_body::Frame<crate::chunks::Chunks>, StreamError>> {
    std::future::poll_fn(|cx| http_body::Body::poll_frame(std::pin::Pin::new(&mut *body), cx)).await
}
