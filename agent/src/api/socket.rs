//! Where the local API listens: a loopback address, and a unix socket in the
//! state folder.

use std::io;
use std::path::Path;

use ginnel_daemon::tally::Tally;
use tokio::net::{TcpListener, TcpStream};

use crate::accept::accept;

/// The socket in the state folder.
const FILE_NAME: &str = "ginnel.sock";

/// Both ways to the local API.
#[derive(Debug)]
pub struct Listeners {
    tcp: TcpListener,
    #[cfg(unix)]
    socket: Option<tokio::net::UnixListener>,
}

/// A connection.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    #[cfg(unix)]
    Socket(tokio::net::UnixStream),
}

impl From<TcpListener> for Listeners {
    fn from(tcp: TcpListener) -> Self {
        Self {
            tcp,
            #[cfg(unix)]
            socket: None,
        }
    }
}

#[cfg(unix)]
impl Listeners {
    /// Also listens on a socket in the state folder, which must be this
    /// daemon's own: a socket that is left from the last one is replaced.
    ///
    /// # Errors
    /// The system refuses, for one because the path is longer than 100 bytes.
    /// The listeners come back as they were.
    pub fn with_socket(mut self, state: &Path) -> Result<Self, (Self, io::Error)> {
        match bind(&state.join(FILE_NAME)) {
            Ok(socket) => {
                self.socket = Some(socket);
                Ok(self)
            }
            Err(error) => Err((self, error)),
        }
    }

    pub(super) async fn accept(&self, failures: &Tally) -> Accepted {
        let Some(socket) = &self.socket else {
            return Accepted::Tcp(accept(&self.tcp, failures).await);
        };
        tokio::select! {
            stream = accept(&self.tcp, failures) => Accepted::Tcp(stream),
            stream = crate::accept::accept_socket(socket, failures) => Accepted::Socket(stream),
        }
    }
}

#[cfg(not(unix))]
impl Listeners {
    /// Nothing: this system has no unix sockets.
    ///
    /// # Errors
    /// Always.
    pub fn with_socket(self, _: &Path) -> Result<Self, (Self, io::Error)> {
        Err((self, io::ErrorKind::Unsupported.into()))
    }

    pub(super) async fn accept(&self, failures: &Tally) -> Accepted {
        Accepted::Tcp(accept(&self.tcp, failures).await)
    }
}

#[cfg(unix)]
fn bind(path: &Path) -> io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;

    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = tokio::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(socket)
}
