//! How many do the same slow thing at once, and how many of them for the same party.
//!
//! Guarantees that one party, however many requests it causes, holds no more than its share of the places, and that its
//! other requests wait for that share before they stand in the others' way.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for whatever is limited.
pub(crate) struct Quota {
    all: Arc<Semaphore>,
    of_each: usize,
    parties: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_party: OwnedSemaphorePermit,
}

impl Quota {
    /// `all` places, of which one party has `of_each` at most.
    pub(crate) fn new(all: usize, of_each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), of_each, parties: Mutex::default() }
    }

    /// Waits for a place; first come, first served.
    pub(crate) async fn place(&self, party: &str) -> Place {
        let share = self.share_of(party);
        let _of_party = share.acquire_owned().await.expect("nobody closes it");
        let _of_all = Arc::clone(&self.all).acquire_owned().await.expect("nobody closes it");
        Place { _of_all, _of_party }
    }

    fn share_of(&self, party: &str) -> Arc<Semaphore> {
        let mut parties = self.parties.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = parties.get(party).and_then(Weak::upgrade) {
            return share;
        }
        if parties.len() >= FORGOTTEN_AT {
            parties.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(self.of_each));
        parties.insert(party.to_owned(), Arc::downgrade(&share));
        share
    }
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota").field("free", &self.all.available_permits()).finish_non_exhaustive()
    }
}

/// With so many parties listed, those that wait for nothing are taken off the list.
const FORGOTTEN_AT: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn waits(quota: &Quota, party: &str) -> bool {
        timeout(Duration::from_millis(20), quota.place(party)).await.is_err()
    }

    #[tokio::test]
    async fn one_party_has_its_share_and_no_more() {
        let quota = Quota::new(3, 2);
        let (one, _two) = (quota.place("many").await, quota.place("many").await);
        assert!(waits(&quota, "many").await);
        let _other = quota.place("other").await;
        assert!(waits(&quota, "third").await, "all places are taken");
        drop(one);
        assert!(!waits(&quota, "third").await);
    }

    #[tokio::test]
    async fn parties_that_are_gone_are_forgotten() {
        let quota = Quota::new(1, 1);
        for number in 0..3 * FORGOTTEN_AT {
            drop(quota.place(&number.to_string()).await);
        }
        assert!(quota.parties.lock().unwrap().len() <= FORGOTTEN_AT);
    }
}
