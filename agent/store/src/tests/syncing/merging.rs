//! What the store keeps of rows that come in any order, and more than once, is what
//! `merge` of the protocol says.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use ginnel_proto::sync::extra::with_floor;
use ginnel_proto::sync::hlc::Hlc;
use ginnel_proto::sync::row::{
    Document, DocumentState, Embedding, Model, ModelState, Passage, Row, Rows, Stamp, Stamped,
    merge,
};

use super::*;

/// A row of a device. Few of each, so that stamps and contents meet.
fn row() -> impl Strategy<Value = (u8, Row)> {
    let parts = (0..4_u8, 0..2_u8, 0..3_u64, 0..3_u8, 0..4_u8, 0..3_u8);
    parts.prop_map(|(kind, id, millis, origin, content, extra)| {
        let hlc = Hlc::of_parts(NOW - 1_000 + millis, 0).expect("it fits");
        let extra = match extra {
            0 => Bytes::new(),
            // A field that nobody knows: its number, its length, a byte.
            known => Bytes::from(vec![9, 1, known]),
        };
        (origin, of_kind(kind, id, hlc, content, extra))
    })
}

fn of_kind(kind: u8, id: u8, hlc: Hlc, content: u8, extra: Bytes) -> Row {
    let text = format!("content {content}");
    let hash = Hash::of(text.as_bytes());
    // Nothing, and what is empty, are not the same.
    let label = [
        None,
        Some(String::new()),
        Some("a".into()),
        Some("b".into()),
    ];
    let label = label[usize::from(content)].clone();
    match kind {
        0 => Row::Document(Document {
            id: [id; 16],
            hlc,
            extra,
            state: (content > 0).then(|| DocumentState {
                collection: "notes".into(),
                source: label.clone(),
                title: label,
                mime: None,
                revision: Hash::of(b"the same"),
                metadata: "{}".into(),
            }),
        }),
        1 => Row::Passage(Passage {
            // Its document is not known, so nothing says that it is dead.
            id: [id; 16],
            hlc,
            extra,
            document: [100 + id; 16],
            revision: hash,
            position: 0,
            byte_start: 0,
            byte_end: 9,
            text,
        }),
        2 => Row::Embedding(Embedding {
            text: Hash::of(&[id]),
            model: Hash::of(b"a model that is not known"),
            hlc,
            extra,
            vector: Bytes::from(vec![content, 0, 0, 0]),
        }),
        _ => Row::Model(Model {
            id: Hash::of(&[id]),
            hlc,
            extra,
            state: (content > 0).then(|| ModelState {
                name: text,
                dimensions: 4,
                metric: "cosine".into(),
            }),
        }),
    }
}

/// What decides between two rows of one stamp, and what is stored.
type State = (bool, Vec<Option<Vec<u8>>>, Vec<u8>);

fn state(row: &Row) -> (String, Hlc, State) {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let label = |label: &Option<String>| label.as_deref().map(|it| it.as_bytes().to_vec());
    match row {
        Row::Document(it) => {
            let columns = it.state.as_ref().map_or_else(Vec::new, |state| {
                vec![label(&state.source), label(&state.title)]
            });
            let state = (it.state.is_none(), columns, it.extra.to_vec());
            (format!("document {:?}", it.id), it.hlc, state)
        }
        Row::Passage(it) => {
            let columns = vec![Some(it.revision.as_bytes().to_vec()), text(&it.text)];
            let state = (false, columns, it.extra.to_vec());
            (format!("passage {:?}", it.id), it.hlc, state)
        }
        Row::Embedding(it) => {
            let state = (false, vec![Some(it.vector.to_vec())], it.extra.to_vec());
            (format!("embedding {:?}", it.text), it.hlc, state)
        }
        Row::Model(it) => {
            let columns = it
                .state
                .as_ref()
                .map_or_else(Vec::new, |it| vec![text(&it.name)]);
            let state = (it.state.is_none(), columns, it.extra.to_vec());
            (format!("model {:?}", it.id), it.hlc, state)
        }
    }
}

/// What `merge` makes of them, and in models the latest deletion.
fn merged(rows: &[(u8, Row)]) -> BTreeMap<String, Stamped<State>> {
    let mut all = BTreeMap::<String, Stamped<State>>::new();
    let mut floors = BTreeMap::<String, Hlc>::new();
    for (origin, row) in rows {
        let (key, hlc, state) = state(row);
        if matches!(row, Row::Model(Model { state: None, .. })) {
            let floor = floors.entry(key.clone()).or_default();
            *floor = hlc.max(*floor);
        }
        let origin = device(*origin);
        let stamp = Stamp { hlc, origin };
        let new = Stamped { stamp, state };
        let stays = match all.remove(&key) {
            Some(known) => merge(known, new),
            None => new,
        };
        all.insert(key, stays);
    }
    for (key, floor) in floors {
        if let Some(Stamped { state, .. }) = all.get_mut(&key) {
            state.2 = with_floor(&state.2, floor);
        }
    }
    all
}

fn device(origin: u8) -> DeviceName {
    format!("d{origin}").parse().expect("a name")
}

