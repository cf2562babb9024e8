//! What `r2-strict` refuses as R2 does, beside what the server behind it
//! would have let through.

use std::time::Duration;

use ginnel_tests::bucket::strict::Operation;
use ginnel_tests::bucket::{Ask, Strict, Weed};
use ginnel_tests::pattern::Pattern;
use http::Method;

use super::upload;

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn parts_of_different_sizes_are_refused_when_completed() {
    let Some(weed) = Weed::start().await else {
        return;
    };
    let direct = weed.bucket("models").await;
    let strict = Strict::start(weed.address).await;
    strict.set_between_writes(Duration::ZERO);
    let bucket = direct.at(strict.address);
    let (five, six) = (vec![5; 5 * MIB], vec![6; 6 * MIB]);
    let unequal: [&[u8]; 3] = [&six, &five, b"tail"];

    let complete = upload(&direct, "direct", &unequal).await;
    assert_eq!(direct.ask(complete()).await.status, 200);
    let complete = upload(&bucket, "strict", &unequal).await;
    let refused = bucket.ask(complete()).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.element("Code").as_deref(), Some("InvalidPart"));
    assert_eq!(direct.ask(Ask::get("strict")).await.status, 404);

    // The same upload, with the part made equal.
    let complete = upload(&bucket, "equal", &[&five, &five, b"tail"]).await;
    assert_eq!(bucket.ask(complete()).await.status, 200);
    let whole = direct.ask(Ask::get("equal")).await.body;
    assert_eq!(
        (whole.len(), whole.get(10 * MIB..)),
        (10 * MIB + 4, Some(&b"tail"[..]))
    );
    // It ended with that.
    let again = bucket.ask(complete()).await;
    assert_eq!(again.element("Code").as_deref(), Some("NoSuchUpload"));

    let complete = upload(&bucket, "small", &[b"small", b"tail"]).await;
    let refused = bucket.ask(complete()).await;
    assert_eq!(refused.element("Code").as_deref(), Some("EntityTooSmall"));
    let counts = strict.counts();
    assert_eq!(counts.requests(Operation::UploadPart), 8);
    assert_eq!(counts.requests(Operation::Create), 3);
    assert_eq!(counts.requests(Operation::Complete), 4);
    assert_eq!(counts.refused(Operation::Complete), 3);
}

#[tokio::test]
async fn a_key_is_written_once_a_second() {
    let Some(weed) = Weed::start().await else {
        return;
    };
    let direct = weed.bucket("models").await;
    let strict = Strict::start(weed.address).await;
    // On a loaded machine a second soon passes, an hour does not.
    strict.set_between_writes(Duration::from_secs(3600));
    let bucket = direct.at(strict.address);
    assert_eq!(bucket.ask(Ask::put("a", "first")).await.status, 200);
    // A client that reads no answer before all is sent, gets it all the same.
    let long = Ask::new(Method::PUT, "a").body(Pattern::sized(10_000_000));
    let refused = bucket.ask(long).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.element("Code").as_deref(), Some("TooManyRequests"));
    assert_eq!(strict.counts().received(Operation::Put), 10_000_005);
    assert_eq!(bucket.ask(Ask::get("a")).await.body, "first");
    assert_eq!(bucket.ask(Ask::put("b", "first")).await.status, 200);
    strict.set_between_writes(Duration::ZERO);
    let written = bucket.ask(Ask::put("a", "second")).await;
    assert_eq!(written.status, 200);
    assert_eq!(bucket.ask(Ask::get("a")).await.body, "second");
}

#[tokio::test]
async fn what_r2_has_not_built_is_refused_and_conditions_pass() {
    let Some(weed) = Weed::start().await else {
        return;
    };
    let direct = weed.bucket("models").await;
    let strict = Strict::start(weed.address).await;
    strict.set_between_writes(Duration::ZERO);
    let bucket = direct.at(strict.address);

    let tagged = || Ask::put("tagged", "a").header("x-amz-tagging", "a=b");
    assert_eq!(direct.ask(tagged()).await.status, 200);
    let refused = bucket.ask(tagged()).await;
    assert_eq!(refused.status, 501);
    let message = refused.element("Message").expect("a message");
    assert_eq!(
        message,
        "Header 'x-amz-tagging' with value 'a=b' not implemented"
    );
    let read = Ask::get("tagged").query("tagging", "");
    assert_eq!(bucket.ask(read).await.status, 501);

    // A name that needs escapes is signed, passed on and found as it is.
    let name = "sub folder/ü+%2e.gguf";
    let created = || Ask::put(name, "GGUF").header("if-none-match", "*");
    assert_eq!(bucket.ask(created()).await.status, 200);
    let again = bucket.ask(created()).await;
    assert_eq!(again.status, 412);
    let tag = bucket.ask(Ask::get(name)).await.etag();
    let stale = Ask::put(name, "other").header("if-match", "\"0123\"");
    assert_eq!(bucket.ask(stale).await.status, 412);
    let held = Ask::put(name, "other").header("if-match", &tag);
    assert_eq!(bucket.ask(held).await.status, 200);
    let changed = Ask::get(name).header("if-match", &tag);
    assert_eq!(bucket.ask(changed).await.status, 412);
    let now = bucket.ask(Ask::get(name)).await.etag();
    let same = Ask::get(name).header("if-none-match", &now);
    assert_eq!(bucket.ask(same).await.status, 304);
    let head = bucket.ask(Ask::new(Method::HEAD, name)).await;
    assert_eq!(
        (
            head.status.as_u16(),
            head.headers["content-length"].as_bytes()
        ),
        (200, &b"5"[..])
    );

    let list = Ask::new(Method::GET, "")
        .query("list-type", 2)
        .query("prefix", "sub folder/");
    let list = bucket.ask(list).await;
    assert_eq!(list.element("Key").as_deref(), Some(name));
    let delete = Ask::new(Method::DELETE, name);
    assert_eq!(bucket.ask(delete).await.status, 204);
    assert_eq!(bucket.ask(Ask::get(name)).await.status, 404);
    assert_eq!(strict.counts().requests(Operation::List), 1);
}
