//! The relay's bucket over S3, before a real server, under R2's law and with
//! what networks do: the suite of `relay/src/objects/tests.rs`, for the one
//! kind that needs a server.

use std::ops::Range;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use ginnel_relay::objects::error::{ErrorKind, Result};
use ginnel_relay::objects::layout::Place;
use ginnel_relay::objects::s3::S3;
use ginnel_relay::objects::{Bucket, Etag};
use ginnel_tests::bucket::strict::{Fault, Operation, Rule};
use ginnel_tests::bucket::{Strict, Weed};
use ginnel_tests::caller::{Caller, body};
use ginnel_tests::pattern::Pattern;
use ginnel_tests::wait::in_time;
use http::{Request, StatusCode, Uri};

/// The least part but the last, in bytes.
const PART: usize = 5 * 1024 * 1024;

/// A server, the proxy before it, and the relay's bucket before that.
async fn bench() -> Option<(Weed, Strict, Bucket)> {
    let weed = Weed::start().await?;
    let made = weed.bucket("models").await;
    let strict = Strict::start(weed.address).await;
    let bucket = Bucket::s3(S3 {
        bucket: made.name,
        endpoint: format!("http://{}", strict.address),
        region: "auto".into(),
        access_key_id: made.keys.id,
        secret_access_key: made.keys.secret,
        roots: rustls::RootCertStore::empty(),
    });
    Some((weed, strict, bucket.expect("a URL")))
}

fn place(name: &str) -> Place {
    let artifact = format!("models/~/{name}").parse().expect("valid");
    Place::of(&artifact, &"alice".parse().expect("valid"))
}

