//! What is done to a transfer.

use std::fmt;

use fastrand::Rng;

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The device that pushes or pulls is killed.
    Agent,
    /// The relay is killed.
    Relay,
    /// The S3 server is killed.
    Server,
    /// The S3 server cannot be reached for a while.
    Outage,
    /// The devices come from other addresses.
    Network,
}

impl Fault {
    /// Kills twice as often as what ends by itself.
    pub(super) fn draw(dice: &mut Rng) -> Self {
        let all = [
            Self::Agent,
            Self::Agent,
            Self::Relay,
            Self::Relay,
            Self::Server,
            Self::Server,
            Self::Outage,
            Self::Network,
        ];
        dice.choice(all).unwrap_or(Self::Agent)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Agent => "agent killed",
            Self::Relay => "relay killed",
            Self::Server => "bucket killed",
            Self::Outage => "bucket away",
            Self::Network => "network changed",
        };
        f.pad(name)
    }
}
