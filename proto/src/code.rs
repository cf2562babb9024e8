//! Why a link was closed or a stream reset, and what an HTTP caller sees.
//!
//! One table for both, so that a reason keeps its number, its name and its
//! status everywhere: on the wire, in logs, in metrics and in the
//! `ginnel-reason` header.

use http::{HeaderName, StatusCode};

/// The field of an answer in which a relay or agent says its code's name, when
/// the answer is its own.
pub const REASON: HeaderName = HeaderName::from_static("ginnel-reason");

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $status:ident;)*) => {
        /// A reason for closing a link or resetting a stream.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $variant,)*
            /// A number this version does not know.
            Unknown(u64),
        }

        impl Code {
            /// Every code this version knows, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The number on the wire.
            #[must_use]
            pub fn number(self) -> u64 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Unknown(number) => number,
                }
            }

            /// The code with that number.
            #[must_use]
            pub fn from_number(number: u64) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    _ => Self::Unknown(number),
                }
            }

            /// The name in logs, metrics and the `ginnel-reason` header.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Unknown(_) => "unknown",
                }
            }

            /// What an HTTP caller is told when a request ends this way
            /// before its answer has begun.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)*
                    Self::Unknown(_) => StatusCode::BAD_GATEWAY,
                }
            }
        }
    };
}

codes! {
    /// All is well; nothing more to say.
    Done = 0x00, "done", BAD_GATEWAY;

    // Links: 0x100.

    /// The peer stops on purpose.
    Goodbye = 0x100, "goodbye", SERVICE_UNAVAILABLE;
    /// The relay is restarting.
    Draining = 0x101, "draining", SERVICE_UNAVAILABLE;
    /// A newer link of the same device took over.
    Superseded = 0x102, "superseded", SERVICE_UNAVAILABLE;
    /// The device was revoked.
    Revoked = 0x103, "revoked", FORBIDDEN;
    /// The relay has no such device.
    UnknownDevice = 0x104, "unknown_device", FORBIDDEN;
    /// No certificate was presented.
    CertificateRequired = 0x105, "certificate_required", FORBIDDEN;
    /// The certificate does not name a device of this relay.
    WrongIdentity = 0x106, "wrong_identity", FORBIDDEN;
    /// The certificate is not the newest one issued to the device.
    StaleCertificate = 0x107, "stale_certificate", FORBIDDEN;
    /// A message broke the protocol.
    Violation = 0x108, "protocol_violation", BAD_GATEWAY;
    /// The first message did not come in time.
    HelloTimeout = 0x109, "hello_timeout", GATEWAY_TIMEOUT;
    /// A join request was refused.
    JoinRefused = 0x10b, "join_refused", FORBIDDEN;

    // Streams: 0x200.

    /// The side that asked no longer wants the answer.
    Cancelled = 0x200, "cancelled", BAD_GATEWAY;
    /// A frame or its payload could not be read.
    Malformed = 0x201, "malformed", BAD_GATEWAY;
    /// A frame of an unknown type that may not be skipped.
    UnknownFrame = 0x202, "unknown_frame", BAD_GATEWAY;
    /// A head is over its limit.
    HeadTooLarge = 0x203, "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// The device does not share such a service.
    UnknownService = 0x204, "unknown_service", NOT_FOUND;
    /// The local service refused the connection or could not be reached.
    ServiceUnreachable = 0x205, "service_unreachable", BAD_GATEWAY;
    /// The local service broke off or answered with something unreadable.
    ServiceFailed = 0x206, "service_failed", BAD_GATEWAY;
    /// The local service did not accept the connection in time.
    ConnectTimeout = 0x207, "connect_timeout", GATEWAY_TIMEOUT;
    /// Nothing moved for too long.
    IdleTimeout = 0x208, "idle_timeout", GATEWAY_TIMEOUT;
    /// A limit on concurrent requests is reached.
    Overloaded = 0x209, "overloaded", SERVICE_UNAVAILABLE;
    /// The service does not speak what the stream is for.
    WrongKind = 0x20a, "wrong_kind", MISDIRECTED_REQUEST;
    /// The relay is not configured for such an upstream.
    UnknownUpstream = 0x20b, "unknown_upstream", NOT_FOUND;
    /// The upstream refused the connection or could not be reached.
    UpstreamUnreachable = 0x20c, "upstream_unreachable", BAD_GATEWAY;
    /// The upstream broke off or answered with something unreadable.
    UpstreamFailed = 0x20d, "upstream_failed", BAD_GATEWAY;
    /// The caller may not do this.
    Denied = 0x20e, "denied", FORBIDDEN;
    /// The device has no link now.
    DeviceOffline = 0x20f, "device_offline", SERVICE_UNAVAILABLE;
    /// The link went down while the request was in flight.
    LinkLost = 0x210, "link_lost", BAD_GATEWAY;
    /// The request cannot be forwarded as it is.
    BadRequest = 0x211, "bad_request", BAD_REQUEST;
    /// An API key is needed, or the one given is not valid.
    Unauthorized = 0x212, "unauthorized", UNAUTHORIZED;
    /// No device or service has that host or path.
    NoRoute = 0x213, "no_route", NOT_FOUND;
    /// The OPEN or HEAD did not come in time.
    HeadTimeout = 0x214, "head_timeout", REQUEST_TIMEOUT;
    /// Something failed on our side.
    Internal = 0x215, "internal", INTERNAL_SERVER_ERROR;
    /// Somebody else owns the name, or was first.
    Conflict = 0x216, "conflict", CONFLICT;
    /// The user's artifacts would take more room than allowed.
    QuotaExceeded = 0x217, "quota_exceeded", INSUFFICIENT_STORAGE;
    /// It is larger than any may be.
    TooLarge = 0x218, "too_large", PAYLOAD_TOO_LARGE;
    /// There is no such artifact, or not for this user.
    NoArtifact = 0x219, "no_artifact", NOT_FOUND;
    /// The bucket cannot be reached, or does not answer as it should.
    BucketUnavailable = 0x21a, "bucket_unavailable", SERVICE_UNAVAILABLE;
    /// Bytes do not have the hash that they were promised to have.
    Corrupt = 0x21b, "corrupt", BAD_GATEWAY;
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Self::Unknown(number) = self {
            return write!(f, "unknown code {number:#x}");
        }
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_and_names_are_unique_and_round_trip() {
        let numbers: BTreeSet<u64> = Code::ALL.iter().map(|code| code.number()).collect();
        let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(numbers.len(), Code::ALL.len());
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), *code);
        }
        assert_eq!(Code::from_number(0x9999), Code::Unknown(0x9999));
    }

    #[test]
    fn no_reason_looks_like_success() {
        for code in Code::ALL {
            assert!(code.status().as_u16() >= 400, "{code}");
        }
    }
}
