//! How long a device may send nothing while the relay waits for it.

use std::time::Duration;

use ginnel_link::error::StreamError;
use ginnel_proto::code::Code;
use tokio::time::timeout;

use super::declined::Declined;
use super::ended::Ended;

/// A device that has nothing to send ends its push and comes back later. It
/// also waits for a part that goes into the bucket, which is tried for half a
/// minute and may then take a whole one.
const SILENCE_MAX: Duration = Duration::from_secs(150);

/// What the device sends, if it sends it in time.
pub(super) async fn in_time<T>(
    next: impl Future<Output = Result<T, StreamError>>,
) -> Result<T, Ended> {
    match timeout(SILENCE_MAX, next).await {
        Ok(next) => Ok(next?),
        Err(_) => {
            let what = "the device sent nothing for too long; hint: the push can be gone on with";
            Err(Declined::new(Code::IdleTimeout, what).into())
        }
    }
}
