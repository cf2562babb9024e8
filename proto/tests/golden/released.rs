//! Every value whose bytes were released.

use std::time::Duration;

use bytes::Bytes;
use ginnel_proto::code::Code;
use ginnel_proto::control::{
    Access, Address, Control, Drain, Goodbye, Hello, News, Register, Registered, Service,
    ServiceKind, Welcome,
};
use ginnel_proto::datagram::{Datagram, Ping, Pong};
use ginnel_proto::frame::{self, FrameType};
use ginnel_proto::http::{RequestHead, ResponseHead, decode_trailers, encode_trailers};
use ginnel_proto::id::{DeviceName, Domain, ServiceName, UpstreamName};
use ginnel_proto::join::{JoinAnswer, JoinRequest};
use ginnel_proto::open::Open;
use ginnel_proto::push::{Offer, Parts, PushAnswer, PushRequest, Upload, Want};
use http::header::{HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, StatusCode};

/// A released value of any kind.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Control(Control),
    Open(Open),
    Request(RequestHead),
    Response(ResponseHead),
    Trailers(HeaderMap),
    JoinRequest(JoinRequest),
    JoinAnswer(JoinAnswer),
    PushRequest(PushRequest),
    PushAnswer(PushAnswer),
    Datagram(Datagram),
    /// A whole frame with a short payload.
    Frame(FrameType, Bytes),
    /// The header of a DATA frame, whose payload is of that length.
    Data(usize),
    Rest,
}

impl Value {
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Control(control) => control.encode(),
            Self::Open(open) => open.encode(),
            Self::Request(head) => head.encode().expect("small"),
            Self::Response(head) => head.encode().expect("small"),
            Self::Trailers(trailers) => encode_trailers(trailers).expect("small"),
            Self::JoinRequest(request) => request.encode(),
            Self::JoinAnswer(answer) => answer.encode(),
            Self::PushRequest(request) => request.encode(),
            Self::PushAnswer(answer) => answer.encode(),
            Self::Datagram(datagram) => datagram.encode(),
            Self::Frame(kind, payload) => frame::whole(*kind, payload),
            Self::Data(length) => frame::data_header(*length),
            Self::Rest => frame::REST,
        }
    }

    /// Reads `payload` as a value of this kind; frames are read elsewhere.
    pub(crate) fn decode_as(&self, payload: Bytes) -> Self {
        match self {
            Self::Control(_) => {
                let control = Control::decode(payload).expect("valid");
                Self::Control(control.expect("a known message"))
            }
            Self::Open(_) => Self::Open(Open::decode(payload).expect("valid")),
            Self::Request(_) => Self::Request(RequestHead::decode(payload).expect("valid")),
            Self::Response(_) => Self::Response(ResponseHead::decode(payload).expect("valid")),
            Self::Trailers(_) => Self::Trailers(decode_trailers(payload).expect("valid")),
            Self::JoinRequest(_) => Self::JoinRequest(JoinRequest::decode(payload).expect("valid")),
            Self::JoinAnswer(_) => Self::JoinAnswer(JoinAnswer::decode(payload).expect("valid")),
            Self::PushRequest(_) => Self::PushRequest(PushRequest::decode(payload).expect("valid")),
            Self::PushAnswer(_) => Self::PushAnswer(PushAnswer::decode(payload).expect("valid")),
            Self::Datagram(_) => Self::Datagram(Datagram::decode(&payload).expect("known")),
            Self::Frame(..) | Self::Data(_) | Self::Rest => panic!("not a payload"),
        }
    }

    /// Whether the bytes are protobuf, so that a later version may add fields.
    pub(crate) fn is_protobuf(&self) -> bool {
        match self {
            Self::Control(_)
            | Self::Open(_)
            | Self::Request(_)
            | Self::Response(_)
            | Self::Trailers(_)
            | Self::JoinRequest(_)
            | Self::JoinAnswer(_)
            | Self::PushRequest(_)
            | Self::PushAnswer(_) => true,
            Self::Datagram(_) | Self::Frame(..) | Self::Data(_) | Self::Rest => false,
        }
    }

    /// Whether the one field is a choice between messages, which may grow too.
    pub(crate) fn is_choice(&self) -> bool {
        match self {
            Self::Control(_)
            | Self::Open(_)
            | Self::JoinAnswer(_)
            | Self::PushRequest(_)
            | Self::PushAnswer(_) => true,
            Self::Request(_)
            | Self::Response(_)
            | Self::Trailers(_)
            | Self::JoinRequest(_)
            | Self::Datagram(_)
            | Self::Frame(..)
            | Self::Data(_)
            | Self::Rest => false,
        }
    }

    /// Whether the bytes are a frame and not a payload.
    pub(crate) fn is_frame(&self) -> bool {
        matches!(self, Self::Frame(..) | Self::Data(_) | Self::Rest)
    }
}

