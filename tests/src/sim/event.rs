//! What can happen to a world, as a script writes it.

use std::sync::Arc;
use std::time::Duration;

use ginnel_agent::clock::Change;

use super::device::Device;
use super::net::Way;
use super::path::Quality;
use super::world::World;

/// Something that happens to a world.
#[derive(Debug, Clone)]
pub enum Event {
    /// The relay's process dies; another starts after `down`.
    RelayCrash {
        /// Until then.
        down: Duration,
    },
    /// The relay drains for at most `grace`; the next one starts after `down`.
    RelayDrain {
        /// See the relay's daemon.
        grace: Duration,
        /// From the old one's end to the new one's start.
        down: Duration,
    },
    /// The agent dies; another starts after `down`.
    AgentKill(Arc<Device>, Duration),
    /// The agent is stopped; another starts after `down`.
    AgentStop(Arc<Device>, Duration),
    /// Nothing gets through that way.
    Cut(Arc<Device>, Way),
    /// Everything gets through again, both ways.
    Heal(Arc<Device>),
    /// The machine falls asleep: packets to it wait.
    Sleep(Arc<Device>),
    /// The machine wakes, and its agent is told.
    Wake(Arc<Device>),
    /// The machine moves to another network, and its agent is told.
    NewAddress(Arc<Device>),
    /// A NAT on the way maps the same socket to another port; nobody is told.
    NatRebind(Arc<Device>),
    /// The machine's wall clock is set by so many milliseconds, and its agent
    /// is told.
    ClockJump(Arc<Device>, i64),
    /// The relay's wall clock is set by so many milliseconds.
    RelayClockJump(i64),
    /// The path becomes better or worse, both ways.
    Quality(Arc<Device>, Quality),
    /// Another machine starts an agent with this device's identity.
    Twin(Arc<Device>),
    /// The other machine's agent dies.
    TwinKill(Arc<Device>),
}

impl Event {
    /// Makes it happen. What takes time goes on in the background.
    pub(super) fn apply(self, world: &World) {
        world.net().note(self.name(), self.host(), 0);
        tracing::info!(host = self.host(), "event: {}", self.name());
        match self {
            Self::RelayCrash { down } => {
                world.crash_relay();
                world.start_relay_after(down);
            }
            Self::RelayDrain { grace, down } => world.restart_relay(grace, down),
            Self::AgentKill(device, down) => {
                world.bury(device.kill());
                world.start_agent_after(&device, down);
            }
            Self::AgentStop(device, down) => world.restart_agent(&device, down),
            Self::Cut(device, way) => world.net().cut(device.host, way),
            Self::Heal(device) => world.net().heal(device.host),
            Self::Sleep(device) => device.sleep(),
            Self::Wake(device) => device.wake(),
            Self::NewAddress(device) => {
                world.net().move_host(device.host);
                device.tell(Change::AddressChanged);
            }
            Self::NatRebind(device) => world.net().remap(device.host),
            Self::ClockJump(device, millis) => {
                device.clock.jump(millis);
                device.tell(Change::ClockJumped);
            }
            Self::RelayClockJump(millis) => world.relay_clock().jump(millis),
            Self::Quality(device, quality) => {
                world.net().set_quality(device.host, Way::Both, quality);
            }
            Self::Twin(device) => world.start_twin(&device),
            Self::TwinKill(device) => world.kill_twin(&device),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::RelayCrash { .. } => "relay crash",
            Self::RelayDrain { .. } => "relay drain",
            Self::AgentKill(..) => "agent kill",
            Self::AgentStop(..) => "agent stop",
            Self::Cut(_, Way::Up) => "cut up",
            Self::Cut(_, Way::Down) => "cut down",
            Self::Cut(_, Way::Both) => "cut",
            Self::Heal(_) => "heal",
            Self::Sleep(_) => "sleep",
            Self::Wake(_) => "wake",
            Self::NewAddress(_) => "new address",
            Self::NatRebind(_) => "NAT rebind",
            Self::ClockJump(..) => "clock jump",
            Self::RelayClockJump(_) => "relay clock jump",
            Self::Quality(..) => "quality",
            Self::Twin(_) => "twin",
            Self::TwinKill(_) => "twin kill",
        }
    }

    fn host(&self) -> usize {
        match self {
            Self::RelayCrash { .. } | Self::RelayDrain { .. } | Self::RelayClockJump(_) => 0,
            Self::AgentKill(device, _)
            | Self::AgentStop(device, _)
            | Self::Cut(device, _)
            | Self::Heal(device)
            | Self::Sleep(device)
            | Self::Wake(device)
            | Self::NewAddress(device)
            | Self::NatRebind(device)
            | Self::ClockJump(device, _)
            | Self::Quality(device, _)
            | Self::Twin(device)
            | Self::TwinKill(device) => device.host.0,
        }
    }
}
