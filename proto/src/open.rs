//! What a stream is for: the payload of its first frame.

use bytes::Bytes;
use prost::Message as _;

use crate::PayloadError;
use crate::id::{DeviceName, ServiceName, UpstreamName};
use crate::wire;

/// What a stream is for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Open {
    /// Relay to device: one HTTP exchange with a service. A HEAD follows.
    Http {
        /// The service asked for.
        service: ServiceName,
    },
    /// Raw bytes to and from a service: of this device when the relay asks,
    /// of whichever device of the same user shares it when a device asks.
    /// Answered with REST once the service is connected, or reset.
    Tcp {
        /// The service asked for.
        service: ServiceName,
    },
    /// Device to relay: raw bytes to and from a service of another device of
    /// the same user. Answered as [`Open::Tcp`].
    Dial {
        /// The device that shares the service.
        device: DeviceName,
        /// The service asked for.
        service: ServiceName,
    },
    /// Device to relay: one HTTP exchange with a cloud API. A HEAD follows.
    Upstream {
        /// The upstream asked for.
        upstream: UpstreamName,
    },
    /// Device to relay: an artifact for the bucket. What follows is in
    /// [`crate::push`].
    Push,
    /// Device to relay: one HTTP exchange with the relay's catalog of
    /// artifacts. A HEAD follows.
    Catalog,
    /// Device to relay: one HTTP exchange about the user's knowledge. A HEAD
    /// follows.
    Knowledge,
}

impl Open {
    /// The purpose as the payload of an OPEN frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        use wire::open::Purpose;
        let purpose = match self {
            Self::Http { service } => Purpose::Http(wire::OpenHttp {
                service: service.to_string(),
            }),
            Self::Tcp { service } => Purpose::Tcp(wire::OpenTcp {
                service: service.to_string(),
                device: String::new(),
            }),
            Self::Dial { device, service } => Purpose::Tcp(wire::OpenTcp {
                service: service.to_string(),
                device: device.to_string(),
            }),
            Self::Upstream { upstream } => Purpose::Upstream(wire::OpenUpstream {
                upstream: upstream.to_string(),
            }),
            Self::Push => Purpose::Push(wire::OpenPush {}),
            Self::Catalog => Purpose::Catalog(wire::OpenCatalog {}),
            Self::Knowledge => Purpose::Knowledge(wire::OpenKnowledge {}),
        };
        let purpose = Some(purpose);
        wire::Open { purpose }.encode_to_vec().into()
    }

    /// Reads the payload of an OPEN frame.
    ///
    /// # Errors
    /// The payload is not a purpose that this version knows.
    pub fn decode(payload: Bytes) -> Result<Self, PayloadError> {
        use wire::open::Purpose;
        let open = wire::Open::decode(payload)
            .map_err(|error| PayloadError::unreadable("Open", &error))?;
        let service = |name: &str| {
            ServiceName::parse(name).map_err(|error| PayloadError::invalid("Open.service", error))
        };
        match open.purpose {
            Some(Purpose::Http(http)) => Ok(Self::Http {
                service: service(&http.service)?,
            }),
            Some(Purpose::Tcp(tcp)) if tcp.device.is_empty() => Ok(Self::Tcp {
                service: service(&tcp.service)?,
            }),
            Some(Purpose::Tcp(tcp)) => Ok(Self::Dial {
                device: DeviceName::parse(&tcp.device)
                    .map_err(|error| PayloadError::invalid("OpenTcp.device", error))?,
                service: service(&tcp.service)?,
            }),
            Some(Purpose::Upstream(upstream)) => Ok(Self::Upstream {
                upstream: UpstreamName::parse(&upstream.upstream)
                    .map_err(|error| PayloadError::invalid("OpenUpstream.upstream", error))?,
            }),
            Some(Purpose::Push(wire::OpenPush {})) => Ok(Self::Push),
            Some(Purpose::Catalog(wire::OpenCatalog {})) => Ok(Self::Catalog),
            Some(Purpose::Knowledge(wire::OpenKnowledge {})) => Ok(Self::Knowledge),
            None => Err(PayloadError::invalid("Open.purpose", "missing or unknown")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_purpose_round_trips() {
        let service = ServiceName::parse("web").expect("valid");
        let device = DeviceName::parse("laptop").expect("valid");
        let upstream = UpstreamName::parse("openai").expect("valid");
        for open in [
            Open::Http {
                service: service.clone(),
            },
            Open::Tcp {
                service: service.clone(),
            },
            Open::Dial { device, service },
            Open::Upstream { upstream },
            Open::Push,
            Open::Catalog,
            Open::Knowledge,
        ] {
            assert_eq!(Open::decode(open.encode()), Ok(open));
        }
    }

    #[test]
    fn missing_and_unknown_purposes_are_refused() {
        assert!(Open::decode(Bytes::new()).is_err());
        assert!(Open::decode(Bytes::from_static(&[0x9a, 0x06, 0x00])).is_err());
        let bad_name = wire::Open {
            purpose: Some(wire::open::Purpose::Http(wire::OpenHttp {
                service: "../etc".into(),
            })),
        };
        assert!(Open::decode(bad_name.encode_to_vec().into()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_input_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Open::decode(bytes.into());
        }
    }
}
