//! A relay's files, opened by a command beside the running relay.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::config::place::RelayPlace;
use crate::registry::Registry;
use crate::running::{self, RelayNote};
use crate::state::State;
use ginnel_daemon::running::Running;

/// In every state folder: the authority's key.
const AUTHORITY_KEY: &str = "ca.key";

/// The opened state folder and registry of a relay.
#[derive(Debug)]
pub struct Opened {
    /// The state folder.
    pub state: State,
    /// Who may use the relay.
    pub registry: Registry,
    /// Whether a relay runs on it, and where.
    pub(super) running: Running<RelayNote>,
    /// The folder itself.
    pub(super) folder: PathBuf,
}

impl Opened {
    /// Opens what `init`, `dev` or `serve` has made.
    ///
    /// # Errors
    /// There is no relay in the folder, or a file of it cannot be used.
    pub async fn open(place: &RelayPlace) -> anyhow::Result<Self> {
        let shown = place.state.display();
        let found = fs::exists(place.state.join(AUTHORITY_KEY));
        if !found.with_context(|| format!("cannot read the state folder, state={shown}"))? {
            bail!(
                "there is no relay here yet, state={shown}; hint: make one with: \
                 ginnel-relay init --domain DOMAIN, or try one with: ginnel-relay dev"
            );
        }
        let state = State::open(&place.state, &place.domain)?;
        let registry = state.registry().await.context("cannot open the registry")?;
        Ok(Self {
            state,
            registry,
            running: running::find(&place.state)?,
            folder: place.state.clone(),
        })
    }

    /// What join codes say: what the running relay says of itself, which may
    /// have been told otherwise than the settings; else what these say.
    pub(super) fn advertise<'a>(&'a self, place: &'a RelayPlace) -> &'a str {
        match &self.running {
            Running::Listening(relay) => &relay.advertise,
            Running::No | Running::Silent => &place.advertise,
        }
    }
}
