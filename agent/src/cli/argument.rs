//! Arguments that are more than text.

use std::fmt;
use std::str::FromStr;

use ginnel_certs::join_code::JoinCode;
use ginnel_proto::id::{DeviceName, InvalidName, ServiceName};

/// A join code that was typed well. It is a secret: `Debug` does not show it.
#[derive(Clone)]
pub struct JoinText(String);

impl JoinText {
    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JoinText {
    type Err = ginnel_certs::error::Error;

    /// `-` reads the code from the standard input, which keeps it out of the
    /// list of processes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut line = String::new();
        let text = if text == "-" {
            // A code that could not be read is not a code.
            let _ = std::io::stdin().read_line(&mut line);
            line.trim()
        } else {
            text
        };
        JoinCode::from_str(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for JoinText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinText(…)")
    }
}

/// A service, written `NAME` or `DEVICE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteService {
    /// The device that shares it, if named.
    pub device: Option<DeviceName>,
    /// The service.
    pub service: ServiceName,
}

impl FromStr for RemoteService {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (device, service) = match text.split_once('/') {
            Some((device, service)) => (Some(DeviceName::parse(device)?), service),
            None => (None, text),
        };
        Ok(Self {
            device,
            service: ServiceName::parse(service)?,
        })
    }
}

impl fmt::Display for RemoteService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Some(device) => write!(f, "{device}/{}", self.service),
            None => write!(f, "{}", self.service),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ginnel_certs::pin::SpkiPin;

    #[test]
    fn a_service_may_name_its_device() {
        for text in ["db", "box/db"] {
            let service: RemoteService = text.parse().expect(text);
            assert_eq!(service.to_string(), text);
        }
        for text in ["", "/db", "box/", "a/b/c", "Box/db"] {
            assert!(text.parse::<RemoteService>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_code_is_checked_and_never_shown() {
        let code = JoinCode::generate("relay.example:7443", SpkiPin([7; 32])).expect("made");
        let code = code.to_string();
        let text: JoinText = code.parse().expect("valid");
        assert_eq!(text.as_str(), code);
        assert!(!format!("{text:?}").contains(&code));
        assert!(code[1..].parse::<JoinText>().is_err());
    }
}