async fn read(bucket: &Bucket, at: &Place, etag: &Etag, range: Range<u64>) -> Result<Vec<u8>> {
    let pieces = bucket.range(at.object(), etag, range).await?;
    let pieces: Vec<bytes::Bytes> = in_time("the object", pieces.try_collect()).await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn it_keeps_what_every_bucket_promises() {
    let Some((_weed, strict, bucket)) = bench().await else {
        return;
    };
    strict.set_between_writes(Duration::ZERO);
    let at = place("a+b=c@d.gguf");
    let key = at.object();
    assert_eq!(bucket.head(key).await.expect("asked"), None);
    let first = bucket.create(key, "one".into()).await.expect("made");
    let again = bucket.create(key, "two".into()).await.expect_err("there");
    assert_eq!(again.kind(), ErrorKind::Changed, "{again}");
    let second = bucket.replace(key, &first, "two".into()).await;
    let second = second.expect("replaced");
    let stale = bucket.replace(key, &first, "no".into()).await;
    assert_eq!(stale.expect_err("stale").kind(), ErrorKind::Changed);
    let stale = read(&bucket, &at, &first, 0..1).await;
    assert_eq!(stale.expect_err("stale").kind(), ErrorKind::Changed);
    assert_eq!(
        read(&bucket, &at, &second, 1..3).await.expect("read"),
        b"wo"
    );

    let entry = at.entry();
    bucket.write(&entry, "{}".into()).await.expect("written");
    let listed: Vec<_> = bucket
        .list(&at.shelf().catalog())
        .try_collect()
        .await
        .expect("listed");
    let keys: Vec<_> = listed
        .iter()
        .map(|listed| (&listed.key, listed.size))
        .collect();
    assert_eq!(keys, [(&entry, 2)]);
    bucket.delete(key).await.expect("deleted");
    bucket.delete(key).await.expect("deleted already");
    assert_eq!(bucket.head(key).await.expect("asked"), None);
    let gone = bucket.replace(key, &second, "no".into()).await;
    assert_eq!(gone.expect_err("gone").kind(), ErrorKind::Changed);
}

#[tokio::test]
async fn its_uploads_keep_the_law_and_unequal_parts_are_told() {
    let Some((_weed, strict, bucket)) = bench().await else {
        return;
    };
    strict.set_between_writes(Duration::ZERO);
    let at = place("phi.gguf");
    let key = at.object();
    let whole = Pattern::bytes(2 * PART as u64 + 77);
    let mut parts = whole.chunks(PART).map(bytes::Bytes::copy_from_slice);
    let upload = bucket.begin_upload(key).await.expect("begun");
    let mut tags = Vec::new();
    for number in 0..3 {
        let mut part = parts.next().expect("a part");
        let rest = part.split_off(part.len() / 3);
        let put = bucket
            .put_part(key, &upload, number, vec![part, rest])
            .await;
        tags.push(put.expect("stored"));
    }
    assert_eq!(bucket.head(key).await.expect("asked"), None);
    let etag = bucket.complete(key, &upload, tags).await.expect("complete");
    let read = read(&bucket, &at, &etag, 0..whole.len() as u64).await;
    assert!(read.expect("read") == whole);
    let again = bucket.complete(key, &upload, Vec::new()).await;
    assert_eq!(again.expect_err("ended").kind(), ErrorKind::Missing);
    bucket.abort(key, &upload).await.expect("ended already");

    let upload = bucket.begin_upload(key).await.expect("begun");
    let mut tags = Vec::new();
    for (number, length) in [(0, PART + 1), (1, PART), (2, 1)] {
        let part = vec![vec![7; length].into()];
        let put = bucket.put_part(key, &upload, number, part).await;
        tags.push(put.expect("stored"));
    }
    let unequal = bucket.complete(key, &upload, tags).await;
    let unequal = unequal.expect_err("unequal");
    assert!(unequal.to_string().contains("same length"), "{unequal}");
    bucket.abort(key, &upload).await.expect("ended");
    let ended = bucket.put_part(key, &upload, 3, vec!["x".into()]).await;
    assert_eq!(ended.expect_err("ended").kind(), ErrorKind::Missing);
    let kept = bucket.head(key).await.expect("asked").expect("kept");
    assert_eq!(kept.etag, etag);
}

#[tokio::test]
async fn it_goes_on_after_errors_cuts_and_lost_answers() {
    let Some((_weed, strict, bucket)) = bench().await else {
        return;
    };
    strict.set_between_writes(Duration::ZERO);
    let at = place("phi.gguf");
    let key = at.object();
    let upload = bucket.begin_upload(key).await.expect("begun");
    let whole = Pattern::bytes(1_000_000);
    let part = || vec![whole.clone().into()];
    strict.inject(
        Rule::new(Fault::Status(StatusCode::SERVICE_UNAVAILABLE)).on(Operation::UploadPart),
    );
    strict.inject(Rule::new(Fault::CutUpload { after: 300_000 }).on(Operation::UploadPart));
    strict.inject(Rule::new(Fault::LoseAnswer).on(Operation::UploadPart));
    let tag = in_time("a part", bucket.put_part(key, &upload, 0, part())).await;
    let tag = tag.expect("stored at last");
    assert_eq!(strict.faults_left(), 0);
    assert_eq!(strict.counts().requests(Operation::UploadPart), 4);
    let etag = bucket
        .complete(key, &upload, vec![tag])
        .await
        .expect("complete");

    // The bytes are right, or it is an error; which depends on how much came.
    strict.inject(Rule::new(Fault::CutDownload { after: 400_000 }).on(Operation::Get));
    match read(&bucket, &at, &etag, 0..1_000_000).await {
        Ok(read) => assert!(read == whole),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
    }
    assert_eq!(strict.faults_left(), 0);

    // What has a condition is not sent again by itself: who tries again is
    // told that it is there, and finds its own.
    let entry = at.entry();
    strict.inject(Rule::new(Fault::LoseAnswer).on(Operation::Put));
    let lost = in_time("an answer", bucket.create(&entry, "{}".into())).await;
    assert_eq!(lost.expect_err("lost").kind(), ErrorKind::Unavailable);
    let again = bucket.create(&entry, "{}".into()).await;
    assert_eq!(again.expect_err("there").kind(), ErrorKind::Changed);
    let there = bucket.read(&entry, 10).await.expect("read").expect("there");
    assert_eq!(there.bytes, "{}");

    let status = Fault::Status(StatusCode::INTERNAL_SERVER_ERROR);
    strict.inject(Rule::new(status).on(Operation::Head).times(2));
    let head = in_time("an answer", bucket.head(key)).await;
    assert_eq!(head.expect("asked").expect("there").size, 1_000_000);
}

#[tokio::test]
async fn a_write_before_its_turn_is_tried_again_and_then_told() {
    let Some((_weed, strict, bucket)) = bench().await else {
        return;
    };
    let at = place("a");
    let key = at.object();
    // Retries end before a second has passed, or do not, by chance.
    strict.set_between_writes(Duration::from_secs(3600));
    let first = bucket.create(key, "1".into()).await.expect("made");
    let early = in_time("its turn", bucket.replace(key, &first, "2".into())).await;
    assert_eq!(early.expect_err("early").kind(), ErrorKind::Unavailable);
    let refused = strict.counts().refused(Operation::Put);
    assert!(refused > 1, "refused={refused}");
    let kept = bucket.read(key, 10).await.expect("read").expect("there");
    assert_eq!((&*kept.bytes, &kept.etag), (&b"1"[..], &first));

    strict.set_between_writes(Duration::ZERO);
    let second = bucket.replace(key, &first, "2".into()).await;
    let second = second.expect("replaced");
    assert_eq!(read(&bucket, &at, &second, 0..1).await.expect("read"), b"2");
    // So whoever writes twice waits so long.
    assert!(bucket.spacing() > Duration::from_secs(1));
}

#[tokio::test]
async fn whoever_has_the_url_reads_ranges_until_then() {
    let Some((_weed, strict, bucket)) = bench().await else {
        return;
    };
    let at = place("phi.gguf");
    let etag = bucket.write(at.object(), "GGUF and more".into()).await;
    etag.expect("written");
    assert!(bucket.signs());
    let url = bucket.presign(at.object(), Duration::from_secs(60)).await;
    let url: Uri = url.expect("signed").expect("a URL").parse().expect("a URL");
    assert_eq!(
        url.authority().expect("a host").as_str(),
        strict.address.to_string()
    );
    let caller = Caller::new(strict.address);
    let get = |path: String| {
        let get = Request::get(path).header("host", strict.address.to_string());
        get.header("range", "bytes=5-7")
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .expect("valid")
    };
    let path = url.path_and_query().expect("a path").to_string();
    let part = caller.send(get(path.clone())).await;
    assert_eq!(part.status(), 206);
    assert_eq!(body(part).await, "and");
    // Not another object, and not without it.
    let other = caller.send(get(path.replace("phi.gguf", "psi.gguf"))).await;
    assert_eq!(other.status(), 403);
    let bare = caller.send(get(url.path().to_owned())).await;
    assert_eq!(bare.status(), 403);
}
