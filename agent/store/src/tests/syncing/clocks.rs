//! Clocks that are off, and corrected by the relay's.

use super::*;

#[tokio::test]
async fn a_clock_that_is_a_day_off_does_no_harm() {
    const DAY: u64 = 24 * 3_600_000;
    for ahead in [true, false] {
        let mut devices = [Device::new("desk").await, Device::new("lap").await];
        devices[0].model().await;
        let id = devices[0].put("a.md", &["first"]).await;
        exchange(&mut devices).await;
        let offset = i64::try_from(DAY).expect("small");
        let offset = if ahead { -offset } else { offset };
        let shifted = NOW.saturating_add_signed(-offset);
        // It has no idea, and edits; the other edits a little later.
        devices[1].clock.store(shifted + 5_000, Ordering::Relaxed);
        devices[1].put("a.md", &["second"]).await;
        devices[0].clock.store(NOW + 8_000, Ordering::Relaxed);
        devices[0].put("a.md", &["third"]).await;
        // The relay tells, before anything is sent.
        devices[1].clock.store(shifted + 10_000, Ordering::Relaxed);
        let moved = devices[1]
            .store
            .correct_clock(offset)
            .await
            .expect("corrected");
        assert_eq!(moved, 3, "a document, its passage and its vector");
        assert_eq!(
            devices[1]
                .store
                .correct_clock(offset + 7)
                .await
                .expect("near"),
            0
        );
        exchange(&mut devices).await;
        for device in &devices {
            assert_eq!(device.words("third").await, ["third"], "ahead={ahead}");
        }
        assert_eq!(devices[0].dump().await, devices[1].dump().await);
        // From now on its stamps are right.
        devices[1].put("a.md", &["fourth"]).await;
        let (document, _) = {
            let found = devices[1].store.document(id).await.expect("read");
            found.expect("there")
        };
        let off = document.changed_ms.abs_diff(NOW + 10_000);
        assert!(off < 1_000, "off={off}, ahead={ahead}");
    }
}

#[tokio::test]
async fn what_a_clock_was_corrected_by_is_known_after_a_restart() {
    let lap = Device::new("lap").await;
    lap.model().await;
    let offset = 24 * 3_600_000;
    lap.store.correct_clock(offset).await.expect("corrected");
    lap.store.close().await.expect("closed");
    let mut options = Options::new(lap.store.folder());
    options.origin = "lap".to_owned();
    options.clock = Arc::new(|| NOW);
    let store = Store::open(options).expect("opened");
    let lap = Device { store, ..lap };
    // Before the relay has said anything.
    let id = lap.put("a.md", &["first"]).await;
    let found = lap.store.document(id).await.expect("read").expect("there");
    let off = found.0.changed_ms.abs_diff(NOW + offset.unsigned_abs());
    assert!(off < 1_000, "off={off}");
}

/// What was there before a device joined is sent once, also if its clock was off.
#[tokio::test]
async fn a_corrected_clock_sends_nothing_twice() {
    let desk = Device::with_documents("desk", 50).await;
    desk.begin().await.expect("begun");
    let moved = desk
        .store
        .correct_clock(-3_600_000)
        .await
        .expect("corrected");
    assert_eq!(moved, 151, "a model, documents, passages and vectors");
    let mut devices = [desk, Device::new("lap").await];
    exchange(&mut devices).await;
    let sent = devices[0]
        .log
        .iter()
        .map(|batch| batch.rows.documents.len());
    assert_eq!(sent.sum::<usize>(), 50);
    assert_eq!(devices[0].dump().await, devices[1].dump().await);
}

#[tokio::test]
async fn an_edit_stays_later_than_what_it_replaced() {
    let mut devices = [Device::new("desk").await, Device::new("lap").await];
    devices[0].model().await;
    devices[0].put("a.md", &["first"]).await;
    exchange(&mut devices).await;
    devices[1].put("a.md", &["second"]).await;
    // As if the clock had been set forward only after that.
    let corrected = devices[1].store.correct_clock(-3_600_000).await;
    assert_eq!(corrected.expect("corrected"), 3);
    exchange(&mut devices).await;
    assert_eq!(devices[0].words("second").await, ["second"]);
    assert_eq!(devices[0].dump().await, devices[1].dump().await);
}
