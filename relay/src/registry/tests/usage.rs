//! Usage: recorded once, by the hour, added up by user, upstream and model.

use rusqlite::Connection;

use super::*;
use crate::registry::error::ErrorKind;
use crate::registry::limits::USAGE_KEPT_MS;
use crate::registry::usage::{Amount, Hour, UsageBatch, UsageKey, UsageRow, UsageSum};

const DAY: i64 = 24 * HOUR;

fn sum(owner: &str, model: Option<&str>) -> UsageSum {
    UsageSum {
        key: UsageKey {
            user: user(owner),
            device: device("laptop"),
            upstream: "openai".parse().expect("an upstream"),
            model: model.map(Into::into),
            hour: Hour::of(NOW),
        },
        amount: Amount {
            requests: 1,
            bytes_in: 10,
            bytes_out: 100,
            input_tokens: 1000,
            output_tokens: 10_000,
        },
    }
}

fn sum_at(at_ms: i64) -> UsageSum {
    let mut sum = sum("bob", Some("small"));
    sum.key.hour = Hour::of(at_ms);
    sum
}

fn batch(number: u64, sums: Vec<UsageSum>) -> UsageBatch {
    UsageBatch {
        run: [1; 16],
        number,
        sums,
    }
}

async fn open_with_users() -> Registry {
    let registry = open_memory().await;
    for name in ["alice", "bob"] {
        registry.ensure_user(&user(name), NOW).await.expect("user");
    }
    registry
}

async fn record(registry: &Registry, batch: UsageBatch) {
    registry.record_usage(batch).await.expect("recorded");
}

async fn summary(registry: &Registry, since_ms: i64) -> Vec<UsageRow> {
    registry.usage_summary(since_ms).await.expect("summary")
}

async fn requests(registry: &Registry, since_ms: i64) -> u64 {
    let rows = summary(registry, since_ms).await;
    rows.iter().map(|row| row.amount.requests).sum()
}

async fn rows(registry: &Registry) -> i64 {
    let count = "SELECT count(*) FROM usage_hours";
    let read = registry.read(move |connection| Ok(connection.query_row(count, [], |r| r.get(0))?));
    read.await.expect("counted")
}

#[tokio::test]
async fn usage_is_added_up_once() {
    let registry = open_with_users().await;
    let first = vec![
        sum("alice", Some("small")),
        sum("alice", Some("large")),
        sum("alice", None),
        sum("bob", Some("small")),
        sum_at(NOW - HOUR),
    ];
    for _ in 0..2 {
        // And again after a lost answer.
        record(&registry, batch(1, first.clone())).await;
    }
    record(&registry, batch(2, vec![sum("alice", Some("small"))])).await;
    record(&registry, batch(1, first)).await;

    let rows = summary(&registry, NOW).await;
    let lines: Vec<_> = rows
        .iter()
        .map(|row| (row.user.as_str(), row.model.as_deref(), row.amount.requests))
        .collect();
    assert_eq!(
        lines,
        [
            ("alice", None, 1),
            ("alice", Some("large"), 1),
            ("alice", Some("small"), 2),
            ("bob", Some("small"), 1),
        ]
    );
    assert_eq!(rows[0].upstream.as_str(), "openai");
    assert_eq!(
        rows[2].amount,
        Amount {
            requests: 2,
            bytes_in: 20,
            bytes_out: 200,
            input_tokens: 2000,
            output_tokens: 20_000,
        }
    );
}

#[tokio::test]
async fn another_run_counts_from_the_start() {
    let registry = open_with_users().await;
    record(&registry, batch(7, vec![sum("alice", None)])).await;
    let other = UsageBatch {
        run: [2; 16],
        ..batch(1, vec![sum("alice", None)])
    };
    record(&registry, other).await;
    assert_eq!(requests(&registry, 0).await, 2);
}

