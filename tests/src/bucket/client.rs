//! A client of one bucket: it signs what it is told to ask, and retries
//! nothing, so that a test sees every answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;

use super::sign::{Keys, Slashes, encode};
use crate::wait::in_time;

/// One bucket of an S3 server.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Where the server is.
    pub address: SocketAddr,
    /// Its name.
    pub name: String,
    /// Who asks.
    pub keys: Keys,
    http: Client<HttpConnector, UnsyncBoxBody<Bytes, Infallible>>,
}

impl Bucket {
    /// A bucket, which need not exist.
    #[must_use]
    pub fn new(address: SocketAddr, name: &str, keys: Keys) -> Self {
        Self {
            address,
            name: name.to_owned(),
            keys,
            http: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// The same bucket, at another address.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Self::new(address, &self.name, self.keys.clone())
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Panics
    /// When there is no whole answer.
    pub async fn ask(&self, ask: Ask) -> Answer {
        self.try_ask(ask).await.expect("an answer")
    }

    /// As [`Bucket::ask`], without expecting an answer.
    ///
    /// # Errors
    /// The connection ended first.
    pub async fn try_ask(
        &self,
        ask: Ask,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let response = self.stream(ask).await?;
        let (head, body) = response.into_parts();
        let body = in_time("a whole body", body.collect()).await?.to_bytes();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// Asks, and leaves the answer's body to be read.
    ///
    /// # Errors
    /// The connection ended first.
    pub async fn stream(&self, ask: Ask) -> Result<Response<Incoming>, legacy::Error> {
        let request = self.request(ask);
        in_time("an answer", self.http.request(request)).await
    }

    fn request(&self, ask: Ask) -> Request<UnsyncBoxBody<Bytes, Infallible>> {
        let (address, bucket) = (self.address, encode(&self.name, Slashes::Escape));
        let key = encode(&ask.key, Slashes::Stay);
        let mut query = ask.query;
        query.sort();
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| {
                [name, value]
                    .map(|text| encode(text, Slashes::Escape))
                    .join("=")
            })
            .collect();
        let slash = if key.is_empty() { "" } else { "/" };
        let uri = format!("http://{address}/{bucket}{slash}{key}?{}", query.join("&"));
        let request = Request::builder().method(ask.method);
        let request = request.uri(uri.trim_end_matches('?')).body(ask.body);
        let (mut head, body) = request.expect("valid").into_parts();
        let host = HeaderValue::from_str(&address.to_string());
        head.headers = ask.headers;
        head.headers.insert(HOST, host.expect("plain text"));
        self.keys.sign(&mut head, SystemTime::now());
        if let Some(length) = body.size_hint().exact() {
            head.headers.insert(CONTENT_LENGTH, length.into());
        }
        Request::from_parts(head, body)
    }
}

/// What is asked of a bucket, before it is signed.
#[derive(Debug)]
pub struct Ask {
    method: Method,
    key: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: UnsyncBoxBody<Bytes, Infallible>,
}

impl Ask {
    /// Asks something of a key, or of the bucket if the key is empty.
    #[must_use]
    pub fn new(method: Method, key: &str) -> Self {
        Self {
            method,
            key: key.to_owned(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Full::default().boxed_unsync(),
        }
    }

    /// Asks for an object.
    #[must_use]
    pub fn get(key: &str) -> Self {
        Self::new(Method::GET, key)
    }

    /// Asks for an object to be kept.
    #[must_use]
    pub fn put(key: &str, body: impl Into<Bytes>) -> Self {
        Self::new(Method::PUT, key).body(Full::new(body.into()))
    }

    /// With a parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    /// With a field.
    ///
    /// # Panics
    /// When the field is not valid.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let name: HeaderName = name.parse().expect("a name");
        let value = HeaderValue::from_str(value.as_ref()).expect("a value");
        self.headers.insert(name, value);
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(
        mut self,
        body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static,
    ) -> Self {
        self.body = body.boxed_unsync();
        self
    }
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Whether it did.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// All of the body.
    pub body: Bytes,
}

impl Answer {
    /// The content of the first element of this name in the body, which is
    /// XML: `Code` of an error, `UploadId` of a new upload.
    #[must_use]
    pub fn element(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.body);
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (content, _) = rest.split_once(&format!("</{name}>"))?;
        Some(content.to_owned())
    }

    /// The entity tag, quoted as it came.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn etag(&self) -> String {
        let tag = self.headers.get(ETAG).expect("an entity tag");
        tag.to_str().expect("text").to_owned()
    }
}
