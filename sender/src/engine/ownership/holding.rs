//! What a renewal of the lease means: which shards have come, which are gone, which are to be given back. Without I/O.

use std::collections::BTreeMap;

use crate::store::{Shard, Shards, Tenure};

/// What is worked on, by the last word of the store.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// With the number of times that each has changed hands.
    held: BTreeMap<Shard, u64>,
    giving_back: Shards,
}

/// What follows from a renewal.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Turnover {
    /// Not ours any more, or in other hands in between.
    pub(super) lost: Shards,
    /// Ours since; [taken](Holding::take) when that is known here.
    pub(super) gained: Vec<(Shard, u64)>,
    /// More than a share, and to be given back.
    pub(super) excess: Shards,
}

impl Holding {
    /// Takes in what the store says.
    pub(super) fn turn_over(&mut self, tenure: &Tenure) -> Turnover {
        let said: BTreeMap<_, _> = tenure.shards.iter().copied().collect();
        let lost: Shards = self
            .held
            .iter()
            .filter(|(shard, n)| said.get(shard) != Some(n))
            .map(|(shard, _)| *shard)
            .collect();
        self.held.retain(|shard, _| !lost.contains(*shard));
        self.giving_back = self.giving_back.and(tenure.owned());
        let new =
            |(shard, _): &(Shard, u64)| !self.held.contains_key(shard) && !self.giving_back.contains(*shard);
        let mut gained: Vec<_> = tenure.shards.iter().copied().filter(new).collect();
        // What has just come goes first: nothing was begun in it. The leading shard goes last.
        let too_many = tenure.excess.saturating_sub(self.giving_back.len());
        let unused = gained.split_off(gained.len().saturating_sub(too_many));
        let rest = too_many.saturating_sub(unused.len());
        let excess: Shards = self.held.keys().rev().take(rest).copied().collect();
        self.held.retain(|shard, _| !excess.contains(*shard));
        let unused: Shards = unused.into_iter().map(|(shard, _)| shard).collect();
        self.giving_back = self.giving_back.or(excess).or(unused);
        Turnover { lost, gained, excess }
    }

    /// These are worked on from now on.
    pub(super) fn take(&mut self, gained: &[(Shard, u64)]) {
        self.held.extend(gained.iter().copied());
    }

    /// Nothing that was said counts any more.
    pub(super) fn forget(&mut self) {
        self.held.clear();
    }

    /// What is worked on.
    pub(super) fn shards(&self) -> Shards {
        self.held.keys().copied().collect()
    }

    /// What is to be given back, and may have something in flight.
    pub(super) fn giving_back(&self) -> Shards {
        self.giving_back
    }

    /// These were given back.
    pub(super) fn given_back(&mut self, shards: Shards) {
        self.giving_back = self.giving_back.without(shards);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenure(shards: &[(u8, u64)], excess: usize) -> Tenure {
        Tenure { shards: shards.iter().map(|(shard, n)| (Shard::new(*shard), *n)).collect(), excess }
    }

    fn shards(numbers: &[u8]) -> Shards {
        numbers.iter().copied().map(Shard::new).collect()
    }

    fn holding(taken: &[(u8, u64)]) -> Holding {
        let mut holding = Holding::default();
        let gained = holding.turn_over(&tenure(taken, 0)).gained;
        holding.take(&gained);
        holding
    }

    #[test]
    fn what_has_changed_hands_in_between_is_lost_and_gained() {
        let mut holding = holding(&[(1, 5), (2, 7), (3, 1)]);
        let turnover = holding.turn_over(&tenure(&[(1, 5), (2, 9)], 0));
        assert_eq!(turnover.lost, shards(&[2, 3]));
        assert_eq!(turnover.gained, [(Shard::new(2), 9)]);
        assert_eq!(holding.shards(), shards(&[1]), "not worked on before it is taken");
        assert_eq!(
            holding.turn_over(&tenure(&[(1, 5), (2, 9)], 0)).gained,
            [(Shard::new(2), 9)],
            "said again"
        );
        holding.take(&turnover.gained);
        assert_eq!(holding.turn_over(&tenure(&[(1, 5), (2, 9)], 0)), Turnover::default());
    }

    #[test]
    fn what_is_too_much_is_drained_once_and_not_gained_again_before_it_was_given_back() {
        let mut holding = holding(&[(0, 1), (1, 1), (2, 1), (3, 1)]);
        let all = [(0, 1), (1, 1), (2, 1), (3, 1)];
        assert_eq!(holding.turn_over(&tenure(&all, 2)).excess, shards(&[2, 3]));
        assert_eq!(holding.turn_over(&tenure(&all, 2)), Turnover::default());
        assert_eq!((holding.shards(), holding.giving_back()), (shards(&[0, 1]), shards(&[2, 3])));
        holding.given_back(shards(&[2, 3]));
        let turnover = holding.turn_over(&tenure(&[(0, 1), (1, 1), (2, 3)], 0));
        assert_eq!(turnover.gained, [(Shard::new(2), 3)]);
    }

    #[test]
    fn what_was_given_back_without_an_answer_is_known_by_the_next_word() {
        let mut holding = holding(&[(0, 1), (1, 1)]);
        holding.turn_over(&tenure(&[(0, 1), (1, 1)], 1));
        assert_eq!(holding.giving_back(), shards(&[1]));
        assert_eq!(holding.turn_over(&tenure(&[(0, 1)], 0)), Turnover::default());
        assert_eq!(holding.giving_back(), Shards::NONE);
    }

    #[test]
    fn what_is_too_much_and_was_not_begun_is_not_begun() {
        let mut holding = Holding::default();
        let turnover = holding.turn_over(&tenure(&[(0, 1), (1, 1), (2, 1)], 2));
        assert_eq!((turnover.gained, turnover.excess), (vec![(Shard::new(0), 1)], Shards::NONE));
        assert_eq!(holding.giving_back(), shards(&[1, 2]));
    }

    #[test]
    fn after_the_trust_has_ended_everything_is_gained_anew() {
        let mut holding = holding(&[(1, 5), (2, 7)]);
        holding.forget();
        let turnover = holding.turn_over(&tenure(&[(1, 5), (2, 8)], 0));
        assert_eq!((turnover.lost, turnover.gained.len()), (Shards::NONE, 2));
    }
}
