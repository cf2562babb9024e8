//! Logs at simulated times, for whoever looks into a failure.

use std::cell::Cell;
use std::fmt;
use std::sync::Once;

use tokio::time::Instant;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// What to log; nothing if it is not set.
const VARIABLE: &str = "GINNEL_SIM_LOG";

thread_local! {
    static STARTED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Logs to stderr from now on, if asked to.
pub(super) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        if let Ok(filter) = std::env::var(VARIABLE) {
            tracing_subscriber::fmt()
                .with_env_filter(EnvFilter::new(filter))
                .with_writer(std::io::stderr)
                .with_timer(SimulatedTime)
                .init();
        }
    });
}

/// This thread's world begins.
pub(super) fn begin(started: Instant) {
    STARTED.set(Some(started));
}

struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let elapsed = STARTED.get().map(|started| started.elapsed());
        write!(writer, "{:12.4}", elapsed.unwrap_or_default().as_secs_f64())
    }
}
