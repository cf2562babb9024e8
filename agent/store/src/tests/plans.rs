//! How SQLite finds the rows that a change touches.

use super::World;
use crate::document::words::{INDEX_NEW, INDEX_SOME};
use crate::embedding::MISSING_OF_CHANGES;
use crate::{filter, rows};

/// Else each change takes longer the more there is.
#[tokio::test]
async fn what_follows_a_change_goes_through_no_table() {
    let world = World::new();
    for sql in [
        INDEX_NEW,
        INDEX_SOME,
        MISSING_OF_CHANGES,
        rows::TOUCHED,
        filter::kept::TOUCHED,
    ] {
        let plan = move |connection: &rusqlite::Connection| {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let mut rows = explain.raw_query();
            let mut steps = Vec::<String>::new();
            while let Some(row) = rows.next()? {
                steps.push(row.get(3)?);
            }
            Ok(steps)
        };
        let steps = world.store.inner.readers.run(plan).await.expect("planned");
        assert!(steps.iter().any(|it| it.starts_with("SEARCH")), "{steps:?}");
        for step in &steps {
            let through = ["passage", "document", "embedding", "change", "live"]
                .iter()
                .any(|table| step == &format!("SCAN {table}"));
            let from = step.contains("(rowid>?)") && !step.starts_with("SEARCH unindexed");
            let between = step.starts_with("SEARCH change");
            assert!(!through && (!from || between), "{step} of {steps:#?}");
        }
    }
}
