//! `POST /v1/add`: reads a folder of this machine, or a text, and tells how it
//! goes, a line of JSON for each event. It ends when its caller goes.

use std::io;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use ginnel_ingest::walk::Rules;
use ginnel_proto::id::CollectionName;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde::Serialize;
use tokio::sync::mpsc;

use super::view::{self, default_collection};
use super::{ApiBody, Problem, documents, invalid};
use crate::api::answer::BoxError;
use crate::knowledge::Knowledge;
use crate::knowledge::add::{AddError, AddRequest, Event, Summary, Text};

/// Events that wait for their reader; a slow one slows the reading down.
const EVENTS: usize = 64;

/// What is to be added, checked as far as can be without reading it.
#[derive(Debug)]
pub(crate) struct Adding {
    knowledge: Knowledge,
    what: What,
    watch: bool,
    wait: bool,
}

#[derive(Debug)]
enum What {
    Files(AddRequest),
    Text(Text),
}

/// Checks what is asked.
///
/// # Errors
/// The path is not absolute or not there, or a name is none.
pub(crate) fn add(knowledge: Knowledge, asked: view::AddRequest) -> Result<Adding, Problem> {
    Ok(Adding {
        knowledge,
        watch: asked.watch,
        wait: !asked.no_wait,
        what: match asked.text {
            None => What::Files(request(asked)?),
            Some(_) => What::Text(text(asked)?),
        },
    })
}

impl Adding {
    /// Adds, and tells everything, the end last.
    async fn tell(self, events: mpsc::Sender<Event>) {
        let last = match self.add(&events).await {
            Ok(summary) => Event::Done(summary),
            Err(error) => Event::Failed {
                message: error.to_string(),
            },
        };
        let _ = events.send(last).await;
    }

    async fn add(self, events: &mpsc::Sender<Event>) -> Result<Summary, AddError> {
        let knowledge = self.knowledge;
        match (self.what, self.watch, self.wait) {
            (What::Files(files), true, _) => match knowledge.add_and_watch(&files, events).await {
                Err(error) => Err(error),
            },
            (What::Files(files), false, true) => knowledge.add_and_embed(&files, events).await,
            (What::Files(files), false, false) => knowledge.add(&files, events).await,
            (What::Text(text), _, true) => knowledge.add_text_and_embed(text, events).await,
            (What::Text(text), _, false) => knowledge.add_text_telling(text, events).await,
        }
    }

    /// Adds, and calls `each` with every event.
    ///
    /// # Errors
    /// What `each` fails with.
    pub(crate) async fn run(
        self,
        mut each: impl FnMut(Event) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        let (events, mut told) = mpsc::channel(EVENTS);
        let listen = async {
            while let Some(event) = told.recv().await {
                each(event)?;
            }
            Ok(())
        };
        let ((), listened) = tokio::join!(self.tell(events), listen);
        listened
    }

    /// Adds while the answer is read.
    pub(super) fn into_response(self) -> Response<ApiBody> {
        let (events, told) = mpsc::channel(EVENTS);
        let mut response = Response::new(lines(told, self.tell(events)));
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-ndjson"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

fn request(asked: view::AddRequest) -> Result<AddRequest, Problem> {
    let path = PathBuf::from(&asked.path);
    if !path.is_absolute() {
        return Err(invalid(format!(
            "path is not absolute, path={:?}",
            asked.path
        )));
    }
    let path = plain(&path).ok().filter(|path| path.exists());
    let path = path.ok_or_else(|| {
        let message = format!("there is no such file or folder, path={:?}", asked.path);
        invalid(message)
    })?;
    Ok(AddRequest {
        path,
        collection: collection(asked.collection.as_deref())?,
        name: asked.name,
        rules: Rules {
            with_hidden: asked.hidden,
            with_ignored: asked.ignored,
            follow_links: asked.follow_links,
            ..Rules::default()
        },
        vectors: asked.vectors,
    })
}

fn text(asked: view::AddRequest) -> Result<Text, Problem> {
    if !asked.path.is_empty() || asked.watch || asked.vectors.is_some() {
        let message = "a text comes without path, watch and vectors";
        return Err(invalid(message));
    }
    let collection = collection(asked.collection.as_deref())?;
    let new = view::NewDocument {
        source: asked.name,
        title: asked.title,
        format: asked.format,
        text: asked.text.unwrap_or_default(),
        ..view::NewDocument::default()
    };
    documents::text(new, collection, None)
}

fn collection(name: Option<&str>) -> Result<CollectionName, Problem> {
    match name {
        None => Ok(default_collection()),
        Some(name) => CollectionName::parse(name).map_err(|error| invalid(error.to_string())),
    }
}

/// The path without `.`, `..` and a slash at its end.
fn plain(path: &Path) -> io::Result<PathBuf> {
    match path.components().any(|part| part == Component::ParentDir) {
        // What is above a link is not what stands before it.
        true => path.canonicalize(),
        false => Ok(path.components().collect()),
    }
}

/// A body of what is told while the work goes on. Dropping it ends the work.
pub(super) fn lines<T: Serialize + Send + 'static>(
    told: mpsc::Receiver<T>,
    work: impl Future<Output = ()> + Send + 'static,
) -> ApiBody {
    let told = stream::unfold(told, |mut told| async { Some((told.recv().await?, told)) });
    let told = told.map(|event| {
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        Ok::<_, BoxError>(Frame::data(Bytes::from(line)))
    });
    let work = stream::once(work).filter_map(|()| async { None });
    StreamBody::new(stream::select(told, work)).boxed_unsync()
}
