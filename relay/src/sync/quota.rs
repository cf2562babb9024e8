//! How much room a user's artifacts may take.

use ginnel_proto::code::Code;
use ginnel_proto::id::UserName;

use super::Sync;
use super::declined::Declined;
use crate::objects::error::Result;
use crate::objects::layout::{Place, Shelf};

/// Names that a user may have, of what was removed too: each takes room in
/// every listing.
const NAMES_MAX: usize = 5_000;

impl Sync {
    /// Asked before a name is taken that nobody has. Two pushes at once may be
    /// one too many, which does no harm.
    pub(super) async fn check_names(&self, user: &UserName) -> std::result::Result<(), Declined> {
        let mut names = 0;
        for shelf in Shelf::of(user) {
            let listed = self.catalog.list(&shelf).await?;
            names += listed
                .iter()
                .filter(|(_, entry)| entry.owner == *user)
                .count();
        }
        if names < NAMES_MAX {
            return Ok(());
        }
        let what = format_args!(
            "you have as many names as the relay allows, names={names}; hint: push under a name \
             that you have, or remove models of your own (models/~/…) with: ginnel models rm --remote NAME"
        );
        Err(Declined::new(Code::QuotaExceeded, what))
    }

    /// Bytes that a user's artifacts have, and those that are being pushed
    /// will have.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn used(&self, user: &UserName) -> Result<u64> {
        let mut used = 0_u64;
        for shelf in Shelf::of(user) {
            let listed = self.catalog.list(&shelf).await?;
            let own = listed.iter().filter(|(_, entry)| entry.owner == *user);
            let taken: u64 = own.map(|(_, entry)| entry.takes()).sum();
            used = used.saturating_add(taken);
        }
        let knowledge = Shelf::KnowledgeOf(user.clone());
        let listed = self.catalog.list(&knowledge).await?;
        let taken: u64 = listed.iter().map(|(_, entry)| entry.takes()).sum();
        Ok(used.saturating_add(taken))
    }

    /// Asked after the claim, which counts already: of two pushes that fit
    /// only alone, none gets through unseen.
    pub(super) async fn check_quota(&self, user: &UserName) -> std::result::Result<(), Declined> {
        let mut used = self.used(user).await?;
        if used > self.quota {
            self.end_given_up(user).await?;
            used = self.used(user).await?;
        }
        if used <= self.quota {
            return Ok(());
        }
        let (quota, over) = (self.quota, used - self.quota);
        let what = format_args!(
            "your artifacts would take more room than the relay allows, quota={quota} over={over}; \
             hint: remove some with: ginnel models rm --remote NAME"
        );
        Err(Declined::new(Code::QuotaExceeded, what))
    }

    /// Ends a user's pushes that were given up: their parts take room.
    async fn end_given_up(&self, user: &UserName) -> Result<()> {
        let now_ms = self.now_ms();
        for shelf in Shelf::of(user) {
            for (artifact, entry) in self.catalog.list(&shelf).await? {
                if entry.owner != *user || entry.given_up(now_ms).is_none() {
                    continue;
                }
                let place = Place::of(&artifact, user);
                let Some(now) = self.catalog.read(&place).await? else {
                    continue;
                };
                let Some(left) = now.entry.given_up(now_ms) else {
                    continue;
                };
                if left.is_removal() {
                    continue;
                }
                // It may be complete, and only not told.
                self.bucket.abort(place.object(), &left.upload).await?;
                if self.tell_completed(&place, &now).await? {
                    continue;
                }
                let Some(released) = now.entry.released(left.fence) else {
                    continue;
                };
                self.catalog.write(&place, Some(&now), released).await?;
            }
        }
        Ok(())
    }
}
