//! Reading raw connections, always within a time.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::wait::in_time;

/// Reads an HTTP/1 head, up to its empty line; less if the connection ends.
pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    in_time("a head", next_head(stream)).await
}

/// As [`read_head`], however long it takes.
pub async fn next_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            break;
        };
        head.push(byte);
    }
    // Latin-1, so that every byte is one character.
    head.into_iter().map(char::from).collect()
}

/// Reads exactly so many bytes.
pub async fn read_bytes(stream: &mut (impl AsyncRead + Unpin + ?Sized), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let read = in_time("bytes", stream.read_exact(&mut bytes)).await;
    read.expect("as many bytes as expected");
    bytes
}

/// Reads to the end, which may be an abrupt one.
pub async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = in_time("the connection's end", stream.read_to_end(&mut bytes)).await;
    bytes
}

/// Reads until the connection is reset. An end in good order would make half of
/// something look whole.
pub async fn read_to_reset(stream: &mut (impl AsyncRead + Unpin + ?Sized)) {
    let mut seen = Vec::new();
    match stream.read_to_end(&mut seen).await {
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        Ok(_) => panic!("ended in good order, after {} bytes", seen.len()),
    }
}

/// The value of a header line in a raw head; names in any case.
#[must_use]
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    fields(head, name).next()
}

/// All values of a header field in a raw head, in order.
pub fn fields<'a>(head: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    head.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim_matches([' ', '\t']))
}
