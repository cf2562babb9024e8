//! The tests' own bucket, against the real S3 server that `tests/bucket`
//! installs: it keeps what it acknowledged, and its conditional writes are
//! atomic. In front of it, `r2-strict` keeps R2's law and does damage.

mod faults;
mod law;
mod relay;

use ginnel_tests::bucket::{Ask, Bucket, Weed};
use ginnel_tests::wait::in_time;
use http::Method;
use http_body_util::Full;
use tokio::task::JoinSet;

#[tokio::test]
async fn objects_outlive_a_server_that_is_killed() {
    let Some(mut weed) = Weed::start().await else {
        return;
    };
    let bucket = weed.bucket("models").await;
    let name = "sub folder/ü+%2e.gguf";
    let put = bucket.ask(Ask::put(name, "GGUF")).await;
    assert_eq!(put.status, 200, "{put:?}");

    weed.stop();
    let gone = bucket.try_ask(Ask::get(name)).await;
    assert!(gone.is_err(), "{gone:?}");

    weed.resume().await;
    let found = bucket.ask(Ask::get(name)).await;
    assert_eq!(found.body, "GGUF", "{found:?}");
    assert_eq!(found.etag(), put.etag());
    let range = bucket
        .ask(Ask::get(name).header("range", "bytes=1-2"))
        .await;
    assert_eq!((range.status.as_u16(), &*range.body), (206, &b"GU"[..]));
}

#[tokio::test]
async fn who_has_other_keys_is_refused() {
    let Some(weed) = Weed::start().await else {
        return;
    };
    let mut bucket = weed.bucket("models").await;
    bucket.ask(Ask::put("a", "a")).await;
    bucket.keys.secret.push('x');
    let refused = bucket.ask(Ask::get("a")).await;
    assert_eq!(refused.status, 403);
    let code = refused.element("Code");
    assert_eq!(code.as_deref(), Some("SignatureDoesNotMatch"));
}

/// What all agreement through a bucket rests on.
#[tokio::test]
async fn of_many_conditional_writers_one_wins() {
    let Some(weed) = Weed::start().await else {
        return;
    };
    let bucket = weed.bucket("models").await;
    // The server lets writers of one key wait for each other, so keys at once.
    let mut keys = JoinSet::new();
    for key in 0..4 {
        let (bucket, key) = (bucket.clone(), format!("key {key}"));
        keys.spawn(async move {
            let creators = race(&bucket, &key, ("if-none-match", "*")).await;
            let tag = bucket.ask(Ask::get(&key)).await.etag();
            (creators, race(&bucket, &key, ("if-match", &tag)).await)
        });
    }
    for winners in in_time("the races", keys.join_all()).await {
        assert_eq!(winners, (1, 1));
    }
    let absent = Ask::put("absent", "a").header("if-match", "\"0123\"");
    let absent = bucket.ask(absent).await;
    assert_eq!(absent.status, 412, "{absent:?}");
}

/// How many of eight that write different bytes at once succeed; the others
/// are told that the condition does not hold.
async fn race(bucket: &Bucket, key: &str, (name, value): (&str, &str)) -> usize {
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let ask = Ask::put(key, format!("{name} {writer}")).header(name, value);
        let bucket = bucket.clone();
        writers.spawn(async move { bucket.ask(ask).await });
    }
    let answers = in_time("the writers", writers.join_all()).await;
    let count = |status: u16| answers.iter().filter(|it| it.status == status).count();
    assert_eq!(count(200) + count(412), 8, "{answers:?}");
    count(200)
}

#[tokio::test]
async fn a_multipart_upload_shows_only_when_complete() {
    let Some(weed) = Weed::start().await else {
        return;
    };
    let bucket = weed.bucket("models").await;
    let complete = upload(&bucket, "a", &[&[7; 1000]]).await;
    assert_eq!(bucket.ask(Ask::get("a")).await.status, 404);
    let completed = bucket.ask(complete()).await;
    assert_eq!(completed.status, 200, "{completed:?}");
    assert_eq!(bucket.ask(Ask::get("a")).await.body, [7; 1000][..]);

    // Its conditions hold as those of a single write do.
    let tag = bucket.ask(Ask::get("a")).await.etag();
    let second = upload(&bucket, "a", &[b"b"]).await;
    let third = upload(&bucket, "a", &[b"c"]).await;
    let steps = [
        (&second, ("if-none-match", "*"), 412),
        (&second, ("if-match", "\"0123\""), 412),
        (&second, ("if-match", &tag), 200),
        (&third, ("if-match", &tag), 412),
    ];
    for (complete, (name, value), expected) in steps {
        let answer = bucket.ask(complete().header(name, value)).await;
        assert_eq!(answer.status, expected, "{name}: {value}: {answer:?}");
    }
    assert_eq!(bucket.ask(Ask::get("a")).await.body, "b");
}

/// Uploads these parts; returns what completes the upload.
async fn upload(bucket: &Bucket, key: &str, parts: &[&[u8]]) -> impl Fn() -> Ask + use<> {
    let created = Ask::new(Method::POST, key).query("uploads", "");
    let upload = bucket.ask(created).await.element("UploadId");
    let upload = upload.expect("an upload");
    let mut list = String::new();
    for (number, part) in (1..).zip(parts) {
        let ask = Ask::put(key, part.to_vec());
        let ask = ask.query("partNumber", number).query("uploadId", &upload);
        let tag = bucket.ask(ask).await.etag();
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
    }
    let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let key = key.to_owned();
    move || {
        let complete = Ask::new(Method::POST, &key).query("uploadId", &upload);
        complete.body(Full::from(list.clone()))
    }
}
