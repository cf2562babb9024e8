//! The conversation on the control stream.
//!
//! ```text
//! device  Hello ──▶  waiting ──Welcome──▶  up ──Drain──▶ up (draining) ──▶ closed
//! relay   waiting ──Hello──▶ judging ──welcome()──▶ up ──drain()──▶ up ──▶ closed
//! ```
//!
//! A device is connected when Welcome has arrived and not before: in TLS 1.3
//! the handshake ends for the client before the relay has judged its
//! certificate (RFC 8446 §4.6.2 shows no message from the server after it).

use std::collections::VecDeque;
use std::time::Instant;

use crate::code::Code;
use crate::control::{
    Address, Control, Drain, Goodbye, Hello, News, Register, Registered, Service, Welcome,
};
use crate::limits::HELLO_TIMEOUT;

/// The other side broke the protocol: close the link with [`Code::Violation`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message out of place, message={message} state={state}")]
pub struct Violation {
    message: &'static str,
    state: &'static str,
}

/// The device's side of the conversation.
#[derive(Debug)]
pub struct DeviceSession {
    state: DeviceState,
    generation: u64,
    transmits: VecDeque<Control>,
    events: VecDeque<DeviceEvent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeviceState {
    AwaitingWelcome { deadline: Instant },
    Up,
    Closed,
}

/// What a [`DeviceSession`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceEvent {
    /// The relay took us in.
    Connected(Welcome),
    /// The relay routes to the newest services we registered.
    Registered(Vec<Address>),
    /// The relay is about to stop.
    Draining(Drain),
    /// The relay is about to close the link.
    Goodbye(Goodbye),
    /// Another device of the same user wrote to its log.
    News(News),
    /// The session is over on our side; close the link with this code.
    Close(Code),
}

impl DeviceSession {
    /// Begins with Hello.
    #[must_use]
    pub fn new(now: Instant, hello: Hello) -> Self {
        Self {
            state: DeviceState::AwaitingWelcome {
                deadline: now + HELLO_TIMEOUT,
            },
            generation: 0,
            transmits: VecDeque::from([Control::Hello(hello)]),
            events: VecDeque::new(),
        }
    }

    /// A message came.
    ///
    /// # Errors
    /// [`Violation`] when it may not come now.
    pub fn handle_message(&mut self, message: Control) -> Result<(), Violation> {
        match (self.state, message) {
            (DeviceState::AwaitingWelcome { .. }, Control::Welcome(welcome)) => {
                self.state = DeviceState::Up;
                self.events.push_back(DeviceEvent::Connected(welcome));
            }
            (DeviceState::Up, Control::Registered(registered)) => {
                // An older generation was overtaken by a newer Register.
                if registered.generation == self.generation {
                    let event = DeviceEvent::Registered(registered.addresses);
                    self.events.push_back(event);
                }
            }
            (DeviceState::Up, Control::Drain(drain)) => {
                self.events.push_back(DeviceEvent::Draining(drain));
            }
            (DeviceState::Up, Control::News(news)) => {
                self.events.push_back(DeviceEvent::News(news));
            }
            (DeviceState::AwaitingWelcome { .. } | DeviceState::Up, Control::Goodbye(goodbye)) => {
                self.state = DeviceState::Closed;
                self.events.push_back(DeviceEvent::Goodbye(goodbye));
            }
            (DeviceState::Closed, _) => {}
            (state, message) => return Err(violation(&message, state.name())),
        }
        Ok(())
    }

