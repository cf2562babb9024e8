//! How long the logs of a user's devices are, as far as the relays know: one
//! small object that is cheap to ask for again and again. A hint: the logs
//! themselves are the truth.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::DeviceName;

/// The longest head, in bytes: the longest names of 300 devices.
pub const HEAD_MAX: usize = 32 << 10;

/// How long the logs are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// Which epoch's.
    pub epoch: u64,
    /// The newest batch of each device.
    pub devices: BTreeMap<DeviceName, u64>,
}

impl Head {
    /// A log is so long.
    #[must_use]
    pub fn of(epoch: u64, device: DeviceName, sequence: u64) -> Self {
        let devices = BTreeMap::from([(device, sequence)]);
        Self { epoch, devices }
    }

    /// Takes over what another head knows. Tells whether that was more.
    pub fn merge(&mut self, other: &Self) -> bool {
        if other.epoch < self.epoch {
            return false;
        }
        let mut more = false;
        if other.epoch > self.epoch {
            *self = Self {
                epoch: other.epoch,
                devices: BTreeMap::new(),
            };
            more = true;
        }
        for (device, sequence) in &other.devices {
            let known = self.devices.entry(device.clone()).or_default();
            if sequence > known {
                *known = *sequence;
                more = true;
            }
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(epoch: u64, device: &str, sequence: u64) -> Head {
        Head::of(epoch, device.parse().expect("a name"), sequence)
    }

    #[test]
    fn heads_only_grow() {
        let mut all = Head::default();
        assert!(all.merge(&head(1, "desk", 3)));
        assert!(!all.merge(&head(1, "desk", 2)));
        assert!(all.merge(&head(1, "lap", 1)));
        assert!(!all.merge(&head(1, "lap", 1)));
        assert_eq!(all.devices.len(), 2);
        // What was written before a restore does not count any more.
        assert!(all.merge(&head(2, "lap", 1)));
        assert_eq!(all, head(2, "lap", 1));
        assert!(!all.merge(&head(1, "desk", 9)));
    }

    #[test]
    fn a_head_is_json_for_people_too() {
        let text = serde_json::to_string(&head(1, "desk", 3)).expect("JSON");
        assert_eq!(text, r#"{"epoch":1,"devices":{"desk":3}}"#);
        let wrong = r#"{"epoch":1,"devices":{"../desk":3}}"#;
        assert!(serde_json::from_str::<Head>(wrong).is_err());
    }
}
