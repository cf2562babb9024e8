//! Which published artifacts may have chunks of what is pushed.

use std::collections::HashSet;

use ginnel_blob::hash::Hash;
use ginnel_blob::index::ChunkIndex;
use ginnel_proto::artifact::Artifact;
use ginnel_proto::limits::BASES_MAX;
use ginnel_store::Store;
use ginnel_store::error::Result;

/// Artifacts whose chunks are looked at. A device with more has its models for
/// other things than small changes.
const LOOKED_AT: usize = 200;

/// Those that share the most bytes with it, as far as this device knows their
/// chunks. What is published under the name itself is a base anyway.
pub(super) async fn of(
    store: &Store,
    artifact: &Artifact,
    index: &ChunkIndex,
) -> Result<Vec<Artifact>> {
    let wanted: HashSet<Hash> = index.chunks().iter().map(|chunk| chunk.hash).collect();
    let mut bases = Vec::new();
    let others = store.artifacts().await?;
    let others = others.into_iter().filter(|other| other.name != *artifact);
    let published = others.filter_map(|other| Some((other.name, other.remote?)));
    for (name, remote) in published.take(LOOKED_AT) {
        let Some(other) = store.chunk_index(remote.blob).await? else {
            continue;
        };
        let shared = other.chunks().iter().filter(|it| wanted.contains(&it.hash));
        let bytes: u64 = shared.map(|it| u64::from(it.length)).sum();
        if bytes > 0 {
            bases.push((bytes, name));
        }
    }
    bases.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    let best = bases.into_iter().take(BASES_MAX);
    Ok(best.map(|(_, name)| name).collect())
}
