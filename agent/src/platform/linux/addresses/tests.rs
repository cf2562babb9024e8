use super::*;
use proptest::prelude::*;
use std::process::Command;
use std::time::Duration;

use crate::clock::{Change, Changes};

const LINK: u16 = 16;
const ADDRESS: u16 = 20;
const ROUTE: u16 = 24;

#[test]
fn a_repeated_report_is_no_news() {
    let mut known = Known::default();
    for (report, news) in [
        (address(ADDRESS, 2, &[10, 0, 0, 1]), true),
        (address(ADDRESS, 2, &[10, 0, 0, 1]), false),
        (address(ADDRESS, 3, &[10, 0, 0, 1]), true),
        (address(ADDRESS + 1, 2, &[10, 0, 0, 1]), true),
        (address(ADDRESS, 2, &[10, 0, 0, 1]), true),
        (link(LINK, 2, 0x1), true),
        // Another flag than those that matter: a Wi-Fi scan.
        (link(LINK, 2, 0x1 | 0x1000), false),
        (link(LINK, 2, 0x1 | 0x40), true),
        (link(LINK + 1, 2, 0), true),
        (link(LINK + 1, 2, 0), false),
        (message(ROUTE, &[0; 12]), true),
        (message(ROUTE, &[0; 12]), true),
        (message(3, &[]), false),
    ] {
        assert_eq!(known.learn(&report), news, "{report:?}");
    }
}

#[test]
fn all_messages_of_a_datagram_are_read() {
    let mut known = Known::default();
    let nothing = message(3, &[1]);
    let news = address(ADDRESS, 2, &[10, 0, 0, 1]);
    assert!(known.learn(&[nothing.clone(), news].concat()));
    assert!(!known.learn(&[nothing.clone(), nothing].concat()));
}

#[test]
fn memory_has_a_limit() {
    let mut known = Known::default();
    for n in 0..2 * u32::try_from(KNOWN_MAX).expect("fits") {
        assert!(known.learn(&address(ADDRESS, n, &[10, 0, 0, 1])));
        assert!(known.addresses.len() <= KNOWN_MAX);
    }
}

proptest! {
    #[test]
    fn damaged_reports_never_panic(
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut report = [
            link(LINK, 2, 0x1),
            address(ADDRESS, 2, &[1; 16]),
            message(ROUTE, &[0; 12]),
        ]
        .concat();
        let at = at.index(report.len());
        report[at] = value;
        report.truncate(cut.index(report.len() + 1));
        Known::default().learn(&report);
    }
}

/// Says to the copy of this program inside a network of its own that it is one.
const INSIDE: &str = "GINNEL_TEST_OWN_NETWORK";

/// Runs [`a_new_address_is_told_inside`] in a network of its own, which needs
/// root and two tools of the system.
#[test]
fn a_new_address_is_told() {
    let test = "platform::linux::addresses::tests::a_new_address_is_told_inside";
    let works = Command::new("unshare")
        .args(["--net", "ip", "link"])
        .output();
    if !works.is_ok_and(|output| output.status.success()) {
        println!("skipped: needs root, unshare and ip to make a network");
        return;
    }
    let program = std::env::current_exe().expect("known");
    let output = Command::new("unshare")
        .arg("--net")
        .arg(program)
        .args(["--exact", test])
        .env(INSIDE, "1")
        .output()
        .expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn a_new_address_is_told_inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    ip(&["link", "set", "lo", "up"]);
    let mut changes = Changes::watch();
    let mut change = async || {
        let next = tokio::time::timeout(Duration::from_secs(10), changes.next());
        next.await.expect("told in time")
    };
    for command in ["add", "del"] {
        ip(&["address", command, "10.77.0.1/24", "dev", "lo"]);
        assert_eq!(change().await, Change::AddressChanged, "{command}");
    }
    ip(&["link", "set", "lo", "down"]);
    assert_eq!(change().await, Change::AddressChanged);
    let silence = tokio::time::timeout(Duration::from_secs(1), changes.next());
    silence.await.expect_err("a burst is told once");
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status();
    assert!(status.expect("started").success(), "{arguments:?}");
}

fn link(kind: u16, index: u32, flags: u32) -> Vec<u8> {
    let fields = [0, index, flags, 0].map(u32::to_ne_bytes);
    message(kind, &fields.concat())
}

fn address(kind: u16, index: u32, address: &[u8]) -> Vec<u8> {
    // An attribute of another kind and of odd length comes first.
    let other = attribute(6, &[0; 5]);
    let fields = [[0; 4], index.to_ne_bytes()].concat();
    message(kind, &[fields, other, attribute(1, address)].concat())
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("short");
    let head = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    padded([&head, value].concat())
}

fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).expect("short");
    let mut head = length.to_ne_bytes().to_vec();
    head.extend(kind.to_ne_bytes());
    head.extend([0; 10]);
    padded([&head, payload].concat())
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
