use http::Request;
use http::request::Builder;

use super::*;

const MIB: u64 = 1024 * 1024;

/// The law, a client's view of it, and a clock.
struct Court {
    law: Law,
    now: Instant,
}

impl Court {
    fn new() -> Self {
        Self {
            law: Law::default(),
            now: Instant::now(),
        }
    }

    /// The code of the refusal of a request with a body of this length.
    fn ask(&mut self, request: Builder, length: u64) -> Option<&'static str> {
        self.ask_with(request, Some(length))
    }

    fn ask_with(&mut self, request: Builder, length: Option<u64>) -> Option<&'static str> {
        let request = request.body(()).expect("valid");
        let target = Target::of(&request);
        let admitted = self.law.admit(&target, request.headers(), length, self.now);
        if admitted.is_ok() {
            self.law.succeeded(&target, length);
        }
        admitted.err().map(|refusal| refusal.code)
    }

    /// An upload of parts of these sizes, from number 1.
    fn upload(&mut self, sizes: &[u64]) {
        assert_eq!(self.ask(Request::post("/models/a?uploads="), 0), None);
        self.law.created(b"<a><UploadId>x</UploadId></a>");
        for (number, size) in (1..).zip(sizes) {
            assert_eq!(self.ask(part(number), *size), None);
        }
    }

    /// The refusal of completing the upload from these parts.
    fn complete(&mut self, numbers: &[u32]) -> Option<(&'static str, String)> {
        let list: Vec<_> = numbers
            .iter()
            .map(|number| format!("<Part><PartNumber>{number}</PartNumber></Part>"))
            .collect();
        let request = Request::post("/models/a?uploadId=x").body(());
        let target = Target::of(&request.expect("valid"));
        let completed = self.law.complete(&target, list.concat().as_bytes());
        completed
            .err()
            .map(|refusal| (refusal.code, refusal.message))
    }
}

fn part(number: u32) -> Builder {
    Request::put(format!("/models/a?partNumber={number}&uploadId=x"))
}

/// The code of the refusal of an upload of these sizes.
fn refusal(sizes: &[u64]) -> Option<&'static str> {
    let mut court = Court::new();
    court.upload(sizes);
    let numbers: Vec<u32> = (1..).take(sizes.len()).collect();
    court.complete(&numbers).map(|(code, _)| code)
}

#[test]
fn parts_but_the_last_have_one_size_of_at_least_five_mebibytes() {
    assert_eq!(refusal(&[1]), None);
    assert_eq!(refusal(&[7 * MIB, 1]), None);
    assert_eq!(refusal(&[5 * MIB, 5 * MIB, 5 * MIB]), None);
    assert_eq!(
        refusal(&[5 * MIB - 1, 5 * MIB - 1, 1]),
        Some("EntityTooSmall")
    );
    assert_eq!(refusal(&[5 * MIB - 1, 1]), Some("EntityTooSmall"));
    assert_eq!(refusal(&[6 * MIB, 5 * MIB, 1]), Some("InvalidPart"));
    assert_eq!(refusal(&[5 * MIB, 6 * MIB, 1]), Some("InvalidPart"));
    assert_eq!(refusal(&[5 * MIB, 5 * MIB + 1]), Some("InvalidPart"));
}

#[test]
fn a_part_that_is_sent_again_counts_as_it_is_now() {
    let mut court = Court::new();
    court.upload(&[6 * MIB, 5 * MIB, 1]);
    assert_eq!(court.ask(part(1), 5 * MIB), None);
    assert_eq!(court.complete(&[1, 2, 3]), None);
}

#[test]
fn only_parts_that_are_there_can_be_listed() {
    let mut court = Court::new();
    court.upload(&[5 * MIB, 5 * MIB]);
    let (code, message) = court.complete(&[1, 3]).expect("refused");
    assert_eq!(code, "InvalidPart");
    assert!(message.contains("could not be found: 3"), "{message}");
    assert_eq!(court.complete(&[]).expect("refused").0, "MalformedXML");
    assert_eq!(court.complete(&[1]), None);
}

#[test]
fn what_ended_is_no_upload() {
    for request in [
        Request::post("/models/a?uploadId=x"),
        Request::delete("/models/a?uploadId=x"),
    ] {
        let mut court = Court::new();
        court.upload(&[1]);
        assert_eq!(court.ask(request, 10), None);
        assert_eq!(court.ask(part(1), 1), Some("NoSuchUpload"));
        assert_eq!(court.complete(&[1]).expect("refused").0, "NoSuchUpload");
    }
}

#[test]
fn numbers_are_one_to_ten_thousand() {
    let mut court = Court::new();
    court.upload(&[]);
    assert_eq!(court.ask(part(10_000), 1), None);
    assert_eq!(court.ask(part(10_001), 1), Some("InvalidArgument"));
    assert_eq!(court.ask(part(0), 1), Some("InvalidArgument"));
    let request = Request::put("/models/a?partNumber=x&uploadId=x");
    assert_eq!(court.ask(request, 1), Some("InvalidArgument"));
}

