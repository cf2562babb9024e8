//! What a request asks of S3, read from its method, path and query.

use std::fmt;

use http::{Method, Request};

/// Kinds of requests, as they are counted and as faults name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `PutObject`.
    Put,
    /// `CopyObject` and `UploadPartCopy`.
    Copy,
    /// `CreateMultipartUpload`.
    Create,
    /// `UploadPart`.
    UploadPart,
    /// `CompleteMultipartUpload`.
    Complete,
    /// `AbortMultipartUpload`.
    Abort,
    /// `GetObject`.
    Get,
    /// `HeadObject` and `HeadBucket`.
    Head,
    /// Objects, uploads or parts.
    List,
    /// `DeleteObject` and `DeleteObjects`.
    Delete,
    /// All else: buckets and their settings.
    Other,
}

impl Operation {
    /// All of them, in order.
    pub const ALL: [Self; 11] = [
        Self::Put,
        Self::Copy,
        Self::Create,
        Self::UploadPart,
        Self::Complete,
        Self::Abort,
        Self::Get,
        Self::Head,
        Self::List,
        Self::Delete,
        Self::Other,
    ];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a request is about.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) operation: Operation,
    pub(super) method: Method,
    /// The first part of the path; empty if all buckets are meant.
    pub(super) bucket: String,
    /// The rest, without escapes; empty if the bucket is meant.
    pub(super) key: String,
    pub(super) query: Query,
    /// How many bytes of its source it copies, if it says so.
    pub(super) copied: Option<u64>,
}

impl Target {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = Query::of(request.uri().query().unwrap_or_default());
        let copies = request.headers().contains_key("x-amz-copy-source");
        let range = request.headers().get("x-amz-copy-source-range");
        let copied = range.and_then(|range| range_length(range.to_str().ok()?));
        Self {
            operation: operation(request.method(), !key.is_empty(), &query, copies),
            method: request.method().clone(),
            bucket: decode(bucket),
            key: decode(key),
            query,
            copied,
        }
    }

    /// The upload that it is about.
    pub(super) fn upload(&self) -> Option<&str> {
        self.query.value("uploadId")
    }

    /// The part's number, if it is one.
    pub(super) fn part(&self) -> Option<Result<u32, &str>> {
        let text = self.query.value("partNumber")?;
        Some(text.parse().map_err(|_| text))
    }
}

/// The length of `bytes=FIRST-LAST`.
fn range_length(range: &str) -> Option<u64> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    last.checked_sub(first)?.checked_add(1)
}

fn operation(method: &Method, object: bool, query: &Query, copies: bool) -> Operation {
    let has = |name| query.value(name).is_some();
    match (method.as_str(), object) {
        ("PUT", true) if copies => Operation::Copy,
        ("PUT", true) if has("uploadId") => Operation::UploadPart,
        ("PUT", true) => Operation::Put,
        ("POST", true) if has("uploads") => Operation::Create,
        ("POST", true) if has("uploadId") => Operation::Complete,
        ("POST", false) if has("delete") => Operation::Delete,
        ("DELETE", true) if has("uploadId") => Operation::Abort,
        ("DELETE", true) => Operation::Delete,
        ("GET", true) if has("uploadId") => Operation::List,
        ("GET", true) => Operation::Get,
        ("GET", false) => Operation::List,
        ("HEAD", _) => Operation::Head,
        _ => Operation::Other,
    }
}

/// Parameters, without escapes.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// Takes escapes out; what is no text after that is replaced.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, uri: &str, expected: Operation, key: &str) {
        let request = Request::builder().method(method).uri(uri);
        let target = Target::of(&request.body(()).expect("valid"));
        assert_eq!((target.operation, &*target.key), (expected, key));
    }

    #[test]
    fn requests_are_told_apart() {
        check("PUT", "/models/a/b%20c", Operation::Put, "a/b c");
        check(
            "PUT",
            "/models/a?partNumber=1&uploadId=x",
            Operation::UploadPart,
            "a",
        );
        check("POST", "/models/a?uploads", Operation::Create, "a");
        check("POST", "/models/a?uploads=", Operation::Create, "a");
        check("POST", "/models/a?uploadId=x%2Fy", Operation::Complete, "a");
        check("DELETE", "/models/a?uploadId=x", Operation::Abort, "a");
        check("DELETE", "/models/a", Operation::Delete, "a");
        check("POST", "/models?delete=", Operation::Delete, "");
        check("GET", "/models/a%2Fb%25", Operation::Get, "a/b%");
        check("GET", "/models/a?uploadId=x", Operation::List, "a");
        check("GET", "/models?list-type=2", Operation::List, "");
        check("GET", "/models/?list-type=2", Operation::List, "");
        check("HEAD", "/models", Operation::Head, "");
        check("PUT", "/models", Operation::Other, "");
        check("POST", "/models", Operation::Other, "");
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%4"), "%zz%4");
        assert_eq!(decode("%C3%BC%ff"), "ü\u{fffd}");
    }
}
