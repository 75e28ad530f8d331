//! Finding deliveries: which ranges of which indexes a filter names, and what of them matches.
//!
//! Guarantees that a page looks at no more than [`MOST_LOOKED_AT`] deliveries of no more than [`MOST_RANGES`] ranges.
//! What a filter says beyond the index that it is answered from is compared row by row; where that matches rarely,
//! pages are short and say how far they came.

use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Failure;
use super::listing::delivery;
use super::merge::{Merged, Range};
use super::values::{FINAL_STATES, present};
use crate::id::DeliveryId;
use crate::model::delivery::{Delivery, DeliveryState};
use crate::store::bounds::Bounds;
use crate::store::{DeliveryFilter, DeliveryPage};

/// A page of the deliveries that match.
pub(super) fn deliveries(connection: &Connection, filter: &DeliveryFilter) -> Result<DeliveryPage, Failure> {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut page = DeliveryPage::default();
    if limit == 0 {
        return Ok(page);
    }
    // Of an event that went to thousands, the one that went here: a cheap question about each, asked first.
    let only = match (filter.event, filter.endpoint) {
        (Some(_), Some(_)) => match routes_of(connection, filter)?.first() {
            Some(route) => Some(*route),
            None => return Ok(page),
        },
        _ => None,
    };
    let bounds = Bounds { after: filter.after, before: filter.before, order: filter.order };
    let mut candidates = Merged::start(connection, ranges(connection, filter)?, bounds)?;
    let mut last = None;
    for _ in 0..MOST_LOOKED_AT {
        let Some(id) = candidates.next()? else { return Ok(page) };
        last = Some(id);
        let elsewhere = match only {
            Some(route) => !goes_to(connection, id, route)?,
            None => false,
        };
        if !elsewhere {
            page.deliveries.extend(matching(connection, filter, id)?);
        }
        if page.deliveries.len() >= limit {
            return Ok(page);
        }
    }
    page.reached = last;
    Ok(page)
}

fn goes_to(connection: &Connection, id: DeliveryId, route: i64) -> Result<bool, Failure> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM deliveries WHERE id = ?1 AND route = ?2")?;
    Ok(statement.exists(params![id.as_bytes(), route])?)
}

/// The delivery, if it is one that is looked for. The cheaper question comes first.
fn matching(
    connection: &Connection,
    filter: &DeliveryFilter,
    id: DeliveryId,
) -> Result<Option<Delivery>, Failure> {
    if !filter.event_types.is_empty() {
        let event_type: Option<String> = connection
            .prepare_cached(
                "SELECT e.event_type FROM deliveries d CROSS JOIN events e ON e.id = d.event WHERE d.id = ?1",
            )?
            .query_row([id.as_bytes()], |row| row.get(0))
            .optional()?;
        if event_type.is_none_or(|event_type| !filter.event_types.contains(&event_type)) {
            return Ok(None);
        }
    }
    let found = present(delivery(connection, id)?, "delivery")?;
    let matches = filter.event.is_none_or(|event| event == found.event)
        && filter.endpoint.is_none_or(|endpoint| endpoint == found.endpoint)
        && filter.consumer.as_ref().is_none_or(|consumer| *consumer == found.consumer)
        && (filter.states.is_empty() || filter.states.contains(&found.state));
    Ok(matches.then_some(found))
}

/// Ranges that hold all that a filter wants, and as little else as the indexes allow.
fn ranges(connection: &Connection, filter: &DeliveryFilter) -> Result<Vec<Range>, Failure> {
    let wants = |state: DeliveryState| filter.states.is_empty() || filter.states.contains(&state);
    let wants_live = wants(DeliveryState::Pending) || wants(DeliveryState::Retrying);
    if let Some(event) = filter.event {
        return Ok(vec![Range::OfEvent(event)]);
    }
    let ranges = if filter.endpoint.is_some() || filter.consumer.is_some() {
        let mut ranges = Vec::new();
        for route in routes_of(connection, filter)? {
            ranges.extend(wants_live.then_some(Range::Live { route }));
            let ended = FINAL_STATES.into_iter().filter(|(state, _)| wants(*state));
            ranges.extend(ended.map(|(_, state)| Range::Ended { route, state }));
        }
        ranges
    } else if wants(DeliveryState::Delivered) {
        // Nearly all of them are.
        vec![Range::All]
    } else {
        let live = if wants_live { routes_with_work(connection)? } else { Vec::new() };
        let ended = FINAL_STATES.into_iter().filter(|(state, _)| wants(*state));
        let live = live.into_iter().map(|route| Range::Live { route });
        live.chain(ended.map(|(_, state)| Range::Failed { state })).collect()
    };
    // So many ranges would cost more than looking at what there is, one by one.
    Ok(if ranges.len() > MOST_RANGES { vec![Range::All] } else { ranges })
}

/// The routes of an endpoint or a consumer; more than [`MOST_RANGES`] if there are more.
fn routes_of(connection: &Connection, filter: &DeliveryFilter) -> Result<Vec<i64>, Failure> {
    let consumer = filter.consumer.as_ref().map(|consumer| consumer.as_str());
    if let Some(endpoint) = filter.endpoint {
        let mut statement = connection
            .prepare_cached("SELECT no FROM routes WHERE endpoint = ?1 AND (?2 IS NULL OR consumer = ?2)")?;
        let found =
            statement.query_row(params![endpoint.as_bytes(), consumer], |row| row.get(0)).optional()?;
        return Ok(found.into_iter().collect());
    }
    let mut statement = connection.prepare_cached("SELECT no FROM routes WHERE consumer = ?1 LIMIT ?2")?;
    let rows = statement.query_map(params![consumer, one_too_many()], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The routes that have live deliveries, by jumps; more than [`MOST_RANGES`] if there are more.
fn routes_with_work(connection: &Connection) -> Result<Vec<i64>, Failure> {
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE work (route) AS (
             SELECT min(route) FROM delivery_live
             UNION ALL
             SELECT (SELECT min(route) FROM delivery_live WHERE route > work.route) FROM work
                 WHERE work.route IS NOT NULL)
         SELECT route FROM work WHERE route IS NOT NULL LIMIT ?1",
    )?;
    let rows = statement.query_map([one_too_many()], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn one_too_many() -> i64 {
    i64::try_from(MOST_RANGES).unwrap_or(i64::MAX).saturating_add(1)
}

/// How many deliveries one page looks at: some tens of milliseconds.
pub(super) const MOST_LOOKED_AT: usize = 2_000;

/// How many ranges one page merges.
pub(super) const MOST_RANGES: usize = 1_000;