/// Heads hold types without `==`, so they are compared by their parts.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Request(a), Self::Request(b)) => {
                (&a.method, &a.scheme, &a.authority, a.path.as_str())
                    == (&b.method, &b.scheme, &b.authority, b.path.as_str())
                    && (&a.headers, &a.upgrade, a.end) == (&b.headers, &b.upgrade, b.end)
                    && sensitive(&a.headers) == sensitive(&b.headers)
            }
            (Self::Response(a), Self::Response(b)) => {
                (a.status, &a.headers, &a.upgrade, a.end)
                    == (b.status, &b.headers, &b.upgrade, b.end)
                    && sensitive(&a.headers) == sensitive(&b.headers)
            }
            (Self::Control(a), Self::Control(b)) => a == b,
            (Self::Open(a), Self::Open(b)) => a == b,
            (Self::Trailers(a), Self::Trailers(b)) => a == b,
            (Self::JoinRequest(a), Self::JoinRequest(b)) => a == b,
            (Self::JoinAnswer(a), Self::JoinAnswer(b)) => a == b,
            (Self::PushRequest(a), Self::PushRequest(b)) => a == b,
            (Self::PushAnswer(a), Self::PushAnswer(b)) => a == b,
            (Self::Datagram(a), Self::Datagram(b)) => a == b,
            (Self::Frame(a, one), Self::Frame(b, other)) => (a, one) == (b, other),
            (Self::Data(a), Self::Data(b)) => a == b,
            (Self::Rest, Self::Rest) => true,
            _ => false,
        }
    }
}

fn sensitive(headers: &HeaderMap) -> Vec<bool> {
    headers.values().map(HeaderValue::is_sensitive).collect()
}

/// Every released value by its name in `bytes.txt`.
pub(crate) fn released() -> Vec<(&'static str, Value)> {
    let mut all = control();
    all.extend(open());
    all.extend(heads());
    all.extend(join());
    all.extend(push_requests());
    all.extend(push_answers());
    all.extend(datagrams());
    all.extend(frames());
    all
}

fn control() -> Vec<(&'static str, Value)> {
    let web = Service {
        name: service("web"),
        kind: ServiceKind::Http,
        access: Access::Private,
    };
    let database = Service {
        name: service("db"),
        kind: ServiceKind::Tcp,
        access: Access::Public,
    };
    let address = Address {
        service: service("web"),
        url: "http://web.laptop.localhost:7480".into(),
    };
    let all = [
        (
            "control-hello",
            Control::Hello(Hello {
                agent: "0.1.0".into(),
                capabilities: vec![1, 300],
            }),
        ),
        (
            "control-welcome",
            Control::Welcome(Welcome {
                relay: "0.1.0".into(),
                capabilities: vec![7],
                device: "alice/laptop".parse().expect("valid"),
                link: 42,
                unix_ms: 1_700_000_000_000,
                heartbeat: Duration::from_secs(30),
            }),
        ),
        (
            "control-register",
            Control::Register(Register {
                generation: 3,
                services: vec![web, database],
            }),
        ),
        (
            "control-registered",
            Control::Registered(Registered {
                generation: 3,
                addresses: vec![address],
            }),
        ),
        (
            "control-drain",
            Control::Drain(Drain {
                reconnect_in: Duration::from_millis(250),
                try_for: Duration::from_secs(30),
            }),
        ),
        (
            "control-goodbye",
            Control::Goodbye(Goodbye {
                reason: "the daemon stops".into(),
            }),
        ),
        (
            "control-news",
            Control::News(News {
                device: DeviceName::parse("laptop").expect("valid"),
                epoch: 2,
                sequence: 300,
            }),
        ),
    ];
    all.map(|(name, control)| (name, Value::Control(control)))
        .into()
}

