//! Gives this device its identity: a join code becomes a certificate.

use std::net::SocketAddr;
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
use ginnel_link::link::Priority;
use ginnel_link::network::Network;
use ginnel_link::transport::TransportSettings;
use ginnel_proto::code::Code;
use ginnel_proto::frame::FrameType;
use ginnel_proto::id::DeviceName;
use ginnel_proto::join::{JoinAnswer, JoinRequest};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

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

/// Joins the relay that the code is for, under `name` or the name in the
/// invitation, and stores the identity in `state`. Returns who the device is
/// now: `USER/DEVICE`.
///
/// # Errors
/// The code is mistyped, the relay cannot be reached or refuses, or the
/// identity cannot be stored. Nothing is stored then.
pub async fn join(state: &Path, code: &str, name: Option<DeviceName>) -> anyhow::Result<String> {
    let code: JoinCode = code.parse()?;
    private_file::create_dir_private(state)?;
    let key = DeviceKey::generate()?;
    let request = JoinRequest {
        code_id: code.id().to_owned(),
        secret: Bytes::copy_from_slice(code.secret_bytes()),
        certificate_request: key.certificate_request()?.into(),
        device: name,
        fallback: host_name(),
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
    RelayPlace {
        address: code.address().to_owned(),
    }
    .save(state)?;
    credentials.save(state)?;
    Ok(credentials.leaf().identity.device.to_string())
}

async fn ask(code: &JoinCode, request: &JoinRequest) -> anyhow::Result<JoinAnswer> {
    let address = resolve(code.address()).await?;
    let network = Network::udp(unspecified(address))?;
    let dialer = Dialer::new(network, TransportSettings::default())?;
    let tls = Arc::new(ginnel_certs::client::join_config(code.pin()));
    // The name is not checked: the pin says who it is.
    let link = dialer
        .connect(address, "ginnel-relay", tls)
        .await
        .with_context(|| format!("cannot reach the relay, address={}", code.address()))?;
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

/// The machine's name, as far as it can name a device.
fn host_name() -> Option<DeviceName> {
    let name = node_name()?;
    let first = name.split('.').next()?.to_ascii_lowercase();
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = first.chars().map(allowed).take(63).collect();
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

/// The relay's address now.
///
/// # Errors
/// The name does not resolve.
pub async fn resolve(address: &str) -> std::io::Result<SocketAddr> {
    let mut found = tokio::net::lookup_host(address).await?;
    found.next().ok_or_else(|| {
        std::io::Error::new(
            std::io::ErrorKind::NotFound,
            format!("name has no address, address={address}"),
        )
    })
}

/// The wildcard of the same family, to dial from.
#[must_use]
pub fn unspecified(peer: SocketAddr) -> SocketAddr {
    if peer.is_ipv6() {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
    }
}
