//! The last few thousand ids that ended, so that late news of them is known to be old.

use std::collections::{HashSet, VecDeque};

use crate::id::DeliveryId;

/// A bounded set that forgets its oldest members.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<DeliveryId>,
    members: HashSet<DeliveryId>,
}

impl Recent {
    /// Remembers an id.
    pub(super) fn insert(&mut self, id: DeliveryId) {
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
    pub(super) fn contains(&self, id: &DeliveryId) -> bool {
        self.members.contains(id)
    }
}

/// Enough for some seconds at full speed; news that is late is late by milliseconds.
const MEMBERS: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
