//! Which batches there are: what a relay answers when a device asks for those that it
//! has not read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::seal::KeyId;
use crate::id::DeviceName;

/// Batches that are listed of one device at once.
pub const LISTED_MAX: usize = 1000;

/// All logs behind what the asker knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// In which epoch.
    pub epoch: u64,
    /// With which key all is encrypted, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The batches of each device, in their order: [`LISTED_MAX`] at most.
    pub logs: BTreeMap<DeviceName, Vec<u64>>,
    /// Whose logs go on behind what is listed here: ask again when that is read. A
    /// relay that says nothing of it may have more of any that is listed full.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub more: BTreeSet<DeviceName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_more_of_is_said_beside_the_rest() {
        let text = r#"{"epoch":1,"logs":{"desk":[1,2]}}"#;
        let mut logs: Logs = serde_json::from_str(text).expect("read");
        assert!(logs.more.is_empty());
        assert_eq!(serde_json::to_string(&logs).expect("JSON"), text);
        logs.more.insert("desk".parse().expect("a name"));
        let text = serde_json::to_string(&logs).expect("JSON");
        assert_eq!(text, r#"{"epoch":1,"logs":{"desk":[1,2]},"more":["desk"]}"#);
        assert_eq!(serde_json::from_str::<Logs>(&text).expect("read"), logs);
    }
}
