//! Which hosts the admin listener answers to.
//!
//! A web page can make a name of its own lead to this machine (DNS rebinding),
//! and then read what a browser on it may read, such as the devices' names in
//! `/metrics`. The browser sends that name as Host.

use std::net::{IpAddr, SocketAddr};

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// Which hosts the listener answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hosts {
    /// `localhost` and loopback addresses, of any port: it may be forwarded.
    Loopback,
    /// Any: whoever listens at another address than loopback means to be asked
    /// from the network, by names that only the network knows. Who may connect
    /// there could read all of it anyway, without a browser.
    Any,
}

impl Hosts {
    /// What suits a listener at that address.
    pub(super) fn of(listening: SocketAddr) -> Self {
        match is_loopback(listening.ip()) {
            true => Self::Loopback,
            false => Self::Any,
        }
    }

    /// Whether a request is meant for this listener. One without a host is:
    /// load balancers check by HTTP/1.0, and browsers never leave it out.
    pub(super) fn allow(self, uri: &Uri, headers: &HeaderMap) -> bool {
        match self {
            Self::Any => true,
            Self::Loopback => {
                let mut hosts = headers.get_all(HOST).iter();
                let is_ours =
                    |host: &[u8]| Authority::try_from(host).is_ok_and(|host| is_local(&host));
                hosts.all(|host| is_ours(host.as_bytes())) && uri.authority().is_none_or(is_local)
            }
        }
    }
}

fn is_local(authority: &Authority) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    match host.trim_matches(['[', ']']).parse() {
        Ok(address) => is_loopback(address),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    #[test]
    fn loopback_is_asked_by_loopback_names() {
        let hosts = Hosts::of("127.0.0.2:7490".parse().expect("an address"));
        for host in [
            "localhost",
            "LocalHost:7490",
            "127.0.0.1:7490",
            "127.0.0.2",
            "127.9.9.9:80",
            "[::1]:7490",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(allows(hosts, &[host], "/"), "{host}");
        }
        assert!(allows(hosts, &[], "/"), "HTTP/1.0");
        assert!(allows(hosts, &["localhost"], "http://localhost/"));
        for host in [
            "",
            "rebound.example",
            "rebound.example:7490",
            "localhost.rebound.example",
            "127.0.0.1.rebound.example",
            "192.0.2.1",
            "0.0.0.0:7490",
            "[::]",
            "localhost@rebound.example",
            "rebound.example@localhost",
        ] {
            assert!(!allows(hosts, &[host], "/"), "{host}");
        }
        assert!(!allows(hosts, &["localhost", "rebound.example"], "/"));
        assert!(!allows(hosts, &["localhost"], "http://rebound.example/"));
    }

    #[test]
    fn the_network_asks_by_names_of_its_own() {
        for listening in ["0.0.0.0:7490", "[::]:7490", "192.0.2.1:7490"] {
            let hosts = Hosts::of(listening.parse().expect("an address"));
            for host in ["192.0.2.1:7490", "relay.monitoring:7490", "localhost"] {
                assert!(allows(hosts, &[host], "/"), "{listening} {host}");
            }
        }
    }

    fn allows(hosts: Hosts, names: &[&str], uri: &str) -> bool {
        let mut request = Request::builder().uri(uri);
        for name in names {
            let name = HeaderValue::from_str(name).expect("a value");
            request = request.header(HOST, name);
        }
        let request = request.body(()).expect("valid");
        hosts.allow(request.uri(), request.headers())
    }
}
