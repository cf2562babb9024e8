//! What docs/STORE.md says about reading the file with stock tools, done as it
//! says.

use std::process::Command;

use super::*;

/// The commands of the documentation, each with its continued lines.
fn documented() -> Vec<String> {
    let docs = include_str!("../../../../docs/STORE.md");
    let commands = docs.split("$ sqlite3 -readonly store.db \"").skip(1);
    let queries = commands.map(|rest| rest.split('"').next().expect("a query").to_owned());
    queries.collect()
}

#[tokio::test]
async fn the_documented_queries_find_what_there_is() {
    let world = World::new();
    world.model().await;
    world.put("a.md", &["the tunnel holds", "and more"]).await;
    let gone = world.put("gone.md", &["no tunnel any more"]).await;
    world.store.delete(gone.id).await.expect("deleted");
    world.put("a.md", &["the tunnel still holds"]).await;
    let queries = documented();
    assert_eq!(queries.len(), 3, "{queries:?}");
    for query in queries {
        let needs_new = query.contains("MATCH");
        // The one that is linked reads all of it.
        let connection = rusqlite::Connection::open(world.folder.path().join(crate::FILE_NAME));
        let connection = connection.expect("opened");
        let first: String = connection
            .query_row(&query, [], |row| row.get("source"))
            .expect(&query);
        assert_eq!(first, "a.md", "{query}");

        let stock = Command::new("sqlite3")
            .arg("-readonly")
            .arg(world.folder.path().join(crate::FILE_NAME))
            .arg(&query)
            .output();
        let Ok(stock) = stock else {
            println!("skipped, there is no sqlite3");
            continue;
        };
        let said = String::from_utf8_lossy(&stock.stdout);
        let error = String::from_utf8_lossy(&stock.stderr);
        if needs_new && error.contains("invalid fts5 file format") {
            println!("skipped, sqlite3 is older than 3.42");
            continue;
        }
        assert!(stock.status.success(), "{query}: {error}");
        assert!(said.contains("a.md"), "{query}: {said}");
        assert!(!said.contains("gone.md"), "{query}: {said}");
    }
}
