//! Where log lines go: to standard error, in the form that was asked for.

use std::io;

use tracing_subscriber::EnvFilter;

use super::report::Style;
use crate::config::{Environment, LogFormat};

/// Starts to log. If something logs already, it goes on instead.
pub(super) fn start(filter: &str, format: LogFormat, environment: Environment<'_>) {
    // A filter that is not valid was refused before it came here.
    let filter = EnvFilter::try_new(filter).unwrap_or_default();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let _ = match format {
        LogFormat::Text => {
            let colours = Style::of_stderr(environment) != Style::plain();
            log.with_ansi(colours).try_init()
        }
        LogFormat::Json => log.json().try_init(),
    };
}
