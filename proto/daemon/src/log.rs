//! The log of a daemon, on standard error.

use std::io;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

use crate::environment::{Environment, shows_colours};

/// What log lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("is neither text nor json, value={text:?}")),
        }
    }
}

/// Checks a log filter, such as `info,ginnel_link=debug`, and returns it.
///
/// # Errors
/// It is not of the form that [`EnvFilter`] takes.
pub fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("is not a log filter, value={text:?}: {error}")),
    }
}

/// Starts the log of this process. If something logs already, it goes on
/// instead.
pub fn start(filter: &str, format: LogFormat, environment: Environment<'_>) {
    // A filter that is not valid was refused before it came here.
    let filter = EnvFilter::try_new(filter).unwrap_or_default();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // Where nobody reads the log any more, the daemon goes on; to say so
        // there would end the thread.
        .log_internal_errors(false)
        .with_ansi(shows_colours(environment));
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_text_or_json() {
        assert_eq!("text".parse(), Ok(LogFormat::Text));
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        let error = "xml".parse::<LogFormat>().expect_err("neither");
        assert_eq!(error, "is neither text nor json, value=\"xml\"");
    }

    #[test]
    fn a_filter_is_checked_before_it_is_used() {
        assert_eq!(filter("info,a=debug"), Ok("info,a=debug".to_owned()));
        let error = filter("a=loud").expect_err("no level");
        assert!(error.starts_with("is not a log filter"), "{error}");
    }
}
