//! The description of the API, as tests hold it to the routes and answers.

use http::Method;
use serde_json::Value;

use super::knowledge::openapi::DESCRIPTION;
use super::knowledge::{ArtifactsRoute, KnowledgeRoute, SyncRoute, TransfersRoute};
use super::route::{Forward, Route};

/// Where every route is described. One that is new does not compile until it
/// has a line here, and fails until the description has it.
macro_rules! places {
    ($($route:pat => $place:literal,)+) => {
        fn place(route: &Route) -> &'static str {
            match route {
                // Any method, and any path behind it.
                Route::Forward(Forward::Upstream { .. }) => "/upstream/NAME/…",
                $($route => $place,)+
            }
        }

        const PLACES: &[&str] = &[$($place),+];
    };
}

macro_rules! knowledge {
    ($route:pat) => {
        Route::Knowledge($route)
    };
}

macro_rules! artifacts {
    ($route:pat) => {
        Route::Knowledge(KnowledgeRoute::Artifacts($route))
    };
}

macro_rules! transfers {
    ($route:pat) => {
        Route::Knowledge(KnowledgeRoute::Transfers($route))
    };
}

places! {
    Route::Health => "GET /health",
    Route::Status => "GET /v1/status",
    Route::ListServices => "GET /v1/services",
    Route::ShowService(_) => "GET /v1/services/{name}",
    Route::Share(_) => "PUT /v1/services/{name}",
    Route::Unshare(_) => "DELETE /v1/services/{name}",
    Route::Stop => "POST /v1/stop",
    Route::Forward(Forward::Tcp { device: None, .. }) => "GET /v1/tcp/{name}",
    Route::Forward(Forward::Tcp { device: Some(_), .. }) => "GET /v1/tcp/{device}/{name}",
    knowledge!(KnowledgeRoute::Status) => "GET /v1/knowledge",
    knowledge!(KnowledgeRoute::FindByQuery) => "GET /v1/search",
    knowledge!(KnowledgeRoute::Find) => "POST /v1/search",
    knowledge!(KnowledgeRoute::Collections) => "GET /v1/collections",
    knowledge!(KnowledgeRoute::ListDocuments) => "GET /v1/documents",
    knowledge!(KnowledgeRoute::AddDocument) => "POST /v1/documents",
    knowledge!(KnowledgeRoute::ShowDocument(_)) => "GET /v1/documents/{id}",
    knowledge!(KnowledgeRoute::PutDocument(_)) => "PUT /v1/documents/{id}",
    knowledge!(KnowledgeRoute::DeleteDocument(_)) => "DELETE /v1/documents/{id}",
    knowledge!(KnowledgeRoute::ListModels) => "GET /v1/models",
    knowledge!(KnowledgeRoute::PutModel(_)) => "PUT /v1/models/{name}",
    knowledge!(KnowledgeRoute::DeleteModel(_)) => "DELETE /v1/models/{name}",
    knowledge!(KnowledgeRoute::Add) => "POST /v1/add",
    knowledge!(KnowledgeRoute::Events) => "GET /v1/events",
    knowledge!(KnowledgeRoute::Check) => "POST /v1/store/check",
    knowledge!(KnowledgeRoute::RebuildIndex) => "POST /v1/store/rebuild-index",
    knowledge!(KnowledgeRoute::Backup) => "POST /v1/store/backup",
    knowledge!(KnowledgeRoute::OpenApi) => "GET /v1/openapi.json",
    knowledge!(KnowledgeRoute::Sync(SyncRoute::Status)) => "GET /v1/sync",
    knowledge!(KnowledgeRoute::Sync(SyncRoute::Set)) => "PUT /v1/sync",
    knowledge!(KnowledgeRoute::Sync(SyncRoute::Now)) => "POST /v1/sync/now",
    knowledge!(KnowledgeRoute::Sync(SyncRoute::Publish)) => "POST /v1/sync/publish",
    knowledge!(KnowledgeRoute::Sync(SyncRoute::Encrypt)) => "PUT /v1/sync/encryption",
    artifacts!(ArtifactsRoute::List) => "GET /v1/artifacts",
    artifacts!(ArtifactsRoute::Show(_)) => "GET /v1/artifacts/{artifact}",
    artifacts!(ArtifactsRoute::Set(_)) => "PUT /v1/artifacts/{artifact}",
    artifacts!(ArtifactsRoute::Remove(_)) => "DELETE /v1/artifacts/{artifact}",
    artifacts!(ArtifactsRoute::Use) => "POST /v1/artifacts/use",
    artifacts!(ArtifactsRoute::Verify) => "POST /v1/artifacts/verify",
    artifacts!(ArtifactsRoute::Repair) => "POST /v1/artifacts/repair",
    artifacts!(ArtifactsRoute::MakeRoom) => "POST /v1/artifacts/gc",
    artifacts!(ArtifactsRoute::Import) => "POST /v1/artifacts/import",
    transfers!(TransfersRoute::List) => "GET /v1/transfers",
    transfers!(TransfersRoute::Begin) => "POST /v1/transfers",
    transfers!(TransfersRoute::Show(_)) => "GET /v1/transfers/{id}",
    transfers!(TransfersRoute::Set(_)) => "PUT /v1/transfers/{id}",
    transfers!(TransfersRoute::Forget(_)) => "DELETE /v1/transfers/{id}",
    transfers!(TransfersRoute::Published) => "GET /v1/published",
    transfers!(TransfersRoute::Withdraw(_)) => "DELETE /v1/published/{artifact}",
    transfers!(TransfersRoute::Loras) => "GET /v1/loras",
    transfers!(TransfersRoute::ShowLora(_)) => "GET /v1/loras/{id}",
    transfers!(TransfersRoute::DescribeLora(_)) => "PUT /v1/loras/{id}",
    transfers!(TransfersRoute::RateLora(_)) => "POST /v1/loras/{id}/rating",
}

