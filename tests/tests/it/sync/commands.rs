//! `ginnel sync` as people and programs use it, beside daemons that run.

use ginnel_proto::sync::seal::Key;
use ginnel_tests::chaos::world::{Device, World};

use super::processes;

async fn well(world: &World, device: &Device, line: &str) -> String {
    let arguments: Vec<_> = line.split(' ').collect();
    let said = world.run(device, &arguments).await;
    assert!(said.success, "{line}: {said:?}");
    said.out
}

async fn refused(world: &World, device: &Device, line: &str) -> String {
    let arguments: Vec<_> = line.split(' ').collect();
    let said = world.run(device, &arguments).await;
    assert!(!said.success, "{line}: {said:?}");
    said.err + &said.out
}

async fn status(world: &World, device: &Device) -> serde_json::Value {
    world.run(device, &["sync", "--json"]).await.json()
}

#[tokio::test]
async fn what_is_added_here_is_found_there_and_published() {
    let Some(world) = processes(None).await else {
        return;
    };
    let notes = tempfile::tempdir().expect("a folder");
    std::fs::write(notes.path().join("a.md"), "quokkas live on an island").expect("written");
    let folder = notes.path().display().to_string();
    well(&world, &world.laptop, &format!("add {folder}")).await;
    for device in [&world.laptop, &world.desktop] {
        let said = well(&world, device, "sync now").await;
        assert!(said.contains("in step"), "{said}");
    }
    let said = well(&world, &world.desktop, "search quokkas").await;
    assert!(said.contains("island"), "{said}");
    well(&world, &world.laptop, "sync publish").await;
    let told = status(&world, &world.laptop).await;
    assert!(
        told["published_unix_ms"].is_u64() && told["listed_unix_ms"].is_u64(),
        "{told}"
    );
    assert_eq!(
        (&told["state"], &told["problem"]),
        (&"in_step".into(), &serde_json::Value::Null)
    );

    // While it is paused, whoever waits is told why nothing comes, and at once.
    well(&world, &world.laptop, "sync pause").await;
    for line in ["sync publish", "sync encrypt"] {
        let error = refused(&world, &world.laptop, line).await;
        assert!(error.contains("ginnel sync resume"), "{line}: {error}");
    }
    let said = world.run(&world.laptop, &["sync", "now"]).await;
    assert!(!said.success && said.out.contains("paused"), "{said:?}");
    well(&world, &world.laptop, "sync resume").await;
    well(&world, &world.laptop, "sync now").await;
}

#[tokio::test]
async fn a_key_is_carried_from_one_device_to_the_other() {
    let Some(world) = processes(None).await else {
        return;
    };
    let error = refused(&world, &world.laptop, "sync key show").await;
    assert!(error.contains("ginnel sync encrypt"), "{error}");
    well(&world, &world.laptop, "sync now").await;
    let said = well(&world, &world.laptop, "sync encrypt").await;
    assert!(said.contains("ginnel sync key show"), "{said}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key.txt").display().to_string();
    well(
        &world,
        &world.laptop,
        &format!("sync key show --out {file}"),
    )
    .await;
    let key = std::fs::read_to_string(&file).expect("written");
    let id = key.trim().parse::<Key>().expect("a key").id();
    // Not as an argument, and it is not repeated either.
    let error = refused(
        &world,
        &world.desktop,
        &format!("sync key enter {}", key.trim()),
    )
    .await;
    assert!(error.contains("not taken as an argument"), "{error}");
    assert!(!error.contains(key.trim()), "{error}");
    let other = folder.path().join("none.txt").display().to_string();
    std::fs::write(&other, "gnk1_mistyped").expect("written");
    let error = refused(&world, &world.desktop, &format!("sync key enter {other}")).await;
    assert!(
        error.contains("none.txt") && error.contains("mistyped"),
        "{error}"
    );
    let said = well(&world, &world.desktop, &format!("sync key enter {file}")).await;
    assert!(said.contains(&id.to_string()), "{said}");
    well(&world, &world.desktop, "sync now").await;
    for device in [&world.laptop, &world.desktop] {
        let told = status(&world, device).await;
        assert_eq!(told["key"], id.to_string(), "{told}");
    }
    well(&world, &world.laptop, "sync decrypt").await;
    assert_eq!(
        status(&world, &world.laptop).await["key"],
        serde_json::Value::Null
    );
}
