//! Vectors from an endpoint that speaks as OpenAI's `/v1/embeddings` does:
//! Ollama, llama.cpp, vLLM, OpenAI and many others.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ginnel_ingest::cut::{CountTokens, Estimate};
use ginnel_store::id::ModelId;
use ginnel_store::model::Model;
use ginnel_store::vector::metric::Metric;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{EmbedError, Embedder, Purpose, Result, Vectors, with_causes};
use crate::web;

/// How long an answer may take: a model may have to be loaded first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// How long it may take to reach it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Texts of one request: what all such servers take.
const TEXTS_MAX: usize = 64;

/// Bytes of an answer: so many vectors of 8,192 values as text.
const ANSWER_MAX: usize = 16 << 20;

/// What is read of an answer that says no, in characters.
const REASON_MAX: usize = 300;

/// Tokens of a passage if nobody says how many: the endpoint cannot be asked.
/// What most sentence models read; of longer ones it is a good size too.
pub const TOKENS_DEFAULT: usize = 254;

/// What it is asked first, to learn how many values its vectors have.
pub(super) const OPENING: &str = "ginnel";

/// Where the endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Up to what comes before `/embeddings`: `http://127.0.0.1:11434/v1`.
    pub url: Uri,
    /// What it calls the model.
    pub model: String,
    /// Sent as a bearer token.
    pub api_key: Option<ApiKey>,
    /// Tokens of a passage, as [`Estimate`] counts them. Models that read less
    /// cut the rest off, or refuse.
    pub tokens_max: usize,
}

/// A secret of the endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(HeaderValue);

impl ApiKey {
    /// A key, as the endpoint's owner gave it.
    ///
    /// # Errors
    /// No header can carry it; the error does not repeat it.
    pub fn new(key: &str) -> std::result::Result<Self, &'static str> {
        let value = HeaderValue::try_from(format!("Bearer {}", key.trim()));
        let mut value = value.map_err(|_| "holds characters that no header can carry")?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

/// An endpoint that answered.
#[derive(Debug)]
pub struct Endpoint {
    settings: EndpointSettings,
    uri: Uri,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    model: Model,
}

#[derive(Serialize)]
struct Asked<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Answered>,
}

#[derive(Deserialize)]
struct Answered {
    index: usize,
    embedding: Vec<f32>,
}

impl Endpoint {
    /// Asks the endpoint for a vector, to learn how many values it has.
    ///
    /// # Errors
    /// It does not answer, or not as it should.
    pub async fn open(settings: &EndpointSettings) -> Result<Self> {
        let url = settings.url.to_string();
        let uri = format!("{}/embeddings", url.trim_end_matches('/'));
        let uri = uri.parse().map_err(|reason| {
            EmbedError::Settings(format!(
                "endpoint is no address, url={url}, reason={reason}"
            ))
        })?;
        let mut endpoint = Self {
            settings: settings.clone(),
            uri,
            client: client(),
            model: Model {
                id: ModelId::from_bytes([0; 32]),
                name: settings.model.clone(),
                dimensions: 0,
                metric: Metric::Cosine,
            },
        };
        endpoint.warn_of_an_open_key();
        let vectors = endpoint.ask(&[OPENING.to_owned()]).await?;
        let dimensions = vectors.first().map_or(0, Vec::len);
        endpoint.model.dimensions = dimensions;
        endpoint.model.id = ModelId::of_name(&url, &settings.model, dimensions);
        Ok(endpoint)
    }

    /// A key that leaves this machine unencrypted can be read on the way.
    fn warn_of_an_open_key(&self) {
        let is_open = self.uri.scheme_str() != Some("https");
        if self.settings.api_key.is_some() && is_open && !is_this_machine(&self.uri) {
            tracing::warn!(
                url = %self.uri,
                "the API key of the endpoint is sent without encryption; hint: use https://"
            );
        }
    }

    async fn ask(&self, texts: &[String]) -> Result<Vectors> {
        let asked = Asked {
            model: &self.settings.model,
            input: texts,
            encoding_format: "float",
        };
        let body = serde_json::to_vec(&asked)
            .map_err(|reason| EmbedError::Texts(format!("texts are no JSON, reason={reason}")))?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(ApiKey(key)) = &self.settings.api_key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        let answered = timeout(ANSWER_TIMEOUT, self.exchange(request)).await;
        let (status, body) = answered.map_err(|_| self.away("it did not answer in time"))??;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|reason| self.odd(&format!("answer is not what was asked for, {reason}")))?;
        self.in_order(answer, texts.len())
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        let response = self.client.request(request).await;
        let response = response.map_err(|error| self.away(&with_causes(&error)))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let body = body.map_err(|error| self.away(&with_causes(error.as_ref())))?;
        Ok((head.status, body.to_bytes()))
    }

    /// The vectors in the order of the texts; the answer may have another.
    fn in_order(&self, answer: Answer, texts: usize) -> Result<Vectors> {
        let mut vectors = vec![Vec::new(); texts];
        for Answered { index, embedding } in answer.data {
            if let Some(place) = vectors.get_mut(index) {
                *place = embedding;
            }
        }
        let expected = match self.model.dimensions {
            0 => vectors.first().map_or(0, Vec::len),
            dimensions => dimensions,
        };
        for vector in &vectors {
            if vector.len() != expected || expected == 0 {
                return Err(self.odd(&format!(
                    "vectors differ in length or are missing, expected={expected}, found={}",
                    vector.len()
                )));
            }
        }
        Ok(vectors)
    }

    fn away(&self, reason: &str) -> EmbedError {
        EmbedError::Unavailable(format!(
            "endpoint cannot be asked, url={}, reason={reason}",
            self.uri
        ))
    }

    fn odd(&self, what: &str) -> EmbedError {
        EmbedError::Settings(format!("{what}, url={}", self.uri))
    }

    /// Too many requests and troubles of the server pass; what it says of the
    /// request itself does not.
    fn refused(&self, status: StatusCode, body: &[u8]) -> EmbedError {
        let reason: String = String::from_utf8_lossy(body)
            .chars()
            .take(REASON_MAX)
            .collect();
        let text = format!(
            "endpoint refused, url={}, status={}, answer={reason:?}",
            self.uri,
            status.as_u16()
        );
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                EmbedError::Unavailable(text)
            }
            status if status.is_server_error() => EmbedError::Unavailable(text),
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => EmbedError::Texts(text),
            _ => EmbedError::Settings(text),
        }
    }
}

impl Embedder for Endpoint {
    fn model(&self) -> &Model {
        &self.model
    }

    fn tokens_max(&self) -> usize {
        self.settings.tokens_max
    }

    fn counter(&self) -> &(dyn CountTokens + Sync) {
        &Estimate
    }

    fn embed(&self, texts: Vec<String>, _: Purpose) -> BoxFuture<'_, Result<Vectors>> {
        Box::pin(async move {
            let mut vectors = Vec::with_capacity(texts.len());
            for texts in texts.chunks(TEXTS_MAX) {
                vectors.extend(self.ask(texts).await?);
            }
            Ok(vectors)
        })
    }
}

fn is_this_machine(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

fn client() -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(web::connector(CONNECT_TIMEOUT))
}

#[cfg(test)]
#[path = "endpoint/tests.rs"]
mod tests;
