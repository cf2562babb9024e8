//! The API and its description, held to each other.

#[cfg(unix)]
#[path = "tests/artifacts.rs"]
mod artifacts;
#[path = "tests/names.rs"]
mod names;
#[cfg(unix)]
#[path = "tests/opening.rs"]
mod opening;
#[path = "tests/texts.rs"]
mod texts;

use serde_json::{Value, json};

use super::*;
use crate::api::described::{self, Description};
use crate::knowledge::tests::World;

#[tokio::test]
async fn answers_are_as_described() {
    let world = World::new().await;
    world.write("a.md", "# Alpha\n\nabout apples\n\nand more of them");
    world.add().await;
    let mut check = Check::new(world);
    check.ask("GET", "/v1/knowledge", Value::Null).await;
    let path = "/v1/knowledge?too_long=true";
    check.ask("GET", path, Value::Null).await;
    let found = check
        .ask(
            "GET",
            "/v1/search?q=apples&context=1&where=modified%3E2000",
            Value::Null,
        )
        .await;
    assert_eq!(found["hits"][0]["source"], "notes/a.md");
    let all = json!({"query": "apples", "mode": "text", "limit": 3, "offset": 0, "context": 1,
        "minimum_score": 0.0, "collections": ["default"], "where": ["modified>2000"],
        "source": "notes/", "since_ms": 5, "until_ms": 99999999999999_u64});
    assert_eq!(
        check.ask("POST", "/v1/search", all).await["hits"]
            .as_array()
            .expect("hits")
            .len(),
        1
    );
    check.ask("GET", "/v1/collections", Value::Null).await;
    let new = json!({"collection": "mails", "source": "mail:1", "title": "Hi", "format": "markdown",
        "metadata": {"from": "Jane"}, "text": "# Hi\n\nfrom Jane"});
    let stored = check.ask("POST", "/v1/documents", new).await;
    assert_eq!(stored["outcome"], "added");
    let id = stored["id"].as_str().expect("an id").to_owned();
    let shown = check
        .ask("GET", &format!("/v1/documents/{id}"), Value::Null)
        .await;
    assert_eq!(shown["text"], "Hi\n\nfrom Jane");
    check
        .ask("GET", "/v1/documents?collection=mails&limit=1", Value::Null)
        .await;
    check
        .ask("DELETE", &format!("/v1/documents/{id}"), Value::Null)
        .await;

    check
        .ask(
            "PUT",
            "/v1/models/mine",
            json!({"dimensions": 2, "metric": "dot"}),
        )
        .await;
    let new = json!({"passages": [{"text": "one", "vector": [1, 0]}, {"text": "two", "vector": [0, 1]}],
        "model": "mine"});
    let fresh = "ab".repeat(16);
    let stored = check
        .ask("PUT", &format!("/v1/documents/{fresh}"), new)
        .await;
    assert_eq!(stored["id"], fresh);
    let near = json!({"vector": [0.5, 3.0], "model": "mine", "mode": "vector"});
    let found = check.ask("POST", "/v1/search", near).await;
    assert_eq!(found["hits"][0]["text"], "two");
    check.ask("GET", "/v1/models", Value::Null).await;
    check.ask("DELETE", "/v1/models/mine", Value::Null).await;

    check.ask("POST", "/v1/store/check", Value::Null).await;
    check
        .ask("POST", "/v1/store/rebuild-index", Value::Null)
        .await;
    let file = check.world.folder.path().join("copy.db");
    let backup = json!({"path": file.to_str().expect("text")});
    let answer = check.ask("POST", "/v1/store/backup", backup).await;
    assert_eq!(
        answer["bytes"],
        std::fs::metadata(file).expect("written").len()
    );
    check.ask("GET", "/v1/openapi.json", Value::Null).await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let world = World::without_model().await;
    let id = "00".repeat(16);
    for (method, path, body, status, says) in [
        ("POST", "/v1/search", json!({}), 400, "query is empty"),
        ("POST", "/v1/search", json!({"quary": "x"}), 400, "quary"),
        (
            "POST",
            "/v1/search",
            json!({"query": "x", "mode": "magic"}),
            400,
            "magic",
        ),
        (
            "POST",
            "/v1/search",
            json!({"query": "x", "mode": "vector"}),
            409,
            "no embedding model",
        ),
        (
            "POST",
            "/v1/search",
            json!({"query": "x", "limit": 5000}),
            400,
            "limit",
        ),
        (
            "POST",
            "/v1/search",
            json!({"query": "x", "where": ["y"]}),
            400,
            "not a condition",
        ),
        (
            "POST",
            "/v1/search",
            json!({"query": "x", "collections": ["A b"]}),
            400,
            "collection",
        ),
        (
            "POST",
            "/v1/search",
            json!({"vector": [1.0]}),
            400,
            "without the name",
        ),
        (
            "POST",
            "/v1/search",
            json!({"query": "x", "model": "m", "vector": [1.0]}),
            404,
            "m",
        ),
        (
            "GET",
            "/v1/search?q=x&limit=many",
            Value::Null,
            400,
            "limit",
        ),
        ("GET", "/v1/search?q=x&magic=1", Value::Null, 400, "magic"),
        ("POST", "/v1/documents", json!({}), 400, "neither or both"),
        (
            "POST",
            "/v1/documents",
            json!({"text": "  "}),
            400,
            "no text",
        ),
        (
            "POST",
            "/v1/documents",
            json!({"text": "x", "format": "pdf"}),
            400,
            "pdf",
        ),
        (
            "POST",
            "/v1/documents",
            json!({"passages": [{"text": "x", "vector": [1]}]}),
            400,
            "without the name",
        ),
        (
            "PUT",
            &format!("/v1/documents/{id}"),
            json!({"text": "x", "source": "s"}),
            400,
            "source",
        ),
        ("GET", &format!("/v1/documents/{id}"), Value::Null, 404, &id),
        (
            "DELETE",
            &format!("/v1/documents/{id}"),
            Value::Null,
            404,
            &id,
        ),
        (
            "PUT",
            "/v1/models/m",
            json!({"dimensions": 0}),
            400,
            "dimensions",
        ),
        (
            "PUT",
            "/v1/models/m",
            json!({"dimensions": 9, "metric": "hamming"}),
            400,
            "hamming",
        ),
        ("DELETE", "/v1/models/m", Value::Null, 404, "m"),
        (
            "POST",
            "/v1/store/backup",
            json!({"path": "relative"}),
            400,
            "absolute",
        ),
    ] {
        let asked = Method::from_bytes(method.as_bytes()).expect("a method");
        let problem = ask(&world.knowledge, asked, path, &body)
            .await
            .expect_err(path);
        assert_eq!(problem.status, status, "{method} {path} {body}: {problem}");
        assert!(
            problem.message.contains(says),
            "{method} {path} {body}: {problem}"
        );
    }
}

