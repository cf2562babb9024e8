//! Join codes: one code, one identity.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::registry::error::ErrorKind;

#[tokio::test]
async fn a_code_makes_a_device() {
    let registry = open_memory().await;
    registry
        .invite(invitation("alice", Some("laptop"), "code"), NOW)
        .await
        .expect("invited");
    let redeemed = redeem(&registry, "code", None, 1, NOW)
        .await
        .expect("joined");
    assert_eq!(redeemed.device, id("alice/laptop"));
    assert_eq!(redeemed.certificate_der, b"alice/laptop 1");
    let row = registry
        .device(&device("laptop"))
        .await
        .expect("read")
        .expect("exists");
    assert_eq!((row.serial, row.public_key_hash), (serial(1), [1; 32]));
    assert_eq!(
        registry.users().await.expect("users")[0].name,
        user("alice")
    );
}

#[tokio::test]
async fn a_wrong_secret_looks_like_an_unknown_code() {
    let registry = open_memory().await;
    registry
        .invite(invitation("alice", Some("laptop"), "code"), NOW)
        .await
        .expect("invited");
    let mut wrong = claim("code", None, 1);
    wrong.secret[0] ^= 1;
    let wrong = registry.redeem(wrong, NOW, issue(1, NOW)).await;
    let unknown = redeem(&registry, "none", None, 1, NOW).await;
    let long = redeem(&registry, &"x".repeat(5000), None, 1, NOW).await;
    for answer in [wrong, unknown, long] {
        assert!(matches!(answer, Err(RedeemError::Unknown)), "{answer:?}");
    }
    redeem(&registry, "code", None, 1, NOW)
        .await
        .expect("a wrong try consumes nothing");
}

#[tokio::test]
async fn a_code_ends_with_its_time() {
    let registry = open_memory().await;
    registry
        .invite(invitation("alice", Some("laptop"), "code"), NOW)
        .await
        .expect("invited");
    let late = redeem(&registry, "code", None, 1, NOW + HOUR).await;
    assert!(matches!(late, Err(RedeemError::Expired)), "{late:?}");
    redeem(&registry, "code", None, 1, NOW + HOUR - 1)
        .await
        .expect("the last millisecond counts");
}

#[tokio::test]
async fn a_used_code_answers_only_its_own_key_and_only_for_a_while() {
    let registry = open_memory().await;
    join(&registry, "alice", "laptop", "code", 1).await;

    let again = redeem(&registry, "code", Some("laptop"), 1, NOW + 10 * MINUTE - 1)
        .await
        .expect("a lost answer is repeated");
    assert_eq!(again.certificate_der, b"alice/laptop 1");

    for (name, key, now_ms) in [
        (None, 2, NOW),
        (None, 1, NOW + 10 * MINUTE),
        (Some("desktop"), 1, NOW),
    ] {
        let answer = redeem(&registry, "code", name, key, now_ms).await;
        assert!(matches!(answer, Err(RedeemError::Used)), "{answer:?}");
    }
    let row = registry.device(&device("laptop")).await.expect("read");
    assert_eq!(row.expect("exists").serial, serial(1));
}

#[tokio::test]
async fn an_old_answer_is_not_repeated_after_a_newer_join() {
    let registry = open_memory().await;
    join(&registry, "alice", "laptop", "one", 1).await;
    registry
        .invite(invitation("alice", Some("laptop"), "two"), NOW)
        .await
        .expect("invited");
    registry
        .redeem(claim("two", None, 1), NOW, issue(2, NOW))
        .await
        .expect("the same key joins again");
    let answer = redeem(&registry, "one", None, 1, NOW).await;
    assert!(matches!(answer, Err(RedeemError::Used)), "{answer:?}");
}

