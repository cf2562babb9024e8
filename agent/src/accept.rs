//! Accepts connections of local programs, for ever.

use std::io;
use std::time::Duration;

use ginnel_daemon::tally::Tally;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tracing::warn;

/// Most local connections at once: many times what the apps of one person
/// open. Further ones wait in the system's queue.
pub(crate) const CONNECTIONS_MAX: usize = 256;

/// The wait after the system refused a connection, such as when all its file
/// descriptors are in use.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The next connection, whatever became of those before it. Failures are
/// logged as `failures` says.
pub(crate) async fn accept(listener: &TcpListener, failures: &Tally) -> TcpStream {
    first_good(|| listener.accept(), failures).await.0
}

/// As [`accept`], of a unix socket.
#[cfg(unix)]
pub(crate) async fn accept_socket(
    listener: &tokio::net::UnixListener,
    failures: &Tally,
) -> tokio::net::UnixStream {
    first_good(|| listener.accept(), failures).await.0
}

/// Asks until it succeeds: a failed accept says nothing about the next one.
async fn first_good<T, F>(mut ask: impl FnMut() -> F, failures: &Tally) -> T
where
    F: Future<Output = io::Result<T>>,
{
    loop {
        match ask().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if let Some(times) = failures.count(Instant::now()) {
                    warn!(%error, times, "cannot accept local connections");
                }
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

/// Errors that say only that this one client has left again.
fn is_of_one_connection(error: &io::Error) -> bool {
    [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionRefused,
    ]
    .contains(&error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;

    #[tokio::test(start_paused = true)]
    async fn a_failed_accept_is_not_the_last() {
        const TOO_MANY_FILES: i32 = 24;
        let began = Instant::now();
        let mut outcomes = vec![
            Ok(7),
            Err(io::Error::from_raw_os_error(TOO_MANY_FILES)),
            Err(io::Error::from_raw_os_error(TOO_MANY_FILES)),
            Err(io::ErrorKind::ConnectionAborted.into()),
        ];
        let next = || ready(outcomes.pop().expect("asked too often"));
        let accepted = first_good(next, &Tally::default()).await;
        assert_eq!(accepted, 7);
        // A client that left costs nothing, a full system a pause.
        assert_eq!(began.elapsed(), 2 * ACCEPT_AGAIN_AFTER);
    }
}
