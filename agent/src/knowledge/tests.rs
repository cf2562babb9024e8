//! What this device knows, from files to answers.

mod adding;
mod asking;
mod embedding;
mod serving;
mod waiting;
mod watching;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ginnel_store::id::ModelId;
use ginnel_store::model::Model;
use ginnel_store::vector::engine::Engine;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Knowledge;
use super::add::{AddRequest, Event, Summary};
use super::search::{Answer, Mode, Question};
use super::settings::KnowledgeSettings;
use crate::embed::EmbedSettings;
use crate::embed::stub::Stub;
use crate::models::settings::ModelsSettings;

/// A store, a folder to add, and an endpoint that embeds.
pub(crate) struct World {
    pub(crate) knowledge: Knowledge,
    pub(crate) stub: Arc<Stub>,
    pub(crate) folder: TempDir,
    _embedding: JoinSet<()>,
}

impl World {
    /// With a model.
    pub(crate) async fn new() -> Self {
        let stub = Stub::start().await;
        let embed = Some(stub.settings("letters"));
        Self::open(
            tempfile::tempdir().expect("a folder"),
            Arc::new(stub),
            embed,
        )
        .await
    }

    /// With a model whose endpoint never answers.
    async fn hanging() -> Self {
        let stub = Stub::start().await;
        stub.hangs.store(true, Ordering::Relaxed);
        let embed = Some(stub.settings("letters"));
        Self::open(
            tempfile::tempdir().expect("a folder"),
            Arc::new(stub),
            embed,
        )
        .await
    }

    /// Without one.
    pub(crate) async fn without_model() -> Self {
        let stub = Arc::new(Stub::start().await);
        Self::open(tempfile::tempdir().expect("a folder"), stub, None).await
    }

    /// With an engine that is not where it should be, and a caller's model.
    pub(crate) async fn without_engine() -> Self {
        let stub = Arc::new(Stub::start().await);
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Engine::SqliteVss;
        let world = Self::open_with(folder, stub, None, engine).await;
        let model = Model {
            id: ModelId::of_name("caller", "mine", 2),
            name: "mine".to_owned(),
            dimensions: 2,
            metric: Default::default(),
        };
        let put = world.knowledge.store().put_model(model).await;
        put.expect("stored");
        world
    }

    async fn open(folder: TempDir, stub: Arc<Stub>, embed: Option<EmbedSettings>) -> Self {
        Self::open_with(folder, stub, embed, Engine::default()).await
    }

    async fn open_with(
        folder: TempDir,
        stub: Arc<Stub>,
        embed: Option<EmbedSettings>,
        engine: Engine,
    ) -> Self {
        let settings = KnowledgeSettings {
            folder: folder.path().join("store"),
            engine,
            vss_dir: Some(folder.path().join("nothing")),
            origin: "box".to_owned(),
            embed,
            models: ModelsSettings::new(folder.path().join("models")),
        };
        let knowledge = Knowledge::open(&settings).await.expect("opened");
        let mut embedding = JoinSet::new();
        let works = knowledge.clone();
        embedding.spawn(async move { works.keep_embedding(CancellationToken::new()).await });
        Self {
            knowledge,
            stub,
            folder,
            _embedding: embedding,
        }
    }

    /// Closes the store and opens it with another model.
    async fn reopened(self, model: &str) -> Self {
        let embed = Some(self.stub.settings(model));
        self.reopened_with(embed).await
    }

    /// The same, with an endpoint that embeds nothing until it is let.
    async fn reopened_holding(self, model: &str) -> Self {
        self.stub.holds.send_replace(true);
        self.reopened(model).await
    }

    async fn reopened_with(mut self, embed: Option<EmbedSettings>) -> Self {
        self._embedding.shutdown().await;
        self.knowledge.close().await.expect("closed");
        Self::open(self.folder, self.stub, embed).await
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("notes")
    }

    pub(crate) fn request(&self) -> AddRequest {
        request(&self.root())
    }

    /// Adds the folder and waits for the vectors.
    pub(crate) async fn add(&self) -> (Summary, Vec<Event>) {
        self.add_as(self.request()).await
    }

    async fn add_as(&self, request: AddRequest) -> (Summary, Vec<Event>) {
        let (events, mut told) = mpsc::channel(16);
        let adding = async {
            let summary = self.knowledge.add_and_embed(&request, &events).await;
            drop(events);
            summary.expect("added")
        };
        let listening = async {
            let mut all = Vec::new();
            while let Some(event) = told.recv().await {
                all.push(event);
            }
            all
        };
        tokio::join!(adding, listening)
    }

    async fn search(&self, mode: Mode, text: &str) -> Answer {
        self.knowledge
            .search(question(mode, text))
            .await
            .expect("found")
    }

    /// The sources of what was found.
    async fn found(&self, mode: Mode, text: &str) -> Vec<String> {
        let answer = self.search(mode, text).await;
        let sources = answer.found.hits.into_iter().filter_map(|hit| hit.source);
        sources.collect()
    }
}

fn request(root: &Path) -> AddRequest {
    AddRequest {
        path: root.to_owned(),
        collection: "default".parse().expect("a name"),
        name: None,
        rules: Default::default(),
        vectors: None,
    }
}

fn question(mode: Mode, text: &str) -> Question {
    Question {
        text: text.to_owned(),
        near: None,
        mode,
        limit: 10,
        offset: 0,
        filter: Default::default(),
        minimum_score: None,
        context: 0,
    }
}
