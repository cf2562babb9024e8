//! Adding one text that is no file: from the standard input, or the API.

use ginnel_ingest::error::Error;
use ginnel_proto::id::CollectionName;
use ginnel_store::document::{NewDocument, Outcome, Stored};
use ginnel_store::id::DocumentId;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::{AddError, Event, FileOutcome, Summary};
use crate::knowledge::Knowledge;
use crate::knowledge::files;

/// A text to be added.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// Where it goes.
    pub collection: CollectionName,
    /// What it is called by its caller; the same again is the same document.
    pub source: Option<String>,
    /// Which document it replaces, where there is no source.
    pub id: Option<DocumentId>,
    /// In place of the one that the text gives itself.
    pub title: Option<String>,
    /// What kind of text it is, as the name of a file: `a.md`, `.html`.
    pub file_name: String,
    /// Beside what the text says of itself.
    pub metadata: Map<String, Value>,
    /// The text.
    pub bytes: Vec<u8>,
}

impl Knowledge {
    /// As [`Knowledge::add_text`], and tells how it goes as [`Knowledge::add`]
    /// does of a file. Where the text has no source, its document's id is told.
    ///
    /// # Errors
    /// As [`Knowledge::add_text`].
    pub async fn add_text_telling(
        &self,
        text: Text,
        events: &mpsc::Sender<Event>,
    ) -> Result<Summary, AddError> {
        let bytes = text.bytes.len() as u64;
        let source = text.source.clone();
        let _ = events.send(Event::Counted { files: 1, bytes }).await;
        let stored = self.add_text(text).await?;
        let event = Event::File {
            source: source.unwrap_or_else(|| stored.id.to_string()),
            outcome: match stored.outcome {
                Outcome::Added => FileOutcome::Added,
                Outcome::Changed => FileOutcome::Changed,
                Outcome::Unchanged => FileOutcome::Unchanged,
            },
            passages: stored.new_passages as u64,
            reason: None,
        };
        let mut summary = Summary {
            last_change: *self.store.changes().borrow(),
            ..Summary::default()
        };
        summary.count(&event);
        let _ = events.send(event).await;
        Ok(summary)
    }

    /// Reads, cuts and stores a text.
    ///
    /// # Errors
    /// It is no text, or the store does not take it.
    pub async fn add_text(&self, text: Text) -> Result<Stored, AddError> {
        let cutting = self.cutting().await;
        let read = move || document_of(text, &cutting);
        let read = tokio::task::spawn_blocking(read).await;
        let document = read.map_err(|_| AddError::BrokenOff)??;
        Ok(self.store.put(document).await?)
    }
}

fn document_of(text: Text, cutting: &files::Cutting) -> Result<NewDocument, AddError> {
    // The name of the file is ours, and tells nobody anything.
    let named = text.source.as_ref();
    let named = named.map(|source| format!(", source={source:?}"));
    let refused = |error: Error| {
        let named = named.as_deref().unwrap_or_default();
        AddError::Invalid(format!("{}{named}", error.reason()))
    };
    let extracted = files::extract(&text.file_name, &text.bytes).map_err(&refused)?;
    let document = cutting.document(text.collection, text.source, extracted);
    let mut document = document.map_err(&refused)?;
    document.id = text.id;
    document.title = text.title.or(document.title);
    document.metadata.extend(text.metadata);
    Ok(document)
}
