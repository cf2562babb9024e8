//! An endpoint for tests: vectors that can be foretold, and failures on
//! demand.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::EmbedSettings;
use super::endpoint::{EndpointSettings, OPENING, TOKENS_DEFAULT};

/// A server that embeds by counting letters.
#[derive(Debug)]
pub(crate) struct Stub {
    url: String,
    pub(crate) asked: Arc<AtomicUsize>,
    /// Whether it is busy.
    pub(crate) busy: Arc<AtomicBool>,
    /// Whether it refuses [`REFUSED`].
    pub(crate) refuses: Arc<AtomicBool>,
    /// Whether it takes requests and never answers.
    pub(crate) hangs: Arc<AtomicBool>,
    /// Whether it does so with all but the one that opens it.
    pub(crate) holds: watch::Sender<bool>,
    /// Texts that it embeds all the same.
    pub(crate) lets: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

/// A text whose vector is zero.
pub(crate) const ZERO: &str = "zero";

/// A text that it will not embed.
pub(crate) const REFUSED: &str = "refuse me";

impl Stub {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}/v1", listener.local_addr().expect("bound"));
        let asked = Arc::<AtomicUsize>::default();
        let (busy, hangs) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let holds = watch::Sender::new(false);
        let lets = Arc::new(Mutex::new(vec![OPENING.to_owned()]));
        let refuses = Arc::new(AtomicBool::new(true));
        let does = Does {
            busy: Arc::clone(&busy),
            refuses: Arc::clone(&refuses),
            hangs: Arc::clone(&hangs),
            holds: holds.subscribe(),
            lets: Arc::clone(&lets),
        };
        let count = Arc::clone(&asked);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                let count = Arc::clone(&count);
                let does = does.clone();
                let service = service_fn(move |request| {
                    count.fetch_add(1, Ordering::Relaxed);
                    answer(request, does.clone())
                });
                let connection = http1::Builder::new();
                connections.spawn(async move {
                    let _ = connection
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            url,
            asked,
            busy,
            refuses,
            hangs,
            holds,
            lets,
            _serving: serving,
        }
    }

    pub(crate) fn settings(&self, model: &str) -> EmbedSettings {
        EmbedSettings::Endpoint(EndpointSettings {
            url: self.url.parse().expect("a URL"),
            model: model.to_owned(),
            api_key: None,
            tokens_max: TOKENS_DEFAULT,
        })
    }
}

/// How it fails.
#[derive(Clone)]
struct Does {
    busy: Arc<AtomicBool>,
    refuses: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    holds: watch::Receiver<bool>,
    lets: Arc<Mutex<Vec<String>>>,
}

async fn answer(
    request: Request<Incoming>,
    mut does: Does,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if does.hangs.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    let path = request.uri().path().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    let lets = does.lets.lock().expect("nobody panics").clone();
    if !lets.iter().any(|let_through| text.contains(let_through)) {
        let released = does.holds.wait_for(|holds| !holds).await;
        released.expect("the stub lives");
    }
    let (status, answer) = embed(&path, &body, &does);
    let mut response = Response::new(Full::new(answer.to_string().into()));
    *response.status_mut() = status;
    Ok(response)
}

fn embed(path: &str, body: &[u8], does: &Does) -> (StatusCode, Value) {
    let asked: Value = serde_json::from_slice(body).expect("JSON");
    let texts: Vec<&str> = asked["input"]
        .as_array()
        .expect("texts")
        .iter()
        .map(|text| text.as_str().expect("a text"))
        .collect();
    let dimensions = match asked["model"].as_str().expect("a model") {
        "letters" => 26,
        "vowels" => 5,
        "odd" => {
            return (
                StatusCode::OK,
                json!({"data": [{"index": 0, "embedding": []}]}),
            );
        }
        _ => return (StatusCode::NOT_FOUND, json!({"error": "no such model"})),
    };
    if path != "/v1/embeddings" {
        return (StatusCode::NOT_FOUND, json!({}));
    }
    if does.busy.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, json!({"error": "busy"}));
    }
    let refuses = does.refuses.load(Ordering::Relaxed);
    if refuses && texts.iter().any(|text| text.contains(REFUSED)) {
        return (StatusCode::BAD_REQUEST, json!({"error": "text refused"}));
    }
    // The last first: the order of an answer is its own.
    let data: Vec<Value> = (0..texts.len())
        .rev()
        .map(|index| json!({"index": index, "embedding": vector(texts[index], dimensions)}))
        .collect();
    (StatusCode::OK, json!({ "data": data }))
}

/// How often each letter, or vowel, is in the text.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let letters: Vec<char> = match dimensions {
        5 => "aeiou".chars().collect(),
        _ => ('a'..='z').collect(),
    };
    let count = |letter: &char| {
        let same = |found: &char| found.to_ascii_lowercase() == *letter;
        0.01 + text.chars().filter(same).count() as f32
    };
    if text.contains(ZERO) {
        return vec![0.0; dimensions];
    }
    letters.iter().map(count).collect()
}
