//! Rows to measure with: documents of real texts and vectors.

use std::path::Path;

use ginnel_store::Store;
use ginnel_store::document::NewDocument;
use ginnel_store::id::ModelId;
use ginnel_store::model::Model;
use ginnel_store::options::Options;
use ginnel_store::vector::engine::Engine;
use ginnel_store::vector::metric::Metric;
use tokio::task::JoinSet;

use crate::store::Material;

/// Passages of a document.
pub(super) const PASSAGES: usize = 10;

/// Documents under way at a time.
const UNDER_WAY: usize = 64;

/// The model that made the vectors.
pub(super) fn model(material: &Material) -> Model {
    Model {
        id: ModelId::of_name("caller", MODEL, material.dimensions()),
        name: MODEL.to_owned(),
        dimensions: material.dimensions(),
        metric: Metric::Cosine,
    }
}

/// Its name.
pub(super) const MODEL: &str = "bench";

/// Fills the store of a device that does not run. Gives how many bytes of texts
/// and vectors that are.
pub(super) async fn fill(
    folder: &Path,
    device: &str,
    material: &Material,
    passages: usize,
) -> anyhow::Result<usize> {
    let mut options = Options::new(folder);
    options.origin = device.to_owned();
    // The device makes its indexes when it starts.
    options.engine = Engine::Exact;
    let store = Store::open(options)?;
    let bytes = put(&store, material, passages).await?;
    store.close().await?;
    Ok(bytes)
}

/// Puts so many passages into a store.
pub(super) async fn put(
    store: &Store,
    material: &Material,
    passages: usize,
) -> anyhow::Result<usize> {
    let model = model(material);
    store.put_model(model.clone()).await?;
    let mut bytes = passages * material.dimensions() * 4;
    let documents = (0..passages).step_by(PASSAGES).map(|first| {
        let document = material.document(first..(first + PASSAGES).min(passages), model.id)?;
        bytes += document.text.len();
        Ok(document)
    });
    put_all(store, documents).await?;
    Ok(bytes)
}

/// Puts documents into a store, some at a time.
pub(super) async fn put_all(
    store: &Store,
    documents: impl Iterator<Item = anyhow::Result<NewDocument>>,
) -> anyhow::Result<()> {
    let mut under_way = JoinSet::new();
    for document in documents {
        let document = document?;
        if under_way.len() == UNDER_WAY
            && let Some(ended) = under_way.join_next().await
        {
            ended??;
        }
        let store = store.clone();
        under_way.spawn(async move { store.put(document).await });
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    Ok(())
}