#[test]
fn what_is_described_is_what_there_is() {
    let description = Description::read();
    let mut found = Vec::new();
    for (path, method, operation) in description.operations() {
        let asked = path
            .replace("{id}", &"0".repeat(32))
            .replace("{name}", "mine")
            .replace("{device}", "box")
            .replace("{artifact}", "models/mine");
        let route = Route::find(&method, &asked);
        let route = route.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let operation_place = format!("{method} {path}");
        assert_eq!(place(&route), operation_place, "it leads elsewhere");
        let only_reads = matches!(&route, Route::Knowledge(route) if route.only_reads());
        let outside = operation["x-ginnel-outside"] == true;
        assert_eq!(only_reads, outside, "{operation_place}");
        found.push(operation_place);
    }
    let mut places = PLACES.to_vec();
    places.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, places);
}

/// The description.
pub(super) struct Description(Value);

impl Description {
    pub(super) fn read() -> Self {
        Self(serde_json::from_str(DESCRIPTION).expect("JSON"))
    }

    /// Every operation: path, method, itself.
    fn operations(&self) -> Vec<(String, Method, &Value)> {
        let paths = self.0["paths"].as_object().expect("paths");
        let mut operations = Vec::new();
        for (path, item) in paths {
            for (method, operation) in item.as_object().expect("operations") {
                if method != "parameters" {
                    let method = method.to_uppercase().parse().expect("a method");
                    operations.push((path.clone(), method, operation));
                }
            }
        }
        operations
    }

    pub(super) fn operation(&self, method: &str, path: &str) -> &Value {
        let path = path.split('?').next().expect("a path");
        let is_same = |described: &str| {
            let (mut a, mut b) = (described.split('/'), path.split('/'));
            a.by_ref()
                .zip(b.by_ref())
                .all(|(a, b)| a == b || a.starts_with('{'))
                && described.split('/').count() == path.split('/').count()
        };
        let paths = self.0["paths"].as_object().expect("paths");
        let (_, item) = paths
            .iter()
            .find(|(described, _)| is_same(described))
            .expect(path);
        &item[method.to_lowercase()]
    }

    /// As much of JSON Schema as the description uses.
    pub(super) fn fits(&self, value: &Value, schema: &Value, place: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.trim_start_matches("#/components/schemas/");
            let schema = &self.0["components"]["schemas"][name];
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

/// The schema of a request's or answer's body.
pub(super) fn body_of(described: Option<&Value>) -> Option<&Value> {
    described?.pointer("/content/application~1json/schema")
}
