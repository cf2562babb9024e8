//! What is only kept for others, and when it goes.

use super::published::published;
use super::*;
use crate::sync::Rest;

/// What each device says of how far it is.
async fn words(devices: &[Device]) -> std::collections::BTreeMap<DeviceName, Word> {
    let mut words = std::collections::BTreeMap::new();
    for device in devices {
        let word = Word {
            epoch: 1,
            read: device.store.mark().await.expect("marked"),
            gone: Hlc::default(),
            unix_ms: NOW,
        };
        words.insert(device.name.parse().expect("a name"), word);
    }
    words
}

async fn collect(device: &Device, words: &std::collections::BTreeMap<DeviceName, Word>) -> bool {
    let marks = device.store.marks().await.expect("read");
    let peers = device.store.peers().await.expect("read").into_iter();
    let read = peers.map(|peer| (peer.device, peer.sequence)).collect();
    match horizon(&marks, words, 1, &read, NOW) {
        Some(change) => {
            device
                .store
                .collect_garbage(change)
                .await
                .expect("collected");
            true
        }
        None => false,
    }
}

#[tokio::test]
async fn what_is_deleted_goes_for_good_once_all_devices_know() {
    let mut devices = [Device::new("desk").await, Device::new("lap").await];
    devices[0].model().await;
    let id = devices[0].put("a.md", &["gone soon"]).await;
    devices[0].put("b.md", &["stays"]).await;
    exchange(&mut devices).await;
    devices[0].store.delete(id).await.expect("deleted");
    devices[0].send().await;
    let kept = "SELECT (SELECT count(*) FROM document WHERE deleted = 1)
                    + (SELECT count(*) FROM embedding) - 1";
    // The other one has not heard of it.
    let said = words(&devices).await;
    collect(&devices[0], &said).await;
    assert_eq!(devices[0].rows(kept), 2);
    exchange(&mut devices).await;
    let said = words(&devices).await;
    for device in &devices {
        assert!(collect(device, &said).await);
        assert_eq!(device.rows(kept), 0, "{}", device.name);
        assert_eq!(device.rows("SELECT count(*) FROM document"), 1);
        assert_eq!(device.store.check().await.expect("checked"), []);
    }
    assert_eq!(devices[0].dump().await, devices[1].dump().await);
    // It can come back, as something new.
    devices[1].put("a.md", &["gone soon"]).await;
    exchange(&mut devices).await;
    assert_eq!(devices[0].near("gone soon").await[0], "gone soon");
    assert_eq!(devices[0].dump().await, devices[1].dump().await);
}

/// It was written before its device knew of the deletion, and relies on the
/// vector that is about to go.
#[tokio::test]
async fn nothing_goes_that_a_late_batch_relies_on() {
    let mut devices = [Device::new("desk").await, Device::new("lap").await];
    devices[0].model().await;
    let id = devices[0].put("a.md", &["boilerplate"]).await;
    exchange(&mut devices).await;
    let mut other = document("b.md", &["boilerplate"]);
    other.vectors = None;
    devices[1].store.put(other).await.expect("stored");
    devices[0].store.delete(id).await.expect("deleted");
    devices[0].send().await;
    devices[1].send().await;
    let (desk, lap) = devices.split_at_mut(1);
    lap[0].read(&desk[0]).await;
    // All know of the deletion; the desk has not read what the lap wrote.
    let said = words(&devices).await;
    assert!(!collect(&devices[0], &said).await);
    exchange(&mut devices).await;
    let said = words(&devices).await;
    for device in &devices {
        collect(device, &said).await;
        assert_eq!(device.near("boilerplate").await, ["boilerplate"]);
    }
    assert_eq!(devices[0].dump().await, devices[1].dump().await);
}

/// It was away for so long that others forgot what it never heard of.
#[tokio::test]
async fn who_starts_over_revives_nothing_and_keeps_what_is_its_own() {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    let gone = desk.put("gone.md", &["deleted meanwhile"]).await;
    desk.put("edited.md", &["edited by both"]).await;
    desk.put("same.md", &["the same as ever"]).await;
    desk.send().await;
    let mut lap = Device::new("lap").await;
    lap.read(&desk).await;
    lap.put("sent.md", &["sent before"]).await;
    lap.send().await;
    desk.read(&lap).await;

    // Offline, it edits what is deleted meanwhile, and more.
    lap.put("gone.md", &["edited too late"]).await;
    lap.put("new.md", &["added offline"]).await;
    lap.put("same.md", &["edited offline"]).await;
    lap.put("edited.md", &["edited offline, earlier"]).await;
    desk.clock.fetch_add(60_000, Ordering::Relaxed);
    desk.store.delete(gone).await.expect("deleted");
    desk.put("edited.md", &["edited at the desk, later"]).await;
    desk.send().await;
    // The desk has forgotten that it was deleted.
    desk.store
        .collect_garbage(i64::MAX)
        .await
        .expect("collected");
    assert_eq!(
        desk.rows("SELECT count(*) FROM document WHERE deleted = 1"),
        0
    );
    let path = published(&desk);
    desk.store
        .write_published(path.clone())
        .await
        .expect("written");

    lap.clock.fetch_add(120_000, Ordering::Relaxed);
    lap.store
        .start_over(path, Rest::Nothing)
        .await
        .expect("started over");
    let epoch = KnownEpoch {
        number: 2,
        key: Some("0011223344556677".parse().expect("a key's id")),
    };
    lap.store.begin_logs(epoch).await.expect("begun");
    assert_eq!(lap.store.epoch().await.expect("read"), Some(epoch));
    assert_eq!(lap.store.peers().await.expect("read"), []);
    assert_eq!(lap.store.check().await.expect("checked"), []);
    assert_eq!(lap.words("late").await, Vec::<String>::new());
    assert_eq!(lap.words("later").await, ["edited at the desk, later"]);
    assert_eq!(lap.words("offline").await.len(), 2);
    assert_eq!(lap.near("added offline").await[0], "added offline");
    // What is its own it sends as something new.
    lap.log.clear();
    lap.send().await;
    desk.clock.fetch_add(120_000, Ordering::Relaxed);
    for batch in &lap.log {
        desk.store.apply(batch.clone()).await.expect("applied");
    }
    assert_eq!(desk.words("offline").await.len(), 2);
    assert_eq!(desk.dump().await, lap.dump().await);
    assert_eq!(desk.store.check().await.expect("checked"), []);
}
