//! One suite for every kind of bucket. The one that speaks S3 is held to it in
//! `tests/`, against a real server.

use futures_util::TryStreamExt as _;
use ginnel_blob::hash::Hash;

use super::*;

fn key(text: &str) -> Path {
    Path::parse(text).expect("a key")
}

/// Every kind that needs no server.
fn buckets() -> Vec<(Bucket, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let opened = Bucket::folder(folder.path()).expect("opened");
    vec![(Bucket::memory(), None), (opened, Some(folder))]
}

async fn bytes_of(
    bucket: &Bucket,
    key: &Path,
    etag: &Etag,
    place: std::ops::Range<u64>,
) -> Vec<u8> {
    let pieces = bucket.range(key, etag, place).await.expect("read");
    let pieces: Vec<Bytes> = pieces.try_collect().await.expect("all of it");
    pieces.concat()
}

#[tokio::test]
async fn objects_are_written_read_and_deleted() {
    for (bucket, _folder) in buckets() {
        let key = key("models/.sync/a.json");
        assert_eq!(bucket.read(&key, 10).await.expect("read"), None);
        let etag = bucket.create(&key, "one".into()).await.expect("made");
        let small = bucket.read(&key, 3).await.expect("read").expect("there");
        assert_eq!((&*small.bytes, &small.etag), (&b"one"[..], &etag));
        let error = bucket.read(&key, 2).await.expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(bytes_of(&bucket, &key, &etag, 1..3).await, b"ne");
        let listed: Vec<_> = bucket
            .list(&Path::from("models"))
            .try_collect()
            .await
            .expect("listed");
        let expected = Listed {
            key: key.clone(),
            etag: etag.clone(),
            size: 3,
        };
        assert_eq!(listed, std::slice::from_ref(&expected));
        assert_eq!(bucket.head(&key).await.expect("known"), Some(expected));
        bucket.delete(&key).await.expect("deleted");
        bucket.delete(&key).await.expect("deleted already");
        assert_eq!(bucket.head(&key).await.expect("known"), None);
    }
}

#[tokio::test]
async fn conditions_hold() {
    for (bucket, _folder) in buckets() {
        let key = key("models/.sync/a.json");
        let first = bucket.create(&key, "1".into()).await.expect("made");
        let again = bucket.create(&key, "2".into()).await.expect_err("there");
        assert_eq!(again.kind(), ErrorKind::Changed, "{again}");
        let second = bucket
            .replace(&key, &first, "2".into())
            .await
            .expect("replaced");
        let stale = bucket
            .replace(&key, &first, "3".into())
            .await
            .expect_err("stale");
        assert_eq!(stale.kind(), ErrorKind::Changed, "{stale}");
        let read = bucket.range(&key, &first, 0..1).await.err().expect("stale");
        assert_eq!(read.kind(), ErrorKind::Changed, "{read}");
        assert_eq!(bytes_of(&bucket, &key, &second, 0..1).await, b"2");
        bucket.write(&key, "4".into()).await.expect("written");
        let gone = self::key("models/none");
        let error = bucket
            .replace(&gone, &first, "5".into())
            .await
            .expect_err("gone");
        assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
    }
}

/// Eight writers count together: no step is lost, none is done twice.
#[tokio::test]
async fn one_of_many_writers_wins_each_time() {
    for (bucket, _folder) in buckets() {
        let key = key("models/.sync/count.json");
        bucket.create(&key, "0".into()).await.expect("made");
        let writers = (0..8).map(|_| {
            let (bucket, key) = (bucket.clone(), key.clone());
            async move {
                let mut done = 0;
                while done < 12 {
                    let small = bucket.read(&key, 10).await.expect("read").expect("there");
                    let count = std::str::from_utf8(&small.bytes).expect("text");
                    let count: u32 = count.parse().expect("a number");
                    let next = (count + 1).to_string().into();
                    match bucket.replace(&key, &small.etag, next).await {
                        Ok(_) => done += 1,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Changed, "{error}"),
                    }
                }
            }
        });
        futures_util::future::join_all(writers).await;
        let small = bucket.read(&key, 10).await.expect("read").expect("there");
        assert_eq!(&*small.bytes, b"96");
    }
}

#[tokio::test]
async fn uploads_are_seen_when_complete() {
    for (bucket, _folder) in buckets() {
        let key = key("models/phi.gguf");
        let old = bucket.write(&key, "old".into()).await.expect("written");
        let upload = bucket.begin_upload(&key).await.expect("begun");
        let put = |number, part: Vec<Bytes>| bucket.put_part(&key, &upload, number, part);
        let second = put(1, vec!["tail".into()]).await.expect("stored");
        put(0, vec!["wrong".into()]).await.expect("stored");
        let first = put(0, vec!["one ".into(), "two ".into()])
            .await
            .expect("again");
        assert_eq!(bytes_of(&bucket, &key, &old, 0..3).await, b"old");
        let etag = bucket
            .complete(&key, &upload, vec![first, second])
            .await
            .expect("complete");
        assert_eq!(bytes_of(&bucket, &key, &etag, 0..12).await, b"one two tail");
        assert_ne!(etag, old);
        let again = bucket
            .complete(&key, &upload, vec![])
            .await
            .expect_err("gone");
        assert_eq!(again.kind(), ErrorKind::Missing, "{again}");
        bucket.abort(&key, &upload).await.expect("ended already");
    }
}

