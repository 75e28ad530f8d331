//! Finding deliveries: which ranges of which indexes a filter names, and what of them matches.
//!
//! Guarantees that a page looks at no more than [`MOST_LOOKED_AT`] deliveries of no more than [`MOST_RANGES`] ranges.
//! What a filter says beyond the index that it is answered from is compared row by row; where that matches rarely,
//! pages are short and say how far they came.

use super::connect::Session;
use super::due::numbers;
use super::failure::Failure;
use super::listing;
use super::merge::{Merged, Range};
use super::values::{FINAL_STATES, endpoint_id, uuid};
use crate::id::EndpointId;
use crate::model::delivery::{Delivery, DeliveryState};
use crate::store::bounds::Bounds;
use crate::store::{DeliveryFilter, DeliveryPage, Shards};

/// A page of the deliveries that match, from one snapshot.
pub(super) async fn deliveries(session: &Session, filter: &DeliveryFilter) -> Result<DeliveryPage, Failure> {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut page = DeliveryPage::default();
    if limit == 0 {
        return Ok(page);
    }
    let bounds = Bounds { after: filter.after, before: filter.before, order: filter.order };
    let ranges = ranges(session, filter).await?;
    let mut candidates = Merged::start(session, ranges, bounds, limit).await?;
    let (mut looked_at, mut chunk, mut last) = (0, limit.clamp(1, CHUNK), None);
    while looked_at < MOST_LOOKED_AT {
        let ids = candidates.next(session, chunk.min(MOST_LOOKED_AT - looked_at)).await?;
        if ids.is_empty() {
            return Ok(page);
        }
        looked_at += ids.len();
        last = ids.last().copied();
        for (delivery, event_type) in listing::deliveries(session, &ids).await? {
            if matches(filter, &delivery, &event_type) {
                page.deliveries.push(delivery);
            }
            if page.deliveries.len() >= limit {
                return Ok(page);
            }
        }
        chunk = CHUNK;
    }
    page.reached = last;
    Ok(page)
}

fn matches(filter: &DeliveryFilter, found: &Delivery, event_type: &String) -> bool {
    filter.event.is_none_or(|event| event == found.event)
        && filter.endpoint.is_none_or(|endpoint| endpoint == found.endpoint)
        && filter.consumer.as_ref().is_none_or(|consumer| *consumer == found.consumer)
        && (filter.states.is_empty() || filter.states.contains(&found.state))
        && (filter.event_types.is_empty() || filter.event_types.contains(event_type))
}

/// Ranges that hold all that a filter wants, and as little else as the indexes allow.
async fn ranges(session: &Session, filter: &DeliveryFilter) -> Result<Vec<Range>, Failure> {
    let wants = |state: DeliveryState| filter.states.is_empty() || filter.states.contains(&state);
    let wants_live = wants(DeliveryState::Pending) || wants(DeliveryState::Retrying);
    let ended = || FINAL_STATES.into_iter().filter(|(state, _)| wants(*state));
    if let Some(event) = filter.event {
        return Ok(vec![Range::OfEvent(event)]);
    }
    let ranges = if filter.endpoint.is_some() || filter.consumer.is_some() {
        let mut ranges = Vec::new();
        for endpoint in endpoints_of(session, filter).await? {
            ranges.extend(wants_live.then_some(Range::Live(endpoint)));
            ranges.extend(ended().map(|(_, state)| Range::Ended(endpoint, state)));
        }
        ranges
    } else if wants(DeliveryState::Delivered) {
        // Nearly all of them are.
        vec![Range::All]
    } else {
        let live = if wants_live { endpoints_with_work(session).await? } else { Vec::new() };
        let live = live.into_iter().map(Range::Live);
        live.chain(ended().map(|(_, state)| Range::Failed(state))).collect()
    };
    // So many ranges would cost more than looking at what there is, one by one.
    Ok(if ranges.len() > MOST_RANGES { vec![Range::All] } else { ranges })
}

/// The endpoint, or those of a consumer; more than [`MOST_RANGES`] if there are more.
async fn endpoints_of(session: &Session, filter: &DeliveryFilter) -> Result<Vec<EndpointId>, Failure> {
    let consumer = filter.consumer.as_ref().map(|consumer| consumer.as_str());
    let rows = match filter.endpoint {
        Some(endpoint) => session.query(ENDPOINT, &[&uuid(endpoint.as_bytes()), &consumer]).await?,
        None => session.query(ENDPOINTS, &[&consumer, &one_too_many()]).await?,
    };
    rows.iter().map(|row| endpoint_id(row, 0)).collect()
}

/// The endpoints that have live deliveries, by jumps; more than [`MOST_RANGES`] if there are more.
async fn endpoints_with_work(session: &Session) -> Result<Vec<EndpointId>, Failure> {
    let rows = session.query(WITH_WORK, &[&numbers(Shards::ALL), &one_too_many()]).await?;
    rows.iter().map(|row| endpoint_id(row, 0)).collect()
}

fn one_too_many() -> i64 {
    i64::try_from(MOST_RANGES).unwrap_or(i64::MAX).saturating_add(1)
}

const ENDPOINT: &str =
    "SELECT endpoint FROM routes WHERE endpoint = $1 AND ($2::text IS NULL OR consumer = $2)";

const ENDPOINTS: &str = "SELECT endpoint FROM routes WHERE consumer = $1 LIMIT $2";

const WITH_WORK: &str = "SELECT w.endpoint FROM unnest($1::smallint[]) AS s (shard)
     CROSS JOIN LATERAL (
         WITH RECURSIVE work (endpoint) AS (
             (SELECT endpoint FROM delivery_live WHERE shard = s.shard ORDER BY endpoint LIMIT 1)
             UNION ALL
             SELECT n.endpoint FROM work CROSS JOIN LATERAL (
                 SELECT endpoint FROM delivery_live WHERE shard = s.shard AND endpoint > work.endpoint
                     ORDER BY endpoint LIMIT 1) AS n)
         SELECT endpoint FROM work) AS w
     LIMIT $2";

/// How many deliveries one page looks at: some tens of milliseconds.
const MOST_LOOKED_AT: usize = 2_000;

/// How many ranges one page merges.
const MOST_RANGES: usize = 1_000;

/// How many deliveries are looked at with one statement.
const CHUNK: usize = 200;
