//! Devices and their relay, each a process, killed while they get in step.

use std::collections::BTreeMap;
use std::time::Duration;

use ginnel_agent::api::knowledge::view::{DocumentView, NewDocument, StoredView};
use ginnel_agent::local_client::ClientError;
use ginnel_tests::chaos::world::{Device, Which, ask};
use ginnel_tests::wait::{LOOK_AGAIN, in_time};
use http::Method;
use serde_json::Value;
use tokio::time::sleep;

use super::processes;

/// How often somebody is killed.
const KILLS: usize = 8;

/// Documents that each device writes between two kills.
const DOCUMENTS: usize = 12;

#[tokio::test]
async fn whoever_is_killed_no_acknowledged_document_is_lost() {
    let seed = fastrand::u64(..);
    eprintln!("seed={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let Some(mut world) = processes(None).await else {
        return;
    };
    let mut acknowledged = BTreeMap::new();
    for round in 0..KILLS {
        for at in 0..DOCUMENTS {
            for device in [&world.laptop, &world.desktop] {
                let text = format!("{} {round} {at} {}", device.name, dice.u64(..));
                let id = put(device, &text, &text).await;
                acknowledged.insert(id, text);
            }
        }
        // In the middle of whatever they do then.
        sleep(Duration::from_millis(dice.u64(0..150))).await;
        match dice.u8(0..3) {
            0 => {
                world.kill_relay().await;
                world.start_relay().await;
            }
            1 => {
                world.laptop.kill().await;
                world.restart(Which::Laptop);
            }
            _ => {
                world.desktop.kill().await;
                world.restart(Which::Desktop);
            }
        }
    }
    for device in [&world.laptop, &world.desktop] {
        all_are_there(device, &acknowledged).await;
    }
}

/// Waits until a device has all these documents, and nothing else.
async fn all_are_there(device: &Device, acknowledged: &BTreeMap<String, String>) {
    for (id, text) in acknowledged {
        let found = in_time("a document is there", async {
            loop {
                let path = format!("/v1/documents/{id}");
                let found = ask(device.state(), Method::GET, &path, &Value::Null).await;
                if let Ok(found) = found {
                    let found: DocumentView = found;
                    return found;
                }
                sleep(LOOK_AGAIN).await;
            }
        });
        // A long text comes back as its passages.
        let found = found.await.text.unwrap_or_default();
        let is_same = found.split_whitespace().eq(text.split_whitespace());
        assert!(
            is_same,
            "another text, device={} document={id}",
            device.name
        );
    }
    let counts: Value = ask(device.state(), Method::GET, "/v1/knowledge", &Value::Null)
        .await
        .expect("it runs");
    let documents = counts["documents"].as_u64();
    assert_eq!(documents, Some(acknowledged.len() as u64), "{counts}");
    let sync: Value = ask(device.state(), Method::GET, "/v1/sync", &Value::Null)
        .await
        .expect("it runs");
    assert_eq!(sync["quarantined"], serde_json::json!([]), "{sync}");
}

/// Writes a document, until it is acknowledged. It has a source, so that an answer
/// that was lost makes no second one.
async fn put(device: &Device, source: &str, text: &str) -> String {
    let new = NewDocument {
        source: Some(source.to_owned()),
        text: text.to_owned(),
        ..NewDocument::default()
    };
    in_time("a document is stored", async {
        loop {
            let stored: Result<StoredView, ClientError> =
                ask(device.state(), Method::POST, "/v1/documents", &new).await;
            if let Ok(stored) = stored {
                return stored.id;
            }
            sleep(LOOK_AGAIN).await;
        }
    })
    .await
}

/// A new device that is killed while it begins with what is published begins all the
/// same, and lacks nothing.
#[tokio::test]
async fn a_device_that_is_killed_while_it_begins_has_everything_in_the_end() {
    let seed = fastrand::u64(..);
    eprintln!("seed={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let Some(world) = processes(Some("8 MB")).await else {
        return;
    };
    let mut acknowledged = BTreeMap::new();
    for at in 0..60 {
        let words = (0..2_000).map(|_| format!("{:x}", dice.u32(..)));
        let text = format!("{at} {}", words.collect::<Vec<_>>().join(" "));
        acknowledged.insert(put(&world.laptop, &at.to_string(), &text).await, text);
    }
    let said = world.run(&world.laptop, &["sync", "publish"]).await;
    assert!(said.success, "{said:?}");
    let mut phone = world.add("phone").await;
    for _ in 0..KILLS {
        world.start_device(&mut phone);
        sleep(Duration::from_millis(dice.u64(0..400))).await;
        phone.kill().await;
    }
    world.start_device(&mut phone);
    all_are_there(&phone, &acknowledged).await;
}
