//! `r2-strict` by itself: the proxy of [`ginnel_tests::bucket::strict`] in
//! front of any S3 server, for trials by hand and measurements.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use ginnel_tests::bucket::Strict;
use tokio::net::TcpListener;

/// Holds clients of an S3 server to R2's law
#[derive(Debug, Parser)]
struct Cli {
    /// The S3 server behind it
    #[arg(long, value_name = "ADDRESS")]
    upstream: SocketAddr,

    /// Where to listen; a port of 0 is any, and is printed
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// How long every request waits first, such as 50ms or 1s
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0ms")]
    delay: Duration,
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "a program that is read by people")]
async fn main() -> std::io::Result<()> {
    let cli = Cli::parse();
    let listener = TcpListener::bind(cli.listen).await?;
    let strict = Strict::listen(listener, cli.upstream)?;
    strict.set_delay(cli.delay);
    println!("http://{}", strict.address);
    tokio::signal::ctrl_c().await?;
    print!("{}", strict.counts());
    Ok(())
}

/// A whole number of milliseconds or seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let milliseconds = match text.strip_suffix("ms") {
        Some(number) => number.parse().ok(),
        None => text.strip_suffix('s').and_then(|number| {
            let seconds: u64 = number.parse().ok()?;
            seconds.checked_mul(1000)
        }),
    };
    let milliseconds = milliseconds.ok_or("not a time; write 50ms or 2s");
    milliseconds.map(Duration::from_millis).map_err(Into::into)
}
