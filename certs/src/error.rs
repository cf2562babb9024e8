//! What can go wrong, in one type for the whole crate.

use std::io;
use std::path::PathBuf;

/// Why a certificate, a file or a code was not accepted or not made.
///
/// Only [`Error::File`] may pass by trying again; everything else needs other
/// input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device has not joined a relay yet.
    #[error("no identity in {}; hint: ginnel join CODE", .dir.display())]
    NoIdentity {
        /// The folder that was searched.
        dir: PathBuf,
    },

    /// The operating system refused a file operation.
    #[error("cannot {action} file, path={}", .path.display())]
    File {
        /// What was tried: a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// A secret file is open to other users of the machine.
    #[error(
        "secret file is open to other users, mode={mode:04o}, path={path}; hint: chmod 600 {path}",
        path = .path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },

    /// A file does not hold what it should.
    #[error("file is not usable, reason={reason:?}, path={}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A certificate does not have the form that Ginnel issues.
    #[error("certificate {0}")]
    Certificate(&'static str),

    /// A device opened a link without a certificate.
    #[error("certificate required: a link needs a device certificate; hint: ginnel join CODE")]
    CertificateRequired,

    /// The name in a certificate is not a Ginnel identity.
    #[error("identity {reason}, identity={identity:?}")]
    Identity {
        /// Which rule it breaks.
        reason: String,
        /// The refused name, shortened.
        identity: String,
    },

    /// A valid identity of somewhere else.
    #[error("identity belongs to another {what}, expected={expected}, found={found}")]
    Foreign {
        /// `domain` or `environment`.
        what: &'static str,
        /// What this relay accepts.
        expected: String,
        /// What the identity says.
        found: String,
    },

    /// A certificate request is refused.
    #[error("certificate request {0}")]
    Request(&'static str),

    /// A join code is refused.
    #[error("join code {0}")]
    JoinCode(&'static str),

    /// The clock or a lifetime leads to dates that no certificate can carry.
    #[error("cannot date certificate, reason={0:?}")]
    Dates(&'static str),

    /// The cryptography refused, which valid input never causes.
    #[error("cannot {action}, reason={reason:?}")]
    Crypto {
        /// What was tried: a verb and its object.
        action: &'static str,
        /// The library's reason.
        reason: String,
    },
}

impl Error {
    /// A refusal of the cryptography.
    pub(crate) fn crypto(action: &'static str, reason: impl ToString) -> Self {
        Self::Crypto {
            action,
            reason: reason.to_string(),
        }
    }

    /// Whether a file was missing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
