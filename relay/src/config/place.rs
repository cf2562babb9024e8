//! What commands need that work beside a running relay.

use std::path::PathBuf;

use ginnel_daemon::environment::Environment;
use ginnel_daemon::mistakes::Mistakes;
use ginnel_proto::id::Domain;

use super::bucket::BucketConfig;
use super::places::Places;
use super::{Config, Flags, Mode, Purpose};

/// Where a relay is, for commands that are not the relay itself.
///
/// The same settings as the relay's own, checked the same way, except for what
/// only the running relay needs: whoever invites a device need not have the
/// credentials of upstreams.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayPlace {
    /// The folder of everything the relay keeps.
    pub state: PathBuf,
    /// The relay's name.
    pub domain: Domain,
    /// What join codes say while no relay runs: `HOST:PORT`. A relay that
    /// runs says itself where it is.
    pub advertise: String,
}

impl RelayPlace {
    /// Finds the relay. Without a domain it can only be one in development.
    ///
    /// # Errors
    /// All mistakes in all places.
    pub fn find(flags: &Flags, environment: Environment<'_>) -> Result<Self, Mistakes> {
        let config = Self::read(flags, environment, Purpose::Find)?;
        Ok(Self::of(config))
    }

    /// Finds the relay and its bucket, of which the keys must be there.
    ///
    /// # Errors
    /// All mistakes in all places.
    pub fn find_with_bucket(
        flags: &Flags,
        environment: Environment<'_>,
    ) -> Result<(Self, BucketConfig), Mistakes> {
        let config = Self::read(flags, environment, Purpose::FindBucket)?;
        let bucket = config.bucket.clone();
        Ok((Self::of(config), bucket))
    }

    fn read(
        flags: &Flags,
        environment: Environment<'_>,
        purpose: Purpose,
    ) -> Result<Config, Mistakes> {
        let places = Places::open(flags, environment)?;
        let mode = if places.is_set("domain") {
            Mode::Serve
        } else {
            Mode::Dev
        };
        Config::read(mode, places, flags, purpose)
    }

    fn of(config: Config) -> Self {
        Self {
            advertise: config.advertise(config.link.listen),
            state: config.state,
            domain: config.domain,
        }
    }
}
