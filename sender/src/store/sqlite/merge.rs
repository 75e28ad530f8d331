//! Several descending lists of deliveries as one, a step at a time.
//!
//! A filter by endpoint, consumer or state names some ranges of two indexes. Each range is asked only for its next
//! entry, so a page costs one step for each range and one for each delivery on it, however long the ranges are.

use std::collections::BinaryHeap;

use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Failure;
use crate::id::DeliveryId;

/// One descending list.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Range {
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
}

/// The union of some ranges, newest first.
pub(super) struct Merged<'c> {
    connection: &'c Connection,
    heads: BinaryHeap<(DeliveryId, Range)>,
}

impl<'c> Merged<'c> {
    /// Starts before (older than) `before`, or with the newest.
    pub(super) fn start(
        connection: &'c Connection,
        ranges: impl Iterator<Item = Range>,
        before: Option<DeliveryId>,
    ) -> Result<Self, Failure> {
        let mut merged = Self { connection, heads: BinaryHeap::new() };
        for range in ranges {
            merged.advance(range, before)?;
        }
        Ok(merged)
    }

    /// The next older delivery.
    pub(super) fn next(&mut self) -> Result<Option<DeliveryId>, Failure> {
        let Some((id, range)) = self.heads.pop() else { return Ok(None) };
        self.advance(range, Some(id))?;
        Ok(Some(id))
    }

    fn advance(&mut self, range: Range, before: Option<DeliveryId>) -> Result<(), Failure> {
        let before = upper_bound(before);
        let found: Option<[u8; 16]> = match range {
            Range::Live { route } => self
                .connection
                .prepare_cached(
                    "SELECT id FROM delivery_live WHERE route = ?1 AND id < ?2 ORDER BY id DESC LIMIT 1",
                )?
                .query_row(params![route, before], |row| row.get(0))
                .optional()?,
            Range::Ended { route, state } => self
                .connection
                .prepare_cached(
                    "SELECT delivery FROM attempts
                         WHERE state IS NOT NULL AND route = ?1 AND state = ?2 AND delivery < ?3
                         ORDER BY delivery DESC LIMIT 1",
                )?
                .query_row(params![route, state, before], |row| row.get(0))
                .optional()?,
        };
        if let Some(id) = found {
            self.heads.push((DeliveryId::from_bytes(id), range));
        }
        Ok(())
    }
}

/// What an id must be less than; the longer of two blobs that begin alike is the greater.
pub(super) fn upper_bound(before: Option<DeliveryId>) -> Vec<u8> {
    before.map_or_else(|| vec![0xff; 17], |id| id.as_bytes().to_vec())
}
