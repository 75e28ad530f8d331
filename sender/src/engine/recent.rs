//! The last few thousand ids of which something is true: deliveries that ended, so that late news of them is known to
//! be old; endpoints that answer, after their lanes are gone.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// A bounded set that forgets its oldest members.
#[derive(Debug)]
pub(super) struct Recent<T> {
    order: VecDeque<T>,
    members: HashSet<T>,
}

impl<T: Copy + Eq + Hash> Recent<T> {
    /// Remembers an id.
    pub(super) fn insert(&mut self, id: T) {
        if !self.members.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > MEMBERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.members.remove(&oldest);
        }
    }

    /// Whether it is remembered.
    pub(super) fn contains(&self, id: &T) -> bool {
        self.members.contains(id)
    }

    /// Forgets an id.
    pub(super) fn remove(&mut self, id: &T) {
        if self.members.remove(id) {
            self.order.retain(|member| member != id);
        }
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), members: HashSet::new() }
    }
}

/// Enough for some seconds at full speed; news that is late is late by milliseconds.
const MEMBERS: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DeliveryId;

    #[test]
    fn it_forgets_the_oldest_and_stays_bounded() {
        let id = |n: usize| DeliveryId::from_bytes(u128::try_from(n).unwrap().to_be_bytes());
        let mut recent = Recent::default();
        for n in 0..=MEMBERS {
            recent.insert(id(n));
            recent.insert(id(n));
        }
        assert!(!recent.contains(&id(0)));
        assert!(recent.contains(&id(1)) && recent.contains(&id(MEMBERS)));
        assert_eq!((recent.order.len(), recent.members.len()), (MEMBERS, MEMBERS));
        recent.remove(&id(1));
        assert!(!recent.contains(&id(1)) && recent.order.len() == MEMBERS - 1);
    }
}
