//! `/ws`: a WebSocket (RFC 6455) that sends every frame back.
//!
//! Frames pass through piece by piece, so they need no limit. Extensions and
//! subprotocols are not offered.

use aws_lc_rs::digest;
use data_encoding::BASE64;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream};
use tracing::debug;

use super::{DemoBody, text, with_status};

/// What a server appends to the client's key (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How much of a frame is held at once.
const PIECE: usize = 16 * 1024;

/// A close frame that says "protocol error" (RFC 6455 §7.4.1).
const PROTOCOL_ERROR: [u8; 4] = [0x88, 2, 0x03, 0xea];

/// The answer to a handshake; `None` if the request is none.
pub(super) fn accept<B>(request: &Request<B>) -> Option<Response<DemoBody>> {
    let headers = request.headers();
    let is_handshake = request.method() == Method::GET
        && request.uri().path() == "/ws"
        && names(headers, &header::CONNECTION, "upgrade")
        && names(headers, &header::UPGRADE, "websocket")
        && headers.get(header::SEC_WEBSOCKET_VERSION)? == "13";
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    if !is_handshake {
        return None;
    }
    let mut response = with_status(StatusCode::SWITCHING_PROTOCOLS, "");
    let answer = response.headers_mut();
    answer.clear();
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept_key(key)?);
    Some(response)
}

/// The answer to those who come without a handshake.
pub(super) fn required() -> Response<DemoBody> {
    let mut response = text(super::PLAIN, "open a WebSocket here\n");
    *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let version = HeaderValue::from_static("13");
    headers.insert(header::SEC_WEBSOCKET_VERSION, version);
    response
}

/// Sends every frame back until one side closes.
pub(super) async fn echo(io: impl AsyncRead + AsyncWrite + Unpin) {
    let mut io = BufStream::new(io);
    let ended = echo_frames(&mut io).await;
    let ended = ended.and(io.shutdown().await);
    if let Err(error) = ended {
        debug!(%error, "demo WebSocket ended");
    }
}

/// ```text
/// fin·reserved·opcode │ mask·length │ longer length │ mask │ payload
///          1          │      1      │   0, 2 or 8   │  4   │
/// ```
async fn echo_frames(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    const CLOSE: u8 = 8;
    const PING: u8 = 9;
    const PONG: u8 = 10;
    loop {
        let first = io.read_u8().await?;
        let second = io.read_u8().await?;
        let (opcode, short) = (first & 0xf, second & 0x7f);
        let is_control = matches!(opcode, CLOSE | PING | PONG);
        let is_whole_and_short = first & 0x80 != 0 && short <= 125;
        let is_valid = first & 0x70 == 0
            && second & 0x80 != 0
            && (opcode <= 2 || is_control && is_whole_and_short);
        if !is_valid {
            io.write_all(&PROTOCOL_ERROR).await?;
            return io.flush().await;
        }
        let opcode_back = if opcode == PING { PONG } else { opcode };
        let back = opcode != PONG;
        if back {
            io.write_all(&[first & 0xf0 | opcode_back, short]).await?;
        }
        let length = match short {
            126 => {
                let length = io.read_u16().await?;
                io.write_u16(length).await?;
                length.into()
            }
            127 => {
                let length = io.read_u64().await?;
                io.write_u64(length).await?;
                length
            }
            short => short.into(),
        };
        echo_payload(io, length, back).await?;
        io.flush().await?;
        if opcode == CLOSE {
            return Ok(());
        }
    }
}

/// Sends a payload back without its mask (RFC 6455 §5.3), or only reads it.
async fn echo_payload(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    length: u64,
    back: bool,
) -> io::Result<()> {
    let mut mask = [0; 4];
    io.read_exact(&mut mask).await?;
    let mut mask = mask.into_iter().cycle();
    let mut piece = vec![0; PIECE];
    let mut left = length;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let room = piece.get_mut(..room).unwrap_or_default();
        let read = io.read(room).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let read = room.get_mut(..read).unwrap_or_default();
        for (byte, mask) in read.iter_mut().zip(&mut mask) {
            *byte ^= mask;
        }
        if back {
            io.write_all(read).await?;
            io.flush().await?;
        }
        left -= read.len() as u64;
    }
    Ok(())
}

fn accept_key(key: &HeaderValue) -> Option<HeaderValue> {
    let text = [key.as_bytes(), GUID.as_bytes()].concat();
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text);
    HeaderValue::try_from(BASE64.encode(hash.as_ref())).ok()
}

/// Whether a header's comma-separated list names a token.
fn names(headers: &HeaderMap, header: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(header).iter();
    let mut tokens = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    tokens.any(|found| found.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_specification_gives_its_answer() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let accept = accept_key(&key).expect("text");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn frames_come_back_without_mask() {
        // "Hello" in one text frame (RFC 6455 §5.7).
        let hello = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        assert_eq!(exchange(&hello).await, b"\x81\x05Hello");
        let ping = [&[0x89, 0x85][..], &hello[2..]].concat();
        assert_eq!(exchange(&ping).await, b"\x8a\x05Hello");
        // Two fragments with a ping between them, then close.
        let all = [
            &[0x01, 0x81, 0, 0, 0, 0, b'a'][..],
            &[0x89, 0x80, 1, 2, 3, 4],
            &[0x80, 0x81, 0, 0, 0, 0, b'b'],
            &[0x8a, 0x81, 0, 0, 0, 0, b'x'],
            &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8],
            &hello,
        ]
        .concat();
        let back = [
            &[0x01, 0x01, b'a'][..],
            &[0x8a, 0x00],
            &[0x80, 0x01, b'b'],
            &[0x88, 0x02, 0x03, 0xe8],
        ]
        .concat();
        assert_eq!(exchange(&all).await, back);
    }

    #[tokio::test]
    async fn long_frames_come_back_whole() {
        for (short, length) in [(126, 126_usize), (126, 65_535), (127, 70_001)] {
            let mut head = vec![0x82, short];
            match short {
                126 => head.extend(u16::try_from(length).expect("fits").to_be_bytes()),
                _ => head.extend((length as u64).to_be_bytes()),
            }
            let payload = vec![0b1010_0101; length];
            let mut sent = head.clone();
            sent[1] |= 0x80;
            sent.extend([0xff, 0, 0xff, 0]);
            let mask = [0xff, 0].into_iter().cycle();
            sent.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
            assert!(
                exchange(&sent).await == [head, payload].concat(),
                "{length}"
            );
        }
    }

    #[tokio::test]
    async fn broken_frames_end_the_connection() {
        for frame in [
            &[0x81, 0x05][..],                 // no mask
            &[0xc1, 0x80, 0, 0, 0, 0],         // a reserved bit
            &[0x83, 0x80, 0, 0, 0, 0],         // an unknown opcode
            &[0x09, 0x80, 0, 0, 0, 0],         // a ping in fragments
            &[0x89, 0xfe, 0, 126, 0, 0, 0, 0], // a long ping
        ] {
            assert_eq!(exchange(frame).await, PROTOCOL_ERROR, "{frame:x?}");
        }
    }

    /// Sends bytes and the end, and gives back all that comes.
    async fn exchange(sent: &[u8]) -> Vec<u8> {
        let (mut near, far) = tokio::io::duplex(1024);
        let (mut reader, mut writer) = tokio::io::split(&mut near);
        let send = async {
            // The other side may close before it has read everything.
            let _ = writer.write_all(sent).await;
            let _ = writer.shutdown().await;
        };
        let mut back = Vec::new();
        let (_, (), read) = tokio::join!(echo(far), send, reader.read_to_end(&mut back));
        read.expect("read");
        back
    }
}
