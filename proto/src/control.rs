//! Messages of the control stream: one per MSG frame.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use crate::PayloadError;
use crate::id::{DeviceId, DeviceName, ServiceName};
use crate::limits::{CAPABILITIES_MAX, HEARTBEAT_RANGE, SERVICES_MAX, TEXT_MAX};
use crate::wire;

/// The capability of a relay that keeps artifacts: a device may open
/// [`Open::Push`](crate::open::Open::Push) and
/// [`Open::Catalog`](crate::open::Open::Catalog).
pub const ARTIFACTS: u32 = 1;

/// The capability of a relay that keeps the logs of a user's devices: a device
/// may open [`Open::Knowledge`](crate::open::Open::Knowledge).
pub const KNOWLEDGE: u32 = 2;

/// One message of the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Device to relay, first.
    Hello(Hello),
    /// Relay to device: connected.
    Welcome(Welcome),
    /// Device to relay: what can be reached.
    Register(Register),
    /// Relay to device: callers can reach it now.
    Registered(Registered),
    /// Relay to device: this relay is about to stop.
    Drain(Drain),
    /// Either side, before closing on purpose.
    Goodbye(Goodbye),
    /// Relay to device: another device of the same user wrote to its log.
    News(News),
}

/// How a device introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// The agent's version, for people. At most [`TEXT_MAX`] bytes.
    pub agent: String,
    /// Optional parts of the protocol that the device understands. None are
    /// defined yet.
    pub capabilities: Vec<u32>,
}

/// How a relay accepts a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The relay's version, for people. At most [`TEXT_MAX`] bytes.
    pub relay: String,
    /// Optional parts of the protocol that the relay understands, such as
    /// [`ARTIFACTS`].
    pub capabilities: Vec<u32>,
    /// Who the relay takes the device for.
    pub device: DeviceId,
    /// Names this link in both logs.
    pub link: u64,
    /// The relay's wall clock, milliseconds since 1970.
    pub unix_ms: u64,
    /// How often the device is to send a heartbeat. Values outside
    /// [`HEARTBEAT_RANGE`] are read as the nearer end of it.
    pub heartbeat: Duration,
}

/// The full list of a device's services; it replaces the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Register {
    /// Grows with every Register on a link.
    pub generation: u64,
    /// At most [`SERVICES_MAX`], each name once.
    pub services: Vec<Service>,
}

/// A local target that a device exposes, as the relay knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name, unique on the device.
    pub name: ServiceName,
    /// What it speaks.
    pub kind: ServiceKind,
    /// Who may call it.
    pub access: Access,
}

/// What a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceKind {
    /// HTTP requests.
    Http,
    /// Raw bytes over TCP.
    Tcp,
}

/// Who may call a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Callers with an API key whose scope covers it.
    Private,
    /// Everybody who reaches the relay.
    Public,
}

/// The relay's answer to a [`Register`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registered {
    /// The [`Register`] that this answers.
    pub generation: u64,
    /// Where callers find each service.
    pub addresses: Vec<Address>,
}

/// Where callers find a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The service.
    pub service: ServiceName,
    /// Its public URL.
    pub url: String,
}

/// The relay is about to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// When the device is to open its next link.
    pub reconnect_in: Duration,
    /// How long the relay lets open streams finish.
    pub try_for: Duration,
}

/// A link is about to be closed on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Goodbye {
    /// Why, for people. At most [`TEXT_MAX`] bytes.
    pub reason: String,
}

/// Another device of the same user wrote to its log. A hint: some are lost, and
/// what the log says counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The device.
    pub device: DeviceName,
    /// In which epoch.
    pub epoch: u64,
    /// Its newest batch.
    pub sequence: u64,
}