    /// The clock moved.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let DeviceState::AwaitingWelcome { deadline } = self.state
            && now >= deadline
        {
            self.state = DeviceState::Closed;
            self.events
                .push_back(DeviceEvent::Close(Code::HelloTimeout));
        }
    }

    /// Command: make exactly these services known. Kept to itself before
    /// Welcome and after the end; the caller registers anew on each link.
    pub fn register(&mut self, services: Vec<Service>) {
        if self.state != DeviceState::Up {
            return;
        }
        self.generation += 1;
        self.transmits.push_back(Control::Register(Register {
            generation: self.generation,
            services,
        }));
    }

    /// Command: say goodbye and stop.
    pub fn goodbye(&mut self, reason: &str) {
        if self.state == DeviceState::Closed {
            return;
        }
        self.state = DeviceState::Closed;
        self.transmits.push_back(Control::Goodbye(Goodbye {
            reason: reason.to_owned(),
        }));
        self.events.push_back(DeviceEvent::Close(Code::Goodbye));
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Control> {
        self.transmits.pop_front()
    }

    /// The next thing to report.
    pub fn poll_event(&mut self) -> Option<DeviceEvent> {
        self.events.pop_front()
    }

    /// When [`DeviceSession::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            DeviceState::AwaitingWelcome { deadline } => Some(deadline),
            DeviceState::Up | DeviceState::Closed => None,
        }
    }

    /// Whether the relay took us in and the session is not over.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == DeviceState::Up
    }
}

impl DeviceState {
    fn name(self) -> &'static str {
        match self {
            Self::AwaitingWelcome { .. } => "awaiting Welcome",
            Self::Up => "up",
            Self::Closed => "closed",
        }
    }
}

/// The relay's side of the conversation.
#[derive(Debug)]
pub struct RelaySession {
    state: RelayState,
    generation: u64,
    transmits: VecDeque<Control>,
    events: VecDeque<RelayEvent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RelayState {
    AwaitingHello { deadline: Instant },
    Judging,
    Up,
    Closed,
}

/// What a [`RelaySession`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayEvent {
    /// The device introduced itself: answer with [`RelaySession::welcome`] or
    /// close the link with the code of the refusal.
    Hello(Hello),
    /// The device shares exactly these services now: answer with
    /// [`RelaySession::registered`] once callers can reach them.
    Register(Register),
    /// The device is about to close the link.
    Goodbye(Goodbye),
    /// The session is over on our side; close the link with this code.
    Close(Code),
}

impl RelaySession {
    /// Begins by waiting for Hello.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            state: RelayState::AwaitingHello {
                deadline: now + HELLO_TIMEOUT,
            },
            generation: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// A message came.
    ///
    /// # Errors
    /// [`Violation`] when it may not come now.
    pub fn handle_message(&mut self, message: Control) -> Result<(), Violation> {
        match (self.state, message) {
            (RelayState::AwaitingHello { .. }, Control::Hello(hello)) => {
                self.state = RelayState::Judging;
                self.events.push_back(RelayEvent::Hello(hello));
            }
            (RelayState::Up, Control::Register(register))
                if register.generation > self.generation =>
            {
                self.generation = register.generation;
                self.events.push_back(RelayEvent::Register(register));
            }
            (
                RelayState::AwaitingHello { .. } | RelayState::Judging | RelayState::Up,
                Control::Goodbye(goodbye),
            ) => {
                self.state = RelayState::Closed;
                self.events.push_back(RelayEvent::Goodbye(goodbye));
            }
            (RelayState::Closed, _) => {}
            (state, message) => return Err(violation(&message, state.name())),
        }
        Ok(())
    }

    /// The clock moved.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let RelayState::AwaitingHello { deadline } = self.state
            && now >= deadline
        {
            self.state = RelayState::Closed;
            self.events.push_back(RelayEvent::Close(Code::HelloTimeout));
        }
    }

    /// Command: take the device in. Only after [`RelayEvent::Hello`].
    pub fn welcome(&mut self, welcome: Welcome) {
        if self.state == RelayState::Judging {
            self.state = RelayState::Up;
            self.transmits.push_back(Control::Welcome(welcome));
        }
    }

    /// Command: callers reach the services of `generation` at `addresses`.
    pub fn registered(&mut self, generation: u64, addresses: Vec<Address>) {
        if self.state == RelayState::Up {
            self.transmits.push_back(Control::Registered(Registered {
                generation,
                addresses,
            }));
        }
    }

    /// Command: tell the device that this relay is about to stop.
    pub fn drain(&mut self, drain: Drain) {
        if self.state == RelayState::Up {
            self.transmits.push_back(Control::Drain(drain));
        }
    }

    /// Command: tell that another device of the same user wrote to its log.
    pub fn news(&mut self, news: News) {
        if self.state == RelayState::Up {
            self.transmits.push_back(Control::News(news));
        }
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Control> {
        self.transmits.pop_front()
    }

    /// The next thing to report.
    pub fn poll_event(&mut self) -> Option<RelayEvent> {
        self.events.pop_front()
    }

    /// When [`RelaySession::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            RelayState::AwaitingHello { deadline } => Some(deadline),
            RelayState::Judging | RelayState::Up | RelayState::Closed => None,
        }
    }
}

