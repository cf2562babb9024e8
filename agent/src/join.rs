//! Gives this device its identity: a join code becomes a certificate.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use ginnel_certs::device::{Credentials, DeviceKey};
use ginnel_certs::join_code::JoinCode;
use ginnel_certs::pin::SpkiPin;
use ginnel_certs::private_file;
use ginnel_link::endpoint::Dialer;
use ginnel_link::error::LinkError;
use ginnel_link::link::{Link, Priority};
use ginnel_link::network::Network;
use ginnel_link::transport::TransportSettings;
use ginnel_proto::code::Code;
use ginnel_proto::frame::FrameType;
use ginnel_proto::id::DeviceName;
use ginnel_proto::join::{JoinAnswer, JoinRequest};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::warn;

/// The whole exchange must be over by then.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Where the relay is, in the state folder.
pub const RELAY_FILE: &str = "relay.json";

/// What is remembered about the relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayPlace {
    /// `HOST:PORT`, UDP.
    pub address: String,
}

impl RelayPlace {
    /// Reads where the relay is.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn load(state: &Path) -> anyhow::Result<Self> {
        let path = state.join(RELAY_FILE);
        let bytes = private_file::read(&path, 4096)?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("file is damaged, path={}", path.display()))
    }

    fn save(&self, state: &Path) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec(self)?;
        Ok(private_file::write(&state.join(RELAY_FILE), &bytes)?)
    }
}

/// Joins the relay that the code is for, under `name`, the name in the
/// invitation or, at a new relay, the machine's; and stores the identity in `state`. Returns who the device is
/// now: `USER/DEVICE`.
///
/// # Errors
/// The code is mistyped, the relay cannot be reached or refuses, or the
/// identity cannot be stored. An older identity then stays in effect, or none.
pub async fn join(state: &Path, code: &str, name: Option<DeviceName>) -> anyhow::Result<String> {
    let code: JoinCode = code.parse()?;
    private_file::create_dir_private(state)?;
    let key = DeviceKey::generate()?;
    // A device that is known to this relay would get a second name there, and
    // its services other addresses: it must be named, here or in the code.
    let known = Credentials::load(state)
        .is_ok_and(|known| SpkiPin::of(known.authority()).is_ok_and(|pin| pin == code.pin()));
    let request = JoinRequest {
        code_id: code.id().to_owned(),
        secret: Bytes::copy_from_slice(code.secret_bytes()),
        certificate_request: key.certificate_request()?.into(),
        device: name,
        fallback: if known { None } else { host_name() },
    };
    let answer = timeout(TIMEOUT, ask(&code, &request))
        .await
        .map_err(|_| anyhow!("the relay does not answer, address={}", code.address()))??;
    let credentials = match answer {
        JoinAnswer::Refused { reason } => bail!("the relay refuses: {reason}"),
        JoinAnswer::Joined {
            certificate,
            authority,
            domain: _,
        } => {
            let authority = CertificateDer::from(authority.to_vec());
            if SpkiPin::of(&authority)? != code.pin() {
                bail!("the relay's authority is not the one in the join code");
            }
            Credentials::new(
                key,
                vec![CertificateDer::from(certificate.to_vec())],
                authority,
            )?
        }
    };
    let place = RelayPlace {
        address: code.address().to_owned(),
    };
    store(state, &place, &credentials)?;
    Ok(credentials.leaf().identity.device.to_string())
}

/// Stores where the relay is and who we are there, or neither.
///
/// The credentials come last because they decide: after a crash in between,
/// a new device has no identity yet and simply joins again.
fn store(state: &Path, place: &RelayPlace, credentials: &Credentials) -> anyhow::Result<()> {
    let before = RelayPlace::load(state).ok();
    place.save(state)?;
    let Err(error) = credentials.save(state) else {
        return Ok(());
    };
    let restored = match before {
        Some(before) => before.save(state),
        None => std::fs::remove_file(state.join(RELAY_FILE)).map_err(Into::into),
    };
    if let Err(error) = restored {
        warn!("cannot restore {RELAY_FILE}: {error:#}");
    }
    Err(error.into())
}

async fn ask(code: &JoinCode, request: &JoinRequest) -> anyhow::Result<JoinAnswer> {
    let dialer = Dialer::new(any_network()?, TransportSettings::default())?;
    let tls = Arc::new(ginnel_certs::client::join_config(code.pin()));
    let addresses = resolve(code.address()).await?;
    // The name is not checked: the pin says who it is.
    let link = dial(&dialer, &addresses, "ginnel-relay", &tls)
        .await
        .map_err(|error| unreached(error, code.address()))?;
    let mut stream = link.open(Priority::Control).await?;
    stream
        .send
        .send_frame(FrameType::Message, &request.encode())
        .await?;
    stream.send.finish();
    let payload = stream.recv.expect(FrameType::Message, "JoinAnswer").await?;
    let answer = JoinAnswer::decode(payload)?;
    link.close(Code::Done, "");
    dialer.wait_idle().await;
    Ok(answer)
}