impl Control {
    /// The message as the payload of a MSG frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        use wire::control::Message;
        let message = match self {
            Self::Hello(hello) => Message::Hello(wire::Hello {
                agent: cut(&hello.agent),
                capabilities: hello.capabilities.clone(),
            }),
            Self::Welcome(welcome) => Message::Welcome(wire::Welcome {
                relay: cut(&welcome.relay),
                capabilities: welcome.capabilities.clone(),
                device: welcome.device.to_string(),
                link: welcome.link,
                unix_ms: welcome.unix_ms,
                heartbeat_ms: millis(welcome.heartbeat),
            }),
            Self::Register(register) => Message::Register(wire::Register {
                generation: register.generation,
                services: register.services.iter().map(Service::to_wire).collect(),
            }),
            Self::Registered(registered) => Message::Registered(wire::Registered {
                generation: registered.generation,
                addresses: registered.addresses.iter().map(Address::to_wire).collect(),
            }),
            Self::Drain(drain) => Message::Drain(wire::Drain {
                reconnect_in_ms: millis(drain.reconnect_in),
                try_for_ms: millis(drain.try_for),
            }),
            Self::Goodbye(goodbye) => Message::Goodbye(wire::Goodbye {
                reason: cut(&goodbye.reason),
            }),
            Self::News(news) => Message::News(wire::News {
                device: news.device.to_string(),
                epoch: news.epoch,
                sequence: news.sequence,
            }),
        };
        let message = Some(message);
        wire::Control { message }.encode_to_vec().into()
    }

    /// Reads the payload of a MSG frame. A message kind that this version
    /// does not know gives `None`: it is skipped.
    ///
    /// # Errors
    /// The payload is not a control message, or breaks a rule.
    pub fn decode(payload: Bytes) -> Result<Option<Self>, PayloadError> {
        use wire::control::Message;
        let control = wire::Control::decode(payload)
            .map_err(|error| PayloadError::unreadable("Control", &error))?;
        let Some(message) = control.message else {
            return Ok(None);
        };
        Ok(Some(match message {
            Message::Hello(hello) => Self::Hello(Hello {
                agent: text("Hello.agent", hello.agent)?,
                capabilities: capabilities("Hello.capabilities", hello.capabilities)?,
            }),
            Message::Welcome(welcome) => Self::Welcome(Welcome {
                relay: text("Welcome.relay", welcome.relay)?,
                capabilities: capabilities("Welcome.capabilities", welcome.capabilities)?,
                device: welcome
                    .device
                    .parse()
                    .map_err(|error| PayloadError::invalid("Welcome.device", error))?,
                link: welcome.link,
                unix_ms: welcome.unix_ms,
                heartbeat: duration(welcome.heartbeat_ms)
                    .clamp(HEARTBEAT_RANGE.0, HEARTBEAT_RANGE.1),
            }),
            Message::Register(register) => Self::Register(Register::from_wire(register)?),
            Message::Registered(registered) => Self::Registered(Registered::from_wire(registered)?),
            Message::Drain(drain) => Self::Drain(Drain {
                reconnect_in: duration(drain.reconnect_in_ms),
                try_for: duration(drain.try_for_ms),
            }),
            Message::Goodbye(goodbye) => Self::Goodbye(Goodbye {
                reason: text("Goodbye.reason", goodbye.reason)?,
            }),
            Message::News(news) => Self::News(News {
                device: DeviceName::parse(&news.device)
                    .map_err(|error| PayloadError::invalid("News.device", error))?,
                epoch: news.epoch,
                sequence: news.sequence,
            }),
        }))
    }

    /// The message's name, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::Welcome(_) => "Welcome",
            Self::Register(_) => "Register",
            Self::Registered(_) => "Registered",
            Self::Drain(_) => "Drain",
            Self::Goodbye(_) => "Goodbye",
            Self::News(_) => "News",
        }
    }
}

impl Register {
    fn from_wire(register: wire::Register) -> Result<Self, PayloadError> {
        const FIELD: &str = "Register.services";
        if register.services.len() > SERVICES_MAX {
            let reason = format!(
                "{} services, at most {SERVICES_MAX}",
                register.services.len()
            );
            return Err(PayloadError::invalid(FIELD, reason));
        }
        let mut names = BTreeSet::new();
        let mut services = Vec::with_capacity(register.services.len());
        for service in register.services {
            let service = Service::from_wire(&service)?;
            if !names.insert(service.name.clone()) {
                let reason = format!("named twice, service={}", service.name);
                return Err(PayloadError::invalid(FIELD, reason));
            }
            services.push(service);
        }
        Ok(Self {
            generation: register.generation,
            services,
        })
    }
}

impl Service {
    fn to_wire(&self) -> wire::Service {
        let kind = match self.kind {
            ServiceKind::Http => wire::service::Kind::Http,
            ServiceKind::Tcp => wire::service::Kind::Tcp,
        };
        wire::Service {
            name: self.name.to_string(),
            kind: kind.into(),
            public: self.access == Access::Public,
        }
    }

