//! Waiting for conditions, never for time.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Nothing that a test waits for takes this long on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
pub const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Waits until `condition` gives a value.
///
/// # Panics
/// After [`PATIENCE`], naming what did not happen.
pub async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        sleep(LOOK_AGAIN).await;
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// After [`PATIENCE`], naming what did not happen.
pub async fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(())).await;
}

/// Waits for a future.
///
/// # Panics
/// After [`PATIENCE`], naming what did not happen.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = timeout(PATIENCE, future).await else {
        panic!("gave up waiting: {what}");
    };
    value
}

/// Waits for a future that must not take long: no timer may be behind it.
///
/// # Panics
/// After 5 seconds, naming what did not happen.
pub async fn promptly<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = timeout(Duration::from_secs(5), future).await else {
        panic!("took too long: {what}");
    };
    value
}