#[tokio::test]
async fn the_codes_name_wins() {
    let registry = open_memory().await;
    for (code, name) in [("bound", Some("laptop")), ("open", None)] {
        registry
            .invite(invitation("alice", name, code), NOW)
            .await
            .expect("invited");
    }
    let other = redeem(&registry, "bound", Some("desktop"), 1, NOW).await;
    assert!(
        matches!(&other, Err(RedeemError::NameBound { bound }) if bound.as_str() == "laptop"),
        "{other:?}"
    );
    let none = redeem(&registry, "open", None, 2, NOW).await;
    assert!(matches!(none, Err(RedeemError::NameMissing)), "{none:?}");

    let bound = redeem(&registry, "bound", Some("laptop"), 1, NOW).await;
    assert_eq!(bound.expect("same name").device, id("alice/laptop"));
    let open = redeem(&registry, "open", Some("desktop"), 2, NOW).await;
    assert_eq!(open.expect("chosen name").device, id("alice/desktop"));
}

#[tokio::test]
async fn only_a_code_for_a_device_replaces_it() {
    let registry = open_memory().await;
    join(&registry, "alice", "laptop", "code", 1).await;
    for (name, code) in [(None, "open"), (Some("laptop"), "bound")] {
        registry
            .invite(invitation("alice", name, code), NOW)
            .await
            .expect("invited");
    }
    let chosen = redeem(&registry, "open", Some("laptop"), 2, NOW).await;
    assert!(
        matches!(&chosen, Err(RedeemError::NameInUse { user, device })
            if user.as_str() == "alice" && device.as_str() == "laptop"),
        "{chosen:?}"
    );
    let row = registry.device(&device("laptop")).await.expect("read");
    assert_eq!(row.expect("exists").serial, serial(1));

    redeem(&registry, "bound", None, 3, NOW)
        .await
        .expect("meant");
    let row = registry.device(&device("laptop")).await.expect("read");
    assert_eq!(row.expect("exists").serial, serial(3));
    redeem(&registry, "open", Some("desktop"), 2, NOW)
        .await
        .expect("the refusal consumed nothing");
}

#[tokio::test]
async fn a_name_belongs_to_its_first_user() {
    let registry = open_memory().await;
    registry
        .invite(invitation("bob", None, "open"), NOW)
        .await
        .expect("invited");
    registry
        .invite(invitation("bob", Some("laptop"), "bound"), NOW)
        .await
        .expect("the name is still free");
    join(&registry, "alice", "laptop", "code", 1).await;

    for code in ["open", "bound"] {
        let taken = redeem(&registry, code, Some("laptop"), 2, NOW).await;
        assert!(
            matches!(taken, Err(RedeemError::NameTaken { .. })),
            "{taken:?}"
        );
    }
    let error = registry
        .invite(invitation("bob", Some("laptop"), "late"), NOW)
        .await
        .expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    redeem(&registry, "open", Some("bobs-laptop"), 2, NOW)
        .await
        .expect("the refusal consumed nothing");
}