    fn from_wire(service: &wire::Service) -> Result<Self, PayloadError> {
        let kind = match wire::service::Kind::try_from(service.kind) {
            Ok(wire::service::Kind::Http) => ServiceKind::Http,
            Ok(wire::service::Kind::Tcp) => ServiceKind::Tcp,
            Err(error) => return Err(PayloadError::invalid("Service.kind", error)),
        };
        let access = if service.public {
            Access::Public
        } else {
            Access::Private
        };
        Ok(Self {
            name: ServiceName::parse(&service.name)
                .map_err(|error| PayloadError::invalid("Service.name", error))?,
            kind,
            access,
        })
    }
}

impl Registered {
    fn from_wire(registered: wire::Registered) -> Result<Self, PayloadError> {
        const FIELD: &str = "Registered.addresses";
        if registered.addresses.len() > SERVICES_MAX {
            return Err(PayloadError::invalid(FIELD, "more than services"));
        }
        let addresses = registered
            .addresses
            .into_iter()
            .map(Address::from_wire)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            generation: registered.generation,
            addresses,
        })
    }
}

impl Address {
    fn to_wire(&self) -> wire::Address {
        wire::Address {
            service: self.service.to_string(),
            url: self.url.clone(),
        }
    }

    fn from_wire(address: wire::Address) -> Result<Self, PayloadError> {
        if address.url.len() > 2048 {
            return Err(PayloadError::invalid(
                "Address.url",
                "longer than 2048 bytes",
            ));
        }
        Ok(Self {
            service: ServiceName::parse(&address.service)
                .map_err(|error| PayloadError::invalid("Address.service", error))?,
            url: address.url,
        })
    }
}

/// Text for people, refused above its limit.
fn text(field: &'static str, text: String) -> Result<String, PayloadError> {
    if text.len() > TEXT_MAX {
        return Err(PayloadError::invalid(field, "longer than 256 bytes"));
    }
    Ok(text)
}

/// Text for people, cut to its limit at a character's border.
fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT_MAX))
        .unwrap_or_default()
        .to_owned()
}