/// A body that says how long it is, and must not be read.
struct Announced(u64);

impl Body for Announced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        panic!("it is refused unread");
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_it_is_sent() {
    let request = Request::new(Announced(DOCUMENT_MAX as u64 + 1));
    let read = read_json::<Value, _>(request, DOCUMENT_MAX).await;
    let problem = read.expect_err("too long");
    assert_eq!(problem.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(problem.code, "body_too_large");
}

/// Asks, and holds what is asked and answered to the description.
struct Check {
    world: World,
    description: Description,
}

impl Check {
    fn new(world: World) -> Self {
        let description = Description::read();
        Self { world, description }
    }

    async fn ask(&mut self, method: &str, path: &str, body: Value) -> Value {
        let asked = Method::from_bytes(method.as_bytes()).expect("a method");
        let answer = exchange(&self.world.knowledge, asked, path, &body).await;
        let answer = answer.unwrap_or_else(|problem| panic!("{method} {path}: {problem}"));
        let operation = self.description.operation(method, path);
        if let Some(schema) = described::body_of(operation.get("requestBody")) {
            self.fits(&body, schema, &format!("{method} {path} request"));
        }
        let status = answer.status();
        let described = operation["responses"].get(status.as_str());
        let described = described.unwrap_or_else(|| panic!("{method} {path} answers {status}"));
        let answer = answer.into_body().collect().await.expect("a body");
        let answer = answer.to_bytes();
        let answer = match answer.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&answer).expect("JSON"),
        };
        match described::body_of(Some(described)) {
            Some(schema) => self.fits(&answer, schema, &format!("{method} {path}")),
            None => assert_eq!(answer, Value::Null, "{method} {path}"),
        }
        answer
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        self.description.operation(method, path)
    }

    fn fits(&self, value: &Value, schema: &Value, place: &str) {
        self.description.fits(value, schema, place);
    }
}