/// What a store has.
fn stored(at: &Device) -> BTreeMap<String, Stamped<State>> {
    let path = at.store.folder().join(crate::FILE_NAME);
    let connection = rusqlite::Connection::open(path).expect("opened");
    let mut all = BTreeMap::new();
    for (table, key, columns) in [
        ("document", "id", &["source", "title"][..]),
        ("passage", "id", &["revision", "text"]),
        ("embedding", "text_hash", &["vector"]),
        ("model", "id", &["name"]),
    ] {
        let sql = format!("SELECT * FROM {table}");
        let mut find = connection.prepare(&sql).expect("valid");
        let mut rows = find.query([]).expect("read");
        while let Some(row) = rows.next().expect("read") {
            let bytes = |column: &str| -> Option<Vec<u8>> {
                let value = row.get_ref(column).expect("there");
                let bytes = value.as_bytes_or_null().expect("bytes");
                bytes.map(<[u8]>::to_vec)
            };
            let id = bytes(key).expect("an id");
            let id: &dyn Debug = match id.len() {
                16 => &<[u8; 16]>::try_from(id).expect("16"),
                _ => &Hash::from_bytes(id.try_into().expect("32")),
            };
            let is_deleted: bool = row.get("deleted").expect("there");
            let columns = columns.iter().map(|column| bytes(column));
            let columns = if is_deleted {
                Vec::new()
            } else {
                columns.collect()
            };
            let origin: String = row.get("origin").expect("there");
            let stamp = Stamp {
                hlc: Hlc::from_stored(row.get("hlc").expect("there")).expect("a stamp"),
                origin: origin.parse().expect("a name"),
            };
            let extra = bytes("extra").unwrap_or_default();
            let state = (is_deleted, columns, extra);
            all.insert(format!("{table} {id:?}"), Stamped { stamp, state });
        }
    }
    all
}

async fn apply(at: &Device, rows: &[(u8, Row)]) {
    for (sequence, (origin, row)) in rows.iter().enumerate() {
        let place = BatchPlace {
            user: "ada".parse().expect("a name"),
            epoch: 1,
            device: device(*origin),
            sequence: sequence as u64 + 1,
        };
        let mut one = Rows::default();
        one.push(row.clone());
        let (bytes, _) = batch::encode(&place, Hash::from_bytes([0; 32]), &one).expect("memory");
        let batch = batch::decode(&bytes, &place).expect("whole");
        at.store.apply(batch).await.expect("applied");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_store_keeps_what_merge_says(
        rows in proptest::collection::vec(row(), 1..24),
        again in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        futures(async {
            let expected = merged(&rows);
            let (one, other) = (Device::new("one").await, Device::new("other").await);
            apply(&one, &rows).await;
            assert_eq!(stored(&one), expected);
            // The last first, and some of them again.
            let mut backwards: Vec<_> = rows.iter().rev().cloned().collect();
            backwards.extend(again.iter().map(|at| at.get(&rows).clone()));
            apply(&other, &backwards).await;
            assert_eq!(stored(&other), expected);
        });
    }
}

/// Fields that this version does not know stay with the row, and are sent on by
/// whoever edits it.
#[tokio::test]
async fn what_a_newer_version_said_is_sent_on() {
    let desk = Device::new("desk").await;
    let mut lap = Device::new("lap").await;
    lap.model().await;
    let id = desk_document();
    let extra = Bytes::from_static(&[9, 3, 1, 2, 3]);
    let Row::Document(mut document) = of_kind(
        0,
        1,
        Hlc::of_parts(NOW - 5, 0).expect("it fits"),
        2,
        extra.clone(),
    ) else {
        panic!("a document");
    };
    document.id = *id.as_bytes();
    apply(&lap, &[(7, Row::Document(document.clone()))]).await;
    lap.put("notes.md", &["edited here"]).await;
    lap.send().await;
    let sent = |at: &Device| -> Vec<Document> {
        let rows = at.log.iter().flat_map(|batch| batch.rows.documents.clone());
        rows.filter(|row| row.id == document.id).collect()
    };
    let [row] = &sent(&lap)[..] else {
        panic!("{:?}", sent(&lap));
    };
    assert!(
        row.hlc > document.hlc && row.state != document.state,
        "{row:?}"
    );
    assert_eq!(row.extra, extra);
    // Who reads it has them, and who begins with what is published.
    desk.read(&lap).await;
    let path = published::published(&lap);
    lap.store
        .write_published(path.clone())
        .await
        .expect("written");
    let phone = Device::new("phone").await;
    phone.store.take_over(path).await.expect("taken over");
    for at in [&desk, &phone] {
        let kept = stored(at).remove(&format!("document {:?}", document.id));
        assert_eq!(kept.expect("known").state.2, extra, "{}", at.name);
    }
    // They may be a part of what is deleted.
    lap.store.delete(id).await.expect("deleted");
    lap.send().await;
    let last = sent(&lap).pop().expect("deleted");
    assert_eq!((last.state, last.extra), (None, Bytes::new()));
}

fn desk_document() -> DocumentId {
    DocumentId::of_source("notes", "notes.md")
}
