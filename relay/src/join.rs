//! Enrols a device: its join code and key in, its certificate out.

use std::time::Duration;

use bytes::Bytes;
use ginnel_certs::identity::Identity;
use ginnel_link::error::{LinkError, StreamError};
use ginnel_link::link::Link;
use ginnel_proto::code::Code;
use ginnel_proto::frame::FrameType;
use ginnel_proto::id::{DeviceId, DeviceName, UserName};
use ginnel_proto::join::{JoinAnswer, JoinRequest};
use std::sync::Arc;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::registry::redeem::{Claim, IssuedCertificate, RedeemError, Redeemed};
use crate::registry::serial::InvalidSerial;
use crate::relay::{CERTIFICATE_LIFETIME, Relay, unix_ms};

/// The whole exchange must be over by then.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How many names to try for a device that insists on none. Who has more
/// machines of one name is asked to choose.
const NUMBERED_MAX: u32 = 9;

/// Answers the one request of a join connection, and closes it.
pub async fn answer(relay: &Arc<Relay>, link: &Link) {
    match timeout(TIMEOUT, exchange(relay, link)).await {
        Ok(Ok(())) => link.close(Code::Done, ""),
        Ok(Err(error)) => {
            debug!(%error, "join failed");
            link.close(Code::JoinRefused, "");
        }
        Err(_) => link.close(Code::HelloTimeout, "joining took too long"),
    }
}

async fn exchange(relay: &Arc<Relay>, link: &Link) -> Result<(), StreamError> {
    let mut stream = link.accept().await.map_err(StreamError::LinkLost)?;
    let payload = stream
        .recv
        .expect(FrameType::Message, "JoinRequest")
        .await?;
    let answer = match JoinRequest::decode(payload) {
        Ok(request) => enrol(relay, request).await,
        Err(error) => Err(error.to_string()),
    };
    let answer = answer.unwrap_or_else(|reason| {
        debug!(reason, "join refused");
        relay.metrics.joins_refused.inc();
        if let Some(times) = relay.refused_joins.count(Instant::now()) {
            warn!(
                times,
                reason, "joins refused, the last for this reason; told once a minute"
            );
        }
        JoinAnswer::Refused { reason }
    });
    stream
        .send
        .send_frame(FrameType::Message, &answer.encode())
        .await?;
    stream.send.finish();
    // The device closes when it has read the answer.
    let end = link.closed().await;
    if let LinkError::Closed { .. } = end {
        return Ok(());
    }
    Err(StreamError::LinkLost(end))
}

/// Redeems the code. The error is for the person who runs `ginnel join`.
async fn enrol(relay: &Arc<Relay>, request: JoinRequest) -> Result<JoinAnswer, String> {
    let public_key_hash = ginnel_certs::authority::request_key_hash(&request.certificate_request)
        .map_err(|error| error.to_string())?;
    let claim = Claim {
        id: request.code_id,
        secret: request.secret.to_vec(),
        device: request.device,
        public_key_hash,
    };
    let csr = request.certificate_request;
    let mut redeemed = redeem(relay, claim.clone(), csr.clone()).await;
    if let (Err(RedeemError::NameMissing), Some(fallback)) = (&redeemed, &request.fallback) {
        for name in numbered(fallback) {
            let device = Some(name);
            redeemed = redeem(
                relay,
                Claim {
                    device,
                    ..claim.clone()
                },
                csr.clone(),
            )
            .await;
            if !is_name_refused(&redeemed) {
                break;
            }
        }
    }
    let redeemed = redeemed.map_err(|error| error.to_string())?;
    info!(device = %redeemed.device, "device joined");
    relay.joined.notify_one();
    Ok(JoinAnswer::Joined {
        certificate: redeemed.certificate_der.into(),
        authority: relay.authority.certificate().to_vec().into(),
        domain: relay.domain.clone(),
    })
}

/// `laptop`, then `laptop-2` and so on: many machines have the name that
/// their system came with.
fn numbered(name: &DeviceName) -> impl Iterator<Item = DeviceName> {
    (1..=NUMBERED_MAX).filter_map(move |number| match number {
        1 => Some(name.clone()),
        // A name near the limit has no room for a number.
        number => DeviceName::parse(&format!("{name}-{number}")).ok(),
    })
}

fn is_name_refused(redeemed: &Result<Redeemed, RedeemError>) -> bool {
    matches!(
        redeemed,
        Err(RedeemError::NameInUse { .. }
            | RedeemError::NameTaken { .. }
            | RedeemError::Revoked { .. })
    )
}

async fn redeem(relay: &Arc<Relay>, claim: Claim, csr: Bytes) -> Result<Redeemed, RedeemError> {
    let issuer = Arc::clone(relay);
    let issue = move |user: &UserName, device: &DeviceName| issue(&issuer, &csr, user, device);
    relay.registry.redeem(claim, relay.now_ms(), issue).await
}

/// Signs the certificate. Runs inside the registry's transaction.
fn issue(
    relay: &Relay,
    csr: &Bytes,
    user: &UserName,
    device: &DeviceName,
) -> Result<IssuedCertificate, String> {
    let identity = Identity {
        domain: relay.domain.clone(),
        environment: relay.environment.clone(),
        device: DeviceId::new(user.clone(), device.clone()),
    };
    let issued = relay
        .authority
        .issue_device(csr, &identity, relay.now(), CERTIFICATE_LIFETIME)
        .map_err(|error| error.to_string())?;
    Ok(IssuedCertificate {
        serial: issued
            .serial
            .parse()
            .map_err(|error: InvalidSerial| error.to_string())?,
        not_after_ms: unix_ms(issued.not_after),
        der: issued.der.to_vec(),
    })
}
