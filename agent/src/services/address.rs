//! Which addresses a service may be at.
//!
//! [`check_address`] is asked twice: when a service is shared, and again for
//! the resolved address right before each connection, so that neither a name
//! nor a change of DNS (rebinding) leads somewhere else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far away a service may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reach {
    /// On this machine: loopback addresses only.
    #[default]
    ThisMachine,
    /// On any machine this one can reach, shared with `--allow-remote`.
    Remote,
}

/// Why an address is not connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("address is {what}, address={address}{hint}")]
pub struct RefusedAddress {
    address: IpAddr,
    what: &'static str,
    hint: &'static str,
}

/// Checks that a service of the given reach may be at an address.
///
/// Never allowed, whatever the reach: unspecified, link-local, multicast and
/// broadcast addresses, and those where clouds serve credentials. An IPv4
/// address inside an IPv6 one counts as itself.
///
/// # Errors
/// [`RefusedAddress`] says which rule the address breaks.
pub fn check_address(address: IpAddr, reach: Reach) -> Result<(), RefusedAddress> {
    if is_loopback(address) {
        return Ok(());
    }
    let refused = |what, hint| {
        Err(RefusedAddress {
            address,
            what,
            hint,
        })
    };
    if let Some(what) = forbidden(address) {
        return refused(what, "");
    }
    match reach {
        Reach::Remote => Ok(()),
        Reach::ThisMachine => refused(
            "not on this machine",
            "; hint: --allow-remote shares a service of another machine",
        ),
    }
}

/// Whether an address is this machine's, also as IPv4-mapped IPv6.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// What makes an address one that nothing may be at.
fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    if METADATA_V4.contains(&address) {
        return Some("a cloud's metadata service");
    }
    match address.octets() {
        [0, ..] => Some("unspecified"),
        [169, 254, ..] => Some("link-local"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("reserved or broadcast"),
        _ => None,
    }
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    if METADATA_V6.contains(&address) {
        return Some("a cloud's metadata service");
    }
    if address.is_unspecified() {
        return Some("unspecified");
    }
    if let Some(inner) = embedded_v4(address) {
        return forbidden_v4(inner);
    }
    match address.segments() {
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        _ => None,
    }
}

/// The IPv4 address that packets to an IPv6 one may end up at.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let at = |start: usize| {
        let four = octets.get(start..start + 4)?;
        <[u8; 4]>::try_from(four).ok().map(Ipv4Addr::from)
    };
    match address.segments() {
        // IPv4-mapped and the older IPv4-compatible form (RFC 4291 §2.5.5).
        [0, 0, 0, 0, 0, 0xffff | 0, _, _] => at(12),
        // NAT64's well-known prefix (RFC 6052 §2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => at(12),
        // 6to4 (RFC 3056 §2).
        [0x2002, ..] => at(2),
        _ => None,
    }
}

/// Metadata services outside the link-local range: Alibaba, Oracle, Azure.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// Metadata services on unique local addresses: AWS, Google.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThisMachine => "this machine",
            Self::Remote => "remote",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_always_allowed() {
        for text in ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"] {
            for reach in [Reach::ThisMachine, Reach::Remote] {
                assert_eq!(check(text, reach), Ok(()), "{text}");
            }
        }
    }

    #[test]
    fn other_machines_need_to_be_allowed() {
        for text in [
            "10.0.0.1",
            "192.168.1.7",
            "8.8.8.8",
            "128.0.0.1",
            "2001:db8::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::808:808",
        ] {
            let error = check(text, Reach::ThisMachine).expect_err(text).to_string();
            assert!(error.contains("not on this machine"), "{error}");
            assert!(error.contains("hint: --allow-remote"), "{error}");
            assert_eq!(check(text, Reach::Remote), Ok(()), "{text}");
        }
    }

    #[test]
    fn some_addresses_are_never_allowed() {
        for (text, what) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("::", "unspecified"),
            ("::ffff:0.0.0.0", "unspecified"),
            ("169.254.169.254", "link-local"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::169.254.169.254", "link-local"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("2002:a9fe:a9fe::1", "link-local"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("ff02::1", "multicast"),
            ("::ffff:224.0.0.1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("::ffff:255.255.255.255", "broadcast"),
            ("240.0.0.1", "reserved"),
            ("fd00:ec2::254", "metadata"),
            ("fd20:ce::254", "metadata"),
            ("100.100.100.200", "metadata"),
            ("168.63.129.16", "metadata"),
            ("::ffff:192.0.0.192", "metadata"),
        ] {
            for reach in [Reach::ThisMachine, Reach::Remote] {
                let error = check(text, reach).expect_err(text).to_string();
                assert!(error.contains(what), "{text}: {error}");
                assert!(!error.contains("hint"), "{text}: {error}");
            }
        }
    }

    #[test]
    fn loopback_in_disguise_is_not_this_machine() {
        for text in ["::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"] {
            assert!(check(text, Reach::ThisMachine).is_err(), "{text}");
        }
    }

    fn check(text: &str, reach: Reach) -> Result<(), RefusedAddress> {
        check_address(text.parse().expect("an address"), reach)
    }
}
