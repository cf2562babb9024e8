//! How folders and models are named, and a model that stays.

use super::*;
use crate::knowledge::add::Event;

#[tokio::test]
async fn folders_are_the_same_however_they_are_written() {
    let world = World::without_model().await;
    world.write("a.txt", "apples");
    world.write("deep/b.txt", "bananas");
    let root = world.root();
    let root = root.to_str().expect("text");
    for (path, name) in [
        (root.to_owned(), None),
        (format!("{root}/"), None),
        (root.replace("/notes", "/./notes"), None),
        (format!("{root}/deep/.."), None),
        ("/..".to_owned(), Some("path has no name")),
    ] {
        let asked = view::AddRequest {
            path: path.clone(),
            ..Default::default()
        };
        let mut last = None;
        let adding = add(world.knowledge.clone(), asked).expect(&path);
        let told = adding.run(|event| {
            last = Some(event);
            Ok(())
        });
        told.await.expect("told");
        match (last, name) {
            (Some(Event::Done(summary)), None) => assert_eq!(summary.removed, 0, "{path}"),
            (Some(Event::Failed { message }), Some(says)) => {
                assert!(message.contains(says), "{message}");
            }
            (last, _) => panic!("{path}: {last:?}"),
        }
    }
    let documents = world
        .knowledge
        .store()
        .stats()
        .await
        .expect("read")
        .documents;
    assert_eq!(documents, 2);
}

#[tokio::test]
async fn names_of_models_are_decoded() {
    let world = World::without_model().await;
    let new = json!({"dimensions": 2});
    for path in ["my%20m", "org/model", "org%2Fother", "a/b/c/d/e"] {
        let path = format!("/v1/models/{path}");
        let put = ask(&world.knowledge, Method::PUT, &path, &new).await;
        put.expect("stored");
    }
    let models = world.knowledge.store().models().await.expect("read");
    let names: Vec<String> = models.into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["my m", "org/model", "org/other", "a/b/c/d/e"]);
    let path = "/v1/models/org%2fmodel";
    let deleted = ask(&world.knowledge, Method::DELETE, path, &Value::Null).await;
    deleted.expect("deleted");
    let path = "/v1/models/%zz";
    let refused = ask(&world.knowledge, Method::PUT, path, &new).await;
    assert_eq!(refused.expect_err("not encoded").status, 400);
}

#[tokio::test]
async fn the_model_of_the_embedder_stays() {
    let world = World::new().await;
    world.write("a.md", "apples");
    world.add().await;
    let path = "/v1/models/letters";
    let refused = ask(&world.knowledge, Method::DELETE, path, &Value::Null).await;
    let refused = refused.expect_err("it is needed");
    assert_eq!(
        (refused.status.as_u16(), refused.code),
        (409, "model_in_use")
    );
    let models = world.knowledge.store().models().await.expect("read");
    assert_eq!(models.len(), 1);
}
