//! Batches: written and read, and whatever else may lie there.

use proptest::prelude::*;

use super::*;
use crate::sync::row::{Document, DocumentState, Embedding, Model, ModelState, Passage};

fn place() -> BatchPlace {
    BatchPlace {
        user: "ada".parse().expect("a name"),
        epoch: 1,
        device: "laptop".parse().expect("a name"),
        sequence: 7,
    }
}

fn hlc(millis: u64, count: u64) -> Hlc {
    Hlc::of_parts(1_790_000_000_000 + millis, count).expect("it fits")
}

fn written(rows: &Rows) -> Bytes {
    let (bytes, _) = encode(&place(), Hash::of(b"before"), rows).expect("memory");
    bytes
}

/// With another trailer, so that only what is inside is wrong.
fn sealed(body: &[u8]) -> Bytes {
    let hash = Hash::of(body);
    [body, hash.as_bytes()].concat().into()
}

fn rows() -> Rows {
    Rows {
        models: vec![
            Model {
                id: Hash::of(b"minilm"),
                hlc: hlc(0, 3),
                extra: Bytes::new(),
                state: Some(ModelState {
                    name: "minilm".into(),
                    dimensions: 2,
                    metric: "cosine".into(),
                }),
            },
            Model {
                id: Hash::of(b"old"),
                hlc: hlc(0, 4),
                extra: Bytes::from_static(b"later"),
                state: None,
            },
        ],
        documents: vec![
            Document {
                id: [1; 16],
                hlc: hlc(5, 0),
                extra: Bytes::from_static(b"later"),
                state: Some(DocumentState {
                    collection: "notes".into(),
                    source: Some("notes/ä.md".into()),
                    title: None,
                    mime: Some("text/markdown".into()),
                    revision: Hash::of(b"text"),
                    metadata: r#"{"year":2026}"#.into(),
                }),
            },
            Document {
                id: [2; 16],
                hlc: hlc(2, 9),
                extra: Bytes::new(),
                state: None,
            },
        ],
        passages: vec![Passage {
            id: [3; 16],
            hlc: hlc(5, 0),
            extra: Bytes::new(),
            document: [1; 16],
            revision: Hash::of(b"text"),
            position: 0,
            byte_start: 0,
            byte_end: 4,
            text: "text".into(),
        }],
        embeddings: vec![Embedding {
            text: Hash::of(b"text"),
            model: Hash::of(b"minilm"),
            hlc: hlc(40, 1),
            extra: Bytes::new(),
            vector: Bytes::from_static(&[0, 0, 128, 63, 0, 0, 0, 0]),
        }],
    }
}

#[test]
fn a_batch_is_read_back() {
    let rows = rows();
    let bytes = written(&rows);
    let batch = decode(&bytes, &place()).expect("whole");
    assert_eq!(batch.rows, rows);
    assert_eq!(batch.header.place, place());
    assert_eq!(batch.header.previous, Hash::of(b"before"));
    assert_eq!(batch.header.stamps, (hlc(0, 3), hlc(40, 1)));
    assert_eq!(bytes[bytes.len() - 32..], *batch.hash.as_bytes());
}

/// Batches lie in buckets for years: these bytes never change their meaning.
#[test]
fn a_batch_is_written_as_it_always_was() {
    let (_, hash) = encode(&place(), Hash::of(b"before"), &rows()).expect("memory");
    assert_eq!(
        hash.to_string(),
        "12f7b86c8e2e147c36fe1902fc57d64270dd2212f385754bc65c183481af6e25"
    );
}

/// Rows whose columns are long enough to be packed, and vectors whose bytes are
/// grouped.
fn many_rows() -> Rows {
    let mut rows = rows();
    for at in 0..40_u8 {
        let text = format!("passage {at} of a document that was released");
        rows.passages.push(Passage {
            id: [at + 10; 16],
            hlc: hlc(5, u64::from(at)),
            extra: Bytes::new(),
            document: [1; 16],
            revision: Hash::of(b"text"),
            position: u32::from(at) + 1,
            byte_start: u64::from(at) * 50,
            byte_end: u64::from(at) * 50 + 40,
            text: text.clone(),
        });
        let values = (0..16_u8).map(|value| f32::from(at ^ value) / 64.0 - 0.3);
        rows.embeddings.push(Embedding {
            text: Hash::of(text.as_bytes()),
            model: Hash::of(b"of sixteen"),
            hlc: hlc(41, u64::from(at)),
            extra: Bytes::new(),
            vector: values.flat_map(f32::to_le_bytes).collect(),
        });
    }
    rows
}

