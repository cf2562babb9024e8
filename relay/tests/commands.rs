//! `ginnel-relay knowledge` and `ginnel-relay user` as processes, on a folder bucket:
//! what they print, where, and how they end.

#![cfg(unix)]
#![allow(clippy::panic, reason = "a test fails by panicking and says why")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use ginnel_blob::hash::Hash;
use ginnel_proto::artifact::{Artifact, Cover};
use ginnel_proto::id::UserName;
use ginnel_proto::sync::manifest::{Kept, Manifest, Snapshot};
use ginnel_relay::objects::Bucket;
use ginnel_relay::objects::layout::{KeptPart, KnowledgePlace, Place};
use ginnel_relay::relay::system_clock;
use ginnel_relay::sync::catalog::{Catalog, Written};
use ginnel_relay::sync::entry::{Entry, Wish};
use serde_json::Value;
use tempfile::TempDir;

const MINUTE: u64 = 60_000;

/// A relay that does not run, and a user whose devices published `before` an hour ago,
/// which is kept, and `now` half an hour ago.
struct Case {
    state: TempDir,
    user: UserName,
    bucket: Bucket,
    published_ms: u64,
}

/// How a command ended.
struct Ran {
    code: Option<i32>,
    out: String,
    notes: String,
}

impl Case {
    async fn new() -> Self {
        let state = tempfile::tempdir().expect("temporary folder");
        let user: UserName = "ada".parse().expect("a name");
        let bucket = Bucket::folder(&state.path().join("bucket")).expect("opened");
        let now = (system_clock())();
        let case = Self {
            state,
            user,
            bucket,
            published_ms: now - 60 * MINUTE,
        };
        case.ran(&["init", "--domain", "relay.example"]).good();
        // It makes the user.
        case.ran(&["invite", "--user", "ada"]).good();
        case.publish(now - 30 * MINUTE).await;
        case
    }

    fn place(&self) -> Place {
        Place::of(&Artifact::Knowledge(Cover::Plain), &self.user)
    }

    async fn publish(&self, now_ms: u64) {
        let place = KnowledgePlace::of(&self.user);
        let device = "desk".parse().expect("a name");
        let index = Hash::of(b"an index");
        let snapshot = |bytes: &str, etag: &str| Snapshot {
            blob: Hash::of(bytes.as_bytes()),
            size: bytes.len() as u64,
            etag: etag.to_owned(),
            schema: 1,
            read: BTreeMap::new(),
            key: None,
        };
        let about = Kept {
            epoch: 1,
            snapshot: snapshot("before", "\"then\""),
            unix_ms: self.published_ms,
            device,
            index,
        };
        let about = serde_json::to_vec(&about).expect("JSON");
        for (part, bytes) in [
            (KeptPart::Database, b"before".to_vec()),
            (KeptPart::Index, b"an index".to_vec()),
            (KeptPart::About, about),
        ] {
            let key = place.kept_at(self.published_ms, part);
            self.bucket
                .write(&key, bytes.into())
                .await
                .expect("written");
        }
        let object = self.place().object().clone();
        let etag = self.bucket.write(&object, "now".into()).await;
        let etag = etag.expect("written");
        let manifest = Manifest::first().publish(1, snapshot("now", etag.as_str()), 7, now_ms);
        let manifest = serde_json::to_vec(&manifest.expect("newer")).expect("JSON");
        let key = place.manifest();
        self.bucket
            .write(&key, manifest.into())
            .await
            .expect("written");
    }

    async fn object(&self) -> Option<Vec<u8>> {
        let small = self.bucket.read(self.place().object(), 100).await;
        small.expect("read").map(|small| small.bytes.to_vec())
    }

