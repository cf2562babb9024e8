//! Bytes that are not what they should be, on every way: each is noticed, is
//! told precisely, and changes nothing.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use ginnel_agent::sync::Changes;
use ginnel_blob::hash::Hash;
use ginnel_blob::index::ChunkIndex;
use ginnel_blob::pack::{Codec, record_head};
use ginnel_link::driver::DeviceDriver;
use ginnel_link::link::Priority;
use ginnel_link::stream::Stream;
use ginnel_proto::code::Code;
use ginnel_proto::frame::{self, FrameType};
use ginnel_proto::open::Open;
use ginnel_proto::push::{Offer, PushAnswer, PushRequest};
use ginnel_store::transfer::State;
use ginnel_tests::artifacts::{Mover, artifact, safetensors};
use ginnel_tests::device::Device;
use ginnel_tests::lab::Lab;
use ginnel_tests::wait::promptly;

use super::{MIB, assert_done, object};

/// Inverts a byte of an object, whose tag stays as it was.
fn flip(lab: &Lab, key: &str, offset: u64) {
    invert(&lab.relay_state().join("bucket").join(key), offset);
}

/// Inverts a byte of a file as a bad disk would.
fn invert(path: &Path, offset: u64) {
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("opened");
    let time = file
        .metadata()
        .and_then(|it| it.modified())
        .expect("a time");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[!byte[0]], offset).expect("written");
    file.set_modified(time).expect("set");
}

#[tokio::test]
async fn a_bucket_with_other_bytes_is_noticed_and_the_old_file_stays() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let other = lab.another_agent("alice", "desktop").await;
    let desktop = Mover::of(&other).await;
    let name = "models/phi.safetensors";
    let old = safetensors("old", &[(1, 2 * MIB), (2, 2 * MIB)]);
    laptop.write(name, &old);
    assert_done(&laptop.push(name).await);
    assert_done(&desktop.pull(name).await);
    let new = safetensors("new", &[(1, 2 * MIB), (3, 2 * MIB)]);
    laptop.write(name, &new);
    assert_done(&laptop.push(name).await);
    let offset = new.len() as u64 - 100;
    flip(&lab, name, offset);

    let pull = desktop.pull(name).await;
    assert_eq!(pull.state, State::Failed, "{pull:?}");
    let reason = pull.last_error.unwrap_or_default();
    assert!(reason.contains("other bytes than were pushed"), "{reason}");
    assert!(reason.contains("name=models/phi.safetensors"), "{reason}");
    assert_eq!(desktop.read(name), old, "the file stays");

    // What is damaged gives no chunks to what is pushed next, either.
    let next = safetensors("next", &[(1, 2 * MIB), (3, 2 * MIB)]);
    laptop.write(name, &next);
    let push = laptop.push(name).await;
    assert_done(&push);
    assert!(push.attempts > 1, "{push:?}");
    assert_eq!(object(&lab, name), next);
    let resumed = desktop.pull(name).await;
    assert_done(&resumed);
    assert_eq!(desktop.read(name), next);
}

#[tokio::test]
async fn a_file_that_lost_bytes_is_mended_by_one_chunk() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let name = "models/phi.safetensors";
    let model = safetensors("", &[(1, 9 * MIB)]);
    laptop.write(name, &model);
    assert_done(&laptop.push(name).await);
    invert(&laptop.file(name), 5 * MIB as u64);
    assert_ne!(laptop.read(name), model);
    let pull = laptop.sync.pull(artifact(name), Changes::Replace).await;
    let pull = laptop.over(pull.expect("begun").id).await;
    assert_done(&pull);
    assert!(pull.progress.sent <= 4 * MIB as u64, "{pull:?}");
    assert_eq!(laptop.read(name), model);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_pushed_fails_and_the_old_version_stays() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let name = "models/phi.safetensors";
    let old = safetensors("old", &[(1, 100_000)]);
    laptop.write(name, &old);
    assert_done(&laptop.push(name).await);
    let new = safetensors("new", &[(2, 40 * MIB)]);
    laptop.write(name, &new);
    laptop.sync.set_bandwidth(Some(20 * MIB as u64));
    let id = laptop.sync.push(artifact(name)).await.expect("begun").id;
    laptop.until(id, |it| it.progress.sent > 0).await;
    let file = File::options()
        .write(true)
        .open(laptop.file(name))
        .expect("opened");
    file.write_all_at(&[1; 100], new.len() as u64 - 100)
        .expect("written");
    laptop.sync.set_bandwidth(None);
    let push = laptop.over(id).await;
    assert_eq!(push.state, State::Failed, "{push:?}");
    let reason = push.last_error.unwrap_or_default();
    assert!(
        reason.contains("was changed while it was pushed"),
        "{reason}"
    );
    assert_eq!(object(&lab, name), old);
    let listed = laptop.sync.list().await.expect("listed");
    assert_eq!(
        listed.artifacts.first().map(|it| it.size),
        Some(old.len() as u64)
    );
}

