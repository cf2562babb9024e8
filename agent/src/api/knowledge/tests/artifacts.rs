//! Artifacts over the API.

use std::time::{Duration, SystemTime};

use super::*;
use crate::api::knowledge::artifacts::Work;
use crate::api::knowledge::artifacts::view::{ImportRequest, VerifyRequest};
use crate::models::event::Event;
use crate::models::tests::{gguf, safetensors};

impl World {
    fn put_model(&self, file: &str, bytes: &[u8]) {
        let folder = self.folder.path().join("models");
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join(file), bytes).expect("written");
        let file = std::fs::File::options()
            .write(true)
            .open(folder.join(file))
            .expect("opened");
        let before = SystemTime::now() - Duration::from_secs(100);
        file.set_modified(before).expect("set");
    }
}

#[tokio::test]
async fn answers_are_as_described() {
    let world = World::without_model().await;
    world.put_model("phi.gguf", &gguf());
    world.put_model("two words.gguf", &gguf());
    let mut check = Check::new(world);
    let all = check.ask("GET", "/v1/artifacts", Value::Null).await;
    assert_eq!(all["artifacts"][0]["name"], "models/phi.gguf");
    assert_eq!(all["strays"][0]["path"], "two words.gguf");
    let phi = "/v1/artifacts/models%2Fphi.gguf";
    let shown = check.ask("GET", phi, Value::Null).await;
    assert_eq!(shown["state"], "local");
    assert_eq!(shown["header"]["architecture"], "llama");
    assert_eq!(shown["header"]["context_length"], 4096);
    assert_eq!(shown["header"]["parameters"], 64);
    assert_eq!(shown["header"]["tensors"][0]["type"], "Q8_0");
    let pinned = check.ask("PUT", phi, json!({"pinned": true})).await;
    assert_eq!(pinned["pinned"], true);
    let name = json!({"name": "models/phi.gguf"});
    let used = check.ask("POST", "/v1/artifacts/use", name).await;
    assert!(
        used["path"]
            .as_str()
            .expect("text")
            .ends_with("models/phi.gguf")
    );
    let room = json!({"budget": 0, "dry_run": true});
    let room = check.ask("POST", "/v1/artifacts/gc", room).await;
    assert_eq!(room["kept"]["pinned"], gguf().len());
    let removed = check
        .ask("DELETE", &format!("{phi}?force=true"), Value::Null)
        .await;
    assert_eq!(removed["bytes"], gguf().len());
}

#[tokio::test]
async fn work_tells_how_it_goes_as_described() {
    let world = World::without_model().await;
    world.put_model("mini.safetensors", &safetensors(1000, 1));
    let check = Check::new(world);
    let schema = json!({"$ref": "#/components/schemas/ArtifactEvent"});
    let import = ImportRequest {
        path: check.world.folder.path().display().to_string(),
        list: true,
        ..ImportRequest::default()
    };
    for (work, last) in [
        (Work::Verify(VerifyRequest::default()), "verified"),
        (Work::Import(import), "found"),
    ] {
        let mut told = Vec::new();
        let body = work.body().expect("JSON");
        let place = work.path();
        let operation = check.operation("POST", place);
        let asked = operation.pointer("/requestBody/content/application~1json/schema");
        check.fits(&body, asked.expect("described"), place);
        let models = check.world.knowledge.models().clone();
        let done = work.run(models, |event: Event| {
            told.push(serde_json::to_value(event)?);
            Ok(())
        });
        done.await.expect("done");
        for event in &told {
            check.fits(event, &schema, place);
        }
        let names: Vec<_> = told.iter().map(|event| &event["event"]).collect();
        assert_eq!(names.last(), Some(&&json!("done")), "{told:?}");
        assert!(names.contains(&&json!(last)), "{told:?}");
    }
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let world = World::without_model().await;
    world.put_model("phi.gguf", &gguf());
    for (method, path, body, status, says) in [
        (
            "GET",
            "/v1/artifacts/models/none",
            Value::Null,
            404,
            "no such artifact",
        ),
        (
            "DELETE",
            "/v1/artifacts/models/phi.gguf",
            Value::Null,
            409,
            "not published",
        ),
        (
            "DELETE",
            "/v1/artifacts/models/phi.gguf?force=maybe",
            Value::Null,
            400,
            "force",
        ),
        (
            "PUT",
            "/v1/artifacts/models/none",
            json!({"pinned": true}),
            404,
            "no such",
        ),
        (
            "PUT",
            "/v1/artifacts/models/phi.gguf",
            json!({"pin": 1}),
            400,
            "pin",
        ),
        (
            "POST",
            "/v1/artifacts/use",
            json!({"name": "../x"}),
            400,
            "is none of",
        ),
        (
            "POST",
            "/v1/artifacts/use",
            json!({"name": "models/..%2f"}),
            400,
            "file name",
        ),
        (
            "POST",
            "/v1/artifacts/verify",
            json!({"names": ["x"]}),
            400,
            "is none of",
        ),
        (
            "POST",
            "/v1/artifacts/import",
            json!({"path": "x"}),
            400,
            "absolute",
        ),
        (
            "POST",
            "/v1/artifacts/import",
            json!({"path": "/", "kind": "x"}),
            400,
            "kind is",
        ),
        (
            "POST",
            "/v1/artifacts/gc",
            json!({"budget": -1}),
            400,
            "`-1`",
        ),
    ] {
        let asked = Method::from_bytes(method.as_bytes()).expect("a method");
        let answer = ask(&world.knowledge, asked, path, &body).await;
        let problem = answer.expect_err(path);
        assert_eq!(problem.status, status, "{method} {path} {body}: {problem}");
        assert!(problem.message.contains(says), "{method} {path}: {problem}");
    }
    assert!(world.folder.path().join("models/phi.gguf").exists());
}