    fn ran(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_ginnel-relay"))
            .args(arguments)
            .env("GINNEL_RELAY_STATE", self.state.path())
            .env("NO_COLOR", "1")
            .output();
        Ran::of(output.expect("it runs"))
    }
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            notes: text(output.stderr),
        }
    }

    /// It did what it was asked.
    fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.notes);
        self
    }

    /// It did not, printed nothing that programs read, and says why.
    fn refused(self, says: &[&str]) {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.notes);
        assert_eq!(self.out, "");
        assert!(self.notes.starts_with("error: "), "{}", self.notes);
        for part in says {
            assert!(self.notes.contains(part), "{part}\n{}", self.notes);
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

#[tokio::test]
async fn what_is_kept_is_listed_for_people_and_programs() {
    let case = Case::new().await;
    let ran = case.ran(&["knowledge", "ls", "ada"]).good();
    let lines: Vec<_> = ran.out.lines().collect();
    let [head, line] = lines[..] else {
        panic!("{}", ran.out);
    };
    assert!(
        head.starts_with("PUBLISHED") && head.ends_with("EPOCH"),
        "{head}"
    );
    assert!(line.contains("1h ago") && line.ends_with('1'), "{line}");
    assert!(
        ran.notes.contains("Every moment after the first"),
        "{}",
        ran.notes
    );
    let ran = case.ran(&["knowledge", "ls", "ada", "--json"]).good();
    let expected = serde_json::json!([
        { "published_unix_ms": case.published_ms, "epoch": 1 },
    ]);
    assert_eq!((ran.json(), &*ran.notes), (expected, ""));
    // Of whom nothing is kept.
    let ran = case.ran(&["knowledge", "ls", "bob"]).good();
    assert_eq!(
        (&*ran.out, &*ran.notes),
        ("", "Nothing is kept of bob yet\n")
    );
    let ran = case.ran(&["knowledge", "ls", "bob", "--json"]).good();
    assert_eq!(ran.json(), serde_json::json!([]));
}

#[tokio::test]
async fn a_restore_has_to_be_meant_and_of_a_time_that_was() {
    let case = Case::new().await;
    let restore = |at, more: &[&str]| {
        let command = ["knowledge", "restore", "ada", "--at", at];
        case.ran(&[&command[..], more].concat())
    };
    restore("50m", &[]).refused(&["what all devices of ada know", "hint: add --yes"]);
    restore("9999-01-01 00:00:00Z", &["--yes"])
        .refused(&["the time is in the future, now=", "hint: "]);
    restore("2h", &["--yes"]).refused(&["nothing is kept of that time, user=ada, oldest="]);
    restore("tomorrow", &["--yes"]).refused(&["--at is no time"]);
    assert_eq!(case.object().await.as_deref(), Some(&b"now"[..]));

    let ran = restore("50m", &["--yes"]).good();
    assert!(
        ran.out.starts_with("Knowledge of ada is as it was at "),
        "{}",
        ran.out
    );
    assert!(ran.out.ends_with(", in epoch 2\n"), "{}", ran.out);
    assert!(ran.notes.contains("Devices follow"), "{}", ran.notes);
    assert_eq!(case.object().await.as_deref(), Some(&b"before"[..]));
    // Nothing was published since.
    let key = KnowledgePlace::of(&case.user).manifest();
    let small = case.bucket.read(&key, 9999).await.expect("read");
    let mut manifest: Manifest =
        serde_json::from_slice(&small.expect("there").bytes).expect("JSON");
    manifest.began_unix_ms -= 10 * MINUTE;
    let manifest = serde_json::to_vec(&manifest).expect("JSON");
    case.bucket
        .write(&key, manifest.into())
        .await
        .expect("written");
    restore("5m", &["--yes"]).refused(&["nothing was published", "epoch=2", "ginnel sync publish"]);
    let ran = restore("50m", &["--yes", "--json"]).good();
    let said = ran.json();
    assert_eq!(
        (said["user"].as_str(), said["epoch"].as_u64()),
        (Some("ada"), Some(3))
    );
    assert_eq!(said["snapshot_unix_ms"].as_u64(), Some(case.published_ms));
    assert!(
        said["at_unix_ms"].as_u64() > Some(case.published_ms),
        "{said}"
    );
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_told_with_what_to_do() {
    let case = Case::new().await;
    let key = KnowledgePlace::of(&case.user).manifest();
    case.bucket.write(&key, "{".into()).await.expect("written");
    case.ran(&["knowledge", "restore", "ada", "--at", "50m", "--yes"])
        .refused(&[
            "what is published cannot be read, user=ada",
            "hint: put an earlier version",
            "manifest cannot be read, reason=",
        ]);
    let ran = case
        .ran(&["user", "erase", "ada", "--yes", "--json"])
        .good();
    assert_eq!(ran.json()["epoch"], 2);
}

fn listed(archive: &Path) -> String {
    let output = Command::new("tar").arg("-tf").arg(archive).output();
    String::from_utf8(output.expect("tar runs").stdout).expect("text")
}

#[tokio::test]
async fn an_export_replaces_no_file_and_follows_no_link() {
    let case = Case::new().await;
    let file = |name: &str| case.state.path().join(name);
    let (archive, other) = (file("ada.tar"), file("precious"));
    std::fs::write(&other, "precious").expect("written");
    let part = file("ada.tar.part");
    std::os::unix::fs::symlink(&other, &part).expect("linked");
    let out = archive.to_str().expect("text");
    let ran = case.ran(&["user", "export", "ada", "--out", out]).good();
    assert!(
        ran.out.starts_with(&format!("Wrote {out}: ")),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains(" objects (") && ran.out.ends_with(" rows of ada\n"),
        "{}",
        ran.out
    );
    assert_eq!(ran.notes, "");
    let names = listed(&archive);
    for name in ["bucket/knowledge/ada/embeddings.db", "registry.json"] {
        assert!(names.lines().any(|line| line == name), "{name}\n{names}");
    }
    // What lies beside it is somebody else's.
    assert_eq!(std::fs::read(&other).expect("read"), b"precious");
    assert_eq!(std::fs::read_link(&part).expect("a link"), other);
    let left = std::fs::read_dir(case.state.path()).expect("a folder");
    let left = left.map(|entry| entry.expect("an entry").file_name());
    let parts = left.filter(|name| name.to_string_lossy().ends_with(".part"));
    assert_eq!(parts.count(), 1);
    // Nor is a file that is there already.
    let before = std::fs::read(&archive).expect("read");
    case.ran(&["user", "export", "ada", "--out", out])
        .refused(&[out]);
    assert_eq!(std::fs::read(&archive).expect("read"), before);

    let second = file("again.tar");
    let out = second.to_str().expect("text");
    let ran = case
        .ran(&["user", "export", "ada", "--out", out, "--json"])
        .good();
    let said = ran.json();
    assert_eq!(said["user"], "ada");
    assert_eq!(said["left_out"], serde_json::json!([]));
    assert!(said["objects"].as_u64() >= Some(5), "{said}");
    case.ran(&["user", "export", "bob", "--out", "/nowhere/bob.tar"])
        .refused(&["there is no such user, user=bob"]);
}

#[tokio::test]
async fn an_erasure_has_to_be_meant_and_gives_a_receipt() {
    let case = Case::new().await;
    let catalog = Catalog::new(case.bucket.clone());
    let shared: Artifact = "models/phi.gguf".parse().expect("a name");
    let place = Place::of(&shared, &case.user);
    let device = "desk".parse().expect("a name");
    let device = ginnel_proto::id::DeviceId::new(case.user.clone(), device);
    let wish = Wish {
        device: &device,
        blob: Hash::of(b"a model"),
        size: 7,
    };
    let etag = case.bucket.write(place.object(), "a model".into()).await;
    let claimed = Entry::claim(None, &wish, "", 1).expect("free");
    let entry = claimed.publish(1, etag.expect("written").as_str(), Hash::of(b""), 1);
    let written = catalog.write(&place, None, entry.expect("held")).await;
    assert!(matches!(written, Ok(Written::Yes(_))), "{written:?}");

    case.ran(&["user", "erase", "ada"]).refused(&[
        "this erases all that ada has",
        "--out FILE.tar",
        "--yes",
    ]);
    case.ran(&["user", "erase", "bob", "--yes"])
        .refused(&["there is no such user, user=bob"]);
    assert!(case.object().await.is_some());
    let ran = case.ran(&["user", "erase", "ada", "--yes"]).good();
    assert!(ran.out.starts_with("Erased all of ada at "), "{}", ran.out);
    assert_eq!(ran.notes, "The name models/phi.gguf stays the user's\n");
    assert_eq!(case.object().await, None);
    assert_eq!(case.bucket.head(place.object()).await.expect("known"), None);
    let entry = catalog.read(&place).await.expect("read").expect("there");
    assert_eq!(entry.entry.owner, case.user);
    assert_eq!(
        (&entry.entry.published, &entry.entry.publishing),
        (&None, &None)
    );

    // Again, there is nothing left.
    let ran = case
        .ran(&["user", "erase", "ada", "--yes", "--json"])
        .good();
    let said = ran.json();
    assert_eq!(
        (said["epoch"].as_u64(), said["objects"].as_u64()),
        (Some(3), Some(0))
    );
    assert_eq!(said["names"], serde_json::json!(["models/phi.gguf"]));
    assert_eq!(said["devices"], serde_json::json!([]));
}