fn capabilities(field: &'static str, list: Vec<u32>) -> Result<Vec<u32>, PayloadError> {
    if list.len() > CAPABILITIES_MAX {
        return Err(PayloadError::invalid(field, "more than 64"));
    }
    Ok(list)
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn duration(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_register_beyond_its_limit_is_refused() {
        let service = |n: usize| Service {
            name: ServiceName::parse(&format!("s{n}")).expect("valid"),
            kind: ServiceKind::Http,
            access: Access::Private,
        };
        let register = |count| {
            Control::Register(Register {
                generation: 1,
                services: (0..count).map(service).collect(),
            })
        };
        let at = register(SERVICES_MAX);
        assert_eq!(Control::decode(at.encode()), Ok(Some(at)));
        assert!(Control::decode(register(SERVICES_MAX + 1).encode()).is_err());
    }

    #[test]
    fn the_addresses_of_a_full_list_fit_into_a_message() {
        let name = |n: usize| format!("{n:0>63}");
        let domain = "d".repeat(crate::id::DOMAIN_MAX);
        let address = |n: usize| Address {
            service: ServiceName::parse(&name(n)).expect("valid"),
            url: format!("https://{}.{}.{domain}:65535", name(n), name(n)),
        };
        let registered = Control::Registered(Registered {
            generation: u64::MAX,
            addresses: (0..SERVICES_MAX).map(address).collect(),
        });
        assert!(registered.encode().len() <= crate::limits::MESSAGE_MAX);
    }

    #[test]
    fn a_service_named_twice_is_refused() {
        let service = Service {
            name: ServiceName::parse("web").expect("valid"),
            kind: ServiceKind::Tcp,
            access: Access::Public,
        };
        let twice = Control::Register(Register {
            generation: 1,
            services: vec![service.clone(), service],
        });
        let error = Control::decode(twice.encode()).expect_err("named twice");
        assert!(error.to_string().contains("service=web"), "{error}");
    }

    #[test]
    fn an_unknown_message_is_skipped() {
        // Field 99, empty message.
        let future = Bytes::from_static(&[0x9a, 0x06, 0x00]);
        assert_eq!(Control::decode(future), Ok(None));
    }

    #[test]
    fn long_reasons_are_cut_when_sent_and_refused_when_received() {
        let reason = "ä".repeat(200);
        let goodbye = Control::Goodbye(Goodbye { reason });
        let Ok(Some(Control::Goodbye(read))) = Control::decode(goodbye.encode()) else {
            panic!("not a goodbye");
        };
        assert_eq!(read.reason, "ä".repeat(128));

        let raw = wire::Control {
            message: Some(wire::control::Message::Goodbye(wire::Goodbye {
                reason: "x".repeat(TEXT_MAX + 1),
            })),
        };
        assert!(Control::decode(raw.encode_to_vec().into()).is_err());
    }

    #[test]
    fn heartbeats_outside_the_range_are_clamped() {
        for (sent, read) in [(0, 1_000), (30_000, 30_000), (10_000_000, 300_000)] {
            let raw = wire::Control {
                message: Some(wire::control::Message::Welcome(wire::Welcome {
                    device: "a/b".into(),
                    heartbeat_ms: sent,
                    ..wire::Welcome::default()
                })),
            };
            let Ok(Some(Control::Welcome(welcome))) = Control::decode(raw.encode_to_vec().into())
            else {
                panic!("not a welcome");
            };
            assert_eq!(welcome.heartbeat, Duration::from_millis(read));
        }
    }

    fn name() -> impl Strategy<Value = ServiceName> {
        proptest::collection::vec(prop::sample::select(b"abcxyz019-".to_vec()), 0..20)
            .prop_map(|tail| format!("n{}", String::from_utf8(tail).expect("ascii")))
            .prop_map(|text| ServiceName::parse(&text).expect("valid"))
    }

    fn control() -> impl Strategy<Value = Control> {
        let short = proptest::collection::vec(any::<char>(), 0..60)
            .prop_map(|chars| chars.into_iter().collect::<String>());
        let service =
            (name(), any::<bool>(), any::<bool>()).prop_map(|(name, tcp, public)| Service {
                name,
                kind: if tcp {
                    ServiceKind::Tcp
                } else {
                    ServiceKind::Http
                },
                access: if public {
                    Access::Public
                } else {
                    Access::Private
                },
            });
        let services = proptest::collection::vec(service, 0..10).prop_map(|mut list| {
            list.sort_by(|a, b| a.name.cmp(&b.name));
            list.dedup_by(|a, b| a.name == b.name);
            list
        });
        let ms = (0_u64..=u64::from(u32::MAX)).prop_map(Duration::from_millis);
        prop_oneof![
            (
                short.clone(),
                proptest::collection::vec(any::<u32>(), 0..CAPABILITIES_MAX)
            )
                .prop_map(|(agent, capabilities)| Control::Hello(Hello {
                    agent,
                    capabilities
                })),
            (any::<u64>(), any::<u64>(), 1_u64..300).prop_map(|(link, unix_ms, seconds)| {
                Control::Welcome(Welcome {
                    relay: "1".into(),
                    capabilities: vec![],
                    device: "user/device".parse().expect("valid"),
                    link,
                    unix_ms,
                    heartbeat: Duration::from_secs(seconds),
                })
            }),
            (any::<u64>(), services).prop_map(|(generation, services)| {
                Control::Register(Register {
                    generation,
                    services,
                })
            }),
            (
                any::<u64>(),
                proptest::collection::vec((name(), short.clone()), 0..5)
            )
                .prop_map(|(generation, list)| Control::Registered(Registered {
                    generation,
                    addresses: list
                        .into_iter()
                        .map(|(service, url)| Address { service, url })
                        .collect(),
                })),
            (ms.clone(), ms).prop_map(|(reconnect_in, try_for)| {
                Control::Drain(Drain {
                    reconnect_in,
                    try_for,
                })
            }),
            short.prop_map(|reason| Control::Goodbye(Goodbye { reason })),
        ]
    }

    proptest! {
        #[test]
        fn round_trip(control in control()) {
            prop_assert_eq!(Control::decode(control.encode()), Ok(Some(control)));
        }

        #[test]
        fn perturbed_input_never_panics(
            control in control(),
            at in any::<prop::sample::Index>(),
            value in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = control.encode().to_vec();
            prop_assume!(!bytes.is_empty());
            let at = at.index(bytes.len());
            bytes[at] = value;
            bytes.truncate(cut.index(bytes.len() + 1));
            let _ = Control::decode(bytes.into());
        }
    }
}
