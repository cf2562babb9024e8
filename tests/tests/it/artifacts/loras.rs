//! Adapters in the relay's registry.

use ginnel_agent::sync::Changes;
use ginnel_agent::sync::failure::Failure;
use ginnel_store::transfer::State;
use ginnel_tests::artifacts::{Mover, artifact, safetensors};
use ginnel_tests::lab::Lab;
use http::Method;
use serde_json::{Value, json};

use super::{assert_done, object};

/// Asks the relay about adapters.
async fn ask(
    mover: &Mover,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Value, Failure> {
    let body = body.map(|body| body.to_string().into());
    mover.sync.catalog()?.loras(method, path, body).await
}

fn described() -> Value {
    json!({
        "name": "SQL helper", "domain": "sql", "base_model": "phi-3-mini", "version": "1.0",
        "is_public": true, "readme": "# SQL helper\n", "price_cents": 250,
    })
}

fn assert_refused(answer: Result<Value, Failure>, says: &str) {
    let failure = answer.expect_err(says);
    assert!(failure.reason.contains(says), "{failure}");
}

#[tokio::test]
async fn adapters_are_described_found_pulled_counted_and_rated() {
    let lab = Lab::start().await;
    let alice = Mover::of(&lab.agent).await;
    let other = lab.another_agent("bob", "bobs").await;
    let bob = Mover::of(&other).await;

    let early = ask(&alice, Method::PUT, "/sql", Some(described())).await;
    assert_refused(early, "push the adapter first");
    let adapter = safetensors("", &[(1, 50_000)]);
    alice.write("loras/sql", &adapter);
    assert_done(&alice.push("loras/sql").await);
    let hidden = bob.sync.pull(artifact("loras/sql"), Changes::Keep).await;
    assert!(hidden.is_err(), "private until its owner says otherwise");

    let shown = ask(&alice, Method::PUT, "/sql", Some(described())).await;
    assert_eq!(shown.expect("described")["downloads"], 0);
    assert_eq!(object(&lab, "loras/sql/README.md"), b"# SQL helper\n");
    let metadata: Value =
        serde_json::from_slice(&object(&lab, "loras/sql/metadata.json")).expect("JSON");
    assert_eq!(metadata["r2_key"], "loras/sql/adapter.safetensors");
    assert_eq!(metadata["size"], adapter.len());
    assert_eq!(metadata["price_cents"], 250);

    // A newer version is what the metadata is of, too.
    let first = adapter;
    let adapter = safetensors("", &[(2, 60_000)]);
    assert_ne!(first.len(), adapter.len());
    alice.write("loras/sql", &adapter);
    assert_done(&alice.push("loras/sql").await);
    let metadata: Value =
        serde_json::from_slice(&object(&lab, "loras/sql/metadata.json")).expect("JSON");
    assert_eq!(metadata["size"], adapter.len());
    assert_eq!(metadata["price_cents"], 250);

    // Bob finds it, pulls it twice, and rates it twice.
    let all = ask(&bob, Method::GET, "", None).await.expect("listed");
    assert_eq!(all["loras"][0]["id"], "sql", "{all}");
    assert_eq!(all["loras"][0]["mine"], false);
    for _ in 0..2 {
        assert_done(&bob.pull("loras/sql").await);
    }
    assert_eq!(bob.read("loras/sql"), adapter);
    let stars = |stars: u8| Some(json!({ "stars": stars }));
    ask(&bob, Method::POST, "/sql/rating", stars(1))
        .await
        .expect("rated");
    let rated = ask(&bob, Method::POST, "/sql/rating", stars(4))
        .await
        .expect("again");
    assert_eq!(
        (&rated["downloads"], &rated["rating"]),
        (&json!(1), &json!(4.0))
    );
    // What its owner pulls is no download.
    let another = lab.another_agent("alice", "desktop").await;
    assert_done(&Mover::of(&another).await.pull("loras/sql").await);
    let shown = ask(&alice, Method::GET, "/sql", None).await.expect("shown");
    assert_eq!(shown["downloads"], 1);

    assert_refused(
        ask(&alice, Method::POST, "/sql/rating", stars(5)).await,
        "owner cannot rate",
    );
    assert_refused(
        ask(&bob, Method::POST, "/sql/rating", stars(6)).await,
        "1 to 5",
    );
    assert_refused(
        ask(&bob, Method::PUT, "/sql", Some(described())).await,
        "another user",
    );
    let mut long = described();
    long["name"] = json!("x".repeat(201));
    assert_refused(
        ask(&alice, Method::PUT, "/sql", Some(long)).await,
        "name is no line",
    );
    let mut unknown = described();
    unknown["owner"] = json!("bob");
    assert_refused(
        ask(&alice, Method::PUT, "/sql", Some(unknown)).await,
        "unknown field",
    );

    // Hidden again, it is gone for Bob; removed, it is gone altogether.
    let mut private = described();
    private["is_public"] = json!(false);
    ask(&alice, Method::PUT, "/sql", Some(private))
        .await
        .expect("hidden");
    assert_refused(
        ask(&bob, Method::GET, "/sql", None).await,
        "no such artifact",
    );
    alice
        .sync
        .remove_remote(artifact("loras/sql"))
        .await
        .expect("removed");
    assert_refused(
        ask(&alice, Method::GET, "/sql", None).await,
        "no such artifact",
    );
    let left = lab.relay_state().join("bucket/loras/sql");
    let left = std::fs::read_dir(left).map_or(0, Iterator::count);
    assert_eq!(left, 0, "files are left");
    let again = bob.sync.pull(artifact("loras/sql"), Changes::Keep).await;
    assert!(again.is_err());
    assert_eq!(alice.push("loras/sql").await.state, State::Done);
}