#[test]
fn copied_parts_have_the_size_of_their_range() {
    let copy = |number: u32| part(number).header("x-amz-copy-source", "models/b");
    let mut court = Court::new();
    court.upload(&[]);
    let last = 5 * MIB - 1;
    let first = copy(1).header("x-amz-copy-source-range", format!("bytes=0-{last}"));
    assert_eq!(court.ask(first, 0), None);
    assert_eq!(court.ask(copy(2), 0), Some("NotImplemented"));
    let second = copy(2).header("x-amz-copy-source-range", format!("bytes=1-{}", last + 2));
    assert_eq!(court.ask(second, 0), None);
    assert_eq!(court.complete(&[1]), None);
    assert_eq!(court.complete(&[1, 2]).expect("refused").0, "InvalidPart");
}

#[test]
fn a_key_is_written_once_a_second() {
    let mut court = Court::new();
    court.upload(&[1]);
    let refused = Some("TooManyRequests");
    let put = |key: &str| Request::put(format!("/models/{key}"));
    assert_eq!(court.ask(put("a"), 1), None);
    assert_eq!(court.ask(put("a"), 1), refused);
    assert_eq!(court.ask(Request::delete("/models/a"), 0), refused);
    let copy = put("a").header("x-amz-copy-source", "models/b");
    assert_eq!(court.ask(copy, 0), refused);
    assert_eq!(court.ask(Request::post("/models/a?uploadId=x"), 9), refused);
    // Another key, another bucket, reading, and parts.
    assert_eq!(court.ask(put("b"), 1), None);
    assert_eq!(court.ask(Request::put("/other/a"), 1), None);
    assert_eq!(court.ask(Request::get("/models/a"), 0), None);
    assert_eq!(court.ask(Request::head("/models/a"), 0), None);
    assert_eq!(court.ask(part(2), 1), None);
    assert_eq!(court.ask(part(3), 1), None);
    assert_eq!(court.ask(Request::post("/models/a?uploads"), 0), None);

    court.now += Duration::from_millis(999);
    assert_eq!(court.ask(put("a"), 1), refused);
    court.now += Duration::from_millis(1);
    assert_eq!(court.ask(put("a"), 1), None);
    assert_eq!(court.ask(put("a"), 1), refused);
    // What is long past is not remembered.
    court.now += Duration::from_secs(1);
    assert_eq!(court.ask(put("c"), 1), None);
    assert_eq!(court.law.writes.len(), 1);
}

#[test]
fn what_r2_has_not_built_is_refused() {
    let not_built = [
        Request::put("/models/a?tagging="),
        Request::get("/models/a?tagging"),
        Request::get("/models/a?acl"),
        Request::get("/models?versions"),
        Request::get("/models/a?versionId=1"),
        Request::put("/models?policy"),
        Request::post("/models"),
        Request::put("/models/a").header("x-amz-tagging", ""),
        Request::put("/models/a").header("x-amz-acl", "public-read"),
        Request::put("/models/a").header("x-amz-grant-read", "id=1"),
        Request::put("/models/a").header("x-amz-server-side-encryption", "AES256"),
        Request::put("/models/a").header("x-amz-storage-class", "GLACIER"),
        Request::put("/models/a").header("x-amz-object-lock-mode", "GOVERNANCE"),
        Request::put("/models/a")
            .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        Request::put("/models/a").header("content-encoding", "aws-chunked"),
        Request::put("/models/a").header("if-unmodified-since", "x"),
        Request::delete("/models/a").header("if-match", "x"),
        Request::post("/models/a?uploads").header("if-none-match", "*"),
        Request::put("/models/a")
            .header("x-amz-copy-source", "b")
            .header("cf-copy-destination-if-match", "x"),
    ];
    for request in not_built {
        let uri = format!("{:?}", request);
        assert_eq!(
            Court::new().ask(request, 1),
            Some("NotImplemented"),
            "{uri}"
        );
    }
    let built = [
        Request::put("/models/a").header("x-amz-acl", "private"),
        Request::put("/models/a").header("x-amz-storage-class", "STANDARD_IA"),
        Request::put("/models/a").header("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        Request::put("/models/a").header("x-amz-server-side-encryption-customer-key", "x"),
        Request::put("/models/a").header("if-none-match", "*"),
        Request::put("/models/a").header("if-match", "\"0\""),
        Request::get("/models/a").header("if-modified-since", "x"),
        Request::get("/models?list-type=2&prefix=a"),
        Request::get("/models?uploads"),
        Request::post("/models?delete"),
        Request::put("/models"),
        Request::get("/"),
    ];
    for request in built {
        let uri = format!("{:?}", request);
        assert_eq!(Court::new().ask(request, 1), None, "{uri}");
    }
}

#[test]
fn sizes_are_limited() {
    let mut court = Court::new();
    let put = |key: &str| Request::put(format!("/models/{key}"));
    assert_eq!(court.ask(put(&"k".repeat(1024)), 1), None);
    assert_eq!(
        court.ask(put(&"k".repeat(1025)), 1),
        Some("InvalidObjectName")
    );
    // Escapes are not counted.
    assert_eq!(court.ask(put(&"%6b".repeat(1000)), 1), None);
    let own = |length| put("m").header("x-amz-meta-own", "v".repeat(length));
    assert_eq!(court.ask(own(8190), 1), Some("MetadataTooLarge"));
    assert_eq!(court.ask(own(8189), 1), None);
    assert_eq!(court.ask_with(put("n"), None), Some("MissingContentLength"));
    assert_eq!(court.ask(put("o"), BODY + 1), Some("EntityTooLarge"));
    assert_eq!(court.ask(put("o"), BODY), None);
}
