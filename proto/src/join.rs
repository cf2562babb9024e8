//! How a device gets its certificate: one request and one answer on a
//! connection of its own, whose ALPN is `ginnel-join/1`.

use bytes::Bytes;
use prost::Message as _;

use crate::PayloadError;
use crate::id::{DeviceName, Domain};
use crate::limits::CERTIFICATE_REQUEST_MAX;
use crate::wire;

/// Longest code id, in bytes.
const CODE_ID_MAX: usize = 32;

/// Longest secret, in bytes.
const SECRET_MAX: usize = 64;

/// Longest certificate in an answer, in bytes.
const CERTIFICATE_MAX: usize = 16 * 1024;

/// Longest reason in an answer, in bytes; cut when written.
const REASON_MAX: usize = 1024;

/// What a device asks.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// Which join code.
    pub code_id: String,
    /// The code's secret.
    pub secret: Bytes,
    /// PKCS#10 (RFC 2986), DER. At most [`CERTIFICATE_REQUEST_MAX`] bytes.
    pub certificate_request: Bytes,
    /// The name the device insists on; the one in the invitation otherwise.
    pub device: Option<DeviceName>,
    /// The name to take if neither says one.
    pub fallback: Option<DeviceName>,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest")
            .field("code_id", &self.code_id)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// What the relay answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinAnswer {
    /// The device is enrolled.
    Joined {
        /// Its certificate, X.509 DER.
        certificate: Bytes,
        /// The authority's certificate, X.509 DER.
        authority: Bytes,
        /// The name to expect in the relay's certificate.
        domain: Domain,
    },
    /// It is not.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

impl JoinRequest {
    /// The request as the payload of a MSG frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let request = wire::JoinRequest {
            code_id: self.code_id.clone(),
            secret: self.secret.clone(),
            certificate_request: self.certificate_request.clone(),
            device: text(self.device.as_ref()),
            fallback: text(self.fallback.as_ref()),
        };
        request.encode_to_vec().into()
    }

    /// Reads the payload of a MSG frame.
    ///
    /// # Errors
    /// The payload is not a join request, or a field is over its limit.
    pub fn decode(payload: Bytes) -> Result<Self, PayloadError> {
        let request = wire::JoinRequest::decode(payload)
            .map_err(|error| PayloadError::unreadable("JoinRequest", &error))?;
        let bounded = |field, length, max| {
            if length > max {
                return Err(PayloadError::invalid(
                    field,
                    format!("longer than {max} bytes"),
                ));
            }
            Ok(())
        };
        bounded("JoinRequest.code_id", request.code_id.len(), CODE_ID_MAX)?;
        bounded("JoinRequest.secret", request.secret.len(), SECRET_MAX)?;
        bounded(
            "JoinRequest.certificate_request",
            request.certificate_request.len(),
            CERTIFICATE_REQUEST_MAX,
        )?;
        Ok(Self {
            device: name("JoinRequest.device", &request.device)?,
            fallback: name("JoinRequest.fallback", &request.fallback)?,
            code_id: request.code_id,
            secret: request.secret,
            certificate_request: request.certificate_request,
        })
    }
}

/// A name that may be missing: empty on the wire.
fn text(name: Option<&DeviceName>) -> String {
    name.map(ToString::to_string).unwrap_or_default()
}

fn name(field: &'static str, text: &str) -> Result<Option<DeviceName>, PayloadError> {
    if text.is_empty() {
        return Ok(None);
    }
    DeviceName::parse(text)
        .map(Some)
        .map_err(|error| PayloadError::invalid(field, error))
}

impl JoinAnswer {
    /// The answer as the payload of a MSG frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        use wire::join_answer::Result as Kind;
        let result = match self {
            Self::Joined {
                certificate,
                authority,
                domain,
            } => Kind::Joined(wire::Joined {
                certificate: certificate.clone(),
                authority: authority.clone(),
                domain: domain.to_string(),
            }),
            Self::Refused { reason } => {
                let end = reason.floor_char_boundary(REASON_MAX);
                let reason = reason.get(..end).unwrap_or_default().to_owned();
                Kind::Refused(wire::Refused { reason })
            }
        };
        let result = Some(result);
        wire::JoinAnswer { result }.encode_to_vec().into()
    }

    /// Reads the payload of a MSG frame.
    ///
    /// # Errors
    /// The payload is not a join answer, or a field is over its limit.
    pub fn decode(payload: Bytes) -> Result<Self, PayloadError> {
        use wire::join_answer::Result as Kind;
        let answer = wire::JoinAnswer::decode(payload)
            .map_err(|error| PayloadError::unreadable("JoinAnswer", &error))?;
        match answer.result {
            Some(Kind::Joined(joined)) => {
                if joined.certificate.len().max(joined.authority.len()) > CERTIFICATE_MAX {
                    return Err(PayloadError::invalid("Joined.certificate", "too long"));
                }
                Ok(Self::Joined {
                    certificate: joined.certificate,
                    authority: joined.authority,
                    domain: Domain::parse(&joined.domain)
                        .map_err(|error| PayloadError::invalid("Joined.domain", error))?,
                })
            }
            Some(Kind::Refused(refused)) => {
                if refused.reason.len() > REASON_MAX {
                    return Err(PayloadError::invalid("Refused.reason", "too long"));
                }
                Ok(Self::Refused {
                    reason: refused.reason,
                })
            }
            None => Err(PayloadError::invalid(
                "JoinAnswer.result",
                "missing or unknown",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> JoinRequest {
        JoinRequest {
            code_id: "abcdefgh".into(),
            secret: Bytes::from_static(b"do not show"),
            certificate_request: Bytes::from_static(&[0x30, 0x00]),
            device: None,
            fallback: None,
        }
    }

    #[test]
    fn requests_and_answers_round_trip() {
        let named = JoinRequest {
            device: Some(DeviceName::parse("laptop").expect("valid")),
            fallback: Some(DeviceName::parse("host").expect("valid")),
            ..request()
        };
        for request in [request(), named] {
            assert_eq!(JoinRequest::decode(request.encode()), Ok(request));
        }
        for answer in [
            JoinAnswer::Joined {
                certificate: Bytes::from_static(b"c"),
                authority: Bytes::from_static(b"a"),
                domain: Domain::parse("localhost").expect("valid"),
            },
            JoinAnswer::Refused {
                reason: "used".into(),
            },
        ] {
            assert_eq!(JoinAnswer::decode(answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn certificate_requests_are_bounded() {
        let sized = |length| JoinRequest {
            certificate_request: vec![0; length].into(),
            ..request()
        };
        assert!(JoinRequest::decode(sized(CERTIFICATE_REQUEST_MAX).encode()).is_ok());
        assert!(JoinRequest::decode(sized(CERTIFICATE_REQUEST_MAX + 1).encode()).is_err());
    }

    #[test]
    fn the_secret_is_not_printed() {
        let printed = format!("{:?}", request());
        assert!(!printed.contains("show"), "{printed}");
    }
}
