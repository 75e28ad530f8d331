//! Deliveries that other nodes have cancelled, and that may wait in memory here: whoever cancelled one says so, and may be
//! gone before it has. So it is looked for from time to time.

use std::collections::BTreeSet;

use crate::engine::shared::Shared;
use crate::id::EndpointId;
use crate::store::{Cluster, StoreError, Withdrawn};

/// How far it was looked.
#[derive(Debug, Default)]
pub(super) struct Withdrawals {
    next: Option<u64>,
    /// What the last look has found: the next one may find it again.
    found: BTreeSet<u64>,
}

impl Withdrawals {
    /// Looks, and has what waits of these endpoints read anew. The first look says only where to go on, however much is
    /// remembered: what has come into memory by then is read anew as a whole.
    pub(super) async fn look(&mut self, shared: &Shared, cluster: &dyn Cluster) -> Result<(), StoreError> {
        let is_first = self.next.is_none();
        let new = self.take_in(cluster.withdrawn(self.next).await?);
        if is_first {
            shared.with(|schedule, now| schedule.distrust_all(now));
        }
        if !new.is_empty() {
            shared.with(|schedule, now| new.into_iter().for_each(|one| schedule.distrust(one, now)));
        }
        Ok(())
    }

    fn take_in(&mut self, withdrawn: Withdrawn) -> BTreeSet<EndpointId> {
        let new = withdrawn.found.iter().filter(|one| !self.found.contains(&one.number));
        let new = new.map(|one| one.endpoint).collect();
        self.next = Some(withdrawn.next);
        self.found = withdrawn.found.iter().map(|one| one.number).collect();
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Withdrawal;

    #[test]
    fn what_was_found_before_is_not_new_when_it_is_found_again() {
        let mut withdrawals = Withdrawals::default();
        let endpoint = |number| EndpointId::from_bytes([number; 16]);
        let mut look = |next, found: &[(u64, u8)]| {
            let found =
                found.iter().map(|(number, of)| Withdrawal { number: *number, endpoint: endpoint(*of) });
            let new = withdrawals.take_in(Withdrawn { next, found: found.collect() });
            assert_eq!(withdrawals.next, Some(next));
            new.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(look(7, &[(1, 5), (2, 5), (3, 6)]), [endpoint(5), endpoint(6)]);
        assert_eq!(look(7, &[(1, 5), (2, 5), (3, 6)]), []);
        assert_eq!(look(9, &[(2, 5), (3, 6), (4, 5)]), [endpoint(5)], "and an earlier one shows up late:");
        assert_eq!(look(9, &[(0, 8), (4, 5)]), [endpoint(8)]);
    }
}
