use super::*;
use proptest::prelude::*;

#[test]
fn all_forms_are_read() {
    for (text, shown) in [
        ("3000", "http://127.0.0.1:3000"),
        (":3000", "http://127.0.0.1:3000"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://LocalHost:8080", "http://localhost:8080"),
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("tcp://[0:0:0:0:0:0:0:1]:22", "tcp://[::1]:22"),
        ("tcp://db.internal:5432", "tcp://db.internal:5432"),
        ("demo", "demo"),
    ] {
        let target = Target::parse(text).expect(text);
        assert_eq!(target.to_string(), shown);
        assert_eq!(Target::parse(shown), Ok(target));
    }
}

#[cfg(unix)]
#[test]
fn unix_sockets_are_absolute_paths() {
    for text in ["unix:/run/app.sock", "tcp+unix:/run/a?b#c@d.sock"] {
        assert_eq!(Target::parse(text).expect(text).to_string(), text);
    }
    let longest = format!("unix:/{}", "x".repeat(SOCKET_PATH_MAX - 1));
    assert!(Target::parse(&longest).is_ok());
    for (text, reason) in [
        ("unix:", "has no absolute path"),
        ("unix:run/app.sock", "has no absolute path"),
        ("unix:/run/", "is a folder"),
        ("unix:/run/a b", "holds a space"),
        (&format!("{longest}x"), "longer than 103 bytes"),
    ] {
        refused(text, reason);
    }
}

#[test]
fn kinds_follow_the_scheme() {
    for (text, kind) in [
        ("3000", ServiceKind::Http),
        ("https://localhost:1", ServiceKind::Http),
        ("demo", ServiceKind::Http),
        ("tcp://localhost:1", ServiceKind::Tcp),
    ] {
        assert_eq!(Target::parse(text).expect(text).kind(), kind, "{text}");
    }
}

#[test]
fn each_mistake_is_named() {
    for (text, reason) in [
        ("", "is empty"),
        ("0", "port that is not a number"),
        (":", "port that is not a number"),
        ("65536", "port that is not a number"),
        ("http://localhost:+80", "port that is not a number"),
        ("http://localhost:", "port that is not a number"),
        ("http://localhost", "has no port"),
        ("http://[::1]", "has no port"),
        ("http://[::1", "unclosed ["),
        ("http://::1", "IPv6 address without []"),
        ("http://[fe80::1%eth0]:80", "no IPv6 address in []"),
        ("http://[127.0.0.1]:80", "no IPv6 address in []"),
        ("http://:80", "has no host"),
        ("http://127.1:80", "looks like an IPv4 address"),
        ("http://2130706433:80", "looks like an IPv4 address"),
        ("http://0x7f000001:80", "looks like an IPv4 address"),
        ("http://256.0.0.1:80", "looks like an IPv4 address"),
        ("http://localhost.:80", "neither a name nor an address"),
        ("http://lo%63alhost:80", "neither a name nor an address"),
        ("http://ä:80", "neither a name nor an address"),
        ("http://localhost:80/", "has a path"),
        ("http://localhost:80\\x", "has a path"),
        ("http://localhost:80?q", "has a query"),
        ("http://localhost:80#f", "has a fragment"),
        ("http://user:pw@localhost:80", "has user info"),
        ("http://localhost:80@evil:80", "has user info"),
        ("ftp://localhost:21", "has an unknown scheme"),
        ("HTTP://localhost:80", "has an unknown scheme"),
        ("localhost:3000", "has no scheme"),
        ("127.0.0.1", "has no scheme"),
        ("Demo", "has no scheme"),
        ("http://local host:80", "holds a space"),
        ("3000\n", "holds a space or a control"),
        ("http://local\0host:80", "holds a space or a control"),
        (&"1".repeat(TARGET_MAX + 1), "is longer than 300"),
    ] {
        refused(text, reason);
    }
}

#[test]
fn a_near_miss_is_told_what_to_write() {
    for (text, hint) in [
        ("localhost:3000", "; hint: write http://localhost:3000"),
        (
            "http://localhost:80/x?y",
            "; hint: write http://localhost:80",
        ),
        ("tcp://me@[::1]:22", "; hint: write tcp://[::1]:22"),
    ] {
        let error = Target::parse(text).expect_err(text).to_string();
        assert!(error.ends_with(hint), "{error}");
    }
}

fn refused(text: &str, reason: &str) {
    let error = Target::parse(text).expect_err(text).to_string();
    assert!(error.contains(reason), "{text:?}: {error}");
}

fn authority() -> impl Strategy<Value = Authority> {
    let name = "[a-z][a-z0-9_-]{0,20}(\\.[a-z][a-z0-9-]{0,20}){0,3}";
    let host = prop_oneof![
        name.prop_map(|name| Host::Name(name.into())),
        any::<Ipv4Addr>().prop_map(|address| Host::Address(address.into())),
        any::<Ipv6Addr>().prop_map(|address| Host::Address(address.into())),
    ];
    (host, 1..=u16::MAX).prop_map(|(host, port)| Authority { host, port })
}

fn target() -> impl Strategy<Value = Target> {
    let path = || "(/[a-zA-Z0-9._?#@:-]{1,20}){1,4}".prop_map(|path| SocketPath(path.into()));
    prop_oneof![
        authority().prop_map(Target::Http),
        authority().prop_map(Target::Https),
        authority().prop_map(Target::Tcp),
        path().prop_map(Target::Unix),
        path().prop_map(Target::TcpUnix),
        Just(Target::Demo),
        Just(Target::Knowledge),
    ]
}

proptest! {
    #[cfg(unix)]
    #[test]
    fn what_is_shown_is_read_back(target in target()) {
        prop_assert_eq!(Target::parse(&target.to_string()), Ok(target));
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,40}") {
        if let Ok(target) = Target::parse(&text) {
            prop_assert_eq!(Target::parse(&target.to_string()), Ok(target));
        }
    }
}
