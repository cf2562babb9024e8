//! Room for what is under way, of which no user can take all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use ginnel_proto::id::UserName;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::lock;

/// Room for so many, of which each user may have so many.
#[derive(Debug)]
pub(crate) struct Shares {
    all: Arc<Semaphore>,
    of_user: usize,
    /// Those of users who have or wait for some.
    by_user: Mutex<HashMap<UserName, Weak<Semaphore>>>,
}

/// Room that somebody has, until dropped.
#[derive(Debug)]
pub(crate) struct Share {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    /// Lives as long as somebody has some of it.
    _user: Arc<Semaphore>,
}

impl Shares {
    pub(crate) fn new(all: usize, of_user: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            of_user,
            by_user: Mutex::default(),
        }
    }

    /// Waits for room for one.
    pub(crate) async fn one(&self, user: &UserName) -> Result<Share, AcquireError> {
        self.some(user, 1).await
    }

    /// Waits for room for so many, which a user's own share must have room for. First
    /// for that, so that who waits for it keeps nobody else waiting.
    pub(crate) async fn some(&self, user: &UserName, count: u32) -> Result<Share, AcquireError> {
        let own = self.of(user);
        let permit = Arc::clone(&own).acquire_many_owned(count).await?;
        let all = Arc::clone(&self.all).acquire_many_owned(count).await?;
        Ok(Share {
            _all: all,
            _own: permit,
            _user: own,
        })
    }

    fn of(&self, user: &UserName) -> Arc<Semaphore> {
        let mut by_user = lock(&self.by_user);
        by_user.retain(|_, own| own.strong_count() > 0);
        if let Some(own) = by_user.get(user).and_then(Weak::upgrade) {
            return own;
        }
        let own = Arc::new(Semaphore::new(self.of_user));
        by_user.insert(user.clone(), Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn who_wants_much_at_once_waits_for_the_own_share() {
        let shares = Shares::new(9, 6);
        let [ada, bob]: [UserName; 2] = ["ada", "bob"].map(|name| name.parse().expect("a name"));
        let take = |user, count| shares.some(user, count).now_or_never();
        let _first = take(&ada, 4).expect("room");
        assert!(take(&ada, 3).is_none(), "she has her share");
        let second = take(&bob, 5).expect("room for him");
        assert!(take(&ada, 1).is_none(), "there is no more");
        drop(second);
        assert!(take(&ada, 2).is_some());
    }

    #[test]
    fn no_user_takes_all() {
        let shares = Shares::new(3, 2);
        let [ada, bob]: [UserName; 2] = ["ada", "bob"].map(|name| name.parse().expect("a name"));
        let take = |user| shares.one(user).now_or_never();
        let first = take(&ada).expect("room");
        let _second = take(&ada).expect("room");
        assert!(take(&ada).is_none(), "she has her share");
        let _third = take(&bob).expect("room for him");
        assert!(take(&bob).is_none(), "there is no more");
        drop(first);
        let _fourth = take(&bob).expect("room again");
        drop((_second, _third, _fourth));
        drop(take(&ada).expect("room"));
        shares.of(&bob);
        assert_eq!(lock(&shares.by_user).len(), 1, "nobody is remembered");
    }
}
