//! Signature version 4 of AWS, as S3 has it: over the head only, so that a
//! body may be streamed.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, hmac};
use data_encoding::HEXLOWER;
use http::header::{AUTHORIZATION, HeaderValue};
use http::request::Parts;

/// Bytes that stand for themselves in a signed path or query.
const UNRESERVED: &[u8] = b"-._~";

/// R2 knows no other, and calls this one an alias of its own.
const REGION: &str = "us-east-1";

/// The signature leaves the body out.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Who asks: an access key, and its secret.
#[derive(Debug, Clone)]
pub struct Keys {
    /// `AWS_ACCESS_KEY_ID`.
    pub id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret: String,
}

impl Keys {
    /// Signs a request by all fields that it has now, and two more. The path
    /// and query must be as [`encode`] makes them, the query in order.
    ///
    /// # Panics
    /// When a field is not text.
    pub fn sign(&self, head: &mut Parts, now: SystemTime) {
        let time = Time::of(now);
        let field = |text: &str| HeaderValue::from_str(text).expect("plain text");
        head.headers.insert("x-amz-date", field(&time.stamp));
        head.headers.insert("x-amz-content-sha256", field(UNSIGNED));

        let mut fields: Vec<_> = head.headers.iter().collect();
        fields.sort_by_key(|(name, _)| name.as_str());
        let mut canonical = format!("{}\n{}\n", head.method, head.uri.path());
        let _ = writeln!(canonical, "{}", head.uri.query().unwrap_or_default());
        for (name, value) in &fields {
            let value = value.to_str().expect("text").trim();
            let _ = writeln!(canonical, "{name}:{value}");
        }
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let _ = write!(canonical, "\n{names}\n{UNSIGNED}");

        let scope = format!("{}/{REGION}/s3/aws4_request", time.day);
        let hash = HEXLOWER.encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let signed = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", time.stamp);
        let mut key = mac(format!("AWS4{}", self.secret).as_bytes(), &time.day);
        for part in [REGION, "s3", "aws4_request"] {
            key = mac(key.as_ref(), part);
        }
        let signature = HEXLOWER.encode(mac(key.as_ref(), &signed).as_ref());
        let id = &self.id;
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        head.headers.insert(AUTHORIZATION, field(&authorization));
    }
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// Escapes all that S3 escapes, and in a path not its slashes.
#[must_use]
pub(super) fn encode(text: &str, slashes: Slashes) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let path = byte == b'/' && slashes == Slashes::Stay;
        if byte.is_ascii_alphanumeric() || UNRESERVED.contains(&byte) || path {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// What becomes of slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slashes {
    /// They part a path.
    Stay,
    /// They are part of a name or value.
    Escape,
}

/// A moment, as signatures write it.
struct Time {
    /// `20261129`.
    day: String,
    /// `20261129T080910Z`.
    stamp: String,
}

impl Time {
    fn of(now: SystemTime) -> Self {
        let since = now.duration_since(UNIX_EPOCH).expect("after 1970");
        let seconds = i64::try_from(since.as_secs()).expect("before the end of time");
        let now = time::UtcDateTime::from_unix_timestamp(seconds).expect("in range");
        let day = format!("{}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
        let (hour, minute, second) = (now.hour(), now.minute(), now.second());
        let stamp = format!("{day}T{hour:02}{minute:02}{second:02}Z");
        Self { day, stamp }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;

    use super::*;

    /// Made with another implementation: botocore's `S3SigV4Auth`.
    #[test]
    fn a_request_is_signed_as_others_sign_it() {
        let request = Request::put(
            "http://127.0.0.1:9000/models/a%20b/c%2Bd.gguf?partNumber=1&uploadId=x%2Fy",
        )
        .header("host", "127.0.0.1:9000")
        .header("if-none-match", "*");
        let (mut head, ()) = request.body(()).expect("valid").into_parts();
        let keys = Keys {
            id: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
        };
        keys.sign(&mut head, UNIX_EPOCH + Duration::from_secs(1_795_939_750));
        let authorization = head.headers[AUTHORIZATION].to_str().expect("text");
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261129/us-east-1/s3/aws4_request, \
            SignedHeaders=host;if-none-match;x-amz-content-sha256;x-amz-date, \
            Signature=529363194827e3281c6b4fde3d8d15caa148ebe2f6af5630e3fb30e6292c01a0";
        assert_eq!(authorization, expected);
    }

    #[test]
    fn names_are_escaped_as_s3_does() {
        assert_eq!(encode("a/ü~b c*", Slashes::Stay), "a/%C3%BC~b%20c%2A");
        assert_eq!(encode("a/b", Slashes::Escape), "a%2Fb");
    }
}
