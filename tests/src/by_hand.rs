//! A device that asks for knowledge and pushes it by hand, also when an agent would
//! not.

use bytes::Bytes;
use ginnel_agent::knowledge::sync::relay::Exchange as _;
use ginnel_blob::hash::Hash;
use ginnel_blob::index::ChunkIndex;
use ginnel_blob::pack::{Codec, record_head};
use ginnel_link::driver::DeviceDriver;
use ginnel_link::link::Priority;
use ginnel_link::stream::Stream;
use ginnel_proto::frame::{self, FrameType};
use ginnel_proto::open::Open;
use ginnel_proto::push::{Offer, PushAnswer, PushRequest};
use http::header::CONTENT_LENGTH;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::artifacts::artifact;
use crate::device::Device;
use crate::lab::Lab;
use crate::wait::promptly;

/// The longest answer that is taken, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// A device without an agent, which is linked.
#[derive(Debug)]
pub struct ByHand {
    driver: DeviceDriver,
}

/// A push that the relay wants.
#[derive(Debug)]
pub struct Begun {
    stream: Stream,
    index: ChunkIndex,
    file: Bytes,
}

impl ByHand {
    /// Joins the lab's relay.
    ///
    /// # Panics
    /// It is refused.
    pub async fn join(lab: &Lab, user: &str, name: &str) -> Self {
        let state = lab.folder.path().join(format!("by-hand-{name}"));
        let device = Device::join(&lab.relay, &state, user, name).await;
        let driver = device.greet().await.expect("welcome");
        Self { driver }
    }

    /// The link, for a test to send on it what it likes.
    #[must_use]
    pub fn driver(&self) -> &DeviceDriver {
        &self.driver
    }

    /// Asks about knowledge. Gives what the relay answers, null for nothing.
    ///
    /// # Panics
    /// There is no answer, or it is not JSON.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(body) = &body {
            request = request.header(CONTENT_LENGTH, body.len());
        }
        let request = request.body(body).expect("a request");
        let answer = self.driver.link().exchange(request, ANSWER_MAX);
        let answer = promptly("an answer", answer).await.expect("an answer");
        let said = match answer.body().is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(answer.body()).expect("JSON"),
        };
        (answer.status(), said)
    }

    /// Begins to push a database, which the relay has to want.
    ///
    /// # Errors
    /// What it says otherwise.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn begin_push(&self, file: &[u8]) -> Result<Begun, PushAnswer> {
        let size = file.len() as u64;
        let index = ChunkIndex::build(&mut &*file, size, None, |_| {
            std::ops::ControlFlow::Continue(())
        });
        let index = index.expect("an index");
        let offer = Offer {
            artifact: artifact("knowledge/~/embeddings.db"),
            blob: *index.blob().as_bytes(),
            size,
            index_length: u32::try_from(index.encode().len()).expect("short"),
            bases: Vec::new(),
            resume: None,
        };
        let opened = self.driver.link().open(Priority::Bulk).await;
        let mut stream = opened.expect("opened");
        let encoded = index.encode();
        let mut sent = [
            frame::whole(FrameType::Open, &Open::Push.encode()),
            frame::whole(FrameType::Message, &PushRequest::Offer(offer).encode()),
            frame::data_header(encoded.len()),
            encoded,
        ];
        // The relay may have heard enough.
        let _ = stream.send.send(&mut sent).await;
        match next(&mut stream).await {
            PushAnswer::Want(_) => Ok(Begun {
                stream,
                index,
                file: Bytes::copy_from_slice(file),
            }),
            answer @ (PushAnswer::Published { .. }
            | PushAnswer::Stored { .. }
            | PushAnswer::Declined { .. }) => Err(answer),
        }
    }

    /// Pushes a database. Gives what the relay says at the end.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn push(&self, file: &[u8]) -> PushAnswer {
        match self.begin_push(file).await {
            Ok(begun) => begun.finish().await,
            Err(answer) => answer,
        }
    }

    /// Publishes a database in an epoch: lease, push, manifest. Gives what became of
    /// the last.
    ///
    /// # Panics
    /// It cannot be pushed.
    pub async fn publish(&self, epoch: u64, file: &[u8]) -> (StatusCode, Value) {
        let path = format!("/lease/{epoch}");
        let (status, said) = self.ask(Method::POST, &path, None).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        let answer = self.push(file).await;
        let PushAnswer::Published { etag, .. } = answer else {
            panic!("it is not pushed: {answer:?}");
        };
        let snapshot = json!({
            "blob": Hash::of(file).to_string(), "size": file.len(), "etag": etag,
            "schema": 1, "read": {},
        });
        let path = format!("/manifest/{epoch}");
        let body = snapshot.to_string().into();
        self.ask(Method::PUT, &path, Some(body)).await
    }
}

impl Begun {
    /// Sends all of it. Gives what the relay says at the end.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn finish(mut self) -> PushAnswer {
        for chunk in self.index.chunks() {
            let place = ginnel_blob::plan::place(chunk).expect("small");
            let bytes = self.file.get(place).expect("within");
            let length = u32::try_from(bytes.len()).expect("short");
            let mut record = record_head(Codec::Raw, length).to_vec();
            record.extend_from_slice(bytes);
            let mut sent = [frame::data_header(record.len()), record.into()];
            // The relay may have heard enough.
            if self.stream.send.send(&mut sent).await.is_err() {
                break;
            }
        }
        self.stream.send.finish();
        loop {
            match next(&mut self.stream).await {
                PushAnswer::Stored { .. } => {}
                answer @ (PushAnswer::Want(_)
                | PushAnswer::Published { .. }
                | PushAnswer::Declined { .. }) => return answer,
            }
        }
    }
}

async fn next(stream: &mut Stream) -> PushAnswer {
    let message = stream.recv.expect(FrameType::Message, "MSG");
    let payload = promptly("an answer", message).await.expect("a message");
    PushAnswer::decode(payload).expect("an answer")
}
