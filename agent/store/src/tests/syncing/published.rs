//! The plain database that a device publishes, and devices that begin with it.

use super::*;
use crate::sync::Rest;

/// A file for what is published.
pub(super) fn published(device: &Device) -> std::path::PathBuf {
    device.store.folder().join("published.db")
}

fn pages(before: &[u8], after: &[u8]) -> usize {
    let blocks =
        |bytes: &[u8]| -> Vec<Vec<u8>> { bytes.chunks(64 << 10).map(<[u8]>::to_vec).collect() };
    let (before, after) = (blocks(before), blocks(after));
    let same = after.iter().zip(&before).filter(|(a, b)| a == b);
    after.len() - same.count()
}

#[tokio::test]
async fn what_is_published_is_a_plain_database_that_changes_in_place() {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    for at in 0..2_000 {
        let text = format!("a passage of some length that is numbered {at}");
        desk.put(&format!("{at}.md"), &[&text]).await;
    }
    let gone = desk.put("gone.md", &["gone"]).await;
    desk.send().await;
    let path = published(&desk);
    let first = desk
        .store
        .write_published(path.clone())
        .await
        .expect("written");
    assert_eq!(first.read.len(), 1);
    let before = std::fs::read(&path).expect("read");
    assert_eq!(first.bytes, before.len() as u64);
    let plain = rusqlite::Connection::open(&path).expect("opened");
    let count = |sql: &str| -> i64 { plain.query_row(sql, [], |row| row.get(0)).expect("read") };
    assert_eq!(
        count("SELECT count(*) FROM document WHERE deleted = 0"),
        2_001
    );
    assert_eq!(count("SELECT count(*) FROM embedding"), 2_001);
    // Nothing new: nothing is written.
    desk.store
        .write_published(path.clone())
        .await
        .expect("written");
    assert_eq!(pages(&before, &std::fs::read(&path).expect("read")), 0);
    // An edit touches a few blocks; what is deleted goes.
    desk.put("7.md", &["another text"]).await;
    desk.store.delete(gone).await.expect("deleted");
    desk.send().await;
    desk.store
        .write_published(path.clone())
        .await
        .expect("written");
    let after = std::fs::read(&path).expect("read");
    let (changed, all) = (pages(&before, &after), after.len() / (64 << 10));
    assert!(changed <= 14 && all > 15, "{changed} of {all}");
    assert_eq!(
        count("SELECT count(*) FROM passage WHERE text LIKE 'another%'"),
        1
    );
    assert_eq!(
        count("SELECT count(*) FROM passage WHERE text LIKE 'gone%'"),
        0
    );
    let bytes = b"a passage of some length that is numbered 7\0";
    assert!(
        !after
            .windows(44)
            .any(|it| it[..43] == bytes[..43] && !it[43].is_ascii_digit())
    );
    // One that was damaged is written anew, and so is another store's.
    let mut damaged = after.clone();
    damaged[200_000..210_000].fill(7);
    std::fs::write(&path, damaged).expect("written");
    desk.store
        .write_published(path.clone())
        .await
        .expect("written");
    let plain = rusqlite::Connection::open(&path).expect("opened");
    let whole: String = plain
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("read");
    assert_eq!(whole, "ok");
}

#[tokio::test]
async fn a_new_device_begins_with_what_is_published() {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    for at in 0..300 {
        desk.put(&format!("{at}.md"), &[&format!("numbered {at}")])
            .await;
    }
    let gone = desk.put("gone.md", &["gone"]).await;
    desk.send().await;
    desk.store.delete(gone).await.expect("deleted");
    desk.send().await;
    let path = published(&desk);
    desk.store
        .write_published(path.clone())
        .await
        .expect("written");
    desk.put("late.md", &["after it was published"]).await;
    desk.send().await;

    let mut lap = Device::new("lap").await;
    lap.store.take_over(path.clone()).await.expect("taken over");
    assert_eq!(lap.words("numbered").await.len(), 10);
    assert_eq!(lap.near("numbered 7").await.len(), 10);
    assert_eq!(lap.store.check().await.expect("checked"), []);
    // The vector of what is gone waits here too.
    assert_eq!(lap.rows("SELECT count(*) FROM unused"), 1);
    lap.read(&desk).await;
    assert_eq!(lap.words("published").await, ["after it was published"]);
    assert_eq!(lap.dump().await, desk.dump().await);
    // What it took over it does not send.
    lap.send().await;
    assert_eq!(lap.log.len(), 0);
    lap.put("own.md", &["its own"]).await;
    lap.send().await;
    desk.read(&lap).await;
    assert_eq!(lap.dump().await, desk.dump().await);

    // One that knows something already takes the rest, and sends what it has.
    let mut phone = Device::new("phone").await;
    phone.clock.fetch_add(60_000, Ordering::Relaxed);
    phone.model().await;
    phone.put("phone.md", &["of the phone"]).await;
    phone.put("7.md", &["edited on the phone"]).await;
    phone.store.take_over(path).await.expect("merged");
    phone.read(&desk).await;
    phone.read(&lap).await;
    phone.send().await;
    desk.clock.fetch_add(60_000, Ordering::Relaxed);
    desk.read(&phone).await;
    assert_eq!(phone.dump().await, desk.dump().await);
    assert_eq!(phone.words("phone").await.len(), 2);
    assert_eq!(phone.store.check().await.expect("checked"), []);
}

#[tokio::test]
async fn what_a_newer_version_published_is_not_taken_over() {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    desk.put("a.md", &["first"]).await;
    desk.send().await;
    let path = published(&desk);
    let written = desk.store.write_published(path.clone()).await;
    written.expect("written");
    let newer = rusqlite::Connection::open(&path).expect("opened");
    let changed = newer.execute("UPDATE about SET value = '2' WHERE key = 'schema'", []);
    assert_eq!(changed.expect("written"), 1);
    drop(newer);
    let lap = Device::new("lap").await;
    lap.model().await;
    lap.put("b.md", &["of lap"]).await;
    let refused = lap.store.take_over(path.clone()).await.expect_err("newer");
    assert_eq!(refused.kind(), ErrorKind::Newer);
    assert!(
        refused.to_string().contains("upgrade this device"),
        "{refused}"
    );
    let refused = lap.store.start_over(path, Rest::Nothing).await;
    assert_eq!(refused.expect_err("newer").kind(), ErrorKind::Newer);
    assert_eq!(lap.words("lap").await, ["of lap"]);
}
