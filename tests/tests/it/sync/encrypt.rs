//! What a user's devices encrypt for one another: the relay keeps it, and can
//! neither read nor forge it.

use std::path::PathBuf;

use bytes::Bytes;
use ginnel_agent::knowledge::sync::keys::{KeyFile, generate};
use ginnel_agent::knowledge::sync::status::SyncState;
use ginnel_blob::hash::Hash;
use ginnel_proto::sync::batch::{BatchPlace, decode, encode};
use ginnel_proto::sync::hlc::Hlc;
use ginnel_proto::sync::reading::FIRST;
use ginnel_proto::sync::row::{Passage, Rows};
use ginnel_proto::sync::seal;
use ginnel_proto::sync::seal::file::open_file;
use ginnel_store::id::DocumentId;
use ginnel_tests::knowledge::{Known, in_step};
use ginnel_tests::lab::{Lab, LabAgent};
use ginnel_tests::wait::{LOOK_AGAIN, in_time, until};

use super::damage::reported;
use super::erase::keys;
use super::pair;
use super::publish::{manifest, publish};
use super::restore::restore;

/// Waits until a device can go no further, and gives why.
async fn locked(known: &Known) -> String {
    in_time("a lock", async {
        loop {
            known.sync.now();
            let status = known.sync.status().await.expect("read");
            if let (SyncState::Locked, Some(why)) = (status.state, status.problem) {
                return why;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await
}

/// Brings the key of one device to another, as people do.
fn bring_key(from: &LabAgent, to: &LabAgent) {
    let from = KeyFile::of(&from.state).read().expect("read");
    let text = from.newest().expect("a key").to_text();
    let file = KeyFile::of(&to.state);
    let mut keys = file.read().expect("read");
    let key: seal::Key = text.parse().expect("a key");
    keys.add(key.clone());
    keys.use_only(Some(key.id()));
    file.write(&keys).expect("written");
}

fn object(lab: &Lab, key: &str) -> PathBuf {
    lab.relay_state().join("bucket").join(key)
}

/// Every batch and database in the bucket is sealed.
fn nothing_is_plain(lab: &Lab) {
    let mut sealed = 0;
    for key in keys(lab) {
        if [".batch", ".db", ".enc"]
            .iter()
            .any(|end| key.ends_with(end))
        {
            let bytes = std::fs::read(object(lab, &key)).expect("read");
            assert!(seal::key_of(&bytes).is_some(), "{key} is plain");
            sealed += 1;
        }
    }
    assert!(sealed > 0, "nothing is there");
    assert!(!object(lab, "knowledge/alice/embeddings.db").exists());
}

#[tokio::test]
async fn all_is_encrypted_and_only_devices_with_the_key_go_on() {
    let (lab, agent, laptop, desktop) = pair().await;
    laptop.put("a.md", "quokkas live on an island").await;
    in_step(&[&laptop, &desktop]).await;
    publish(&laptop).await;
    assert!(object(&lab, "knowledge/alice/embeddings.db").exists());

    let key = laptop.sync.encrypt(false).await.expect("encrypted");
    assert_eq!(laptop.sync.encrypt(false).await.expect("as before"), key);
    nothing_is_plain(&lab);
    // Without the key a device neither reads nor writes, and says what to do.
    desktop.put("d.md", "written while locked").await;
    let why = locked(&desktop).await;
    assert!(why.contains("ginnel sync key enter"), "{why}");
    laptop.put("b.md", "wombats dig").await;
    assert!(desktop.words("wombats").await.is_empty());
    bring_key(&lab.agent, &agent);
    desktop.sync.now();
    in_step(&[&laptop, &desktop]).await;
    for known in [&laptop, &desktop] {
        assert_eq!(known.words("wombats").await, ["b.md"]);
        assert_eq!(known.words("locked").await, ["d.md"]);
        let status = known.sync.status().await.expect("read");
        assert_eq!(status.key.as_deref(), Some(&*key.to_string()));
        assert_eq!(status.quarantined.len(), 0, "{status:?}");
    }
    publish(&laptop).await;
    nothing_is_plain(&lab);
    let at = lab.relay.relay.now_ms().cast_unsigned();

    // What is published opens with the key, in its place, as a database.
    let keys = KeyFile::of(&agent.state).read().expect("read");
    let key = keys.newest().expect("a key");
    let place = "knowledge/alice/embeddings.db.enc";
    let sealed = std::fs::read(object(&lab, place)).expect("there");
    let mut plain = Vec::new();
    open_file(key, place, &mut &*sealed, &mut plain).expect("opened");
    assert!(plain.starts_with(b"SQLite format 3\0"));
    let other = "knowledge/bob/embeddings.db.enc";
    open_file(key, other, &mut &*sealed, &mut Vec::new()).expect_err("moved");

    // A new device begins with it, and restores need no key at the relay.
    let third = lab.another_agent("alice", "phone").await;
    let phone = Known::of(&third).await;
    locked(&phone).await;
    bring_key(&agent, &third);
    phone.sync.now();
    in_step(&[&laptop, &desktop, &phone]).await;
    laptop.put("a.md", "spoiled").await;
    in_step(&[&laptop, &desktop, &phone]).await;
    let restored = restore(&lab, "alice", at).await;
    assert_eq!(restored.expect("restored").epoch, 3);
    for known in [&laptop, &desktop, &phone] {
        known.until_epoch(3).await;
    }
    in_step(&[&laptop, &desktop, &phone]).await;
    assert_eq!(phone.words("quokkas").await, ["a.md"]);
    assert!(phone.words("spoiled").await.is_empty());

    // A new key: the one before opens nothing that is written from now on.
    let new = laptop.sync.encrypt(true).await.expect("another key");
    assert_ne!(new, key.id());
    locked(&phone).await;
    for agent in [&third, &agent] {
        bring_key(&lab.agent, agent);
    }
    phone.sync.now();
    desktop.sync.now();
    laptop.put("c.md", "with another key").await;
    in_step(&[&laptop, &desktop, &phone]).await;
    nothing_is_plain(&lab);
    let sealed = std::fs::read(object(&lab, place)).expect("there");
    assert_eq!(seal::key_of(&sealed), Some(new));

    // And back: other devices agree by themselves, not because the relay says so.
    laptop.sync.decrypt().await.expect("plain");
    let why = locked(&phone).await;
    assert!(why.contains("ginnel sync decrypt"), "{why}");
    for known in [&phone, &desktop] {
        known.sync.decrypt().await.expect("agreed");
    }
    laptop.put("d2.md", "plain again").await;
    in_step(&[&laptop, &desktop, &phone]).await;
    publish(&laptop).await;
    assert!(object(&lab, "knowledge/alice/embeddings.db").exists());
    assert!(!object(&lab, place).exists());
}

/// The relay is the attacker: it has all objects, and says what it likes.
#[tokio::test]
async fn a_relay_that_lies_gets_nothing_plain_and_nothing_in() {
    let (lab, agent, laptop, desktop) = pair().await;
    laptop.put("a.md", "quokkas live on an island").await;
    in_step(&[&laptop, &desktop]).await;
    laptop.sync.encrypt(false).await.expect("encrypted");
    bring_key(&lab.agent, &agent);
    desktop.sync.now();
    laptop.put("b.md", "wombats dig").await;
    in_step(&[&laptop, &desktop]).await;

    // A batch that it made itself, and one of its place moved elsewhere.
    let log = "knowledge/alice/.sync/log/e2/laptop";
    let path = |sequence: u64| object(&lab, &format!("{log}/{sequence:016x}.batch"));
    let place = |sequence| BatchPlace {
        user: "alice".parse().expect("a name"),
        epoch: 2,
        device: "laptop".parse().expect("a name"),
        sequence,
    };
    let keys_of_laptop = KeyFile::of(&lab.agent.state).read().expect("read");
    let key = keys_of_laptop.newest().expect("a key");
    let mut last = 1;
    while path(last + 1).exists() {
        last += 1;
    }
    let whole = Bytes::from(std::fs::read(path(last)).expect("read"));
    let batch = place(last).uncover(Some(key), &whole).expect("opened");
    let batch = decode(&batch, &place(last)).expect("whole");
    laptop.sync.set_paused(true).await.expect("paused");
    let forged = |rows: &Rows| {
        encode(&place(last + 1), batch.hash, rows)
            .expect("memory")
            .0
    };
    std::fs::write(path(last + 1), forged(&batch.rows)).expect("written");
    std::fs::write(path(last + 2), &whole).expect("written");
    desktop.sync.now();
    reported(&desktop, last + 1, "it is not encrypted").await;
    reported(&desktop, last + 2, "it cannot be decrypted").await;

    // It says that nothing is encrypted any more, in a new epoch.
    let mut said = manifest(&lab, "alice");
    said["epoch"] = 3.into();
    said["covered"] = serde_json::Value::Null;
    said["snapshot"] = serde_json::Value::Null;
    said["base"] = serde_json::Value::Null;
    let manifest = object(&lab, "knowledge/alice/.sync/manifest.json");
    std::fs::write(&manifest, said.to_string()).expect("written");
    desktop
        .put("secret.md", "the safe is behind the picture")
        .await;
    let why = locked(&desktop).await;
    assert!(
        why.contains("ginnel sync decrypt if that is meant"),
        "{why}"
    );
    // It did not even try: its change waits.
    assert!(desktop.store.outgoing_backlog().await.expect("read") > 0);
    let of_lie = keys(&lab);
    let of_lie = of_lie.iter().filter(|key| key.contains("/log/e3/"));
    assert_eq!(of_lie.count(), 0);

    // Or with a key that it made.
    let fake = generate().expect("random").id();
    said["covered"] = serde_json::json!({ "epoch": 3, "key": fake.to_string() });
    std::fs::write(&manifest, said.to_string()).expect("written");
    let why = in_time("another lock", async {
        loop {
            let why = locked(&desktop).await;
            if why.contains(&fake.to_string()) {
                return why;
            }
        }
    });
    assert!(why.await.contains("does not have the key"));
    assert_eq!(desktop.words("quokkas").await, ["a.md"]);
}

/// It has what was published before all was encrypted, and can make up batches that
/// are plain; it says that this belongs to an epoch that has begun.
#[tokio::test]
async fn a_relay_cannot_make_up_what_devices_begin_with() {
    let (lab, agent, laptop, desktop) = pair().await;
    laptop.put("a.md", "quokkas live on an island").await;
    in_step(&[&laptop, &desktop]).await;
    publish(&laptop).await;
    let plain = manifest(&lab, "alice")["snapshot"].clone();
    let folder = object(&lab, "knowledge/alice");
    let kept = tempfile::tempdir().expect("a folder");
    copy_all(&folder, kept.path());
    laptop.sync.encrypt(false).await.expect("encrypted");
    bring_key(&lab.agent, &agent);
    desktop.sync.now();
    laptop.put("b.md", "wombats dig").await;
    in_step(&[&laptop, &desktop]).await;
    publish(&laptop).await;
    in_step(&[&laptop, &desktop]).await;
    laptop.sync.set_paused(true).await.expect("paused");
    let before = desktop.dump().await;

    let path = object(&lab, "knowledge/alice/.sync/manifest.json");
    let sealed = manifest(&lab, "alice");
    let (epoch, key) = (&sealed["epoch"], &sealed["covered"]["key"]);
    assert_eq!(epoch, 2);
    let anything = u64::MAX >> 17;
    let base = |epoch: u64, key: &serde_json::Value| serde_json::json!({ "epoch": epoch, "read": {}, "until_unix_ms": anything, "key": key });
    let nothing = serde_json::Value::Null;
    let of_stranger = generate().expect("random").id().to_string().into();
    for (at, snapshot, base, says) in [
        (
            3,
            &plain,
            nothing.clone(),
            "is not encrypted as all else is",
        ),
        (
            4,
            &sealed["snapshot"],
            base(1, &nothing),
            "waits until one that was there publishes",
        ),
        (
            5,
            &sealed["snapshot"],
            base(2, &nothing),
            "waits until one that was there publishes",
        ),
        (
            6,
            &sealed["snapshot"],
            base(2, &of_stranger),
            "waits until one that was there publishes",
        ),
    ] {
        // Every object of before is there again, and forged batches in each epoch.
        copy_all(kept.path(), &folder);
        for epoch in [1, 2] {
            forge(&lab, epoch);
        }
        let mut said = sealed.clone();
        said["epoch"] = at.into();
        said["snapshot"] = snapshot.clone();
        said["base"] = base;
        said["covered"] = serde_json::json!({ "epoch": 2, "key": key });
        std::fs::write(&path, said.to_string()).expect("written");
        in_time("a refusal", async {
            loop {
                desktop.sync.now();
                let status = desktop.sync.status().await.expect("read");
                if status.problem.is_some_and(|problem| problem.contains(says)) {
                    return;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await;
        assert_eq!(desktop.dump().await, before, "{says}");
    }
}

/// A plain batch that no device wrote.
fn forge(lab: &Lab, epoch: u64) {
    let place = BatchPlace {
        user: "alice".parse().expect("a name"),
        epoch,
        device: "phone".parse().expect("a name"),
        sequence: 1,
    };
    let text = "forged by the relay";
    let passage = Passage {
        id: [7; 16],
        hlc: Hlc::of_parts(1_700_000_000_000, 0).expect("it fits"),
        extra: Bytes::new(),
        document: [8; 16],
        revision: Hash::of(text.as_bytes()),
        position: 0,
        byte_start: 0,
        byte_end: text.len() as u64,
        text: text.to_owned(),
    };
    let rows = Rows {
        passages: vec![passage],
        ..Rows::default()
    };
    let (bytes, _) = encode(&place, FIRST, &rows).expect("memory");
    let path = object(lab, &place.object());
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, bytes).expect("written");
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("read") {
        let entry = entry.expect("read");
        let place = to.join(entry.file_name());
        match entry.file_type().expect("known").is_dir() {
            true => copy_all(&entry.path(), &place),
            false => drop(std::fs::copy(entry.path(), place).expect("copied")),
        }
    }
}

/// What is written while all is changed is neither lost nor left plain.
#[tokio::test]
async fn nothing_is_lost_while_all_is_changed() {
    let (lab, agent, laptop, desktop) = pair().await;
    laptop.put("a.md", "to begin with").await;
    for number in 0..200 {
        let text = format!("before{number}");
        laptop.put(&format!("gone {number}.md"), &text).await;
        laptop.put(&format!("edited {number}.md"), &text).await;
    }
    in_step(&[&laptop, &desktop]).await;
    let mut written = 0_u32;
    let changing = laptop.sync.encrypt(false);
    let mut changing = std::pin::pin!(changing);
    let done = loop {
        tokio::select! {
            biased;
            done = &mut changing => break done,
            () = tokio::time::sleep(std::time::Duration::from_millis(2)) => {
                let source = format!("{written}.md");
                desktop.put(&source, &format!("number{written}")).await;
                let gone = DocumentId::of_source("notes", &format!("gone {written}.md"));
                desktop.store.delete(gone).await.expect("deleted");
                let edited = format!("edited {written}.md");
                desktop.put(&edited, &format!("after{written}")).await;
                written += 1;
            }
        }
    };
    done.expect("encrypted");
    assert!(written > 0);
    bring_key(&lab.agent, &agent);
    desktop.sync.now();
    in_step(&[&laptop, &desktop]).await;
    for number in 0..written {
        let found = laptop.words(&format!("number{number}")).await;
        assert_eq!(found, [format!("{number}.md")]);
    }
    for number in 0..200 {
        let before = laptop.words(&format!("before{number}")).await;
        let after = laptop.words(&format!("after{number}")).await;
        let edited = vec![format!("edited {number}.md")];
        match number < written {
            true => assert_eq!((before, after), (vec![], edited)),
            false => assert_eq!((before.len(), after), (2, vec![])),
        }
    }
    publish(&laptop).await;
    until("nothing plain", || {
        let left = keys(&lab)
            .into_iter()
            .filter(|key| key.contains("/log/e1/"));
        (left.count() == 0).then_some(())
    })
    .await;
    nothing_is_plain(&lab);
}
