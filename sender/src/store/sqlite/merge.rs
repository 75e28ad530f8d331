//! Several lists of deliveries as one, in the order of their ids, a step at a time.
//!
//! A filter names some ranges of some indexes. Each range is asked only for its next entry, so a page costs one step
//! for each range and one for each delivery that is looked at, however long the ranges are.

use std::collections::BinaryHeap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::failure::Failure;
use crate::id::{DeliveryId, EventId};
use crate::store::Order;
use crate::store::bounds::Bounds;

/// One list.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Range {
    /// Every delivery.
    All,
    /// The deliveries of an event.
    OfEvent(EventId),
    /// The live deliveries of a route.
    Live {
        /// Of this route.
        route: i64,
    },
    /// The deliveries of a route that ended in a state.
    Ended {
        /// Of this route.
        route: i64,
        /// In this state.
        state: i64,
    },
    /// The deliveries of all routes that ended in a state other than delivered.
    Failed {
        /// In this state.
        state: i64,
    },
}

/// The union of some ranges.
pub(super) struct Merged<'c> {
    connection: &'c Connection,
    bounds: Bounds,
    /// The next of each range, by [`Bounds::rank`].
    heads: BinaryHeap<(u128, Range)>,
}

impl<'c> Merged<'c> {
    /// Starts at the end of `bounds` that comes first in its order.
    pub(super) fn start(
        connection: &'c Connection,
        ranges: Vec<Range>,
        bounds: Bounds,
    ) -> Result<Self, Failure> {
        let mut merged = Self { connection, bounds, heads: BinaryHeap::new() };
        for range in ranges {
            merged.advance(range, bounds)?;
        }
        Ok(merged)
    }

    /// The next delivery.
    pub(super) fn next(&mut self) -> Result<Option<DeliveryId>, Failure> {
        let Some((rank, range)) = self.heads.pop() else { return Ok(None) };
        let id = self.bounds.at_rank(rank);
        self.advance(range, self.bounds.behind(id))?;
        Ok(Some(id))
    }

    fn advance(&mut self, range: Range, bounds: Bounds) -> Result<(), Failure> {
        let [newest_first, oldest_first] = range.sql();
        let sql = match bounds.order {
            Order::NewestFirst => newest_first,
            Order::OldestFirst => oldest_first,
        };
        let between = [after_bytes(bounds), before_bytes(bounds)].into_iter().map(Value::Blob);
        let mut statement = self.connection.prepare_cached(sql)?;
        let found: Option<[u8; 16]> = statement
            .query_row(params_from_iter(between.chain(range.keys())), |row| row.get(0))
            .optional()?;
        if let Some(id) = found {
            self.heads.push((bounds.rank(DeliveryId::from_bytes(id)), range));
        }
        Ok(())
    }
}

/// The statements for a list in both orders.
macro_rules! next_of {
    ($id:literal, $from:literal) => {
        [next_of!($id, $from, " DESC"), next_of!($id, $from, " ASC")]
    };
    ($id:literal, $from:literal, $order:literal) => {
        concat!(
            "SELECT ",
            $id,
            " FROM ",
            $from,
            " AND ",
            $id,
            " > ?1 AND ",
            $id,
            " < ?2 ORDER BY ",
            $id,
            $order,
            " LIMIT 1"
        )
    };
}

impl Range {
    pub(super) fn sql(self) -> [&'static str; 2] {
        match self {
            Self::All => next_of!("id", "deliveries WHERE TRUE"),
            Self::OfEvent(_) => next_of!("id", "deliveries WHERE event = ?3"),
            Self::Live { .. } => next_of!("id", "delivery_live WHERE route = ?3"),
            Self::Ended { .. } => {
                next_of!("delivery", "attempts WHERE state IS NOT NULL AND route = ?3 AND state = ?4")
            }
            Self::Failed { .. } => {
                next_of!("delivery", "attempts INDEXED BY deliveries_failed WHERE state > 1 AND state = ?3")
            }
        }
    }

    fn keys(self) -> Vec<Value> {
        match self {
            Self::All => Vec::new(),
            Self::OfEvent(event) => vec![Value::Blob(event.as_bytes().to_vec())],
            Self::Live { route } => vec![Value::Integer(route)],
            Self::Ended { route, state } => vec![Value::Integer(route), Value::Integer(state)],
            Self::Failed { state } => vec![Value::Integer(state)],
        }
    }
}

/// What must be less than an id of them; nothing is less than no bytes.
fn after_bytes(bounds: Bounds) -> Vec<u8> {
    bounds.after.map_or_else(Vec::new, |id| id.as_bytes().to_vec())
}

/// What an id of them must be less than; the longer of two blobs that begin alike is the greater.
fn before_bytes(bounds: Bounds) -> Vec<u8> {
    bounds.before.map_or_else(|| vec![0xff; 17], |id| id.as_bytes().to_vec())
}
