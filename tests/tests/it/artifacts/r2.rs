//! A real S3 server under R2's law as the bucket.

use ginnel_agent::sync::Changes;
use ginnel_store::transfer::State;
use ginnel_tests::artifacts::{Mover, R2, artifact, safetensors};
use ginnel_tests::bucket::Ask;
use ginnel_tests::bucket::strict::{Fault, Operation, Rule};
use ginnel_tests::lab::Lab;
use http::StatusCode;

use super::{MIB, assert_done};

/// A lab whose bucket is R2 as far as can be had here.
async fn lab() -> Option<(R2, Lab)> {
    let r2 = R2::start().await?;
    let place = r2.place();
    let lab = Lab::start_with(|config| config.bucket.at = place).await;
    Some((r2, lab))
}

#[tokio::test]
async fn artifacts_travel_within_the_law() {
    let Some((r2, lab)) = lab().await else { return };
    let laptop = Mover::of(&lab.agent).await;
    let other = lab.another_agent("alice", "desktop").await;
    let desktop = Mover::of(&other).await;
    let name = "models/phi.safetensors";
    let layers = [(1, 11 * MIB), (2, 11 * MIB), (3, 11 * MIB)];
    let padding = "x".repeat(4000);
    let model = safetensors(&padding, &layers);
    laptop.write(name, &model);
    assert_done(&laptop.push(name).await);
    let plain = r2.bucket.ask(Ask::get(name)).await;
    assert_eq!(plain.body, model, "a plain object");
    assert_done(&desktop.pull(name).await);
    assert_eq!(desktop.read(name), model);

    let before = r2.strict.counts();
    let edited = safetensors(&"y".repeat(4050), &layers);
    laptop.write(name, &edited);
    let push = laptop.push(name).await;
    assert_done(&push);
    let header = (edited.len() - 33 * MIB) as u64;
    assert!(push.progress.sent <= header + 1024, "{push:?}");
    let between = r2.strict.counts();
    let pull = desktop.pull(name).await;
    assert_done(&pull);
    assert_eq!(desktop.read(name), edited);
    let pulled = r2.strict.counts().since(&between);
    // Straight from the bucket, with what the relay reads of the catalog.
    assert!(pulled.ranged(Operation::Get) <= 4, "{pulled:?}");
    assert!(pulled.requests(Operation::Get) <= 8, "{pulled:?}");
    let all = r2.strict.counts().since(&before);
    for operation in [
        Operation::Put,
        Operation::UploadPart,
        Operation::Create,
        Operation::Complete,
    ] {
        assert_eq!(all.refused(operation), 0, "{operation:?}: {all:?}");
    }
}

#[tokio::test]
async fn a_byte_that_arrives_wrong_costs_one_chunk() {
    let Some((r2, lab)) = lab().await else { return };
    let laptop = Mover::of(&lab.agent).await;
    let other = lab.another_agent("alice", "desktop").await;
    let desktop = Mover::of(&other).await;
    let name = "models/phi.safetensors";
    let model = safetensors("", &[(1, 11 * MIB)]);
    laptop.write(name, &model);
    assert_done(&laptop.push(name).await);
    let before = r2.strict.counts();
    let offset = 7 * MIB as u64;
    r2.strict.inject(
        Rule::new(Fault::FlipByte { offset })
            .on(Operation::Get)
            .key(name),
    );
    let pull = desktop.pull(name).await;
    assert_done(&pull);
    assert_eq!(r2.strict.faults_left(), 0, "it was done");
    assert_eq!(pull.attempts, 1, "{pull:?}");
    assert_eq!(desktop.read(name), model);
    let read = r2.strict.counts().since(&before).sent(Operation::Get);
    let once = model.len() as u64;
    assert!(read < once + 5 * MIB as u64, "read={read} once={once}");
}

#[tokio::test]
async fn a_push_outlives_an_outage_of_the_bucket() {
    let Some((r2, lab)) = lab().await else { return };
    let laptop = Mover::of(&lab.agent).await;
    let name = "models/phi.safetensors";
    let old = safetensors("old", &[(9, MIB)]);
    laptop.write(name, &old);
    assert_done(&laptop.push(name).await);
    let model = safetensors("", &[(1, 33 * MIB)]);
    laptop.write(name, &model);
    // Refused, cut, and done without an answer.
    for rule in [
        Rule::new(Fault::Status(StatusCode::INTERNAL_SERVER_ERROR)).on(Operation::UploadPart),
        Rule::new(Fault::CutUpload { after: 3 << 20 }).on(Operation::UploadPart),
        Rule::new(Fault::LoseAnswer).on(Operation::UploadPart),
        Rule::new(Fault::LoseAnswer).on(Operation::Complete),
        Rule::new(Fault::LoseAnswer).on(Operation::Put).times(2),
    ] {
        r2.strict.inject(rule);
    }
    let push = laptop.push(name).await;
    assert_done(&push);
    assert_eq!(r2.strict.faults_left(), 0, "all was done");
    let plain = r2.bucket.ask(Ask::get(name)).await;
    assert!(plain.body == model, "the object is another");
    let twice = push.progress.sent - model.len() as u64;
    assert!(twice <= 16 * MIB as u64, "sent twice: {twice}");
}

#[tokio::test]
async fn while_the_bucket_is_away_the_old_version_stays_and_the_push_waits() {
    let Some((r2, lab)) = lab().await else { return };
    let laptop = Mover::of(&lab.agent).await;
    let name = "models/phi.safetensors";
    let model = safetensors("", &[(1, 25 * MIB)]);
    laptop.write(name, &model);
    laptop.sync.set_bandwidth(Some(12 * MIB as u64));
    let id = laptop.sync.push(artifact(name)).await.expect("begun").id;
    laptop.until(id, |it| it.progress.sent > 0).await;
    r2.strict.set_outage(true);
    laptop.sync.set_bandwidth(None);
    let waits = laptop.until(id, |it| it.last_error.is_some()).await;
    assert_ne!(waits.state, State::Failed, "{waits:?}");
    let reason = waits.last_error.unwrap_or_default();
    assert!(reason.contains("bucket cannot be reached"), "{reason}");
    let refused = laptop
        .sync
        .pull(artifact("models/none"), Changes::Keep)
        .await;
    let refused = refused.expect_err("away").reason;
    assert!(refused.contains("bucket cannot be reached"), "{refused}");
    r2.strict.set_outage(false);
    let done = laptop.over(id).await;
    assert_done(&done);
    let twice = done.progress.sent - model.len() as u64;
    assert!(twice <= 16 * MIB as u64, "sent twice: {twice}");
    let plain = r2.bucket.ask(Ask::get(name)).await;
    assert!(plain.body == model, "the object is another");
}