#[tokio::test]
async fn there_is_one_row_for_each_hour() {
    let registry = open_with_users().await;
    let begin = NOW - NOW % HOUR;
    for (number, at_ms) in (0..).zip([begin, begin + 1, begin + HOUR - 1, begin + HOUR]) {
        record(&registry, batch(number, vec![sum_at(at_ms)])).await;
    }
    assert_eq!(rows(&registry).await, 2);
    // The hour that a look back begins in counts as a whole.
    assert_eq!(requests(&registry, begin + HOUR - 1).await, 4);
    assert_eq!(requests(&registry, begin + HOUR).await, 1);
}

#[tokio::test]
async fn old_usage_is_forgotten_in_small_steps() {
    let registry = open_with_users().await;
    let old = NOW - 401 * DAY;
    for number in 0..2 {
        let hours = (0..1000).map(|n| sum_at(old - (n + 1000 * number) * HOUR));
        let number = u64::try_from(number).expect("positive");
        record(&registry, batch(number + 1, hours.collect())).await;
    }
    let kept = vec![sum_at(NOW), sum_at(NOW - USAGE_KEPT_MS)];
    record(&registry, batch(3, kept)).await;
    for left in [1002, 2, 2] {
        registry.prune_usage(NOW).await.expect("pruned");
        assert_eq!(rows(&registry).await, left);
    }
}

#[tokio::test]
async fn a_bad_sum_keeps_its_whole_batch_out() {
    let registry = open_with_users().await;
    let bad = [
        sum("nobody", None),
        sum("alice", Some("")),
        sum("alice", Some(&"x".repeat(201))),
        UsageSum {
            amount: Amount {
                bytes_in: u64::MAX,
                ..Amount::default()
            },
            ..sum("alice", None)
        },
    ];
    for sum_ in bad {
        let error = registry
            .record_usage(batch(1, vec![sum("alice", Some("small")), sum_]))
            .await
            .expect_err("bad");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let many = (0..1001).map(|n| sum("alice", Some(&n.to_string())));
    let error = registry
        .record_usage(batch(1, many.collect()))
        .await
        .expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(summary(&registry, 0).await.is_empty());
    // Nor do they count as recorded.
    record(&registry, batch(1, vec![sum("alice", None)])).await;
    assert_eq!(requests(&registry, 0).await, 1);
}

/// The rows of relays that wrote one for each request.
#[tokio::test]
async fn usage_by_the_request_becomes_usage_by_the_hour() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let old = Connection::open(&path).expect("opens");
    old.execute_batch(include_str!("../../../migrations/0001_registry.sql"))
        .expect("made");
    old.pragma_update(None, "application_id", 0x474e_4c52)
        .expect("marked");
    old.pragma_update(None, "user_version", 1).expect("marked");
    old.execute_batch(&format!(
        "INSERT INTO users (id, created_at) VALUES ('alice', {NOW});
         INSERT INTO usage_events (id, user_id, event_type, tokens, model, created_at, device_name,
             upstream, requests, bytes_in, bytes_out, input_tokens, output_tokens)
         VALUES ('a', 'alice', 'upstream', 7, 'small', {NOW}, 'laptop', 'openai', 1, 2, 3, 4, 3),
                ('b', 'alice', 'upstream', 7, 'small', {NOW}, 'laptop', 'openai', 1, 2, 3, 4, 3),
                ('c', 'alice', 'upstream', 0, NULL, {NOW}, 'laptop', 'openai', 1, 0, 0, 0, 0),
                ('d', 'alice', 'upstream', 0, NULL, {NOW} - {HOUR}, 'laptop', 'openai', 1, 0, 0, 0, 0);"
    ))
    .expect("filled");
    drop(old);

    let registry = open_file(&path).await.expect("migrated");
    assert_eq!(rows(&registry).await, 3);
    let all = summary(&registry, 0).await;
    let [unknown, small] = &all[..] else {
        panic!("not two lines: {all:?}");
    };
    assert_eq!((&unknown.model, unknown.amount.requests), (&None, 2));
    assert_eq!(small.model.as_deref(), Some("small"));
    let amount = Amount {
        requests: 2,
        bytes_in: 4,
        bytes_out: 6,
        input_tokens: 8,
        output_tokens: 6,
    };
    assert_eq!(small.amount, amount);
}