fn open() -> Vec<(&'static str, Value)> {
    let all = [
        (
            "open-http",
            Open::Http {
                service: service("web"),
            },
        ),
        (
            "open-tcp",
            Open::Tcp {
                service: service("db"),
            },
        ),
        (
            "open-dial",
            Open::Dial {
                device: device("laptop"),
                service: service("db"),
            },
        ),
        (
            "open-upstream",
            Open::Upstream {
                upstream: UpstreamName::parse("openai").expect("valid"),
            },
        ),
        ("open-push", Open::Push),
        ("open-catalog", Open::Catalog),
        ("open-knowledge", Open::Knowledge),
    ];
    all.map(|(name, open)| (name, Value::Open(open))).into()
}

fn heads() -> Vec<(&'static str, Value)> {
    let mut headers = HeaderMap::new();
    headers.append("accept", HeaderValue::from_static("*/*"));
    headers.append("x-empty", HeaderValue::from_static(""));
    headers.append(
        "cookie",
        HeaderValue::from_bytes(b"\xffa=1").expect("valid"),
    );
    headers.append("cookie", HeaderValue::from_static("b=2"));
    let mut secret = HeaderValue::from_static("Bearer x");
    secret.set_sensitive(true);
    headers.append("authorization", secret);

    let mut trailers = HeaderMap::new();
    trailers.append("grpc-status", HeaderValue::from_static("0"));

    let request = RequestHead {
        method: Method::POST,
        scheme: Scheme::HTTPS,
        authority: Some(Authority::from_static("web.laptop.example.com")),
        path: PathAndQuery::from_static("/v1/chat?x=1"),
        headers: headers.clone(),
        upgrade: None,
        end: false,
    };
    let upgrade = RequestHead {
        method: Method::GET,
        scheme: Scheme::HTTP,
        authority: None,
        path: PathAndQuery::from_static("*"),
        headers: HeaderMap::new(),
        upgrade: Some(HeaderValue::from_static("websocket")),
        end: true,
    };
    let response = ResponseHead {
        status: StatusCode::OK,
        headers,
        upgrade: None,
        end: false,
    };
    let switching = ResponseHead {
        status: StatusCode::SWITCHING_PROTOCOLS,
        headers: HeaderMap::new(),
        upgrade: Some(HeaderValue::from_static("websocket")),
        end: false,
    };
    let empty = ResponseHead {
        status: StatusCode::NO_CONTENT,
        headers: HeaderMap::new(),
        upgrade: None,
        end: true,
    };
    vec![
        ("head-request", Value::Request(request)),
        ("head-request-upgrade", Value::Request(upgrade)),
        ("head-response", Value::Response(response)),
        (
            "head-response-100",
            Value::Response(ResponseHead::continue_100()),
        ),
        ("head-response-101", Value::Response(switching)),
        ("head-response-end", Value::Response(empty)),
        ("trailers", Value::Trailers(trailers)),
        ("trailers-none", Value::Trailers(HeaderMap::new())),
    ]
}

fn join() -> Vec<(&'static str, Value)> {
    let request = JoinRequest {
        code_id: "abcdefgh".into(),
        secret: Bytes::from_static(&[0xa5; 20]),
        certificate_request: Bytes::from_static(&[0x30, 0x00]),
        device: Some(device("laptop")),
        fallback: Some(device("host")),
    };
    let joined = JoinAnswer::Joined {
        certificate: Bytes::from_static(&[0x30, 0x01, 0xff]),
        authority: Bytes::from_static(&[0x30, 0x02, 0xff, 0xff]),
        domain: Domain::parse("relay.example.com").expect("valid"),
    };
    let refused = JoinAnswer::Refused {
        reason: "join code has been used".into(),
    };
    vec![
        ("join-request", Value::JoinRequest(request)),
        ("join-joined", Value::JoinAnswer(joined)),
        ("join-refused", Value::JoinAnswer(refused)),
    ]
}

