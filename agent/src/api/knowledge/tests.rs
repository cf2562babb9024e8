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
use crate::knowledge::tests::World;

fn description() -> Value {
    serde_json::from_str(openapi::DESCRIPTION).expect("JSON")
}

/// Every operation: path, method, itself.
fn operations(description: &Value) -> Vec<(String, Method, &Value)> {
    let paths = description["paths"].as_object().expect("paths");
    let mut operations = Vec::new();
    for (path, item) in paths {
        for method in ["get", "put", "post", "delete"] {
            if let Some(operation) = item.get(method) {
                let method = method.to_uppercase().parse().expect("a method");
                operations.push((path.clone(), method, operation));
            }
        }
    }
    operations
}

#[test]
fn every_operation_leads_to_a_route_and_back() {
    let description = description();
    let mut routes = Vec::new();
    for (path, method, operation) in operations(&description) {
        let path = path
            .replace("{id}", &"0".repeat(32))
            .replace("{name}", "mine")
            .replace("{artifact}", "models/mine");
        let parts: Vec<&str> = path.split('/').skip(2).collect();
        let route = KnowledgeRoute::find(&method, &parts);
        let route = route.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let outside = operation["x-ginnel-outside"] == true;
        assert_eq!(route.only_reads(), outside, "{method} {path}");
        assert!(
            !routes.contains(&route),
            "{method} {path} is the same as another"
        );
        routes.push(route);
    }
    // As many as there are: one that is not described fails here.
    assert_eq!(routes.len(), 38);
    assert_eq!(description["paths"].as_object().expect("paths").len(), 27);
}

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
    description: Value,
}

impl Check {
    fn new(world: World) -> Self {
        let description = description();
        Self { world, description }
    }

    async fn ask(&mut self, method: &str, path: &str, body: Value) -> Value {
        let asked = Method::from_bytes(method.as_bytes()).expect("a method");
        let answer = ask(&self.world.knowledge, asked, path, &body).await;
        let answer = answer.unwrap_or_else(|problem| panic!("{method} {path}: {problem}"));
        let operation = self.operation(method, path);
        if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
            self.fits(&body, schema, &format!("{method} {path} request"));
        }
        let described = ["200", "201", "204"].map(|status| &operation["responses"][status]);
        let described = described.into_iter().find(|described| !described.is_null());
        match described
            .expect("an answer")
            .pointer("/content/application~1json/schema")
        {
            Some(schema) => self.fits(&answer, schema, &format!("{method} {path}")),
            None => assert_eq!(answer, Value::Null, "{method} {path}"),
        }
        answer
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        let path = path.split('?').next().expect("a path");
        let is_same = |described: &str| {
            let (mut a, mut b) = (described.split('/'), path.split('/'));
            a.by_ref()
                .zip(b.by_ref())
                .all(|(a, b)| a == b || a.starts_with('{'))
                && described.split('/').count() == path.split('/').count()
        };
        let paths = self.description["paths"].as_object().expect("paths");
        let (_, item) = paths
            .iter()
            .find(|(described, _)| is_same(described))
            .expect(path);
        &item[method.to_lowercase()]
    }

    /// As much of JSON Schema as the description uses.
    fn fits(&self, value: &Value, schema: &Value, place: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.trim_start_matches("#/components/schemas/");
            let schema = &self.description["components"]["schemas"][name];
            assert!(schema.is_object(), "{place}: no schema {name}");
            return self.fits(value, schema, place);
        }
        if let Some(any) = schema["anyOf"].as_array() {
            let is_null = any.iter().any(|schema| schema["type"] == "null");
            assert!(is_null && any.len() == 2, "{place}");
            if !value.is_null() {
                self.fits(value, &any[0], place);
            }
            return;
        }
        if let Some(values) = schema["enum"].as_array() {
            assert!(values.contains(value), "{place}: {value}");
            return;
        }
        match schema["type"].as_str().expect("a type") {
            "string" => assert!(value.is_string(), "{place}: {value}"),
            "integer" => assert!(value.is_i64() || value.is_u64(), "{place}: {value}"),
            "number" => assert!(value.is_number(), "{place}: {value}"),
            "boolean" => assert!(value.is_boolean(), "{place}: {value}"),
            "array" => {
                for (at, value) in value.as_array().expect(place).iter().enumerate() {
                    self.fits(value, &schema["items"], &format!("{place}[{at}]"));
                }
            }
            "object" => {
                let fields = value
                    .as_object()
                    .unwrap_or_else(|| panic!("{place}: {value}"));
                let none = Vec::new();
                for name in schema["required"].as_array().unwrap_or(&none) {
                    let name = name.as_str().expect("a name");
                    assert!(fields.contains_key(name), "{place} lacks {name}");
                }
                for (name, value) in fields {
                    match schema["properties"].get(name) {
                        Some(schema) => self.fits(value, schema, &format!("{place}.{name}")),
                        None => {
                            assert_ne!(schema["additionalProperties"], false, "{place} has {name}")
                        }
                    }
                }
            }
            other => panic!("{place}: {other}"),
        }
    }
}
