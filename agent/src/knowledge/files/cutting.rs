//! How a text becomes a document with passages: by the model that will embed
//! them.

use std::sync::Arc;

use ginnel_ingest::cut::{CountTokens, Estimate, Limits, cut};
use ginnel_ingest::document::Extracted;
use ginnel_ingest::error::{Error, ErrorKind};
use ginnel_proto::id::CollectionName;
use ginnel_store::document::{NewDocument, Span};

use crate::embed::Embedder;

/// How long passages may be, and who counts.
#[derive(Debug, Clone, Default)]
pub(in crate::knowledge) struct Cutting {
    model: Option<Arc<dyn Embedder>>,
}

impl Cutting {
    pub(in crate::knowledge) fn for_model(embedder: Arc<dyn Embedder>) -> Self {
        Self {
            model: Some(embedder),
        }
    }

    /// A document with its passages.
    pub(in crate::knowledge) fn document(
        &self,
        collection: CollectionName,
        source: Option<String>,
        extracted: Extracted,
    ) -> Result<NewDocument, Error> {
        let passages = cut(
            &extracted.text,
            &extracted.blocks,
            self.counter(),
            self.limits(),
        );
        let passages = passages
            .map_err(|error| Error::new(ErrorKind::TooLarge, error.to_string()))?
            .into_iter()
            .map(|passage| Span {
                start: passage.byte_start,
                end: passage.byte_end,
            });
        Ok(NewDocument {
            collection,
            source,
            id: None,
            title: extracted.title,
            mime: Some(extracted.mime.to_owned()),
            metadata: extracted.metadata,
            passages: passages.collect(),
            text: extracted.text,
            vectors: None,
        })
    }

    /// The longest passage, in tokens.
    pub(super) fn tokens_max(&self) -> u32 {
        u32::try_from(self.limits().tokens_max).unwrap_or(u32::MAX)
    }

    fn limits(&self) -> Limits {
        let default = Limits::default();
        match &self.model {
            None => default,
            Some(model) => Limits {
                tokens_max: model.tokens_max(),
                overlap_tokens: default.overlap_tokens.min(model.tokens_max() / 8),
            },
        }
    }

    fn counter(&self) -> &dyn CountTokens {
        match &self.model {
            None => &Estimate,
            Some(model) => model.counter(),
        }
    }
}
