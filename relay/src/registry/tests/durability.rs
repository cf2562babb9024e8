//! What was acknowledged is there after a kill, and writers share the file.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use super::*;

/// Set in the child process: the file to write to.
const CHILD_FILE: &str = "GINNEL_TEST_REGISTRY_FILE";
const CHILD_TEST: &str = "registry::tests::durability::child_invites_until_killed";
const ACKNOWLEDGED: &str = "acknowledged ";

#[tokio::test]
async fn acknowledged_invitations_survive_a_kill() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let mut acknowledged = Vec::new();
    // Killed at different moments of its work, on the same file.
    for (round, acknowledgements) in [1, 7, 40, 23, 60].into_iter().enumerate() {
        let mut child = KilledOnDrop(spawn_child(&path, round));
        let output = child.0.stdout.take().expect("piped");
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let mut count = 0;
        while count < acknowledgements {
            line.clear();
            let length = output.read_line(&mut line).expect("read");
            assert_ne!(length, 0, "round {round}: the child ended by itself");
            count += usize::from(note(&line, &mut acknowledged));
        }
        child.0.kill().expect("killed");
        child.0.wait().expect("ended");
        let mut rest = String::new();
        output.read_to_string(&mut rest).expect("read");
        for line in rest.split_inclusive('\n') {
            note(line, &mut acknowledged);
        }

        let registry = open_file(&path).await.expect("opens after a kill");
        for code in &acknowledged {
            let found = is_stored(&registry, code.clone()).await;
            assert!(found, "round {round}: {code} was lost");
        }
        registry.close().await.expect("closes");
    }
    assert!(acknowledged.len() >= 131, "{}", acknowledged.len());
}

/// Not a test by itself: the process that the test above kills.
#[tokio::test]
async fn child_invites_until_killed() {
    let Ok(path) = std::env::var(CHILD_FILE) else {
        return;
    };
    let round = std::env::var("GINNEL_TEST_ROUND").expect("set beside the file");
    let registry = open_file(Path::new(&path)).await.expect("opens");
    for n in 0..100_000 {
        let code = format!("r{round}-{n}");
        registry
            .invite(invitation("alice", None, &code), NOW)
            .await
            .expect("invited");
        println!("{ACKNOWLEDGED}{code}");
    }
}

#[tokio::test]
async fn two_writers_share_the_file() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let mut writers = tokio::task::JoinSet::new();
    for writer in ["relay", "command"] {
        let registry = open_file(&path).await.expect("opens");
        writers.spawn(async move {
            for n in 0..100 {
                let name = user(&format!("{writer}-{n}"));
                registry.ensure_user(&name, NOW).await.expect("written");
            }
        });
    }
    writers.join_all().await;
    let registry = open_file(&path).await.expect("opens");
    assert_eq!(registry.users().await.expect("users").len(), 200);
}

/// Another process holds the write lock until reads were answered; the write
/// that waits for it is done afterwards.
#[tokio::test]
async fn a_foreign_transaction_delays_writes_only() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let relay = open_file(&path).await.expect("opens");
    let reader = open_file(&path).await.expect("opens too");
    let foreign = rusqlite::Connection::open(&path).expect("raw");
    foreign
        .execute_batch("BEGIN IMMEDIATE; INSERT INTO users (id, created_at) VALUES ('carol', 0)")
        .expect("locked");

    let mut writing = tokio::task::JoinSet::new();
    writing.spawn(async move { relay.ensure_user(&user("alice"), NOW).await });
    assert!(reader.users().await.expect("read").is_empty());
    foreign.execute_batch("COMMIT").expect("released");
    for written in writing.join_all().await {
        written.expect("the write waited");
    }
    assert_eq!(reader.users().await.expect("read").len(), 2);
}

fn spawn_child(path: &Path, round: usize) -> Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .args([CHILD_TEST, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_FILE, path)
        .env("GINNEL_TEST_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawned")
}

/// Takes a whole line into account; a torn one acknowledges nothing.
fn note(line: &str, acknowledged: &mut Vec<String>) -> bool {
    let code = line
        .strip_suffix('\n')
        .and_then(|line| line.split_once(ACKNOWLEDGED));
    let Some((_, code)) = code else {
        return false;
    };
    acknowledged.push(code.into());
    true
}

async fn is_stored(registry: &Registry, code: String) -> bool {
    registry
        .read(move |connection| {
            Ok(connection
                .prepare("SELECT 1 FROM join_codes WHERE id = ?1")?
                .exists([code])?)
        })
        .await
        .expect("read")
}

struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // It may have been killed and waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
