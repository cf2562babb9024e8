//! Requests while the store is being opened.

use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::knowledge::settings::KnowledgeSettings;
use crate::models::settings::ModelsSettings;

/// A store whose lock file is on a disk that does not answer.
struct Held {
    folder: TempDir,
    opening: Opening,
}

impl Held {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = folder.path().join("store.lock");
        // Opening a named pipe to write waits for somebody who reads.
        let made = std::process::Command::new("mkfifo").arg(lock).status();
        assert!(made.expect("mkfifo runs").success());
        let opening = Opening::begin(KnowledgeSettings {
            folder: folder.path().to_owned(),
            engine: Default::default(),
            vss_dir: None,
            origin: "box".to_owned(),
            embed: None,
            models: ModelsSettings::new(folder.path().join("models")),
        });
        Self { folder, opening }
    }

    /// The disk answers.
    async fn release(&self) {
        let lock = self.folder.path().join("store.lock");
        let opened = tokio::task::spawn_blocking(move || std::fs::File::open(lock)).await;
        // Held until the store is open or has failed.
        let _reader = opened.expect("opened").expect("a pipe");
        while matches!(self.opening.stage(), Stage::Opening) {
            self.opening.wait().await;
        }
    }

    async fn ask(&self, path: &str, caller: Caller) -> Result<Response<ApiBody>, Problem> {
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = path.parse().expect("a URI");
        let parts: Vec<&str> = request.uri().path().split('/').skip(2).collect();
        let route = KnowledgeRoute::find(&Method::GET, &parts).expect("a route");
        answer_once_open(&self.opening, route, request, caller).await
    }
}

#[tokio::test]
async fn requests_wait_for_the_store_a_short_time() {
    let held = Held::new();
    // Nothing but the wait itself is there to wait for.
    tokio::time::pause();
    for (path, wait) in [
        ("/v1/search?q=x", 2),
        ("/v1/collections", 2),
        ("/v1/knowledge", 0),
    ] {
        let began = Instant::now();
        let problem = held.ask(path, Caller::Local).await.expect_err(path);
        assert_eq!(began.elapsed().as_secs(), wait, "{path}");
        assert_eq!(problem.code, "store_opening", "{path}");
        assert_eq!(problem.message, "the store is being opened", "{path}");
        let answer = problem.into_response();
        assert_eq!(answer.status(), 503, "{path}");
        assert_eq!(answer.headers()["retry-after"], "2", "{path}");
    }
    let described = held.ask("/v1/openapi.json", Caller::Local).await;
    assert_eq!(described.expect("needs no store").status(), 200);
}

#[tokio::test]
async fn requests_are_answered_once_it_is_open() {
    let held = Held::new();
    // On a loaded machine one wait may be too short.
    let asked = async {
        loop {
            match held.ask("/v1/collections", Caller::Local).await {
                Ok(answer) => return answer,
                Err(problem) => assert_eq!(problem.code, "store_opening"),
            }
        }
    };
    let (answer, ()) = tokio::join!(asked, held.release());
    assert_eq!(answer.status(), 200);
    let answer = held.ask("/v1/knowledge", Caller::Outside).await;
    assert_eq!(answer.expect("open").status(), 200);
    held.opening.close().await.expect("closed");
    let late = held.ask("/v1/collections", Caller::Local).await;
    assert_eq!(late.expect_err("closed").code, "stopping");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_says_why() {
    let held = Held::new();
    let file = held.folder.path().join("store.db");
    std::fs::write(file, vec![7; 9000]).expect("written");
    held.release().await;
    for path in ["/v1/knowledge", "/v1/collections"] {
        let problem = held.ask(path, Caller::Local).await.expect_err(path);
        assert_eq!(problem.code, "store_unavailable", "{path}");
        assert!(problem.message.contains("not a database"), "{problem}");
        assert_eq!(problem.retry_after, None, "{path}");
    }
    // A part of the daemon that ends would end all of it.
    let stop = tokio_util::sync::CancellationToken::new();
    let mut embedding = Box::pin(held.opening.keep_embedding(stop.clone()));
    assert!(futures_util::poll!(&mut embedding).is_pending());
    stop.cancel();
    embedding.await;
    held.opening.close().await.expect("nothing to close");
}

#[tokio::test]
async fn an_opening_is_not_waited_for_at_the_end() {
    let held = Held::new();
    tokio::time::pause();
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    let began = Instant::now();
    held.opening.keep_embedding(stop).await;
    held.opening.close().await.expect("left alone");
    assert!(began.elapsed().as_secs() <= 1, "{:?}", began.elapsed());
}

/// A command has the store open, and ends.
#[tokio::test]
async fn a_store_that_another_has_open_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = KnowledgeSettings {
        folder: folder.path().to_owned(),
        engine: Default::default(),
        vss_dir: None,
        origin: "box".to_owned(),
        embed: None,
        models: ModelsSettings::new(folder.path().join("models")),
    };
    let other = Knowledge::open(&settings).await.expect("opened");
    let opening = Opening::begin(settings);
    while !matches!(opening.stage(), Stage::Waiting(_)) {
        opening.wait().await;
    }
    let held = Held { folder, opening };
    let problem = held.ask("/v1/knowledge", Caller::Local).await;
    let problem = problem.expect_err("it waits");
    assert_eq!(problem.code, "store_opening");
    assert!(problem.message.contains("another process"), "{problem}");
    assert!(problem.retry_after.is_some());
    let problem = held.ask("/v1/knowledge", Caller::Outside).await;
    let problem = problem.expect_err("it waits");
    let path = held.folder.path().to_str().expect("text");
    assert!(!problem.message.contains(path), "{problem}");
    other.close().await.expect("closed");
    while !matches!(held.opening.stage(), Stage::Open(_)) {
        assert!(!matches!(held.opening.stage(), Stage::Failed(_)));
        held.opening.wait().await;
    }
    held.opening.close().await.expect("closed");
}
