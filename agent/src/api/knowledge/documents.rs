//! Documents: put, get, list, delete.

use ginnel_proto::id::CollectionName;
use ginnel_store::document::{ListRequest, NewVectors, Outcome, Span};
use ginnel_store::id::DocumentId;
use http::{Response, StatusCode, Uri};

use super::query::Query;
use super::view::{DocumentView, Documents, NewDocument, NewPassage, StoredView};
use super::{ApiBody, Problem, invalid, json, missing, models};
use crate::api::answer::full;
use crate::knowledge::Knowledge;
use crate::knowledge::add::Text;

/// Documents of a page if nobody says how many.
const PAGE: usize = 100;

/// `GET /v1/documents`.
pub(super) async fn list(knowledge: &Knowledge, uri: &Uri) -> Result<Response<ApiBody>, Problem> {
    let mut query = Query::of(uri)?;
    let request = ListRequest {
        collection: query.parsed("collection")?,
        source_prefix: query.one("source")?,
        after: query.parsed("after")?.unwrap_or_default(),
        limit: query.parsed("limit")?.unwrap_or(PAGE),
    };
    query.finish()?;
    Ok(json(StatusCode::OK, &page(knowledge, request).await?))
}

/// A page of documents.
pub(crate) async fn page(
    knowledge: &Knowledge,
    request: ListRequest,
) -> Result<Documents, Problem> {
    let limit = request.limit;
    let documents = knowledge.store().documents(request).await?;
    let next = documents.last().filter(|_| documents.len() >= limit.max(1));
    Ok(Documents {
        next: next.map(|last| last.rowid),
        documents: documents.into_iter().map(DocumentView::brief).collect(),
    })
}

/// `GET /v1/documents/ID`.
pub(super) async fn show(
    knowledge: &Knowledge,
    id: DocumentId,
) -> Result<Response<ApiBody>, Problem> {
    let found = knowledge.store().document(id).await?;
    let (document, passages) = found.ok_or_else(|| missing("document", &id))?;
    Ok(json(
        StatusCode::OK,
        &DocumentView::whole(document, &passages),
    ))
}

/// `DELETE /v1/documents/ID`.
pub(super) async fn delete(
    knowledge: &Knowledge,
    id: DocumentId,
) -> Result<Response<ApiBody>, Problem> {
    if !knowledge.store().delete(id).await? {
        return Err(missing("document", &id));
    }
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// `POST /v1/documents` and `PUT /v1/documents/ID`.
pub(super) async fn put(
    knowledge: &Knowledge,
    id: Option<DocumentId>,
    new: NewDocument,
) -> Result<Response<ApiBody>, Problem> {
    if id.is_some() && new.source.is_some() {
        return Err(invalid("a document with a source has the id of its source")
            .hint("send it with POST /v1/documents"));
    }
    let collection = match &new.collection {
        None => super::view::default_collection(),
        Some(name) => CollectionName::parse(name).map_err(|error| invalid(error.to_string()))?,
    };
    let stored = match (new.text.is_empty(), new.passages.is_empty()) {
        (false, true) => knowledge.add_text(text(new, collection, id)?).await?,
        (true, false) => {
            let document = passages(knowledge, new, collection, id).await?;
            knowledge.store().put(document).await?
        }
        _ => return Err(invalid("document has neither or both of text and passages")),
    };
    let status = match stored.outcome {
        Outcome::Added => StatusCode::CREATED,
        Outcome::Changed | Outcome::Unchanged => StatusCode::OK,
    };
    Ok(json(status, &StoredView::from(stored)))
}

/// A document that we cut.
pub(super) fn text(
    new: NewDocument,
    collection: CollectionName,
    id: Option<DocumentId>,
) -> Result<Text, Problem> {
    let file_name = match new.format.as_deref() {
        None | Some("text") => "document.txt",
        Some("markdown") => "document.md",
        Some("html") => "document.html",
        Some("code") => "document.rs",
        Some(other) => {
            return Err(invalid(format!(
                "format is text, markdown, html or code, found={other:?}"
            )));
        }
    };
    Ok(Text {
        collection,
        source: new.source,
        id,
        title: new.title,
        file_name: file_name.to_owned(),
        metadata: new.metadata,
        bytes: new.text.into_bytes(),
    })
}

/// A document that its caller has cut: its text is the passages, an empty line
/// between them.
async fn passages(
    knowledge: &Knowledge,
    new: NewDocument,
    collection: CollectionName,
    id: Option<DocumentId>,
) -> Result<ginnel_store::document::NewDocument, Problem> {
    let model = match &new.model {
        Some(name) => Some(models::find(knowledge, name).await?.id),
        None => None,
    };
    let (mut text, mut spans, mut vectors) = (String::new(), Vec::new(), Vec::new());
    for (
        position,
        NewPassage {
            text: passage,
            vector,
        },
    ) in new.passages.into_iter().enumerate()
    {
        if position > 0 {
            text.push_str("\n\n");
        }
        let start = text.len();
        text.push_str(&passage);
        let end = text.len();
        spans.push(Span { start, end });
        match (vector, model) {
            (Some(vector), Some(_)) => vectors.push(vector),
            (None, None) => {}
            (Some(_), None) => return Err(invalid("vectors come without the name of their model")),
            (None, Some(_)) => {
                return Err(invalid(format!(
                    "passage has no vector, position={position}"
                )));
            }
        }
    }
    Ok(ginnel_store::document::NewDocument {
        collection,
        source: new.source,
        id,
        title: new.title,
        mime: None,
        metadata: new.metadata,
        text,
        passages: spans,
        vectors: model.map(|model| NewVectors { model, vectors }),
    })
}
