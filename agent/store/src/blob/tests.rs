//! The models folder through its front door.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::time::{Duration, SystemTime};

use ginnel_blob::format::Format;
use ginnel_blob::hash::Hash;
use ginnel_blob::index::ChunkIndex;
use tempfile::TempDir;

use super::adopt::{Shared, Sharing};
use super::path::BlobPath;
use super::place::Over;
use super::{BlobFolder, Stop};
use crate::error::ErrorKind;

/// A models folder, and a folder beside it.
struct World {
    outside: TempDir,
    blobs: BlobFolder,
}

impl World {
    fn new() -> Self {
        let outside = tempfile::tempdir().expect("a folder");
        let blobs = BlobFolder::open(&outside.path().join("models")).expect("opened");
        Self { outside, blobs }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> BlobPath {
        let path = path(name);
        let place = self.blobs.place_of(&path);
        fs::create_dir_all(place.parent().expect("a folder")).expect("made");
        fs::write(place, bytes).expect("written");
        path
    }

    fn index(&self, path: &BlobPath) -> ChunkIndex {
        let indexed = self.blobs.index(path, &Stop::default(), |_| {});
        indexed.expect("read").index
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.blobs.root())
            .expect("read")
            .map(|entry| {
                entry
                    .expect("read")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        names.sort();
        names
    }
}

fn path(text: &str) -> BlobPath {
    BlobPath::parse(text).expect(text).0
}

fn safetensors(tensors: usize) -> Vec<u8> {
    let table = format!(
        r#"{{"a":{{"dtype":"F32","shape":[{tensors}],"data_offsets":[0,{}]}}}}"#,
        4 * tensors
    );
    let mut bytes = (table.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(table.as_bytes());
    let mut random = fastrand::Rng::with_seed(7);
    bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(4 * tensors));
    bytes
}

#[test]
fn a_file_is_placed_whole_or_not_at_all() {
    let world = World::new();
    let old = world.write("phi.bin", b"old");
    let blob = Hash::of(b"new bytes");
    let unfinished = world.blobs.unfinished(&old, blob, 9).expect("made");
    let mode = unfinished.file().metadata().expect("read").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert_eq!(unfinished.file().metadata().expect("read").len(), 9);
    unfinished.write_at(4, b"bytes").expect("written");
    unfinished.sync().expect("synced");
    drop(unfinished);
    let place = world.blobs.place_of(&old);
    assert_eq!(fs::read(&place).expect("read"), b"old");
    // A later attempt has what the first one wrote.
    let unfinished = world.blobs.unfinished(&old, blob, 9).expect("found");
    unfinished.write_at(0, b"new ").expect("written");
    let mut bytes = [0; 9];
    unfinished.read_at(0, &mut bytes).expect("read");
    assert_eq!(&bytes, b"new bytes");
    let stamp = unfinished.finish(Over::Anything).expect("placed");
    assert_eq!(fs::read(&place).expect("read"), b"new bytes");
    assert_eq!(world.blobs.stamp(&old).expect("there"), Some(stamp));
    assert_eq!(world.names(), ["phi.bin"]);
}

#[test]
fn nothing_is_written_over_unless_asked() {
    let world = World::new();
    let there = world.write("phi.bin", b"old");
    let blob = Hash::of(b"new");
    let unfinished = world.blobs.unfinished(&there, blob, 3).expect("made");
    let error = unfinished.finish(Over::Nothing).expect_err("there");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains("there is a file already"),
        "{error}"
    );
    let place = world.blobs.place_of(&there);
    assert_eq!(fs::read(place).expect("read"), b"old");
    assert!(world.blobs.discard_unfinished(&there, blob).expect("gone"));
    assert!(!world.blobs.discard_unfinished(&there, blob).expect("asked"));
    let new = path("private/new.bin");
    let unfinished = world.blobs.unfinished(&new, blob, 3).expect("made");
    unfinished.finish(Over::Nothing).expect("placed");
    assert_eq!(
        world.blobs.stamp(&new).expect("read").expect("there").size,
        3
    );
    assert!(world.blobs.remove(&new).expect("gone"));
    assert!(!world.blobs.remove(&new).expect("asked"));
    assert_eq!(world.names(), ["phi.bin"], "the empty folder went with it");
}

#[test]
fn a_disk_without_room_is_told_before_anything_is_fetched() {
    let world = World::new();
    let size = world.blobs.free_bytes().expect("told").saturating_mul(4);
    let made = world
        .blobs
        .unfinished(&path("big.bin"), Hash::of(b""), size);
    let error = made.expect_err("too much");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[test]
fn links_lead_nowhere() {
    let world = World::new();
    let secret = world.outside.path().join("secret");
    fs::write(&secret, b"secret").expect("written");
    let root = world.blobs.root();
    symlink(&secret, root.join("link.bin")).expect("linked");
    symlink(world.outside.path(), root.join("private")).expect("linked");
    let link = path("link.bin");
    for error in [
        world.blobs.stamp(&link).map(drop),
        world.blobs.open_file(&link).map(drop),
        world.blobs.remove(&link).map(drop),
        world.blobs.inspect(&link).map(drop),
    ] {
        let error = error.expect_err("a link");
        assert!(error.to_string().contains("not a plain file"), "{error}");
    }
    let inside = path("private/secret");
    for error in [
        world.blobs.stamp(&inside).map(drop),
        world.blobs.open_file(&inside).map(drop),
        world.blobs.remove(&inside).map(drop),
        world.blobs.unfinished(&inside, Hash::of(b""), 1).map(drop),
    ] {
        let error = error.expect_err("through a link");
        assert!(
            error.to_string().contains("out of the models folder"),
            "{error}"
        );
    }
    assert_eq!(fs::read(secret).expect("still there"), b"secret");
    let contents = world.blobs.contents().expect("read");
    assert_eq!(contents.files, []);
    let strays: Vec<&str> = contents.strays.iter().map(|stray| &*stray.path).collect();
    assert_eq!(strays, ["link.bin", "private"]);
}

#[test]
fn a_folder_in_the_place_of_a_file_is_told() {
    let world = World::new();
    fs::create_dir(world.blobs.root().join("phi.gguf")).expect("made");
    let error = world.blobs.stamp(&path("phi.gguf")).expect_err("a folder");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(world.blobs.stamp(&path("none")).expect("asked"), None);
    let error = world.blobs.open_file(&path("none")).expect_err("none");
    assert_eq!(error.kind(), ErrorKind::Missing);
}

#[test]
fn a_file_is_read_to_its_hash_and_chunks() {
    let world = World::new();
    let bytes = safetensors(300_000);
    let path = world.write("a.safetensors", &bytes);
    let mut told = Vec::new();
    let indexed = world
        .blobs
        .index(&path, &Stop::default(), |done| told.push(done));
    let indexed = indexed.expect("read");
    assert_eq!(indexed.index.blob(), Hash::of(&bytes));
    assert_eq!(indexed.inspected.format, Format::Safetensors);
    assert!(told.is_sorted() && told.last() == Some(&(bytes.len() as u64)));
    // It was written this very moment: a write in the same step would not show.
    assert!(!indexed.is_settled);
    let file = fs::File::options()
        .write(true)
        .open(world.blobs.place_of(&path));
    let before = SystemTime::now() - Duration::from_secs(60);
    file.expect("opened").set_modified(before).expect("set");
    let indexed = world.blobs.index(&path, &Stop::default(), |_| {});
    assert!(indexed.expect("read").is_settled);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed() {
    let world = World::new();
    let bytes = safetensors(600_000);
    for change in ["grow", "write", "replace", "remove"] {
        let path = world.write("a.safetensors", &bytes);
        let place = world.blobs.place_of(&path);
        let mut changed = false;
        let indexed = world.blobs.index(&path, &Stop::default(), |_| {
            if std::mem::replace(&mut changed, true) {
                return;
            }
            match change {
                "grow" => {
                    let file = fs::File::options().append(true).open(&place);
                    std::io::Write::write_all(&mut file.expect("opened"), b"x").expect("written");
                }
                "write" => {
                    let file = fs::File::options()
                        .write(true)
                        .open(&place)
                        .expect("opened");
                    let soon = SystemTime::now() + Duration::from_secs(1);
                    file.set_modified(soon).expect("set");
                }
                "replace" => {
                    let other = world.outside.path().join("other");
                    fs::write(&other, &bytes).expect("written");
                    fs::rename(other, &place).expect("renamed");
                }
                _ => fs::remove_file(&place).expect("removed"),
            }
        });
        assert!(changed);
        let error = indexed.expect_err(change);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{change}: {error}");
        assert!(error.to_string().contains("changed while"), "{error}");
    }
}

#[tokio::test]
async fn reading_ends_when_nobody_waits_for_it() {
    let world = World::new();
    let path = world.write("a.safetensors", &safetensors(600_000));
    let (begun, wait_begun) = std::sync::mpsc::channel();
    let (ended, wait_ended) = std::sync::mpsc::channel();
    let working = world.blobs.apart(move |blobs, stop| {
        let _ = begun.send(());
        while !stop.is_set() {
            std::thread::yield_now();
        }
        let read = blobs.index(&path, stop, |_| {});
        let _ = ended.send(read.map(drop).map_err(|error| error.kind()));
        Ok(())
    });
    let wait = tokio::task::spawn_blocking(move || wait_begun.recv());
    tokio::select! {
        _ = working => panic!("it goes on until it is stopped"),
        begun = wait => begun.expect("waited").expect("begun"),
    }
    let wait = tokio::task::spawn_blocking(move || wait_ended.recv());
    let ended = wait.await.expect("waited").expect("told");
    assert_eq!(ended, Err(ErrorKind::Closed));
}

#[test]
fn damage_is_found_by_the_chunk() {
    let world = World::new();
    let bytes = safetensors(1_500_000);
    let path = world.write("a.safetensors", &bytes);
    let index = world.index(&path);
    assert!(index.chunks().len() > 3, "{}", index.chunks().len());
    let verify = || world.blobs.verify(&path, &index, &Stop::default(), |_| {});
    assert!(verify().expect("read").is_whole());
    let mut spoiled = bytes.clone();
    let chunk = index.chunks()[2];
    spoiled[usize::try_from(chunk.offset).expect("small")] ^= 1;
    world.write("a.safetensors", &spoiled);
    let verdict = verify().expect("read");
    assert_eq!(verdict.bad.numbers().collect::<Vec<_>>(), [2]);
    // Cut off in the last chunk but one, and with bytes behind its end.
    let last = index.chunks().len() - 1;
    let end = usize::try_from(index.chunks()[last].offset).expect("small") - 1;
    world.write("a.safetensors", &bytes[..end]);
    let verdict = verify().expect("read");
    assert_eq!(verdict.bad.numbers().collect::<Vec<_>>(), [last - 1, last]);
    world.write("a.safetensors", &[&bytes[..], b"xy"].concat());
    let verdict = verify().expect("read");
    assert_eq!((verdict.extra, verdict.is_whole()), (2, false));
    let stop = Stop::default();
    stop.0.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = world.blobs.verify(&path, &index, &stop, |_| {});
    assert_eq!(error.expect_err("stopped").kind(), ErrorKind::Closed);
}

#[test]
fn what_is_no_model_is_refused_with_a_reason() {
    let world = World::new();
    let mut archive = b"PK\x03\x04".to_vec();
    archive.resize(5000, b'x');
    archive.extend_from_slice(b"PK\x01\x02 archive/data.pkl");
    let cut = &safetensors(100)[..200];
    for (name, bytes, says) in [
        ("a.pt", &b"anything"[..], "pickle"),
        ("a.bin", b"\x80\x02}q\x00.", "pickle"),
        ("b.bin", &archive, "pickle"),
        ("a.safetensors", cut, "cut short"),
        (
            "a.gguf",
            b"GGUF\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            "version",
        ),
        ("b.gguf", b"no model", "not what its name says"),
        ("c.gguf", b"", "empty"),
    ] {
        let path = world.write(name, bytes);
        let error = world.blobs.inspect(&path).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}");
        assert!(error.to_string().contains(says), "{name}: {error}");
        let index = world.blobs.index(&path, &Stop::default(), |_| {});
        assert!(index.is_err(), "{name}");
        let source = world.blobs.place_of(&path);
        let to = BlobPath::parse(&format!("private/{name}"))
            .expect("a path")
            .0;
        let adopted = world.blobs.adopt(&source, &to, Sharing::OrCopy);
        assert!(adopted.is_err(), "{name}");
        assert_eq!(world.blobs.stamp(&to).expect("asked"), None, "{name}");
    }
    let plain = [b"PK\x03\x04".as_slice(), &[b'x'; 600]].concat();
    let path = world.write("plain.bin", &plain);
    assert_eq!(
        world.blobs.inspect(&path).expect("a file").format,
        Format::Other
    );
}

#[test]
fn files_of_others_are_taken_over_without_a_second_copy() {
    let world = World::new();
    let bytes = safetensors(1000);
    let blobs = world.outside.path().join("blobs");
    fs::create_dir(&blobs).expect("made");
    fs::write(blobs.join("sha256-1"), &bytes).expect("written");
    let link = world.outside.path().join("model.safetensors");
    symlink(blobs.join("sha256-1"), &link).expect("linked");
    let target = path("mini.safetensors");
    let adopted = world.blobs.adopt(&link, &target, Sharing::Required);
    let adopted = adopted.expect("taken over");
    let place = world.blobs.place_of(&target);
    assert_eq!(fs::read(&place).expect("read"), bytes);
    assert_eq!(
        world.blobs.stamp(&target).expect("read"),
        Some(adopted.stamp)
    );
    assert_eq!(adopted.format, Format::Safetensors);
    let source = fs::metadata(&link).expect("read");
    let mine = fs::symlink_metadata(&place).expect("read");
    match adopted.shared {
        Shared::HardLink => assert_eq!(mine.ino(), source.ino()),
        Shared::Reflink => assert_ne!(mine.ino(), source.ino()),
        Shared::Copy => panic!("copied"),
    }
    assert_eq!(world.names(), ["mini.safetensors"], "nothing is left over");
    let again = world.blobs.adopt(&link, &target, Sharing::OrCopy);
    let error = again.expect_err("there");
    assert!(
        error.to_string().contains("there is a file already"),
        "{error}"
    );
}

/// `/dev/shm` is another file system where there is one.
#[test]
fn a_copy_is_only_made_where_it_is_allowed() {
    let world = World::new();
    let Ok(elsewhere) = TempDir::new_in("/dev/shm") else {
        return println!("skipped: there is no /dev/shm");
    };
    let device = |path| fs::metadata(path).expect("read").dev();
    if device(elsewhere.path()) == device(world.blobs.root()) {
        return println!("skipped: it is the same disk");
    }
    let source = elsewhere.path().join("a.safetensors");
    fs::write(&source, safetensors(1000)).expect("written");
    let target = path("a.safetensors");
    let refused = world.blobs.adopt(&source, &target, Sharing::Required);
    let error = refused.expect_err("another disk").to_string();
    assert!(
        error.contains("different disks") && error.contains("--copy"),
        "{error}"
    );
    assert_eq!(world.names(), [""; 0]);
    let adopted = world.blobs.adopt(&source, &target, Sharing::OrCopy);
    assert_eq!(adopted.expect("copied").shared, Shared::Copy);
    assert_eq!(world.names(), ["a.safetensors"]);
    let place = world.blobs.place_of(&target);
    assert_eq!(fs::read(place).expect("read"), safetensors(1000));
}

#[test]
fn the_folder_tells_what_is_in_it() {
    let world = World::new();
    world.write("phi.gguf", b"x");
    world.write("private/phi.gguf", b"xy");
    world.write("loras/sql/adapter.safetensors", b"xyz");
    let root = world.blobs.root();
    fs::write(root.join("loras/sql/README.md"), b"about").expect("written");
    fs::write(root.join("my model.gguf"), b"x").expect("written");
    fs::create_dir_all(root.join("a/b/c/d/e")).expect("made");
    let hash = Hash::of(b"");
    drop(
        world
            .blobs
            .unfinished(&path("new.gguf"), hash, 5)
            .expect("made"),
    );
    fs::hard_link(root.join("phi.gguf"), world.outside.path().join("x")).expect("linked");
    let contents = world.blobs.contents().expect("read");
    let files: Vec<(String, u64, u64)> = contents
        .files
        .iter()
        .map(|found| (found.artifact.to_string(), found.stamp.size, found.links))
        .collect();
    let named = |name: &str, size, links| (name.to_owned(), size, links);
    assert_eq!(
        files,
        [
            named("loras/sql", 3, 1),
            named("models/phi.gguf", 1, 2),
            named("models/~/phi.gguf", 2, 1),
        ]
    );
    let strays: Vec<&str> = contents.strays.iter().map(|stray| &*stray.path).collect();
    assert_eq!(strays, ["a/b/c/d", "my model.gguf"]);
    assert!(
        contents.strays[1].reason.contains("only letters"),
        "{contents:?}"
    );
}

#[test]
fn only_stale_unfinished_files_go() {
    let world = World::new();
    world.write("phi.gguf", b"x");
    let (old, wanted, new) = (Hash::of(b"1"), Hash::of(b"2"), Hash::of(b"3"));
    let before = SystemTime::now() - Duration::from_secs(1000);
    for (blob, time) in [(old, before), (wanted, before), (new, SystemTime::now())] {
        let unfinished = world.blobs.unfinished(&path("phi.gguf"), blob, 5);
        let unfinished = unfinished.expect("made");
        unfinished.file().set_modified(time).expect("set");
    }
    let kept = wanted.to_string();
    let freed = world
        .blobs
        .discard_stale(Duration::from_secs(500), |place| {
            place.to_string_lossy().contains(&kept[..16])
        });
    assert_eq!(freed.expect("gone"), 5);
    let gone = |blob| world.blobs.discard_unfinished(&path("phi.gguf"), blob);
    assert!(!gone(old).expect("asked"));
    assert!(gone(wanted).expect("gone") && gone(new).expect("gone"));
    assert_eq!(world.names(), ["phi.gguf"]);
}
