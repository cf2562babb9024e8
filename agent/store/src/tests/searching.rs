//! Search by meaning, words and both; filters, pages and context.

use serde_json::json;

use super::*;
use crate::filter::Condition;

#[tokio::test]
async fn what_is_near_comes_first() {
    let world = World::new();
    world.model().await;
    world.put("a.md", &["aaab", "bbba", "zzzz"]).await;
    assert_eq!(world.near("aaaa").await, ["aaab", "bbba", "zzzz"]);
    let found = world.search(By::Meaning(near("zz"))).await;
    let first = &found.hits[0];
    assert!((first.place.score - 1.0).abs() < 0.01, "{first:?}");
    assert_eq!(first.source.as_deref(), Some("a.md"));
    assert!(!found.without_index);
}

#[tokio::test]
async fn words_are_found_wherever_they_are() {
    let world = World::new();
    world.model().await;
    world
        .put(
            "a.md",
            &["the tunnel holds", "tunnels and bridges", "nothing here"],
        )
        .await;
    assert_eq!(world.words("tunnel").await, ["the tunnel holds"]);
    assert_eq!(world.words("TUNN*").await.len(), 2);
    assert_eq!(
        world.words("\"and bridges\"").await,
        ["tunnels and bridges"]
    );
    assert_eq!(world.words("\"bridges and\"").await, Vec::<String>::new());
    assert_eq!(world.words("nothing\0here").await, ["nothing here"]);
    for odd in [
        "\0", "\"\0", "\"", "NEAR(", "a AND", "*", "col:x", "-", "'; --",
    ] {
        world.words(odd).await;
    }
}

#[tokio::test]
async fn common_words_count_after_rarer_ones() {
    let world = World::new();
    let paragraphs: Vec<String> = (0..5000).map(|at| format!("the {at}th day")).collect();
    let paragraphs = paragraphs.iter().map(String::as_str);
    let paragraphs: Vec<&str> = paragraphs.chain(["a tunnel", "the sea"]).collect();
    let document = document("days.txt", &paragraphs);
    let document = NewDocument {
        vectors: None,
        ..document
    };
    world.store.put(document).await.expect("stored");
    for (query, first) in [("the tunnel", "a tunnel"), ("the sea", "the sea")] {
        let found = world.words(query).await;
        assert_eq!((found[0].as_str(), found.len()), (first, 10));
        let rest = &found[1..];
        assert!(rest.iter().all(|text| text.starts_with("the ")), "{rest:?}");
    }
    let found = world.search(By::Words("the sea".to_owned())).await;
    let mut ids: Vec<String> = found
        .hits
        .iter()
        .map(|hit| hit.passage.text.clone())
        .collect();
    let is_falling = found
        .hits
        .is_sorted_by(|a, b| a.place.score >= b.place.score);
    assert!(is_falling, "{found:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10, "each once");
    // Those with all common words fill first.
    let found = world.words("the day tunnel").await;
    assert_eq!((found[0].as_str(), found.len()), ("a tunnel", 10));
    assert!(found[1..].iter().all(|text| text.ends_with("day")));
    assert_eq!(world.words("the unheard").await.len(), 10);
    // Those that have them all.
    let both = world.words("day the").await;
    assert!(both.iter().all(|text| text.ends_with("day")), "{both:?}");
    // Where a filter leaves no other word, the common ones are better than nothing.
    let also = NewDocument {
        vectors: None,
        ..super::document("also.txt", &["the moon"])
    };
    world.store.put(also).await.expect("stored");
    let mut asked = request(By::Words("the tunnel".to_owned()));
    asked.filter.source_prefix = Some("also".to_owned());
    let found = world.store.search(asked).await.expect("found");
    assert_eq!(texts(&found), ["the moon"]);
}

#[tokio::test]
async fn a_minimum_that_is_no_number_is_refused() {
    let world = World::new();
    let mut asked = request(By::Words("x".to_owned()));
    asked.minimum_score = Some(f32::NAN);
    let error = world.store.search(asked).await.expect_err("refused");
    assert!(error.to_string().contains("no number"), "{error}");
}

#[tokio::test]
async fn both_lists_are_made_into_one() {
    let world = World::new();
    world.model().await;
    world
        .put("a.md", &["abc abc", "cba xyz", "quite other"])
        .await;
    let both = By::Both(near("abc"), "xyz".to_owned());
    let found = world.search(both).await;
    let first = &found.hits[0];
    assert_eq!(first.passage.text, "cba xyz");
    assert_eq!(first.place.words.expect("by words").rank, 1);
    assert_eq!(first.place.meaning.expect("by meaning").rank, 2);
    assert!(first.place.score > found.hits[1].place.score);
}

#[tokio::test]
async fn filters_choose() {
    let world = World::new();
    world.model().await;
    for year in 2000..2040 {
        let text = format!("year {year}");
        let mut new = document(&format!("{year}.md"), &[&text]);
        new.collection = if year < 2020 { "old" } else { "new" }
            .parse()
            .expect("a name");
        new.metadata = metadata(json!({
            "year": year, "even": year % 2 == 0,
            "tags": ["all", format!("t{}", year % 10)],
            "by": {"name": format!("author-{year}")},
        }));
        world.store.put(new).await.expect("stored");
    }
    let count = async |filter: Filter| {
        let mut sizes = Vec::new();
        for by in [By::Meaning(near("year")), By::Words("year".to_owned())] {
            let request = SearchRequest {
                filter: filter.clone(),
                limit: 100,
                ..request(by)
            };
            sizes.push(world.store.search(request).await.expect("found").hits.len());
        }
        assert_eq!(sizes[0], sizes[1], "{filter:?}");
        sizes[0]
    };
    let condition = |text: &str| Filter {
        conditions: vec![text.parse::<Condition>().expect(text)],
        ..Filter::default()
    };
    assert_eq!(count(Filter::default()).await, 40);
    assert_eq!(count(condition("year=2003")).await, 1);
    assert_eq!(count(condition("year>=2030")).await, 10);
    assert_eq!(count(condition("year<2001")).await, 1);
    assert_eq!(count(condition("even=true")).await, 20);
    assert_eq!(count(condition("tags=t3")).await, 4);
    assert_eq!(count(condition("by.name>author-2037")).await, 2);
    assert_eq!(
        count(condition("year>=\"2030\"")).await,
        0,
        "a text is no number"
    );
    assert_eq!(count(condition("nothing=1")).await, 0);
    let new = Filter {
        collections: vec!["new".parse().expect("a name")],
        source_prefix: Some("203".to_owned()),
        ..condition("year<2035")
    };
    assert_eq!(count(new.clone()).await, 5);

    // Kept answers follow what is written.
    let mut another = document("2030.md", &["year 2030"]);
    another.collection = "new".parse().expect("a name");
    another.metadata = metadata(json!({"year": 2099}));
    world.store.put(another).await.expect("stored");
    assert_eq!(count(new.clone()).await, 4);
    let mut another = document("2031b.md", &["year one", "year two"]);
    another.collection = "new".parse().expect("a name");
    another.source = Some("2031b".to_owned());
    another.metadata = metadata(json!({"year": 2031}));
    let stored = world.store.put(another).await.expect("stored");
    assert_eq!(count(new.clone()).await, 6);
    world.store.delete(stored.id).await.expect("deleted");
    assert_eq!(count(new).await, 4);
}

#[tokio::test]
async fn times_are_when_something_was_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = Options::new(folder.path());
    let now = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1000));
    let clock = std::sync::Arc::clone(&now);
    options.clock = std::sync::Arc::new(move || clock.load(std::sync::atomic::Ordering::Relaxed));
    let store = Store::open(options).expect("opened");
    store.put_model(model()).await.expect("stored");
    for (at, name) in [(1000, "first"), (2000, "second"), (3000, "third")] {
        now.store(at, std::sync::atomic::Ordering::Relaxed);
        store.put(document(name, &[name])).await.expect("stored");
    }
    let filter = Filter {
        since_ms: Some(1001),
        until_ms: Some(3000),
        ..Filter::default()
    };
    let request = SearchRequest {
        filter,
        ..request(By::Meaning(near("x")))
    };
    let found = store.search(request).await.expect("found");
    assert_eq!(texts(&found), ["second"]);
    assert_eq!(found.hits[0].changed_ms, 2000);
}

