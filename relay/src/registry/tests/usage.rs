//! Usage: recorded once, added up by user, upstream and model.

use super::*;
use crate::registry::error::ErrorKind;
use crate::registry::usage::{Amount, Direction, UsageEvent};

fn event(id: &str, owner: &str, upstream: Option<&str>, model: Option<&str>) -> UsageEvent {
    UsageEvent {
        id: id.into(),
        user: user(owner),
        device: device("laptop"),
        direction: match upstream {
            Some(name) => Direction::Upstream(name.parse().expect("an upstream")),
            None => Direction::Forward,
        },
        model: model.map(Into::into),
        amount: Amount {
            requests: 1,
            bytes_in: 10,
            bytes_out: 100,
            input_tokens: 1000,
            output_tokens: 10_000,
        },
        at_ms: NOW,
    }
}

async fn open_with_users() -> Registry {
    let registry = open_memory().await;
    for name in ["alice", "bob"] {
        registry.ensure_user(&user(name), NOW).await.expect("user");
    }
    registry
}

#[tokio::test]
async fn usage_is_added_up_once() {
    let registry = open_with_users().await;
    let batch = vec![
        event("1", "alice", Some("openai"), Some("small")),
        event("2", "alice", Some("openai"), Some("small")),
        event("3", "alice", Some("openai"), Some("large")),
        event("4", "alice", None, None),
        event("5", "bob", Some("openai"), Some("small")),
        UsageEvent {
            at_ms: NOW - 1,
            ..event("6", "bob", Some("openai"), Some("small"))
        },
    ];
    for _ in 0..2 {
        registry
            .record_usage(batch.clone())
            .await
            .expect("recorded, and again after a lost answer");
    }
    let rows = registry.usage_summary(NOW).await.expect("summary");
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
    assert_eq!(rows[0].direction, Direction::Forward);
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
async fn a_bad_event_keeps_its_whole_batch_out() {
    let registry = open_with_users().await;
    let good = || event("1", "alice", None, None);
    let bad = [
        event("2", "nobody", None, None),
        event("", "alice", None, None),
        event("2", "alice", None, Some(&"x".repeat(201))),
        UsageEvent {
            amount: Amount {
                bytes_in: u64::MAX,
                ..Amount::default()
            },
            ..event("2", "alice", None, None)
        },
    ];
    for event in bad {
        let error = registry
            .record_usage(vec![good(), event])
            .await
            .expect_err("bad");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let many = (0..1001).map(|n| event(&n.to_string(), "alice", None, None));
    let error = registry
        .record_usage(many.collect())
        .await
        .expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(registry.usage_summary(0).await.expect("summary").is_empty());
}