fn push_requests() -> Vec<(&'static str, Value)> {
    let fresh = Offer {
        artifact: "models/phi.gguf".parse().expect("valid"),
        blob: std::array::from_fn(|index| 0xa0 + u8::try_from(index).expect("below 32")),
        size: 1 << 33,
        index_length: 300_000,
        bases: Vec::new(),
        resume: None,
    };
    let resumed = Offer {
        bases: vec![
            "models/~/old.gguf".parse().expect("valid"),
            "loras/sql-8".parse().expect("valid"),
        ],
        resume: Some(upload()),
        ..fresh.clone()
    };
    let parts = Parts {
        tags: vec!["\"a1\"".into(), "\"b2\"".into()],
        end: false,
    };
    let last = Parts {
        tags: Vec::new(),
        end: true,
    };
    let all = [
        ("push-offer", PushRequest::Offer(fresh)),
        ("push-offer-resume", PushRequest::Offer(resumed)),
        ("push-parts", PushRequest::Parts(parts)),
        ("push-parts-end", PushRequest::Parts(last)),
    ];
    all.map(|(name, request)| (name, Value::PushRequest(request)))
        .into()
}

fn push_answers() -> Vec<(&'static str, Value)> {
    let want = Want {
        upload: upload(),
        parts: 3,
        chunks: Bytes::from_static(&[5, 1]),
    };
    let stored = PushAnswer::Stored {
        number: 300,
        tag: "\"c3\"".into(),
    };
    let published = |unchanged| PushAnswer::Published {
        etag: "\"d4-2\"".into(),
        unchanged,
    };
    let declined = PushAnswer::Declined {
        code: Code::QuotaExceeded,
        reason: "no room, left=5".into(),
    };
    let all = [
        ("push-want", PushAnswer::Want(want)),
        ("push-stored", stored),
        ("push-published", published(false)),
        ("push-published-unchanged", published(true)),
        ("push-declined", declined),
    ];
    all.map(|(name, answer)| (name, Value::PushAnswer(answer)))
        .into()
}

fn upload() -> Upload {
    Upload {
        id: "2~abc/d".into(),
        fence: 7,
        part_size: 16 << 20,
    }
}

fn datagrams() -> Vec<(&'static str, Value)> {
    let ping = Ping {
        sequence: 0x0102_0304,
        time_us: 0x1112_1314_1516_1718,
        rtt_us: 0x2122_2324,
        queue: 0x3132_3334,
    };
    let pong = Pong {
        sequence: 0x0102_0304,
        time_us: 0x1112_1314_1516_1718,
        unix_ms: 0x4142_4344_4546_4748,
        queue: 0x3132_3334,
    };
    vec![
        ("datagram-ping", Value::Datagram(Datagram::Ping(ping))),
        ("datagram-pong", Value::Datagram(Datagram::Pong(pong))),
    ]
}

fn frames() -> Vec<(&'static str, Value)> {
    let payload = Bytes::from_static(b"payload");
    vec![
        ("frame-open", Value::Frame(FrameType::Open, payload.clone())),
        ("frame-head", Value::Frame(FrameType::Head, payload.clone())),
        (
            "frame-trailers",
            Value::Frame(FrameType::Trailers, payload.clone()),
        ),
        ("frame-message", Value::Frame(FrameType::Message, payload)),
        (
            "frame-message-empty",
            Value::Frame(FrameType::Message, Bytes::new()),
        ),
        ("frame-data-0", Value::Data(0)),
        ("frame-data-63", Value::Data(63)),
        ("frame-data-64", Value::Data(64)),
        ("frame-data-65536", Value::Data(65_536)),
        ("frame-data-2-30", Value::Data(1 << 30)),
        ("frame-rest", Value::Rest),
    ]
}

fn service(name: &str) -> ServiceName {
    ServiceName::parse(name).expect("valid")
}

fn device(name: &str) -> DeviceName {
    DeviceName::parse(name).expect("valid")
}