/// A device that speaks the protocol, and lies.
struct Liar {
    lab: Lab,
    driver: DeviceDriver,
    file: Vec<u8>,
    index: ChunkIndex,
}

impl Liar {
    async fn start() -> Self {
        let lab = Lab::start().await;
        let state = lab.folder.path().join("liar");
        let device = Device::join(&lab.relay, &state, "mallory", "liar").await;
        let driver = device.greet().await.expect("welcome");
        let file = safetensors("", &[(1, 3 * MIB)]);
        let index = ChunkIndex::build(&mut &*file, file.len() as u64, None, |_| {
            std::ops::ControlFlow::Continue(())
        });
        Self {
            lab,
            driver,
            file,
            index: index.expect("an index"),
        }
    }

    fn offer(&self) -> Offer {
        Offer {
            artifact: artifact("models/lie.gguf"),
            blob: *self.index.blob().as_bytes(),
            size: self.index.size(),
            index_length: u32::try_from(self.index.encode().len()).expect("short"),
            bases: Vec::new(),
            resume: None,
        }
    }

    /// What the relay says first to an offer with this index.
    async fn offered(&self, offer: Offer, index: Bytes) -> (Stream, PushAnswer) {
        let mut stream = self
            .driver
            .link()
            .open(Priority::Bulk)
            .await
            .expect("opened");
        let mut sent = [
            frame::whole(FrameType::Open, &Open::Push.encode()),
            frame::whole(FrameType::Message, &PushRequest::Offer(offer).encode()),
            frame::data_header(index.len()),
            index,
        ];
        // The relay may have heard enough.
        let _ = stream.send.send(&mut sent).await;
        let answer = next(&mut stream).await;
        (stream, answer)
    }

    /// Offers honestly, then sends these as records.
    async fn push(&self, records: &[(Codec, Vec<u8>)]) -> PushAnswer {
        let (mut stream, want) = self.offered(self.offer(), self.index.encode()).await;
        assert!(matches!(want, PushAnswer::Want(_)), "{want:?}");
        for (codec, bytes) in records {
            let length = u32::try_from(bytes.len()).expect("short");
            let mut record = record_head(*codec, length).to_vec();
            record.extend_from_slice(bytes);
            let mut sent = [frame::data_header(record.len()), record.into()];
            // The relay may have heard enough.
            if stream.send.send(&mut sent).await.is_err() {
                break;
            }
        }
        stream.send.finish();
        loop {
            match next(&mut stream).await {
                PushAnswer::Stored { .. } => {}
                answer @ (PushAnswer::Want(_)
                | PushAnswer::Published { .. }
                | PushAnswer::Declined { .. }) => return answer,
            }
        }
    }

    fn chunks(&self) -> Vec<(Codec, Vec<u8>)> {
        let chunk = |chunk: &ginnel_blob::index::Chunk| {
            let place = ginnel_blob::plan::place(chunk).expect("small");
            (Codec::Raw, self.file[place].to_vec())
        };
        self.index.chunks().iter().map(chunk).collect()
    }

