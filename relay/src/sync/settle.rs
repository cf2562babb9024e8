//! What a relay that died between two writes left behind, put right.

use ginnel_proto::artifact::Artifact;
use tracing::info;

use super::Sync;
use super::catalog::Written;
use super::deliver::Found;
use crate::objects::error::Result;

impl Sync {
    /// An object has another tag than its entry says. If that is because a push
    /// was complete and not told, and nobody goes on with it, it is told now.
    pub(super) async fn settle(&self, artifact: &Artifact, found: &Found) -> Result<()> {
        let Some(publishing) = &found.now.entry.publishing else {
            return Ok(());
        };
        if publishing.expires_unix_ms > self.now_ms() {
            return Ok(());
        }
        let place = &found.place;
        let there = self.holds(place, publishing.blob, publishing.size).await?;
        let index = self.index(place, &publishing.blob).await?;
        let (Some(etag), Some(index)) = (there, index) else {
            return Ok(());
        };
        let fence = publishing.fence;
        let published = found
            .now
            .entry
            .publish(fence, etag.as_str(), index.root(), self.now_ms());
        let Some(published) = published else {
            return Ok(());
        };
        let written = self
            .catalog
            .write(place, Some(&found.now), published)
            .await?;
        if matches!(written, Written::Yes(_)) {
            info!(%artifact, "published what a relay left behind");
        }
        Ok(())
    }
}