#[tokio::test]
async fn a_revoked_name_stays_refused() {
    let registry = open_memory().await;
    registry
        .invite(invitation("alice", Some("laptop"), "early"), NOW)
        .await
        .expect("invited");
    join(&registry, "alice", "laptop", "code", 1).await;
    assert!(
        registry
            .revoke_device(&device("laptop"), NOW)
            .await
            .expect("revoked")
    );

    for (code, key) in [("early", 2), ("code", 1)] {
        let answer = redeem(&registry, code, None, key, NOW).await;
        assert!(
            matches!(answer, Err(RedeemError::Revoked { .. })),
            "{code}: {answer:?}"
        );
    }
    let error = registry
        .invite(invitation("alice", Some("laptop"), "late"), NOW)
        .await
        .expect_err("revoked");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn a_failed_issue_consumes_nothing() {
    let registry = open_memory().await;
    registry
        .invite(invitation("alice", Some("laptop"), "code"), NOW)
        .await
        .expect("invited");
    let answer = registry
        .redeem(claim("code", None, 1), NOW, |_, _| Err("no key".into()))
        .await;
    assert!(
        matches!(&answer, Err(RedeemError::NotIssued(reason)) if reason == "no key"),
        "{answer:?}"
    );
    assert!(registry.devices().await.expect("read").is_empty());
    redeem(&registry, "code", None, 1, NOW)
        .await
        .expect("joined");
}

/// Two handles stand for two processes; each has its own SQLite thread.
#[tokio::test]
async fn a_hundred_at_once_make_one_identity() {
    for same_key in [false, true] {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("relay.db");
        let handles = [
            open_file(&path).await.expect("opens"),
            open_file(&path).await.expect("opens too"),
        ];
        handles[0]
            .invite(invitation("alice", Some("laptop"), "code"), NOW)
            .await
            .expect("invited");

        let issued = Arc::new(AtomicUsize::new(0));
        let mut claims = tokio::task::JoinSet::new();
        for n in 0..100_u8 {
            let registry = handles[usize::from(n % 2)].clone();
            let issued = Arc::clone(&issued);
            claims.spawn(async move {
                let key = if same_key { 1 } else { n };
                let make = issue(n + 1, NOW);
                registry
                    .redeem(claim("code", None, key), NOW, move |user, device| {
                        issued.fetch_add(1, Ordering::Relaxed);
                        make(user, device)
                    })
                    .await
            });
        }
        let mut certificates = Vec::new();
        for answer in claims.join_all().await {
            match answer {
                Ok(redeemed) => certificates.push(redeemed.certificate_der),
                Err(RedeemError::Used) => assert!(!same_key, "its own key was refused"),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(certificates.len(), if same_key { 100 } else { 1 });
        certificates.dedup();
        assert_eq!(certificates.len(), 1, "two certificates");
        assert_eq!(issued.load(Ordering::Relaxed), 1);
        assert_eq!(handles[1].devices().await.expect("read").len(), 1);
    }
}

#[tokio::test]
async fn invitations_have_limits() {
    let registry = open_memory().await;
    let good = || invitation("alice", None, "code");
    let bad = [
        Invitation {
            id: String::new(),
            ..good()
        },
        Invitation {
            id: "x".repeat(33),
            ..good()
        },
        Invitation {
            secret: vec![1; 15],
            ..good()
        },
        Invitation {
            secret: vec![1; 65],
            ..good()
        },
        Invitation {
            ttl: Duration::ZERO,
            ..good()
        },
        Invitation {
            ttl: Duration::from_hours(7 * 24 + 1),
            ..good()
        },
    ];
    for invitation in bad {
        let error = registry
            .invite(invitation, NOW)
            .await
            .expect_err("beyond a limit");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    registry.invite(good(), NOW).await.expect("within limits");
    let error = registry.invite(good(), NOW).await.expect_err("same id");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn old_codes_are_forgotten() {
    let registry = open_memory().await;
    join(&registry, "alice", "laptop", "used", 1).await;
    let later = NOW + 31 * 24 * HOUR;
    registry
        .invite(invitation("alice", None, "fresh"), later)
        .await
        .expect("invited");
    let used = redeem(&registry, "used", None, 1, later).await;
    assert!(matches!(used, Err(RedeemError::Unknown)), "{used:?}");
    let rows: i64 = registry
        .read(|connection| {
            Ok(connection.query_row("SELECT count(*) FROM join_codes", [], |row| row.get(0))?)
        })
        .await
        .expect("count");
    assert_eq!(rows, 1);
}

#[test]
fn debug_shows_no_secret() {
    let text = format!(
        "{:?} {:?} {:?}",
        invitation("alice", None, "code"),
        claim("code", None, 1),
        options(Location::Memory)
    );
    let secret = format!("{:?}", secret_of("code"));
    let pepper = format!("{:?}", [7_u8; 32]);
    assert!(!text.contains(&secret) && !text.contains(&pepper), "{text}");
}
