//! Which batches a device is told of.

use super::*;

#[tokio::test]
async fn a_long_log_is_told_in_parts_and_that_there_is_more() {
    let case = Case::new();
    let lap = case.device("lap");
    for sequence in 1..=1001 {
        case.batch(1, sequence).await;
    }
    for sequence in 1..=1000 {
        let key = case.place.batch(1, &lap.device, sequence);
        case.put(&key, "a batch").await;
    }
    // No device could note that it has read it.
    let beyond = case.place.log(1, &lap.device);
    case.put(&beyond.join("8000000000000000.batch"), "forged")
        .await;
    let manifest = case.manifest().await;
    let list = async |known: &BTreeMap<_, _>| {
        let listed = case.knowledge.list(&case.user, &manifest, 1, known);
        listed.await.expect("listed")
    };
    let listed = list(&BTreeMap::new()).await;
    let desk = case.device("desk").device;
    assert_eq!(listed.logs[&desk], (1..=1000).collect::<Vec<_>>());
    assert_eq!(listed.logs[&lap.device], (1..=1000).collect::<Vec<_>>());
    assert_eq!(listed.more.iter().collect::<Vec<_>>(), [&desk]);
    let known = BTreeMap::from([(desk.clone(), 1000), (lap.device.clone(), 1000)]);
    let listed = list(&known).await;
    assert_eq!(listed.logs[&desk], [1001]);
    assert!(listed.logs[&lap.device].is_empty());
    assert!(listed.more.is_empty(), "{:?}", listed.more);
}