#[tokio::test]
async fn uploads_that_end_leave_nothing() {
    for (bucket, folder) in buckets() {
        let key = key("models/phi.gguf");
        let upload = bucket.begin_upload(&key).await.expect("begun");
        let part = vec!["x".into()];
        bucket
            .put_part(&key, &upload, 0, part.clone())
            .await
            .expect("stored");
        bucket.abort(&key, &upload).await.expect("ended");
        let error = bucket
            .put_part(&key, &upload, 1, part)
            .await
            .expect_err("ended");
        assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
        assert_eq!(bucket.head(&key).await.expect("known"), None);
        if let Some(folder) = folder {
            let mut left = std::fs::read_dir(folder.path().join(".uploads")).expect("read");
            assert!(left.next().is_none());
        }
    }
}

#[tokio::test]
async fn a_folder_keeps_uploads_over_a_restart_and_lists_only_objects() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let key = key("models/phi.gguf");
    let bucket = Bucket::folder(folder.path()).expect("opened");
    let upload = bucket.begin_upload(&key).await.expect("begun");
    let tag = bucket
        .put_part(&key, &upload, 0, vec!["all".into()])
        .await
        .expect("stored");
    drop(bucket);
    let bucket = Bucket::folder(folder.path()).expect("opened again");
    let listed: Vec<_> = bucket
        .list(&Path::default())
        .try_collect()
        .await
        .expect("listed");
    assert_eq!(listed, []);
    let etag = bucket
        .complete(&key, &upload, vec![tag])
        .await
        .expect("complete");
    assert_eq!(bytes_of(&bucket, &key, &etag, 0..3).await, b"all");
    let plain = std::fs::read(folder.path().join("models/phi.gguf")).expect("a plain file");
    assert_eq!(plain, b"all");
}

#[tokio::test]
async fn names_of_uploads_and_tags_cannot_leave_the_folder() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let bucket = Bucket::folder(folder.path()).expect("opened");
    let key = key("models/phi.gguf");
    std::fs::write(folder.path().join("secret"), "s").expect("written");
    for upload in [
        "",
        ".",
        "..",
        "../.uploads",
        "/",
        "0123456789abcdef0123456789abcdeg",
    ] {
        let error = bucket
            .put_part(&key, upload, 0, vec![])
            .await
            .expect_err(upload);
        assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
    }
    let upload = bucket.begin_upload(&key).await.expect("begun");
    for tag in ["x/../../../secret", "", "/etc/passwd"] {
        let error = bucket
            .complete(&key, &upload, vec![tag.into()])
            .await
            .expect_err(tag);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

/// The tag is made of the inode, which is used again, of the time, which has
/// coarse ticks, and of the size.
#[tokio::test]
async fn a_folder_gives_a_new_tag_to_each_version() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let bucket = Bucket::folder(folder.path()).expect("opened");
    let key = key("models/.sync/a.json");
    let mut etag = bucket.create(&key, "0".into()).await.expect("made");
    let mut seen = std::collections::HashSet::from([etag.clone()]);
    for count in 1..300 {
        let digit = (count % 10).to_string().into();
        etag = bucket.replace(&key, &etag, digit).await.expect("replaced");
        assert!(seen.insert(etag.clone()), "count={count}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_an_error() {
    // A file that is shorter than it was when it was opened.
    let folder = tempfile::tempdir().expect("temporary folder");
    let bucket = Bucket::folder(folder.path()).expect("opened");
    let key = key("models/long");
    let long = Bytes::from(vec![1; 600 << 10]);
    let etag = bucket.write(&key, long).await.expect("written");
    let mut pieces = bucket.range(&key, &etag, 0..600 << 10).await.expect("read");
    assert!(pieces.try_next().await.expect("a piece").is_some());
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.path().join("models/long"));
    file.expect("opened").set_len(300 << 10).expect("cut");
    let rest: Result<Vec<Bytes>> = pieces.try_collect().await;
    assert_eq!(rest.expect_err("cut").kind(), ErrorKind::Unavailable);
}

/// Whoever ends it first: there is an object or there is none, and nothing else.
#[tokio::test]
async fn an_upload_that_is_ended_while_it_completes_replaces_nothing_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let bucket = Bucket::folder(folder.path()).expect("opened");
    let mut outcomes = [0; 2];
    for round in 0..40 {
        let key = key(&format!("models/{round}"));
        let upload = bucket.begin_upload(&key).await.expect("begun");
        let part = vec![Bytes::from(vec![7; 3 << 20])];
        let tag = bucket.put_part(&key, &upload, 0, part).await;
        let tags = vec![tag.expect("stored")];
        let (completed, ended) = tokio::join!(bucket.complete(&key, &upload, tags), async {
            // Sooner or later than the other.
            tokio::time::sleep(Duration::from_micros(150 * round)).await;
            bucket.abort(&key, &upload).await
        });
        ended.expect("ended");
        let object = bucket.head(&key).await.expect("looked");
        assert_eq!(object.is_some(), completed.is_ok(), "{completed:?}");
        outcomes[usize::from(completed.is_ok())] += 1;
        let uploads = std::fs::read_dir(folder.path().join(".uploads"));
        assert_eq!(uploads.expect("a folder").count(), 0, "{completed:?}");
    }
    println!("completed: {}, ended before: {}", outcomes[1], outcomes[0]);
    for entry in std::fs::read_dir(folder.path().join("models")).expect("a folder") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_str().expect("text").parse::<u32>();
        name.expect("an object, and nothing beside it");
    }
}

