//! The rows that a user's devices share, and which of two states of a row
//! stays: the one with the greater stamp.
//!
//! A *document* is one register: its row says what it is, or that it is deleted.
//! Whoever writes a document writes all of its *passages* with the same stamp.
//! So a passage needs no tombstone: one that is older than its document's row is
//! dead, and stays dead. *Embeddings* are what a model made of a text: they count
//! while a passage has the text, and end with their model.

use std::cmp::Ordering;

use bytes::Bytes;
use ginnel_blob::hash::Hash;

use super::hlc::Hlc;
use crate::id::DeviceName;

/// What a document or a passage is called.
pub type Id = [u8; 16];

/// When a row was changed, and by which device. No two changes have the same,
/// and the greater one stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// When.
    pub hlc: Hlc,
    /// By which device; decides where two stamped at once.
    pub origin: DeviceName,
}

/// What later versions of Ginnel know of a row: fields, each a number, a length
/// and bytes. Who does not know them keeps them and sends them on.
pub type Extra = Bytes;

/// A document: what it is, or nothing if it is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Which.
    pub id: Id,
    /// When it was changed.
    pub hlc: Hlc,
    /// See [`Extra`].
    pub extra: Extra,
    /// `None`: it is deleted.
    pub state: Option<DocumentState>,
}

/// What a document is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentState {
    /// The set it belongs to.
    pub collection: String,
    /// Where it comes from.
    pub source: Option<String>,
    /// What people call it.
    pub title: Option<String>,
    /// The type of what it was made from.
    pub mime: Option<String>,
    /// BLAKE3 of its text: the revision.
    pub revision: Hash,
    /// A JSON object.
    pub metadata: String,
}

/// A part of a document's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Which.
    pub id: Id,
    /// When it was written: the stamp of its document's revision.
    pub hlc: Hlc,
    /// See [`Extra`].
    pub extra: Extra,
    /// The document it is of.
    pub document: Id,
    /// The revision it was cut for.
    pub revision: Hash,
    /// 0, 1, … in the document.
    pub position: u32,
    /// Its first byte in the document's text.
    pub byte_start: u64,
    /// The byte after its last.
    pub byte_end: u64,
    /// That part of the text.
    pub text: String,
}

/// The vector of a text by a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedding {
    /// BLAKE3 of the text.
    pub text: Hash,
    /// Which model.
    pub model: Hash,
    /// When it was made.
    pub hlc: Hlc,
    /// See [`Extra`].
    pub extra: Extra,
    /// 32-bit floats, little-endian.
    pub vector: Bytes,
}

/// A model: what it is, or nothing if it is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// All that decides its vectors.
    pub id: Hash,
    /// When it was changed.
    pub hlc: Hlc,
    /// See [`Extra`].
    pub extra: Extra,
    /// `None`: it is deleted, and its embeddings with it.
    pub state: Option<ModelState>,
}

/// What a model is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelState {
    /// What people call it.
    pub name: String,
    /// Values of a vector.
    pub dimensions: u32,
    /// What near means: cosine, dot or euclidean.
    pub metric: String,
}

/// A row of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A model.
    Model(Model),
    /// A document.
    Document(Document),
    /// A passage.
    Passage(Passage),
    /// An embedding.
    Embedding(Embedding),
}

/// Rows of all four kinds, changed by one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// Models.
    pub models: Vec<Model>,
    /// Documents.
    pub documents: Vec<Document>,
    /// Passages.
    pub passages: Vec<Passage>,
    /// Embeddings.
    pub embeddings: Vec<Embedding>,
}

impl Rows {
    /// Adds one.
    pub fn push(&mut self, row: Row) {
        match row {
            Row::Model(row) => self.models.push(row),
            Row::Document(row) => self.documents.push(row),
            Row::Passage(row) => self.passages.push(row),
            Row::Embedding(row) => self.embeddings.push(row),
        }
    }

    /// Those that were changed until a time, milliseconds since 1970.
    #[must_use]
    pub fn until(mut self, unix_ms: u64) -> Self {
        let is_until = |hlc: &Hlc| hlc.millis() <= unix_ms;
        self.models.retain(|row| is_until(&row.hlc));
        self.documents.retain(|row| is_until(&row.hlc));
        self.passages.retain(|row| is_until(&row.hlc));
        self.embeddings.retain(|row| is_until(&row.hlc));
        self
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.models.len() + self.documents.len() + self.passages.len() + self.embeddings.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The earliest and the latest stamp; `None` if there are no rows.
    #[must_use]
    pub fn stamps(&self) -> Option<(Hlc, Hlc)> {
        let models = self.models.iter().map(|row| row.hlc);
        let documents = self.documents.iter().map(|row| row.hlc);
        let passages = self.passages.iter().map(|row| row.hlc);
        let embeddings = self.embeddings.iter().map(|row| row.hlc);
        let all = models.chain(documents).chain(passages).chain(embeddings);
        all.fold(None, |range, hlc| match range {
            None => Some((hlc, hlc)),
            Some((first, last)) => Some((hlc.min(first), hlc.max(last))),
        })
    }
}

/// A state of a row, with its stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped<T> {
    /// When and by whom.
    pub stamp: Stamp,
    /// The state.
    pub state: T,
}

/// Which of two states of a row stays. Commutative, associative and idempotent:
/// devices that have seen the same states have the same one, in whatever order
/// and however often they came. A store that compares rows in its database does so
/// in the same way, and is held to this by a test.
///
/// Two states with one stamp are of a device that is not what it was, such as a
/// restored copy; then the greater content stays, so that all agree all the
/// same.
pub fn merge<T: Ord>(one: Stamped<T>, other: Stamped<T>) -> Stamped<T> {
    let order = one.stamp.cmp(&other.stamp);
    match order.then_with(|| one.state.cmp(&other.state)) {
        Ordering::Less => other,
        Ordering::Equal | Ordering::Greater => one,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamped() -> impl Strategy<Value = Stamped<u8>> {
        // Few of each, so that stamps and contents meet.
        (0..4_i64, 0..3_u8, 0..3_u8).prop_map(|(hlc, origin, state)| Stamped {
            stamp: stamp(hlc, origin),
            state,
        })
    }

    fn stamp(hlc: i64, origin: u8) -> Stamp {
        Stamp {
            hlc: Hlc::from_stored(hlc).expect("not negative"),
            origin: format!("d{origin}").parse().expect("a name"),
        }
    }

    #[test]
    fn the_later_one_stays() {
        let (old, new) = (stamp(1, 0), stamp(2, 0));
        let old = Stamped {
            stamp: old,
            state: "old",
        };
        let new = Stamped {
            stamp: new,
            state: "new",
        };
        assert_eq!(merge(old.clone(), new.clone()), new);
        assert_eq!(merge(new.clone(), old), new);
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(a in stamped(), b in stamped(), c in stamped()) {
            prop_assert_eq!(merge(a.clone(), b.clone()), merge(b.clone(), a.clone()));
            let left = merge(merge(a.clone(), b.clone()), c.clone());
            let right = merge(a.clone(), merge(b, c));
            prop_assert_eq!(left, right);
            prop_assert_eq!(merge(a.clone(), a.clone()), a);
        }
    }
}
