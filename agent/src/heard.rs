//! What the relay says of itself and of the user's other devices, for whoever
//! it concerns.

use std::collections::BTreeMap;

use ginnel_proto::control::{News, Welcome};
use ginnel_proto::id::DeviceName;
use tokio::sync::watch;

/// What was heard. Clones are the same.
#[derive(Debug, Clone)]
pub struct Heard(watch::Sender<Said>);

/// What the relay said on the live link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// What it does beyond what each relay does.
    pub capabilities: Vec<u32>,
    /// The newest batch of other devices, of those that wrote to their logs since
    /// the link began.
    pub news: BTreeMap<DeviceName, News>,
}

impl Heard {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(Said::default()))
    }

    /// Tells when something new is heard.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Said> {
        self.0.subscribe()
    }

    /// A link begins.
    pub fn connected(&self, welcome: &Welcome) {
        self.0.send_replace(Said {
            capabilities: welcome.capabilities.clone(),
            news: BTreeMap::new(),
        });
    }

    /// A device wrote to its log. No more are kept than there are devices.
    pub fn news(&self, news: News) {
        self.0.send_modify(|said| {
            said.news.insert(news.device.clone(), news);
        });
    }
}

impl Default for Heard {
    fn default() -> Self {
        Self::new()
    }
}