/// Why the relay of a join code was not reached.
fn unreached(error: LinkError, address: &str) -> anyhow::Error {
    let what = if matches!(error, LinkError::Refused { .. }) {
        "this is not the relay that made the join code; ask its operator for a new one"
    } else if matches!(error, LinkError::TimedOut) {
        "no answer; is the relay running, and does the network let UDP through?"
    } else {
        "cannot reach the relay"
    };
    anyhow::Error::new(error).context(format!("{what}, address={address}"))
}

/// The machine's name, as far as it can name a device.
fn host_name() -> Option<DeviceName> {
    let name = node_name()?;
    let first = name.split('.').next()?.to_ascii_lowercase();
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    // Two less than a name may have: the relay may add "-2".
    let name: String = first.chars().map(allowed).take(61).collect();
    DeviceName::parse(name.trim_matches('-')).ok()
}

#[cfg(unix)]
fn node_name() -> Option<String> {
    let uname = rustix::system::uname();
    uname.nodename().to_str().ok().map(str::to_owned)
}

#[cfg(not(unix))]
fn node_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}

/// The relay's addresses now, the system's favourite first; at least one.
///
/// # Errors
/// The name does not resolve.
pub async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = tokio::net::lookup_host(address).await?.collect();
    if found.is_empty() {
        let reason = format!("name has no address, address={address}");
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    Ok(found)
}

/// A link to the first of the addresses that answers.
///
/// # Errors
/// Why the last one does not.
pub async fn dial(
    dialer: &Dialer,
    addresses: &[SocketAddr],
    name: &str,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<Link, LinkError> {
    let mut failure = LinkError::TimedOut;
    for address in addresses {
        match dialer.connect(*address, name, Arc::clone(tls)).await {
            Ok(link) => return Ok(link),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A socket that reaches addresses of both families, as far as this machine
/// has them: it may move from a network of one to a network of the other.
///
/// # Errors
/// The system has no UDP.
pub fn any_network() -> io::Result<Network> {
    let both = Network::udp((Ipv6Addr::UNSPECIFIED, 0).into());
    both.or_else(|_| Network::udp((Ipv4Addr::UNSPECIFIED, 0).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ginnel_certs::authority::Authority;
    use std::fs;
    use std::time::SystemTime;

    #[test]
    fn an_identity_that_cannot_be_stored_leaves_no_relay_behind() {
        let state = tempfile::tempdir().expect("folder");
        block_certificate(state.path());
        store(state.path(), &place("new:1"), &credentials("laptop")).expect_err("blocked");
        assert!(!state.path().join(RELAY_FILE).exists());
        Credentials::load(state.path()).expect_err("no identity");
    }

    #[test]
    fn an_identity_that_cannot_be_replaced_keeps_its_relay() {
        let state = tempfile::tempdir().expect("folder");
        let state = state.path();
        store(state, &place("old:1"), &credentials("laptop")).expect("stored");
        fs::remove_file(state.join("device.crt")).expect("removed");
        block_certificate(state);
        store(state, &place("new:1"), &credentials("laptop")).expect_err("blocked");
        assert_eq!(RelayPlace::load(state).expect("kept"), place("old:1"));
    }

    #[test]
    fn joining_again_replaces_relay_and_identity() {
        let state = tempfile::tempdir().expect("folder");
        let state = state.path();
        for (address, device) in [("old:1", "laptop"), ("new:1", "desktop")] {
            store(state, &place(address), &credentials(device)).expect("stored");
            assert_eq!(RelayPlace::load(state).expect("stored"), place(address));
            let stored = Credentials::load(state).expect("stored");
            assert_eq!(stored.leaf().identity.device.device.as_str(), device);
        }
    }

    /// A folder in its place: the certificate cannot be written.
    fn block_certificate(state: &Path) {
        fs::create_dir(state.join("device.crt")).expect("folder");
    }

    fn place(address: &str) -> RelayPlace {
        let address = address.to_owned();
        RelayPlace { address }
    }

    fn credentials(device: &str) -> Credentials {
        let now = SystemTime::now();
        let domain = "relay.example".parse().expect("domain");
        let authority = Authority::create(&domain, now).expect("authority");
        let key = DeviceKey::generate().expect("key");
        let request = key.certificate_request().expect("request");
        let identity = format!("spiffe://{domain}/env/dev/user/alice/device/{device}");
        let identity = identity.parse().expect("identity");
        let hour = Duration::from_secs(3600);
        let issued = authority.issue_device(&request, &identity, now, hour);
        let chain = vec![issued.expect("certificate").der];
        Credentials::new(key, chain, authority.certificate().clone()).expect("credentials")
    }
}
