//! The commands from arguments to output, on a state folder of their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::CommandFactory as _;
use ginnel_certs::join_code::JoinCode;
use serde_json::Value;

use super::*;

mod gone;
mod running;

#[test]
fn the_arguments_are_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn help_is_short_and_ends_without_a_full_stop() {
    fn check(command: &mut clap::Command) {
        let about = command.get_about().expect("about").to_string();
        assert!(!about.ends_with('.'), "{about}");
        for argument in command.get_arguments() {
            let help = argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(!help.ends_with('.'), "{help}");
        }
        command.get_subcommands_mut().for_each(check);
    }
    check(&mut Cli::command());
}

#[test]
fn there_must_be_a_relay() {
    let case = Case::new();
    for command in [
        "devices ls",
        "key ls",
        "usage",
        "invite --user alice",
        "devices revoke a",
    ] {
        let error = case.refused(command);
        assert!(
            error.contains("error: there is no relay here yet, state="),
            "{error}"
        );
        assert!(
            error.contains("\nhint: make one with: ginnel-relay init"),
            "{error}"
        );
    }
    let left = std::fs::read_dir(case.dir.path()).expect("folder").count();
    assert_eq!(left, 0, "asking makes nothing");
}

#[test]
fn a_relay_is_made_once() {
    let case = Case::new();
    let made = case.ran("init --domain relay.example --environment staging");
    assert!(
        made.out.starts_with("Made a relay for relay.example in "),
        "{}",
        made.out
    );
    assert!(
        made.notes.contains("hint: name your TLS certificate"),
        "{}",
        made.notes
    );
    let file = case.dir.path().join("relay.toml");
    let text = std::fs::read_to_string(&file).expect("written");
    assert!(text.contains("\ndomain = \"relay.example\"\n"), "{text}");
    assert!(text.contains("\nenvironment = \"staging\"\n"), "{text}");

    std::fs::write(&file, "domain = 'mine.example'").expect("edited");
    let error = case.refused("init --domain relay.example");
    assert!(error.contains("nothing was changed"), "{error}");
    let kept = std::fs::read_to_string(&file).expect("kept");
    assert_eq!(kept, "domain = 'mine.example'");
    // What was made for localhost is not made over for a domain either.
    case.ran("key ls");
    std::fs::remove_file(&file).expect("removed");
    case.refused("init --domain relay.example");
}

#[test]
fn serve_says_all_that_is_missing() {
    let case = Case::new();
    let error = case.refused("serve");
    assert!(
        error.starts_with("error: 2 mistakes\n  domain: is missing"),
        "{error}"
    );
    assert!(error.contains("\n    hint: name the PEM files"), "{error}");
}

#[test]
fn dev_passes_its_flags_on() {
    let case = Case::new();
    let error = case.refused("dev --link here --public there --admin 127.0.0.1:0");
    for flag in ["--link: ", "--public: "] {
        assert!(error.contains(flag), "{error}");
    }
    assert!(!error.contains("--admin: "), "{error}");
}

#[test]
fn an_invitation_is_a_join_code_and_a_command() {
    let case = Case::made();
    let text = case
        .ran("invite --user alice --device laptop --ttl 90s")
        .out;
    assert!(
        text.starts_with("Join code for alice/laptop, for one use within 90s:\n"),
        "{text}"
    );
    let codes: Vec<&str> = text
        .split_whitespace()
        .filter(|word| word.starts_with("gnj1_"))
        .collect();
    assert_eq!(codes.len(), 2);
    assert_eq!(codes[0], codes[1]);
    assert!(
        text.ends_with(&format!("\n  ginnel up --join {}\n", codes[0])),
        "{text}"
    );
    let code: JoinCode = codes[0].parse().expect("a join code");
    assert_eq!(code.address(), "relay.example:443");

    let view = case.json("invite --user alice --json");
    assert_eq!(view["user"], "alice");
    assert_eq!(view["device"], Value::Null);
    assert_eq!(view["relay"], "relay.example:443");
    let code = view["join_code"].as_str().expect("text");
    assert_eq!(view["command"], format!("ginnel up --join {code}"));
    let left = view["expires_unix_ms"].as_i64().expect("number") - now_ms();
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");

    let error = case.refused("invite --user alice --ttl 8d");
    assert!(error.contains("join code must live between"), "{error}");
    for bad in [
        "invite",
        "invite --user Alice",
        "invite --user a --ttl 1",
        "invite --user a --device a/b",
    ] {
        assert!(case.parse(bad).is_err(), "{bad} was accepted");
    }
}

