//! An authority in a folder, and certificates of it for both ends.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use ginnel_certs::authority::Authority;
use ginnel_certs::device::{Credentials, DeviceKey};
use ginnel_certs::identity::Identity;
use ginnel_proto::id::{DeviceId, DeviceName, Domain, Environment, UserName};
use ginnel_relay::registry::Registry;
use ginnel_relay::registry::join_codes::Invitation;
use ginnel_relay::registry::redeem::{Claim, IssuedCertificate};
use ginnel_relay::relay::unix_ms;
use ginnel_relay::state::State;

/// The name in every certificate.
pub const DOMAIN: &str = "localhost";

const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The domain of every certificate.
///
/// # Errors
/// None: the name is valid.
pub fn domain() -> anyhow::Result<Domain> {
    Ok(Domain::parse(DOMAIN)?)
}

/// The authority kept in `folder`, made if missing.
///
/// # Errors
/// The folder cannot be used.
pub fn authority(folder: &Path) -> anyhow::Result<Authority> {
    ginnel_certs::private_file::create_dir_private(folder)?;
    let authority = Authority::load_or_create(folder, &domain()?, SystemTime::now());
    Ok(authority?)
}

/// The listening end's settings, which ask for a device certificate.
///
/// # Errors
/// The folder cannot be used.
pub fn relay_tls(folder: &Path) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let authority = authority(folder)?;
    let own = authority.issue_relay(&domain()?, SystemTime::now(), LIFETIME)?;
    let tls = ginnel_certs::server::relay_config(own.chain, own.key, authority.certificate())?;
    Ok(Arc::new(tls))
}

/// The dialling end's settings, with a certificate that only the authority
/// knows of.
///
/// # Errors
/// The folder cannot be used.
pub fn device_tls(folder: &Path) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let authority = authority(folder)?;
    let key = DeviceKey::generate()?;
    let issued = authority.issue_device(
        &key.certificate_request()?,
        &identity(&UserName::parse("bench")?, &DeviceName::parse("bench")?)?,
        SystemTime::now(),
        LIFETIME,
    )?;
    let own = Credentials::new(key, vec![issued.der], authority.certificate().clone())?;
    Ok(Arc::new(ginnel_certs::client::link_config(&own)?))
}

/// Makes `count` devices known to the relay whose state is in `folder`, and
/// returns their settings. The relay may be running.
///
/// # Errors
/// The folder cannot be used, or the relay's registry refuses.
pub async fn enrol(folder: &Path, count: u32) -> anyhow::Result<Vec<Arc<rustls::ClientConfig>>> {
    let state = State::open(folder, &domain()?)?;
    let registry = state.registry().await?;
    let authority = Arc::new(state.authority);
    let mut devices = Vec::new();
    for number in 0..count {
        let name = DeviceName::parse(&format!("bench-{number}"))?;
        let own = enrol_one(&registry, &authority, name)
            .await
            .context("cannot enrol a device")?;
        devices.push(Arc::new(ginnel_certs::client::link_config(&own)?));
    }
    registry.close().await?;
    Ok(devices)
}

async fn enrol_one(
    registry: &Registry,
    authority: &Arc<Authority>,
    name: DeviceName,
) -> anyhow::Result<Credentials> {
    let now = SystemTime::now();
    let secret = vec![7; 32];
    let id = format!("bench{}", name.as_str().trim_start_matches("bench-"));
    let invitation = Invitation {
        user: UserName::parse("bench")?,
        device: Some(name),
        id: format!("{id}-{}", unix_ms(now)),
        secret: secret.clone(),
        ttl: Duration::from_secs(60),
    };
    let key = DeviceKey::generate()?;
    let request = key.certificate_request()?;
    let claim = Claim {
        id: invitation.id.clone(),
        secret,
        device: None,
        public_key_hash: ginnel_certs::authority::request_key_hash(&request)?,
    };
    registry.invite(invitation, unix_ms(now)).await?;
    let issuer = Arc::clone(authority);
    let issue = move |user: &UserName, device: &DeviceName| {
        let identity = identity(user, device).map_err(|error| error.to_string())?;
        let issued = issuer
            .issue_device(&request, &identity, now, LIFETIME)
            .map_err(|error| error.to_string())?;
        Ok(IssuedCertificate {
            serial: issued.serial.parse().map_err(|error| format!("{error}"))?,
            not_after_ms: unix_ms(issued.not_after),
            der: issued.der.to_vec(),
        })
    };
    let redeemed = registry.redeem(claim, unix_ms(now), issue).await?;
    let chain = vec![redeemed.certificate_der.into()];
    Ok(Credentials::new(
        key,
        chain,
        authority.certificate().clone(),
    )?)
}

fn identity(user: &UserName, device: &DeviceName) -> anyhow::Result<Identity> {
    Ok(Identity {
        domain: domain()?,
        environment: Environment::parse("dev")?,
        device: DeviceId::new(user.clone(), device.clone()),
    })
}