/// As above, of columns that are packed: another compressor may make other bytes,
/// but these are read as what they were.
#[test]
fn a_released_batch_is_read() {
    let released = Bytes::from_static(include_bytes!("released.batch"));
    let batch = decode(&released, &place()).expect("whole");
    assert_eq!(batch.rows, many_rows());
    let seed = include_bytes!("../../../fuzz/corpus/batch/released");
    assert!(
        released == seed[..],
        "the seed of the fuzz target is another"
    );
}

/// Where there is a key, nothing is taken that whoever keeps the objects could
/// have made.
#[test]
fn a_covered_batch_is_taken_from_its_place_and_with_its_key_only() {
    let key = Key::of([1; 32]);
    let batch = written(&rows());
    let object = place().cover(Some(&key), batch.clone());
    assert!(object.len() <= batch.len() + seal::OVERHEAD);
    let opened = place().uncover(Some(&key), &object);
    assert_eq!(opened.expect("opened"), batch);
    // The same again: an answer that was lost is found in its place.
    assert_eq!(place().cover(Some(&key), batch.clone()), object);
    let elsewhere = BatchPlace {
        sequence: place().sequence + 1,
        ..place()
    };
    let other = Key::of([2; 32]);
    for (place, key, object) in [
        (elsewhere, Some(&key), &object),
        (place(), Some(&other), &object),
        (place(), Some(&key), &batch),
        (place(), None, &object),
    ] {
        let opened = place.uncover(key, object);
        assert!(matches!(opened, Err(BadBatch::Sealed(_))), "{opened:?}");
    }
    assert_eq!(place().uncover(None, &batch), Ok(batch));
    assert_eq!(
        place().object(),
        "knowledge/ada/.sync/log/e1/laptop/0000000000000007.batch"
    );
}

#[test]
fn a_document_that_is_deleted_takes_twenty_bytes() {
    let id = |at: u64| *Hash::of(&at.to_le_bytes()).as_bytes();
    let deleted = |at: u64| Document {
        id: *id(at).first_chunk().expect("16 of 32"),
        hlc: hlc(3 * at, 0),
        extra: Bytes::new(),
        state: None,
    };
    let rows = Rows {
        documents: (0..400).map(deleted).collect(),
        ..Rows::default()
    };
    let bytes = written(&rows);
    assert!(bytes.len() <= 20 * 400, "{} bytes", bytes.len());
    assert_eq!(decode(&bytes, &place()).expect("whole").rows, rows);
}

#[test]
fn a_batch_of_elsewhere_is_not_taken() {
    let bytes = written(&rows());
    let elsewhere: [fn(&mut BatchPlace); 4] = [
        |place| place.user = "bob".parse().expect("a name"),
        |place| place.epoch = 2,
        |place| place.device = "desk".parse().expect("a name"),
        |place| place.sequence = 8,
    ];
    for change in elsewhere {
        let mut place = place();
        change(&mut place);
        let error = decode(&bytes, &place).expect_err("elsewhere");
        assert!(matches!(error, BadBatch::Foreign(_)), "{error}");
    }
}

#[test]
fn a_newer_schema_is_told_and_newer_fields_are_kept() {
    let bytes = written(&rows());
    let body = &bytes[..bytes.len() - 32];
    let with = |at: usize, value: u8| {
        let mut body = body.to_vec();
        body[at] = value;
        decode(&sealed(&body), &place())
    };
    assert_eq!(with(5, 2), Err(BadBatch::Newer { major: 2 }));
    assert_eq!(with(4, 2), Err(BadBatch::Newer { major: 2 }));
    let minor = with(6, 9).expect("known");
    assert_eq!(minor.header.schema.minor, 9);
    assert_eq!(&*minor.rows.documents[0].extra, b"later");
}

