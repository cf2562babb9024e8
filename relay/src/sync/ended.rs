//! How a push ends before its time.

use ginnel_link::error::StreamError;

use super::declined::Declined;
use crate::objects::Etag;
use crate::objects::error::Error;

/// Why a push ends.
#[derive(Debug)]
pub(super) enum Ended {
    /// The device is told why.
    Declined(Declined),
    /// The device is gone, or does not keep to the protocol.
    Stream(StreamError),
    /// An object that was to be a base is not what its index says.
    BadBase(Etag),
    /// What runs beside it has ended, and says why.
    Elsewhere,
}

impl From<Declined> for Ended {
    fn from(declined: Declined) -> Self {
        Self::Declined(declined)
    }
}

impl From<StreamError> for Ended {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Declined(error.into())
    }
}