    fn assert_nothing_published(&self) {
        let object = self.lab.relay_state().join("bucket/models/lie.gguf");
        assert!(!object.exists());
    }
}

async fn next(stream: &mut Stream) -> PushAnswer {
    let message = stream.recv.expect(FrameType::Message, "MSG");
    let payload = promptly("an answer", message).await.expect("a message");
    PushAnswer::decode(payload).expect("an answer")
}

fn assert_declined(answer: &PushAnswer, expected: Code, says: &str) {
    let PushAnswer::Declined { code, reason } = answer else {
        panic!("it is not declined: {answer:?}");
    };
    assert_eq!(*code, expected, "{reason}");
    assert!(reason.contains(says), "{reason}");
}

#[tokio::test]
async fn an_honest_push_by_hand_arrives() {
    let liar = Liar::start().await;
    let answer = liar.push(&liar.chunks()).await;
    assert!(
        matches!(
            answer,
            PushAnswer::Published {
                unchanged: false,
                ..
            }
        ),
        "{answer:?}"
    );
    assert_eq!(object(&liar.lab, "models/lie.gguf"), liar.file);
}

#[tokio::test]
async fn chunks_that_lie_are_declined() {
    let liar = Liar::start().await;
    let mut other = liar.chunks();
    other[1].1[7] ^= 1;
    assert_declined(&liar.push(&other).await, Code::Corrupt, "chunk=1");
    let mut short = liar.chunks();
    short[0].1.pop();
    assert_declined(&liar.push(&short).await, Code::Corrupt, "chunk=0");
    let mut long = liar.chunks();
    long[0].1.push(0);
    assert_declined(
        &liar.push(&long).await,
        Code::Malformed,
        "longer than its chunk",
    );
    let mut no_zstd = liar.chunks();
    no_zstd[0].0 = Codec::Zstd;
    assert_declined(&liar.push(&no_zstd).await, Code::Corrupt, "chunk=0");
    let mut more = liar.chunks();
    more.push((Codec::Raw, vec![1]));
    assert_declined(
        &liar.push(&more).await,
        Code::Violation,
        "more than was wanted",
    );
    liar.assert_nothing_published();
}

#[tokio::test]
async fn indexes_that_lie_are_declined() {
    let liar = Liar::start().await;
    let index = liar.index.encode();
    let mut damaged = index.to_vec();
    damaged[100] ^= 1;
    let (_, answer) = liar.offered(liar.offer(), damaged.into()).await;
    assert_declined(&answer, Code::Malformed, "checksum");
    let other = Offer {
        blob: *Hash::of(b"another").as_bytes(),
        ..liar.offer()
    };
    let (_, answer) = liar.offered(other, index.clone()).await;
    assert_declined(&answer, Code::Malformed, "that of another file");
    let long = Offer {
        index_length: u32::MAX,
        ..liar.offer()
    };
    let (_, answer) = liar.offered(long, index).await;
    assert_declined(&answer, Code::TooLarge, "too many chunks");
    liar.assert_nothing_published();
}

/// All chunks are right, and the blob's hash is made up: without the hash of
/// the whole it would be the index of somebody else's blob.
#[tokio::test]
async fn a_made_up_hash_of_the_whole_is_declined() {
    let mut liar = Liar::start().await;
    let blob = Hash::of(b"somebody else's model");
    let mut encoded = liar.index.encode().to_vec();
    encoded.truncate(encoded.len() - Hash::LENGTH);
    encoded[24..56].copy_from_slice(blob.as_bytes());
    let root = Hash::of(&encoded);
    encoded.extend_from_slice(root.as_bytes());
    liar.index = ChunkIndex::decode(&encoded).expect("it holds together");
    assert_eq!(liar.index.blob(), blob);
    let answer = liar.push(&liar.chunks()).await;
    assert_declined(&answer, Code::Corrupt, "another hash than was offered");
    liar.assert_nothing_published();
    let index = format!("bucket/models/.sync/{blob}.index");
    assert!(!liar.lab.relay_state().join(index).exists());
}