#[test]
fn every_cut_and_every_changed_byte_is_noticed() {
    let bytes = written(&rows());
    for length in 0..bytes.len() {
        let error = decode(&bytes.slice(..length), &place()).expect_err("cut");
        assert!(matches!(error, BadBatch::Damaged(_)), "{error}");
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x20;
        let error = decode(&changed.into(), &place()).expect_err("changed");
        assert!(matches!(error, BadBatch::Damaged(_)), "{at}: {error}");
    }
}

#[test]
fn no_more_rows_are_gathered_than_fit() {
    let passage = |length| {
        let mut passage = rows().passages.remove(0);
        passage.text = "x".repeat(length);
        Row::Passage(passage)
    };
    let mut gathered = Gathered::default();
    let mut count = 0;
    while gathered.add(passage(1 << 20)) {
        count += 1;
    }
    assert_eq!(count, 7);
    let bytes = written(&gathered.into_rows());
    assert_eq!(decode(&bytes, &place()).expect("whole").rows.len(), 7);
    // One is always taken, or it would never be sent; such a row is not stored.
    assert!(Gathered::default().add(passage(9 << 20)));
    let mut gathered = Gathered::default();
    let small = || {
        let mut document = rows().documents.remove(1);
        document.hlc = hlc(0, 0);
        Row::Document(document)
    };
    while gathered.add(small()) {}
    assert_eq!(gathered.into_rows().len(), ROWS_MAX);
}

proptest! {
    /// Who can write to the bucket can make the hash fit.
    #[test]
    fn forged_batches_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = written(&rows());
        let mut body = bytes[..bytes.len() - 32].to_vec();
        for (at, value) in changes {
            let at = at.index(body.len());
            body[at] = value;
        }
        let _ = decode(&sealed(&body), &place());
        body.truncate(cut.index(body.len()));
        let _ = decode(&sealed(&body), &place());
    }

    #[test]
    fn any_rows_are_read_back(
        stamps in prop::collection::vec((0..5_u64, 0..3_u64), 1..40),
        texts in prop::collection::vec(".{0,20}", 40),
        extra in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut rows = Rows::default();
        for (at, ((millis, count), text)) in stamps.iter().zip(&texts).enumerate() {
            let (at, hlc) = (u8::try_from(at).expect("few"), hlc(*millis, *count));
            let extra = Bytes::from(extra.clone());
            rows.documents.push(Document {
                id: [at; 16],
                hlc,
                extra: extra.clone(),
                state: (at % 3 > 0).then(|| DocumentState {
                    collection: text.clone(),
                    source: (at % 2 > 0).then(|| text.clone()),
                    title: Some(text.clone()),
                    mime: None,
                    revision: Hash::of(text.as_bytes()),
                    metadata: "{}".into(),
                }),
            });
            rows.passages.push(Passage {
                id: [at; 16],
                hlc,
                extra: extra.clone(),
                document: [at % 4; 16],
                revision: Hash::of(&[at % 4]),
                position: u32::from(at),
                byte_start: u64::from(at),
                byte_end: u64::from(at) + text.len() as u64,
                text: text.clone(),
            });
            rows.embeddings.push(Embedding {
                text: Hash::of(text.as_bytes()),
                model: Hash::of(&[at % 2]),
                hlc,
                extra,
                vector: vec![at; 4 * usize::from(1 + at % 2)].into(),
            });
        }
        let bytes = written(&rows);
        let mut gathered = Gathered::default();
        let all = rows.documents.iter().cloned().map(Row::Document);
        let all = all.chain(rows.passages.iter().cloned().map(Row::Passage));
        let all = all.chain(rows.embeddings.iter().cloned().map(Row::Embedding));
        for row in all {
            prop_assert!(gathered.add(row));
        }
        prop_assert!(bytes.len() <= gathered.size() + 1024);
        prop_assert_eq!(gathered.into_rows(), rows.clone());
        prop_assert_eq!(decode(&bytes, &place()).expect("whole").rows, rows);
    }
}