#[test]
fn an_invitation_to_this_machine_only_says_so() {
    let mut case = Case::made();
    case.environment
        .insert("GINNEL_RELAY_LINK_ADVERTISE", "127.0.0.1:7443".to_owned());
    let notes = case.ran("invite --user alice").notes;
    assert!(
        notes.contains("hint: the code leads to 127.0.0.1:7443"),
        "{notes}"
    );
}

#[test]
fn devices_are_listed_shown_and_revoked() {
    let case = Case::made();
    let empty = case.ran("devices ls");
    assert_eq!(empty.out, "");
    assert!(
        empty.notes.contains("hint: invite one with"),
        "{}",
        empty.notes
    );
    assert_eq!(case.json("devices ls --json"), serde_json::json!([]));
    let error = case.refused("devices show laptop");
    assert!(
        error.contains("error: there is no device of that name, device=laptop\nhint: "),
        "{error}"
    );
    case.refused("devices revoke laptop");

    case.join("alice", "laptop");
    let listed = case.ran("devices ls");
    assert!(
        listed.notes.starts_with("warning: no running relay says"),
        "{}",
        listed.notes
    );
    let lines: Vec<&str> = listed.out.lines().collect();
    assert_eq!(
        lines[0],
        "DEVICE        STATUS   SEEN   RTT  CERTIFICATE ENDS  SERVICES"
    );
    assert_eq!(lines[1], "alice/laptop  unknown  never       in 29d");
    let shown = case.ran("devices show laptop").out;
    assert!(shown.contains("status              unknown\n"), "{shown}");
    let view = case.json("devices show laptop --json");
    assert_eq!(view["device"], "alice/laptop");
    assert_eq!(view["live"], Value::Null);
    assert_eq!(view["certificate_serial"], "07");

    assert_eq!(
        case.ran("devices revoke laptop").out,
        "Revoked alice/laptop\n"
    );
    let again = case.ran("devices revoke laptop");
    assert_eq!(again.notes, "alice/laptop was revoked before\n");
    assert_eq!(case.json("devices ls --json")[0]["status"], "revoked");
    let error = case.refused("invite --user alice --device laptop");
    assert!(error.contains("revoked"), "{error}");
}

#[test]
fn a_key_is_shown_once() {
    let case = Case::made();
    let error = case.refused("key create --user alice --scope forward:laptop/web");
    assert!(
        error.contains("\nhint: users are made with their first device"),
        "{error}"
    );
    case.ran("invite --user alice");

    let made = case.ran("key create --user alice --name ci --scope forward:laptop/web --scope forward:*/api --expires 90d");
    let key = made.out.strip_suffix('\n').expect("one line");
    assert!(
        key.starts_with("gnl_live_") && !key.contains('\n'),
        "the key alone, for scripts"
    );
    assert!(!made.notes.contains(key));
    let test = case.json("key create --user alice --scope admin --test --json");
    assert!(test["key"].as_str().expect("text").starts_with("gnl_test_"));
    assert_eq!(test["expires_unix_ms"], Value::Null);

    let list = case.ran("key ls").out;
    assert!(list.contains("forward:laptop/web, forward:*/api"), "{list}");
    assert!(list.contains("in 89d"), "{list}");
    assert!(!list.contains(key), "{list}");
    let id = case.json("key ls --json")[0]["id"]
        .as_str()
        .expect("id")
        .to_owned();
    assert_eq!(
        case.ran(&format!("key revoke {id}")).out,
        format!("Revoked {id}\n")
    );
    let again = case.ran(&format!("key revoke {id}"));
    assert_eq!(again.notes, format!("{id} was revoked before\n"));
    assert_eq!(case.json("key ls --json")[0]["status"], "revoked");
    let error = case.refused(&format!("key revoke {key}"));
    assert!(!error.contains(key), "a pasted key is not repeated");
    assert!(case.parse("key create --user alice").is_err(), "no scope");
}

