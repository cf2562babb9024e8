//! The same over a real S3 server under R2's law, which fails.

use ginnel_tests::artifacts::R2;
use ginnel_tests::bucket::strict::{Fault, Operation, Rule};
use ginnel_tests::knowledge::{Known, in_step};
use ginnel_tests::lab::{Lab, LabAgent};
use ginnel_tests::wait::{LOOK_AGAIN, in_time};
use http::StatusCode;

use super::publish::publish;
use super::restore::{moment, restore};

const SECOND: &str = "knowledge/alice/.sync/log/e1/laptop/0000000000000002.batch";

/// A relay and two devices of one user; `None` where there is no S3 server.
async fn pair() -> Option<(R2, Lab, LabAgent, Known, Known)> {
    let r2 = R2::start().await?;
    let lab = Lab::start_with(|config| config.bucket.at = r2.place()).await;
    let agent = lab.another_agent("alice", "desktop").await;
    let laptop = Known::of(&lab.agent).await;
    let desktop = Known::of(&agent).await;
    Some((r2, lab, agent, laptop, desktop))
}

#[tokio::test]
async fn a_bucket_that_fails_loses_and_doubles_nothing() {
    let Some((r2, _lab, _agent, laptop, desktop)) = pair().await else {
        return;
    };
    laptop.put("a.md", "the first batch").await;
    in_step(&[&laptop, &desktop]).await;
    // The batch is written, and nobody hears of it.
    let lost = Rule::new(Fault::LoseAnswer);
    r2.strict
        .inject(lost.on(Operation::Put).key(SECOND).times(2));
    laptop.put("b.md", "the second batch").await;
    in_step(&[&laptop, &desktop]).await;
    let status = laptop.sync.status().await.expect("status");
    let own = status.logs.iter().find(|log| log.device == "laptop");
    assert_eq!(own.map(|log| log.sequence), Some(2), "exactly once");
    r2.strict.clear_faults();
    for status in [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::INTERNAL_SERVER_ERROR,
    ] {
        for operation in [Operation::Put, Operation::Get] {
            let rule = Rule::new(Fault::Status(status)).on(operation);
            r2.strict.inject(rule.times(3));
        }
        laptop.put("c.md", &format!("in spite of {status}")).await;
        in_step(&[&laptop, &desktop]).await;
    }
    // A batch is damaged on its way once: it is fetched again.
    r2.strict.inject(
        Rule::new(Fault::FlipByte { offset: 40 })
            .on(Operation::Get)
            .key("knowledge/alice/.sync/log/e1/laptop/0000000000000006.batch"),
    );
    laptop.put("d.md", "flipped once").await;
    in_step(&[&laptop, &desktop]).await;
    let status = desktop.sync.status().await.expect("status");
    assert_eq!(status.quarantined.len(), 0, "{status:?}");
    assert_eq!(r2.strict.faults_left(), 0);
}

/// The device has begun anew and cannot say so yet: the logs of before are there
/// still, and are not read.
#[tokio::test]
async fn a_request_that_fails_after_a_restore_brings_nothing_back() {
    let Some((r2, lab, _agent, laptop, desktop)) = pair().await else {
        return;
    };
    desktop.put("a.md", "as it was").await;
    in_step(&[&laptop, &desktop]).await;
    publish(&desktop).await;
    let at = moment(&lab).await;
    // The laptop's log begins with a mistake.
    for number in 0..4 {
        let source = format!("{number}.md");
        laptop.put(&source, "a mistake").await;
        in_step(&[&laptop, &desktop]).await;
    }
    let failing = Rule::new(Fault::Status(StatusCode::SERVICE_UNAVAILABLE));
    let word = "knowledge/alice/.sync/devices/desktop.json";
    // More than are tried at once.
    r2.strict
        .inject(failing.on(Operation::Put).key(word).times(12));
    let restored = restore(&lab, "alice", at).await;
    assert_eq!(restored.expect("restored").epoch, 2);
    // All is there that it begins with, and it tries to say so.
    desktop.until_epoch(2).await;
    assert!(r2.strict.faults_left() > 0, "it could");
    in_time("the end of the faults", async {
        while r2.strict.faults_left() > 0 {
            assert!(desktop.words("mistake").await.is_empty());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    for known in [&laptop, &desktop] {
        known.sync.now();
    }
    laptop.put("later.md", "in the new epoch").await;
    desktop.until_found("epoch").await;
    in_step(&[&laptop, &desktop]).await;
    for known in [&laptop, &desktop] {
        assert!(known.words("mistake").await.is_empty());
        assert_eq!(known.words("was").await, ["a.md"]);
        let status = known.sync.status().await.expect("read");
        assert_eq!(status.quarantined.len(), 0, "{status:?}");
    }
}
