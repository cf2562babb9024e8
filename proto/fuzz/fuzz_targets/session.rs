//! The two state machines of the control stream, talking to each other while
//! time passes, programs give commands and a hostile peer puts in messages of
//! its own.

#![no_main]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use ginnel_proto::code::Code;
use ginnel_proto::control::{
    Access, Control, Drain, Goodbye, Hello, Register, Registered, Service, ServiceKind, Welcome,
};
use ginnel_proto::id::ServiceName;
use ginnel_proto::link::session::{DeviceEvent, DeviceSession, RelayEvent, RelaySession};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Step {
    /// The oldest message on its way arrives.
    ToRelay,
    ToDevice,
    /// The clock moves, and both machines are told.
    Pass {
        ms: u16,
    },
    /// Commands.
    Welcome,
    Register {
        services: u8,
    },
    Registered {
        generation: u8,
    },
    Drain,
    Goodbye,
    /// A message that nobody sent arrives.
    ForgeToRelay(Forged),
    ForgeToDevice(Forged),
}

#[derive(Debug, Arbitrary)]
enum Forged {
    Hello,
    Welcome,
    Register { generation: u64 },
    Registered { generation: u64 },
    Drain,
    Goodbye,
}

fuzz_target!(|steps: Vec<Step>| {
    let mut pair = Pair::new();
    for step in steps {
        pair.step(step);
        pair.device.drain(&mut pair.to_relay, pair.now);
        pair.relay.drain(&mut pair.to_device, pair.now);
    }
});

/// A device and a relay with the wire between them.
struct Pair {
    now: Instant,
    device: Device,
    relay: Relay,
    to_relay: VecDeque<Control>,
    to_device: VecDeque<Control>,
    /// Until then, nobody may find fault with the other.
    honest: bool,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            device: Device::new(now),
            relay: Relay::new(now),
            to_relay: VecDeque::new(),
            to_device: VecDeque::new(),
            honest: true,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::ToRelay => {
                if let Some(message) = self.to_relay.pop_front() {
                    let handled = self.relay.session.handle_message(carried(&message));
                    assert!(handled.is_ok() || !self.honest, "{message:?}: {handled:?}");
                }
            }
            Step::ToDevice => {
                if let Some(message) = self.to_device.pop_front() {
                    let handled = self.device.session.handle_message(carried(&message));
                    assert!(handled.is_ok() || !self.honest, "{message:?}: {handled:?}");
                }
            }
            Step::Pass { ms } => {
                self.now += Duration::from_millis(ms.into());
                self.device.session.handle_timeout(self.now);
                self.relay.session.handle_timeout(self.now);
            }
            Step::Welcome => self.relay.session.welcome(welcome()),
            Step::Register { services } => self.device.session.register(list(services)),
            Step::Registered { generation } => {
                self.relay.session.registered(generation.into(), Vec::new());
            }
            Step::Drain => self.relay.session.drain(drain()),
            Step::Goodbye => self.device.session.goodbye("enough"),
            Step::ForgeToRelay(forged) => {
                self.honest = false;
                let _ = self.relay.session.handle_message(forged.into());
            }
            Step::ForgeToDevice(forged) => {
                self.honest = false;
                let _ = self.device.session.handle_message(forged.into());
            }
        }
    }
}

/// What the wire makes of a message: the same.
fn carried(message: &Control) -> Control {
    let read = Control::decode(message.encode()).expect("what we write can be read");
    let read = read.expect("what we write is known");
    assert_eq!(&read, message);
    read
}

/// The device's machine and what it has done so far.
struct Device {
    session: DeviceSession,
    said_hello: bool,
    said_goodbye: bool,
    connected: bool,
    over: bool,
    generation: u64,
}

impl Device {
    fn new(now: Instant) -> Self {
        Self {
            session: DeviceSession::new(now, Hello::default()),
            said_hello: false,
            said_goodbye: false,
            connected: false,
            over: false,
            generation: 0,
        }
    }

    fn drain(&mut self, wire: &mut VecDeque<Control>, now: Instant) {
        while let Some(message) = self.session.poll_transmit() {
            self.transmitted(&message);
            wire.push_back(message);
        }
        while let Some(event) = self.session.poll_event() {
            self.reported(event);
        }
        assert_eq!(self.session.is_up(), self.connected && !self.over);
        match self.session.poll_timeout() {
            Some(at) => assert!(at > now && !self.connected && !self.over),
            None => assert!(self.connected || self.over),
        }
    }