#[tokio::test]
async fn pages_scores_and_context() {
    let world = World::new();
    world.model().await;
    world
        .put("a.md", &["aaaa", "aaab", "aabb", "abbb", "zzzz"])
        .await;
    let page = SearchRequest {
        limit: 2,
        offset: 1,
        context: 1,
        ..request(By::Meaning(near("aaaa")))
    };
    let found = world.store.search(page).await.expect("found");
    assert_eq!(texts(&found), ["aaab", "aabb"]);
    assert_eq!(
        (&*found.hits[0].before, &*found.hits[0].after),
        ("aaaa", "aabb")
    );
    let good = SearchRequest {
        minimum_score: Some(0.9),
        ..request(By::Meaning(near("aaaa")))
    };
    let found = world.store.search(good).await.expect("found");
    assert_eq!(texts(&found), ["aaaa", "aaab"]);
    for (limit, offset) in [(0, 0), (1001, 0), (10, 4000)] {
        let wrong = SearchRequest {
            limit,
            offset,
            ..request(By::Words("a".to_owned()))
        };
        assert!(world.store.search(wrong).await.is_err(), "{limit} {offset}");
    }
}

#[tokio::test]
async fn context_does_not_repeat_what_overlaps() {
    let world = World::new();
    let text = "alpha beta gamma delta epsilon";
    let new = NewDocument {
        text: text.to_owned(),
        passages: [(0, 16), (11, 22), (17, 30)]
            .map(|(start, end)| Span { start, end })
            .to_vec(),
        vectors: None,
        ..document("a.md", &["x"])
    };
    world.store.put(new).await.expect("stored");
    let request = SearchRequest {
        limit: 1,
        context: 1,
        ..request(By::Words("\"gamma delta\"".to_owned()))
    };
    let found = world.store.search(request).await.expect("found");
    let hit = &found.hits[0];
    assert_eq!(
        (&*hit.before, &*hit.passage.text, &*hit.after),
        ("alpha beta ", "gamma delta", " epsilon")
    );
}
