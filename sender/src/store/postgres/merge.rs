//! Several lists of deliveries as one, in the order of their ids, a stretch at a time.
//!
//! A filter names some ranges of some indexes. Of each range a few entries are asked for, all ranges in one statement, and
//! more of a range only when its entries are used up: each time twice as many. So a page costs a step for each range, a
//! few steps for each delivery that is looked at, and a way to the server for each range that goes on long.

use std::collections::{BinaryHeap, HashMap, VecDeque};

use uuid::Uuid;

use super::connect::Session;
use super::failure::Failure;
use super::values::{delivery_id, get, uuid};
use crate::id::{DeliveryId, EndpointId, EventId};
use crate::store::bounds::Bounds;
use crate::store::{Order, Shard};

/// One list.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Range {
    /// Every delivery.
    All,
    /// The deliveries of an event.
    OfEvent(EventId),
    /// The live deliveries of an endpoint.
    Live(EndpointId),
    /// The deliveries of an endpoint that ended in a state.
    Ended(EndpointId, i16),
    /// The deliveries of all endpoints that ended in a state other than delivered.
    Failed(i16),
}

/// The union of some ranges.
#[derive(Debug)]
pub(super) struct Merged {
    bounds: Bounds,
    /// What is known of each range beyond its head, and how much is asked for next.
    known: HashMap<Range, (VecDeque<DeliveryId>, i64)>,
    /// The next of each range, by [`Bounds::rank`].
    heads: BinaryHeap<(u128, Range)>,
}

impl Merged {
    /// Starts at the end of `bounds` that comes first in its order.
    pub(super) async fn start(
        session: &Session,
        ranges: Vec<Range>,
        bounds: Bounds,
        limit: usize,
    ) -> Result<Self, Failure> {
        let mut merged = Self { bounds, known: HashMap::new(), heads: BinaryHeap::new() };
        let each = (AT_FIRST / ranges.len().max(1)).clamp(2, limit.clamp(2, AT_FIRST));
        let each = i64::try_from(each).unwrap_or(i64::MAX);
        merged.known.extend(ranges.iter().map(|range| (*range, (VecDeque::new(), each))));
        let asked: Vec<_> = ranges.into_iter().map(|range| (range, bounds)).collect();
        merged.refill(session, &asked).await?;
        Ok(merged)
    }

    /// The next deliveries, at most so many; none at the end.
    pub(super) async fn next(&mut self, session: &Session, most: usize) -> Result<Vec<DeliveryId>, Failure> {
        let mut found = Vec::new();
        while found.len() < most {
            let Some((rank, range)) = self.heads.pop() else { break };
            let id = self.bounds.at_rank(rank);
            found.push(id);
            let next = self.known.get_mut(&range).and_then(|(known, _)| known.pop_front());
            match next {
                Some(next) => self.heads.push((self.bounds.rank(next), range)),
                None => self.refill(session, &[(range, self.bounds.behind(id))]).await?,
            }
        }
        Ok(found)
    }

