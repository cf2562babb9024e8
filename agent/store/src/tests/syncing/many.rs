//! Batches of many rows, which are written another way than few.

use std::sync::atomic::Ordering;

use ginnel_proto::sync::row::Rows;

use super::Device;

/// A large batch has new rows, later states and earlier ones; the rows of one device
/// come one by one, as its batches are cut, those of the other all at once.
#[tokio::test]
async fn many_rows_come_to_the_same_as_few() {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    let text = |document: usize, part: usize| format!("text {part} of {document}");
    let put = async |device: &Device, document: usize, parts: std::ops::Range<usize>| {
        let texts: Vec<_> = parts.map(|part| text(document, part)).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        device.put(&format!("{document}.md"), &texts).await
    };
    let mut few = Device::new("few").await;
    let mut many = Device::new("many").await;
    for device in [&few, &many] {
        device.model().await;
        // Earlier than the desk's, later than it, and of the same text.
        put(device, 1, 0..3).await;
        put(device, 50, 0..9).await;
    }
    desk.clock.fetch_add(10_000, Ordering::Relaxed);
    for document in 0..40 {
        put(&desk, document, 0..20).await;
    }
    for device in [&few, &many] {
        device.clock.fetch_add(60_000, Ordering::Relaxed);
        put(device, 2, 5..8).await;
        let gone = put(device, 3, 0..2).await;
        device.store.delete(gone).await.expect("deleted");
    }
    desk.send().await;
    let [batch] = &desk.log[..] else {
        panic!("{} batches", desk.log.len());
    };
    assert!(batch.rows.len() > 1_000, "{}", batch.rows.len());
    let whole = batch.clone();
    let taken = many.store.apply(whole.clone()).await.expect("applied");
    assert!(taken.stale > 0 && taken.taken > 1_000, "{taken:?}");
    // The same rows, a hundred in a batch, the last first.
    let mut rows = whole.rows.clone();
    let mut parts = Vec::new();
    while !rows.is_empty() {
        let mut part = Rows::default();
        let at = |length: usize| length.saturating_sub(100);
        part.embeddings = rows.embeddings.split_off(at(rows.embeddings.len()));
        part.passages = rows.passages.split_off(at(rows.passages.len()));
        part.documents = rows.documents.split_off(at(rows.documents.len()));
        part.models = rows.models.split_off(at(rows.models.len()));
        parts.push(part);
    }
    for (at, rows) in parts.into_iter().enumerate() {
        let mut batch = whole.clone();
        batch.header.place.sequence = at as u64 + 1;
        batch.rows = rows;
        few.store.apply(batch).await.expect("applied");
    }
    assert_eq!(many.store.check().await.expect("checked"), []);
    for device in [&few, &many] {
        assert_eq!(device.rows("SELECT count(*) FROM unindexed"), 0);
        // Whoever follows the changes hears of each row.
        for table in ["passage", "embedding"] {
            let unheard = format!(
                "SELECT count(*) FROM {table} WHERE rowid NOT IN
                     (SELECT key FROM change WHERE \"table\" = '{table}')"
            );
            assert_eq!(device.rows(&unheard), 0, "{table}");
        }
        assert_eq!(device.words("text").await.len(), 10);
        assert_eq!(device.near("text 7 of 30").await.len(), 10);
    }
    let names = ["few", "many"];
    let dump = |device: &Device, lines: Vec<String>| {
        let own = |line: String| line.replace(device.name, names[0]);
        lines.into_iter().map(own).collect::<Vec<_>>()
    };
    assert_eq!(dump(&few, few.dump().await), dump(&many, many.dump().await));
    // Nothing of the desk's is to be sent on; the triggers are there again.
    few.send().await;
    many.send().await;
    let sent = |device: &Device| -> usize { device.log.iter().map(|it| it.rows.len()).sum() };
    assert_eq!(sent(&few), sent(&many));
    assert!(sent(&many) <= 30, "{}", sent(&many));
    put(&many, 60, 0..1).await;
    assert_eq!(many.words("60").await, ["text 0 of 60"]);
}