    fn transmitted(&mut self, message: &Control) {
        assert!(!self.said_goodbye, "{message:?} after Goodbye");
        match message {
            Control::Hello(_) => {
                assert!(!self.said_hello, "Hello twice");
                self.said_hello = true;
            }
            Control::Register(register) => {
                assert!(self.connected, "Register before Welcome");
                assert_eq!(register.generation, self.generation + 1);
                self.generation = register.generation;
            }
            Control::Goodbye(_) => {
                assert!(self.said_hello, "Goodbye before Hello");
                self.said_goodbye = true;
            }
            other => panic!("a device never sends {other:?}"),
        }
    }

    fn reported(&mut self, event: DeviceEvent) {
        assert!(!self.over, "{event:?} after the end");
        match event {
            DeviceEvent::Connected(_) => {
                assert!(!self.connected, "connected twice");
                self.connected = true;
            }
            DeviceEvent::Registered(_) | DeviceEvent::Draining(_) | DeviceEvent::News(_) => {
                assert!(self.connected, "{event:?} before Welcome");
            }
            DeviceEvent::Goodbye(_) | DeviceEvent::Close(Code::Goodbye) => self.over = true,
            DeviceEvent::Close(Code::HelloTimeout) => {
                assert!(!self.connected, "a time-out after Welcome");
                self.over = true;
            }
            other => panic!("unknown event {other:?}"),
        }
    }
}

/// The relay's machine and what it has done so far.
struct Relay {
    session: RelaySession,
    hello: bool,
    welcomed: bool,
    over: bool,
    generation: u64,
}

impl Relay {
    fn new(now: Instant) -> Self {
        Self {
            session: RelaySession::new(now),
            hello: false,
            welcomed: false,
            over: false,
            generation: 0,
        }
    }

    fn drain(&mut self, wire: &mut VecDeque<Control>, now: Instant) {
        while let Some(message) = self.session.poll_transmit() {
            assert!(!self.over, "{message:?} after the end");
            match message {
                Control::Welcome(_) => {
                    assert!(self.hello && !self.welcomed, "Welcome out of place");
                    self.welcomed = true;
                }
                Control::Registered(_) | Control::Drain(_) => assert!(self.welcomed),
                ref other => panic!("a relay never sends {other:?}"),
            }
            wire.push_back(message);
        }
        while let Some(event) = self.session.poll_event() {
            assert!(!self.over, "{event:?} after the end");
            match event {
                RelayEvent::Hello(_) => {
                    assert!(!self.hello, "Hello twice");
                    self.hello = true;
                }
                RelayEvent::Register(register) => {
                    assert!(self.welcomed, "services before Welcome");
                    assert!(register.generation > self.generation, "an old list");
                    self.generation = register.generation;
                }
                RelayEvent::Goodbye(_) => self.over = true,
                RelayEvent::Close(code) => {
                    assert_eq!(code, Code::HelloTimeout);
                    assert!(!self.hello, "a time-out after Hello");
                    self.over = true;
                }
                other => panic!("unknown event {other:?}"),
            }
        }
        match self.session.poll_timeout() {
            Some(at) => assert!(at > now && !self.hello && !self.over),
            None => assert!(self.hello || self.over),
        }
    }
}

impl From<Forged> for Control {
    fn from(forged: Forged) -> Self {
        match forged {
            Forged::Hello => Self::Hello(Hello::default()),
            Forged::Welcome => Self::Welcome(welcome()),
            Forged::Register { generation } => Self::Register(Register {
                generation,
                services: Vec::new(),
            }),
            Forged::Registered { generation } => Self::Registered(Registered {
                generation,
                addresses: Vec::new(),
            }),
            Forged::Drain => Self::Drain(drain()),
            Forged::Goodbye => Self::Goodbye(Goodbye::default()),
        }
    }
}

fn welcome() -> Welcome {
    Welcome {
        relay: String::new(),
        capabilities: Vec::new(),
        device: "alice/laptop".parse().expect("valid"),
        link: 1,
        unix_ms: 0,
        heartbeat: Duration::from_secs(30),
    }
}

fn drain() -> Drain {
    Drain {
        reconnect_in: Duration::from_millis(5),
        try_for: Duration::from_secs(30),
    }
}

fn list(count: u8) -> Vec<Service> {
    let service = |n| Service {
        name: ServiceName::parse(&format!("s{n}")).expect("valid"),
        kind: ServiceKind::Http,
        access: Access::Private,
    };
    (0..count).map(service).collect()
}
