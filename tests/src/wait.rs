//! Waiting for conditions, never for time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Nothing that a test waits for takes this long on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

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
        sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// After [`PATIENCE`], naming what did not happen.
pub async fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(())).await;
}