/// What is in a folder and those in it, also what no list shows.
fn files(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.file_name().into_string().expect("text")),
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_copy_is_an_object_of_its_own() {
    for (bucket, folder) in buckets() {
        let (first, second) = (key("knowledge/ada/a.db"), key("knowledge/ada/b.db"));
        let etag = bucket.write(&first, "one".into()).await.expect("written");
        let copy = bucket.copy(&first, &second).await.expect("copied");
        assert_eq!((copy.size, &copy.key), (3, &second));
        // Back and forth, as restores do.
        for _ in 0..3 {
            bucket.copy(&second, &first).await.expect("copied");
            bucket.copy(&first, &second).await.expect("copied");
        }
        let again = bucket.head(&first).await.expect("known").expect("there");
        assert_ne!(again.etag, etag, "another version has another tag");
        let missing = bucket.copy(&key("knowledge/none"), &second).await;
        assert_eq!(missing.expect_err("none").kind(), ErrorKind::Missing);
        bucket
            .write(&second, "other".into())
            .await
            .expect("written");
        let small = bucket.read(&first, 9).await.expect("read").expect("there");
        assert_eq!(&*small.bytes, b"one");
        let Some(folder) = folder else { continue };
        let below = folder.path().join("knowledge");
        assert_eq!(files(&below), ["a.db", "b.db"]);
        for key in [&first, &second] {
            bucket.delete(key).await.expect("deleted");
        }
        assert!(files(&below).is_empty());
    }
}

/// Versions before this one left them, and writers that die do.
#[tokio::test]
async fn what_no_list_shows_goes_with_its_object_and_when_it_is_swept() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let bucket = Bucket::folder(folder.path()).expect("opened");
    let below = folder.path().join("knowledge/ada");
    let object = key("knowledge/ada/embeddings.db");
    bucket
        .write(&object, "secret".into())
        .await
        .expect("written");
    bucket
        .write(&key("knowledge/ada/#notes"), "an object".into())
        .await
        .expect("written");
    let plant = |name: &str| std::fs::write(below.join(name), "secret").expect("written");
    plant("embeddings.db#0");
    plant("embeddings.db#1");
    bucket.delete(&object).await.expect("deleted");
    let left = files(&below);
    assert_eq!(left.len(), 1, "{left:?}");
    // Also where the object is gone already.
    plant("embeddings.db#0");
    bucket.delete(&object).await.expect("deleted");
    assert_eq!(files(&below), left);
    plant("embeddings.db#1");
    bucket.delete(&object).await.expect("deleted");
    assert_eq!(files(&below), left);
    std::fs::create_dir(below.join("pitr")).expect("made");
    plant("pitr/7.db#12345678901234567890");
    plant("other#");
    let prefix = key("knowledge/ada");
    bucket.sweep(&prefix).await.expect("swept");
    let mut stays = left;
    stays.push("other#".to_owned());
    stays.sort();
    assert_eq!(files(&below), stays, "only what no list shows");
    bucket.sweep(&key("knowledge/bob")).await.expect("nothing");
    Bucket::memory().sweep(&prefix).await.expect("nothing");
}

#[tokio::test]
async fn an_object_is_hashed_and_its_length_known_before_it_is_read() {
    for (bucket, _folder) in buckets() {
        let key = key("models/a");
        let empty = key_of_nothing(&bucket).await;
        assert_eq!(bucket.hash(&empty).await.expect("read"), Hash::of(b""));
        bucket.write(&key, "some".into()).await.expect("written");
        let listed = bucket.head(&key).await.expect("known").expect("there");
        assert_eq!(bucket.hash(&listed).await.expect("read"), Hash::of(b"some"));
        let opened = bucket.open(&key, 4).await.expect("read").expect("there");
        assert_eq!(opened.size(), 4);
        assert_eq!(&*opened.all().await.expect("read"), b"some");
        let long = bucket.open(&key, 3).await.expect_err("too long");
        assert_eq!(long.kind(), ErrorKind::Invalid);
        bucket.write(&key, "other".into()).await.expect("written");
        let stale = bucket.hash(&listed).await.expect_err("replaced");
        assert_eq!(stale.kind(), ErrorKind::Changed);
    }
}

async fn key_of_nothing(bucket: &Bucket) -> Listed {
    let key = key("models/empty");
    bucket.write(&key, Bytes::new()).await.expect("written");
    bucket.head(&key).await.expect("known").expect("there")
}
