//! The commands beside a running relay: what they learn from it, and to whom
//! they send the admin token.

use ginnel_daemon::running::RunLock;

use super::*;
use crate::running::{self, RelayNote};

#[test]
fn a_running_relay_says_what_is_connected() {
    let case = Case::made();
    case.join("alice", "laptop");
    case.join("bob", "desktop");
    let live = serde_json::json!([{
        "device": "alice/laptop", "link": 7, "address": "192.0.2.1:5000", "agent": "0.1.0\u{1b}[2J",
        "since_unix_ms": 1_800_000_000_000_u64, "services": ["web", "api"], "rtt_ms": 12.34,
        "heartbeats": 3, "heartbeats_missed": 1, "heartbeat_age_s": 2.0, "queue": 0, "streams": 2,
        "bytes_sent": 1500, "bytes_received": 9, "packets_lost": 0,
    }]);
    let relay = FakeAdmin::start("200 OK", live.to_string());
    let _lock = case.running(&relay);

    let listed = case.ran("devices ls");
    assert_eq!(listed.notes, "");
    let lines: Vec<&str> = listed.out.lines().collect();
    assert!(
        lines[1].starts_with("bob/desktop   offline    never"),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].starts_with("alice/laptop  connected  now    12 ms"),
        "{}",
        lines[2]
    );
    assert!(lines[2].ends_with("  web, api"), "{}", lines[2]);
    let token = std::fs::read_to_string(case.dir.path().join("admin.token")).expect("token");
    let request = relay.request();
    assert!(
        request.starts_with("GET /v1/devices HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains(&format!("\r\nauthorization: Bearer {token}\r\n")),
        "{request}"
    );

    let shown = case.ran("devices show laptop").out;
    assert!(
        shown.contains("\nconnected           2027-01-15 08:00:00Z\n"),
        "{shown}"
    );
    assert!(
        shown.contains("\nagent               0.1.0?[2J\n"),
        "{shown}"
    );
    let view = case.json("devices show laptop --json");
    assert_eq!(view["status"], "connected");
    assert_eq!(view["live"]["rtt_ms"], 12.34);
    case.ran("devices revoke laptop");
    assert_eq!(case.json("devices show laptop --json")["status"], "revoked");
}

#[test]
fn another_program_on_the_admin_port_is_no_relay() {
    let case = Case::made();
    case.join("alice", "laptop");
    for (status, body, expected) in [
        ("401 Unauthorized", "no", "it is another relay"),
        ("404 Not Found", "no", "it answered with 404 Not Found"),
        ("200 OK", "{}", "its answer cannot be read"),
    ] {
        let other = FakeAdmin::start(status, body.into());
        let _lock = case.running(&other);
        let listed = case.ran("devices ls");
        assert!(listed.notes.contains(expected), "{}", listed.notes);
        assert!(
            listed.out.contains("alice/laptop  unknown"),
            "{}",
            listed.out
        );
    }
}

#[test]
fn an_invitation_leads_to_where_the_relay_listens() {
    let case = Case::made();
    let relay = FakeAdmin::start("200 OK", "[]".into());
    let lock = case.running(&relay);
    let view = case.json("invite --user alice --json");
    assert_eq!(view["relay"], "127.0.0.2:17443");
    drop(lock);
    let view = case.json("invite --user alice --json");
    assert_eq!(view["relay"], "relay.example:443");
}

/// Whoever listens where a relay listened, or where the settings say, is
/// nobody to send the token to.
#[test]
fn the_admin_token_goes_to_the_running_relay_only() {
    let mut case = Case::made();
    case.join("alice", "laptop");
    let other = FakeAdmin::start("200 OK", "[]".into());
    let address = other.address.to_string();
    case.environment
        .insert("GINNEL_RELAY_ADMIN_LISTEN", address);
    let left = case.dir.path().join("relay.json");
    let lock = case.running(&other);
    let file = std::fs::read(&left).expect("announced");
    drop(lock);
    // As a crash leaves it.
    ginnel_certs::private_file::write(&left, &file).expect("written");

    let listed = case.ran("devices ls");
    assert!(
        listed.notes.contains("none runs, state="),
        "{}",
        listed.notes
    );
    let lock = block_on(running::lock(case.dir.path())).expect("free");
    let listed = case.ran("devices ls");
    assert!(
        listed.notes.contains("it starts or stops"),
        "{}",
        listed.notes
    );
    drop(lock);
    // It stops after it was found: its port may be another program's by now.
    let lock = case.running(&other);
    let notes = case.with_opened(async |opened| {
        drop(lock);
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            notes: &mut notes,
        };
        let live = live::ask(&opened, &mut terminal).await.expect("told");
        assert_eq!(live, None);
        String::from_utf8(notes).expect("text")
    });
    assert!(notes.contains("it stopped just now"), "{notes}");
    assert!(other.requests.try_recv().is_err(), "it was asked");
}

impl Case {
    /// Pretends that a relay runs while the lock lives.
    fn running(&self, admin: &FakeAdmin) -> RunLock {
        let lock = block_on(running::lock(self.dir.path())).expect("free");
        let relay = RelayNote {
            pid: std::process::id(),
            advertise: "127.0.0.2:17443".to_owned(),
            admin: admin.address,
        };
        lock.announce(&relay).expect("written");
        lock
    }
}

/// A program on an admin port that answers every request alike.
struct FakeAdmin {
    address: std::net::SocketAddr,
    requests: std::sync::mpsc::Receiver<String>,
}

impl FakeAdmin {
    fn start(status: &'static str, body: String) -> Self {
        use std::io::Read as _;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("address");
        let (sender, requests) = std::sync::mpsc::channel();
        // Ends with the test's process: it waits for connections only.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("accepted");
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).expect("a whole head");
                    request.extend(byte);
                }
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).expect("written");
                stream.write_all(body.as_bytes()).expect("written");
                let _ = sender.send(String::from_utf8(request).expect("text"));
            }
        });
        Self { address, requests }
    }

    /// The first request.
    fn request(&self) -> String {
        self.requests.recv().expect("asked")
    }
}