    /// Asks for more of these ranges. One of which less came than was asked for has no more: it is not asked again.
    async fn refill(&mut self, session: &Session, asked: &[(Range, Bounds)]) -> Result<(), Failure> {
        let mut by_kind: HashMap<&'static str, Vec<(Range, Bounds)>> = HashMap::new();
        for (range, bounds) in asked {
            let Some((_, each)) = self.known.get(range) else { continue };
            if *each > 0 {
                by_kind.entry(range.sql(bounds.order)).or_default().push((*range, *bounds));
            }
        }
        for (sql, asked) in by_kind {
            let each = asked.iter().filter_map(|(range, _)| self.known.get(range)).map(|known| known.1).max();
            let each = each.unwrap_or(0);
            let after: Vec<Uuid> = asked.iter().map(|(_, bounds)| after_id(bounds)).collect();
            let before: Vec<Uuid> = asked.iter().map(|(_, bounds)| before_id(bounds)).collect();
            let keys: Vec<Uuid> = asked.iter().map(|(range, _)| range.key()).collect();
            let numbers: Vec<i16> = asked.iter().map(|(range, _)| range.number()).collect();
            let rows = session.query(sql, &[&after, &before, &keys, &numbers, &each]).await?;
            let mut came: HashMap<Range, VecDeque<DeliveryId>> = HashMap::new();
            for row in &rows {
                let place = usize::try_from(get::<i64>(row, 0)? - 1).unwrap_or(usize::MAX);
                if let Some((range, _)) = asked.get(place) {
                    came.entry(*range).or_default().push_back(delivery_id(row, 1)?);
                }
            }
            for (range, _) in asked {
                let mut ids = came.remove(&range).unwrap_or_default();
                let is_all = i64::try_from(ids.len()).is_ok_and(|came| came < each);
                if let Some(head) = ids.pop_front() {
                    self.heads.push((self.bounds.rank(head), range));
                }
                let next = if is_all { 0 } else { each.saturating_mul(2).min(AT_ONCE) };
                self.known.insert(range, (ids, next));
            }
        }
        Ok(())
    }
}

/// The statements for a list in both orders: a few entries for each of the ranges that are given.
macro_rules! some_of {
    ($id:literal, $from:literal) => {
        [some_of!($id, $from, " DESC"), some_of!($id, $from, " ASC")]
    };
    ($id:literal, $from:literal, $order:literal) => {
        concat!(
            "SELECT r.place, f.id FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::smallint[]) WITH ORDINALITY
                 AS r (after, before, key, number, place)
             CROSS JOIN LATERAL (SELECT ",
            $id,
            " AS id FROM ",
            $from,
            " AND ",
            $id,
            " > r.after AND ",
            $id,
            " < r.before ORDER BY ",
            $id,
            $order,
            " LIMIT $5::bigint) AS f ORDER BY r.place, f.id",
            $order
        )
    };
}

impl Range {
    fn sql(self, order: Order) -> &'static str {
        let [newest_first, oldest_first] = match self {
            Self::All => some_of!("id", "deliveries WHERE true"),
            Self::OfEvent(_) => some_of!("id", "deliveries WHERE event = r.key"),
            Self::Live(_) => {
                some_of!("id", "delivery_live WHERE shard = r.number AND endpoint = r.key")
            }
            Self::Ended(..) => some_of!(
                "delivery",
                "attempts WHERE state IS NOT NULL AND endpoint = r.key AND state = r.number"
            ),
            Self::Failed(_) => some_of!("delivery", "attempts WHERE state > 1 AND state = r.number"),
        };
        match order {
            Order::NewestFirst => newest_first,
            Order::OldestFirst => oldest_first,
        }
    }

    fn key(self) -> Uuid {
        match self {
            Self::OfEvent(event) => uuid(event.as_bytes()),
            Self::Live(endpoint) | Self::Ended(endpoint, _) => uuid(endpoint.as_bytes()),
            Self::All | Self::Failed(_) => Uuid::nil(),
        }
    }

    fn number(self) -> i16 {
        match self {
            Self::Live(endpoint) => i16::from(Shard::of(endpoint).number()),
            Self::Ended(_, state) | Self::Failed(state) => state,
            Self::All | Self::OfEvent(_) => 0,
        }
    }
}

/// What is less than every id of them.
fn after_id(bounds: &Bounds) -> Uuid {
    bounds.after.map_or(Uuid::nil(), |id| uuid(id.as_bytes()))
}

/// What every id of them is less than.
fn before_id(bounds: &Bounds) -> Uuid {
    bounds.before.map_or(Uuid::max(), |id| uuid(id.as_bytes()))
}

/// Entries that are asked for at first, of all ranges together.
const AT_FIRST: usize = 1_000;

/// Entries of one range that are asked for at once.
const AT_ONCE: i64 = 500;
