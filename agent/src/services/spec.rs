//! A shared service as text, and as the valid value made from it.
//!
//! [`ServiceSpec`] is what `services.toml`, the local API and the command line
//! carry; [`SharedService::new`] is the one way into the list.

use std::path::PathBuf;

use ginnel_proto::control::{Access, Service};
use ginnel_proto::id::ServiceName;
use serde::{Deserialize, Serialize};

use super::address::{Reach, check_address};
use super::target::{Host, Target};
use ginnel_daemon::mistakes::Mistakes;

/// A local target that this device exposes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedService {
    /// Its name, unique on the device.
    pub name: ServiceName,
    /// What it forwards to.
    pub target: Target,
    /// Who may call it.
    pub access: Access,
    /// How far away the target may be.
    pub reach: Reach,
    /// Whose certificate an `https` target must show.
    pub trust: Trust,
}

/// Whose certificate an `https` target must show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// One that a public authority signed.
    #[default]
    Web,
    /// One that an authority in this PEM file signed.
    File(PathBuf),
    /// Any: for a target with a self-signed certificate.
    Anything,
}

/// A service as text, without its name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// See [`Target::parse`].
    pub target: String,
    /// Callers need no API key.
    #[serde(default)]
    pub public: bool,
    /// The target may be on another machine.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_remote: bool,
    /// Absolute path of a PEM file, for `https` targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<String>,
    /// Accept any certificate, for `https` targets.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tls_insecure: bool,
}

impl ServiceSpec {
    /// A private service of this machine.
    #[must_use]
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            ..Self::default()
        }
    }
}

impl SharedService {
    /// Checks a service's text.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn new(name: ServiceName, spec: &ServiceSpec) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let reach = if spec.allow_remote {
            Reach::Remote
        } else {
            Reach::ThisMachine
        };
        let trust = trust(spec, &mut mistakes);
        let target = match Target::parse(&spec.target) {
            Ok(target) => target,
            Err(error) => {
                mistakes.add("target", error);
                return Err(mistakes);
            }
        };
        check_reach(&target, reach, &mut mistakes);
        if trust != Trust::Web && !matches!(target, Target::Https(_)) {
            mistakes.add("target", "is not https://, so tls_… has no effect");
        }
        mistakes.or(Self {
            name,
            target,
            access: if spec.public {
                Access::Public
            } else {
                Access::Private
            },
            reach,
            trust,
        })
    }

    /// The service as text, in full form.
    #[must_use]
    pub fn spec(&self) -> ServiceSpec {
        ServiceSpec {
            target: self.target.to_string(),
            public: self.access == Access::Public,
            allow_remote: self.reach == Reach::Remote,
            tls_ca: match &self.trust {
                Trust::File(path) => Some(path.display().to_string()),
                Trust::Web | Trust::Anything => None,
            },
            tls_insecure: self.trust == Trust::Anything,
        }
    }

    /// The service as the relay is to know it.
    pub(crate) fn to_register(&self) -> Service {
        Service {
            name: self.name.clone(),
            kind: self.target.kind(),
            access: self.access,
        }
    }
}

/// A target given by name stays a name; `localhost` is the one that needs no
/// permission, and its address is checked like any other before connecting.
fn check_reach(target: &Target, reach: Reach, mistakes: &mut Mistakes) {
    let Some(authority) = target.authority() else {
        return;
    };
    match authority.host() {
        Host::Address(address) => {
            if let Err(error) = check_address(*address, reach) {
                mistakes.add("target", error);
            }
        }
        Host::Name(name) => {
            if reach == Reach::ThisMachine && **name != *"localhost" {
                let hint = "--allow-remote shares a service of another machine";
                mistakes.add(
                    "target",
                    format_args!("host is not this machine, host={name}; hint: {hint}"),
                );
            }
        }
    }
}

fn trust(spec: &ServiceSpec, mistakes: &mut Mistakes) -> Trust {
    match (&spec.tls_ca, spec.tls_insecure) {
        (None, false) => Trust::Web,
        (None, true) => Trust::Anything,
        (Some(path), insecure) => {
            if insecure {
                mistakes.add("tls_insecure", "makes tls_ca useless, give one of them");
            }
            let path = PathBuf::from(path);
            if !path.is_absolute() {
                let path = path.display();
                mistakes.add("tls_ca", format_args!("is not absolute, path={path}"));
            }
            Trust::File(path)
        }
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_say_the_same() {
        let full = ServiceSpec {
            target: "https://box.lan:8443".into(),
            public: true,
            allow_remote: true,
            tls_ca: Some(absolute("ca.pem")),
            tls_insecure: false,
        };
        let insecure = ServiceSpec {
            target: "https://localhost:1".into(),
            tls_insecure: true,
            ..ServiceSpec::default()
        };
        for spec in [full, insecure, ServiceSpec::new("demo")] {
            assert_eq!(service(&spec).expect("valid").spec(), spec);
        }
    }

    #[test]
    fn a_service_is_private_and_local_unless_said_otherwise() {
        let web = service(&ServiceSpec::new("3000")).expect("valid");
        assert_eq!(web.access, Access::Private);
        assert_eq!(web.reach, Reach::ThisMachine);
        assert_eq!(web.trust, Trust::Web);
        for target in ["http://10.0.0.1:80", "tcp://db:5432"] {
            let error = service(&ServiceSpec::new(target)).expect_err(target);
            assert!(error.to_string().contains("--allow-remote"), "{error}");
            let remote = ServiceSpec {
                allow_remote: true,
                ..ServiceSpec::new(target)
            };
            assert!(service(&remote).is_ok(), "{target}");
        }
    }

    #[test]
    fn a_forbidden_address_is_refused_even_if_remote_is_allowed() {
        let spec = ServiceSpec {
            allow_remote: true,
            ..ServiceSpec::new("http://[::ffff:169.254.169.254]:80")
        };
        let error = service(&spec).expect_err("metadata").to_string();
        assert!(error.contains("link-local"), "{error}");
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let spec = ServiceSpec {
            target: "http://10.0.0.1:80".into(),
            tls_ca: Some("ca.pem".into()),
            tls_insecure: true,
            ..ServiceSpec::default()
        };
        let mistakes = service(&spec).expect_err("four mistakes");
        assert_eq!(mistakes.lines().len(), 4, "{mistakes}");
    }

    #[test]
    fn unknown_fields_are_refused() {
        let read = serde_json::from_str::<ServiceSpec>;
        assert!(read(r#"{"target":"3000"}"#).is_ok());
        assert!(read(r#"{"target":"3000","publik":true}"#).is_err());
        assert!(read("{}").is_err());
    }

    fn service(spec: &ServiceSpec) -> Result<SharedService, Mistakes> {
        SharedService::new("web".parse().expect("valid"), spec)
    }

    fn absolute(name: &str) -> String {
        let path = std::env::temp_dir().join(name);
        path.to_str().expect("utf-8").to_owned()
    }
}