impl RelayState {
    fn name(self) -> &'static str {
        match self {
            Self::AwaitingHello { .. } => "awaiting Hello",
            Self::Judging => "judging",
            Self::Up => "up",
            Self::Closed => "closed",
        }
    }
}

fn violation(message: &Control, state: &'static str) -> Violation {
    Violation {
        message: message.name(),
        state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Access, ServiceKind};
    use crate::id::ServiceName;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn a_device_connects_registers_and_is_drained() {
        let mut pair = Pair::new();
        pair.drive();
        assert_eq!(
            pair.relay.poll_event(),
            Some(RelayEvent::Hello(Hello::default()))
        );
        assert!(!pair.device.is_up(), "not before Welcome");

        pair.relay.welcome(welcome());
        pair.drive();
        assert_eq!(
            pair.device.poll_event(),
            Some(DeviceEvent::Connected(welcome()))
        );
        assert!(pair.device.is_up());

        pair.device.register(vec![web()]);
        pair.drive();
        let register = Register {
            generation: 1,
            services: vec![web()],
        };
        assert_eq!(
            pair.relay.poll_event(),
            Some(RelayEvent::Register(register))
        );
        pair.relay.registered(1, vec![]);
        pair.drive();
        assert_eq!(
            pair.device.poll_event(),
            Some(DeviceEvent::Registered(vec![]))
        );

        let drain = Drain {
            reconnect_in: Duration::from_millis(100),
            try_for: Duration::from_secs(30),
        };
        pair.relay.drain(drain);
        pair.drive();
        assert_eq!(pair.device.poll_event(), Some(DeviceEvent::Draining(drain)));
        assert!(pair.device.is_up(), "a draining link still carries streams");

        pair.device.goodbye("done");
        pair.drive();
        let goodbye = Goodbye {
            reason: "done".into(),
        };
        assert_eq!(pair.relay.poll_event(), Some(RelayEvent::Goodbye(goodbye)));
        assert_eq!(
            pair.device.poll_event(),
            Some(DeviceEvent::Close(Code::Goodbye))
        );
    }

    #[test]
    fn both_sides_give_up_waiting() {
        let mut pair = Pair::new();
        let deadline = pair.now + HELLO_TIMEOUT;
        assert_eq!(pair.device.poll_timeout(), Some(deadline));
        assert_eq!(pair.relay.poll_timeout(), Some(deadline));

        let early = deadline - Duration::from_millis(1);
        pair.device.handle_timeout(early);
        pair.relay.handle_timeout(early);
        assert_eq!(pair.device.poll_event(), None);
        assert_eq!(pair.relay.poll_event(), None);

        pair.device.handle_timeout(deadline);
        pair.relay.handle_timeout(deadline);
        assert_eq!(
            pair.device.poll_event(),
            Some(DeviceEvent::Close(Code::HelloTimeout))
        );
        assert_eq!(
            pair.relay.poll_event(),
            Some(RelayEvent::Close(Code::HelloTimeout))
        );
        assert_eq!(pair.device.poll_timeout(), None);
    }

    #[test]
    fn messages_out_of_place_are_violations() {
        let register = || {
            Control::Register(Register {
                generation: 1,
                services: vec![],
            })
        };
        let now = Instant::now();

        let mut relay = RelaySession::new(now);
        let error = relay.handle_message(register()).expect_err("before Hello");
        assert!(
            error
                .to_string()
                .contains("message=Register state=awaiting Hello")
        );
        relay
            .handle_message(Control::Hello(Hello::default()))
            .expect("first");
        assert!(
            relay
                .handle_message(Control::Hello(Hello::default()))
                .is_err()
        );
        assert!(relay.handle_message(register()).is_err(), "before Welcome");
        relay.welcome(welcome());
        relay.handle_message(register()).expect("up");
        assert!(relay.handle_message(register()).is_err(), "same generation");

        let mut device = DeviceSession::new(now, Hello::default());
        let registered = Control::Registered(Registered::default());
        assert!(device.handle_message(registered).is_err(), "before Welcome");
        device
            .handle_message(Control::Welcome(welcome()))
            .expect("first");
        assert!(device.handle_message(Control::Welcome(welcome())).is_err());
        assert!(
            device
                .handle_message(Control::Hello(Hello::default()))
                .is_err()
        );
    }

    #[test]
    fn an_overtaken_registration_is_not_reported() {
        let mut pair = Pair::new();
        pair.drive();
        pair.relay.welcome(welcome());
        pair.drive();
        pair.device.register(vec![]);
        pair.device.register(vec![web()]);
        pair.relay.registered(1, vec![]);
        pair.drive();
        pair.device.poll_event();
        assert_eq!(pair.device.poll_event(), None);
        pair.relay.registered(2, vec![]);
        pair.drive();
        assert_eq!(
            pair.device.poll_event(),
            Some(DeviceEvent::Registered(vec![]))
        );
    }

    proptest! {
        /// Whatever arrives in whatever order, the relay never welcomes twice
        /// and never reports services before it has welcomed.
        #[test]
        fn no_order_of_messages_breaks_the_relay(order in prop::collection::vec(0_u8..5, 0..30)) {
            let now = Instant::now();
            let mut relay = RelaySession::new(now);
            let mut welcomes = 0;
            for (step, kind) in order.into_iter().enumerate() {
                let message = match kind {
                    0 => Control::Hello(Hello::default()),
                    1 => Control::Register(Register { generation: step as u64, services: vec![] }),
                    2 => Control::Welcome(welcome()),
                    3 => Control::Goodbye(Goodbye::default()),
                    _ => Control::Registered(Registered::default()),
                };
                let _ = relay.handle_message(message);
                while let Some(event) = relay.poll_event() {
                    match event {
                        RelayEvent::Hello(_) => relay.welcome(welcome()),
                        RelayEvent::Register(_) => prop_assert_eq!(welcomes, 1),
                        RelayEvent::Goodbye(_) | RelayEvent::Close(_) => {}
                    }
                }
                while let Some(message) = relay.poll_transmit() {
                    welcomes += u32::from(matches!(message, Control::Welcome(_)));
                }
                prop_assert!(welcomes <= 1);
            }
        }
    }

    /// A device and a relay with the wire between them.
    struct Pair {
        now: Instant,
        device: DeviceSession,
        relay: RelaySession,
    }

    impl Pair {
        fn new() -> Self {
            let now = Instant::now();
            Self {
                now,
                device: DeviceSession::new(now, Hello::default()),
                relay: RelaySession::new(now),
            }
        }

        /// Carries every waiting message across, through its encoding.
        fn drive(&mut self) {
            while let Some(message) = self.device.poll_transmit() {
                let read = Control::decode(message.encode())
                    .expect("valid")
                    .expect("known");
                self.relay.handle_message(read).expect("in place");
            }
            while let Some(message) = self.relay.poll_transmit() {
                let read = Control::decode(message.encode())
                    .expect("valid")
                    .expect("known");
                self.device.handle_message(read).expect("in place");
            }
        }
    }

    fn welcome() -> Welcome {
        Welcome {
            relay: "1".into(),
            capabilities: vec![],
            device: "alice/laptop".parse().expect("valid"),
            link: 1,
            unix_ms: 0,
            heartbeat: Duration::from_secs(30),
        }
    }

    fn web() -> Service {
        Service {
            name: ServiceName::parse("web").expect("valid"),
            kind: ServiceKind::Http,
            access: Access::Private,
        }
    }
}