#[test]
fn usage_is_added_up() {
    use crate::registry::usage::{Amount, Hour, UsageBatch, UsageKey, UsageSum};
    let case = Case::made();
    assert_eq!(
        case.ran("usage").notes,
        "Nothing was sent in the last 30d\n"
    );
    case.join("alice", "laptop");
    let sum = |device: &str, at_ms| UsageSum {
        key: UsageKey {
            user: "alice".parse().expect("valid"),
            device: device.parse().expect("valid"),
            upstream: "openai".parse().expect("valid"),
            model: Some("gpt-5".into()),
            hour: Hour::of(at_ms),
        },
        amount: Amount {
            requests: 2,
            bytes_in: 1500,
            bytes_out: 20,
            input_tokens: 31,
            output_tokens: 12,
        },
    };
    let batch = UsageBatch {
        run: [0; 16],
        number: 1,
        sums: vec![
            sum("laptop", now_ms()),
            sum("desktop", now_ms()),
            sum("laptop", now_ms() - 2 * 3_600_000),
        ],
    };
    case.with_registry(async |registry| registry.record_usage(batch).await.expect("recorded"));

    let rows = case.json("usage --since 1h --json");
    assert_eq!(rows.as_array().map(Vec::len), Some(1));
    assert_eq!(rows[0]["upstream"], "openai");
    assert_eq!(rows[0]["requests"], 4);
    assert_eq!(rows[0]["input_tokens"], 62);
    let table = case.ran("usage").out;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|row| {
            row.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    assert_eq!(
        rows[1],
        [
            "alice", "openai", "gpt-5", "6", "4.5 kB", "60 B", "93", "36"
        ]
    );
}

#[test]
fn shells_and_manuals_are_served() {
    let case = Case::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = case.ran(&format!("completions {shell}")).out;
        assert!(script.contains("ginnel-relay"), "{shell}");
    }
    assert!(case.ran("man").out.contains(".TH ginnel-relay 1"));
    let dir = case.dir.path().join("a/man1");
    case.ran(&format!("man {}", dir.display()));
    assert!(dir.join("ginnel-relay.1").exists());
    assert!(dir.join("ginnel-relay-key-create.1").exists());
}

/// What a command wrote.
#[derive(Debug)]
struct Written {
    out: String,
    notes: String,
}

/// A state folder and an environment of its own.
struct Case {
    dir: tempfile::TempDir,
    environment: BTreeMap<&'static str, String>,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        Self {
            dir,
            environment: BTreeMap::new(),
        }
    }

    fn made() -> Self {
        let case = Self::new();
        case.ran("init --domain relay.example");
        case
    }

    fn parse(&self, command: &str) -> Result<Cli, clap::Error> {
        let state = self.dir.path().to_str().expect("text");
        let words = ["ginnel-relay"].into_iter().chain(command.split(' '));
        Cli::try_parse_from(words.chain(["--state", state]))
    }

    fn run(&self, command: &str) -> (anyhow::Result<()>, Written) {
        let cli = self.parse(command).expect(command);
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            notes: &mut notes,
        };
        let look_up = |name: &str| self.environment.get(name).map(OsString::from);
        let result = run(cli, &look_up, &mut terminal);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let written = Written {
            out: text(out),
            notes: text(notes),
        };
        (result, written)
    }

    fn ran(&self, command: &str) -> Written {
        let (result, written) = self.run(command);
        result.expect(command);
        written
    }

    fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.ran(command).out).expect(command)
    }

    fn refused(&self, command: &str) -> String {
        let (result, written) = self.run(command);
        assert_eq!(written.out, "", "{command}");
        report::render(&result.expect_err(command), Style::plain())
    }

    fn with_registry<T>(&self, work: impl AsyncFnOnce(crate::registry::Registry) -> T) -> T {
        self.with_opened(async |opened| work(opened.registry).await)
    }

    fn with_opened<T>(&self, work: impl AsyncFnOnce(opened::Opened) -> T) -> T {
        let place = |path: &Path| {
            let flags = Flags {
                state: Some(path.to_owned()),
                ..Flags::default()
            };
            RelayPlace::find(&flags, &|_| None).expect("valid")
        };
        let place = place(self.dir.path());
        let done = block_on(async {
            let opened = opened::Opened::open(&place).await?;
            Ok(work(opened).await)
        });
        done.expect("opened")
    }

    /// Joins a device with a pretended certificate.
    fn join(&self, user: &str, device: &str) {
        use crate::registry::redeem::{Claim, IssuedCertificate};
        use crate::registry::serial::Serial;
        let command = format!("invite --user {user} --device {device} --json");
        let view = self.json(&command);
        let code: JoinCode = view["join_code"]
            .as_str()
            .expect("text")
            .parse()
            .expect("code");
        let claim = Claim {
            id: code.id().to_owned(),
            secret: code.secret_bytes().to_vec(),
            device: None,
            public_key_hash: [7; 32],
        };
        let now_ms = now_ms();
        let issue = move |_: &_, _: &_| {
            Ok::<_, String>(IssuedCertificate {
                serial: Serial::from_bytes(&[7]).expect("serial"),
                not_after_ms: now_ms + 30 * 24 * 3_600_000,
                der: vec![0x30],
            })
        };
        self.with_registry(async |registry| {
            registry.redeem(claim, now_ms, issue).await.expect("joined");
        });
    }
}
