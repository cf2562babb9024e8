//! What a request head says about the bytes that follow it.

use http::uri::Authority;

use super::scanner::HEADERS_MAX;

/// Longest request line, in bytes (RFC 9112 §3 recommends at least 8,000).
pub(super) const REQUEST_LINE_MAX: usize = 16 * 1024;

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// The next request.
    Request,
    /// So many bytes of body.
    Body(u64),
    /// A body in chunks.
    Chunks,
    /// Nothing that will be read: hyper refuses this head with more precise
    /// a status than ours.
    Unread,
}

/// Holds a head to RFC 9112 and tells what follows it.
///
/// `head` is everything from the request line to the empty line, all lines
/// ending with CRLF.
///
/// # Errors
/// What is wrong with it, in a few words.
pub(super) fn judge(head: &[u8]) -> Result<Follows, &'static str> {
    if memchr::memmem::find(head, b"\n ").is_some() || memchr::memmem::find(head, b"\n\t").is_some()
    {
        return Err("a header line is folded");
    }
    if memchr::memchr(b'\n', head).is_some_and(|end| end > REQUEST_LINE_MAX) {
        return Err("request line is too long");
    }
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut lines);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err("head is not complete"),
        // hyper says 431 for these and 400 for the others; let it.
        Err(httparse::Error::TooManyHeaders) => return Ok(Follows::Unread),
        Err(_) => return Err("head is not valid"),
    }
    let named = |name: &'static str| {
        request
            .headers
            .iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(name))
            .map(|line| line.value)
    };
    check_host(
        request.version == Some(1),
        request.path.unwrap_or_default(),
        named("host"),
    )?;

    let length = content_length(named("content-length"))?;
    let mut codings = named("transfer-encoding");
    let chunked = match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => true,
        _ => return Err("transfer-encoding is not exactly chunked"),
    };
    if chunked && length.is_some() {
        return Err("both content-length and transfer-encoding");
    }
    if chunked && request.version != Some(1) {
        return Err("transfer-encoding in HTTP/1.0");
    }
    Ok(match (chunked, length) {
        (true, _) => Follows::Chunks,
        (false, Some(length @ 1..)) => Follows::Body(length),
        (false, Some(0) | None) => Follows::Request,
    })
}

/// Exactly one Host in HTTP/1.1 (RFC 9112 §3.2), a valid one, and the same as
/// in an absolute request target.
fn check_host<'a>(
    required: bool,
    target: &str,
    mut hosts: impl Iterator<Item = &'a [u8]>,
) -> Result<(), &'static str> {
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err("more than one host");
    }
    let Some(host) = host else {
        return if required {
            Err("host is missing")
        } else {
            Ok(())
        };
    };
    if host.contains(&b'@') {
        return Err("host is not valid");
    }
    let host = Authority::try_from(host).map_err(|_| "host is not valid")?;
    let (_, port) = host.as_str().split_at(host.host().len());
    if port.len() > 1 && host.port_u16().is_none() {
        return Err("host is not valid");
    }
    if let Some((_, after)) = target.split_once("://")
        && !target.starts_with('/')
    {
        let end = after.find(['/', '?']).unwrap_or(after.len());
        let named = after.get(..end).unwrap_or_default();
        if !named.eq_ignore_ascii_case(host.as_str()) {
            return Err("host differs from the request target");
        }
    }
    Ok(())
}

/// At most one Content-Length, of digits only (RFC 9112 §6.3).
fn content_length<'a>(
    mut values: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<u64>, &'static str> {
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("more than one content-length");
    }
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err("content-length is not a number");
    }
    std::str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .map(Some)
        .ok_or("content-length is too large")
}
