//! How the model's values are written in columns, and read back with suspicion.

use rusqlite::Row;
use waxseal_keys::Timestamp;

use super::failure::Failure;
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::DeliveryState;

/// The final states, each with its number in the column `state`. Numbers are never reused.
pub(super) const FINAL_STATES: [(DeliveryState, i64); 5] = [
    (DeliveryState::Delivered, 1),
    (DeliveryState::Exhausted, 2),
    (DeliveryState::Expired, 3),
    (DeliveryState::Refused, 4),
    (DeliveryState::Cancelled, 5),
];

/// The number of a final state; none if the state is not final.
pub(super) fn state_number(state: DeliveryState) -> Option<i64> {
    FINAL_STATES.iter().find(|(known, _)| *known == state).map(|(_, number)| *number)
}

/// The final state with this number.
pub(super) fn final_state(number: i64) -> Result<DeliveryState, Failure> {
    FINAL_STATES
        .iter()
        .find(|(_, known)| *known == number)
        .map(|(state, _)| *state)
        .ok_or_else(|| Failure::corrupt("delivery state"))
}

/// The event id in this column.
pub(super) fn event_id(row: &Row<'_>, column: usize) -> Result<EventId, Failure> {
    Ok(EventId::from_bytes(row.get(column)?))
}

/// The endpoint id in this column.
pub(super) fn endpoint_id(row: &Row<'_>, column: usize) -> Result<EndpointId, Failure> {
    Ok(EndpointId::from_bytes(row.get(column)?))
}

/// The delivery id in this column.
pub(super) fn delivery_id(row: &Row<'_>, column: usize) -> Result<DeliveryId, Failure> {
    Ok(DeliveryId::from_bytes(row.get(column)?))
}

/// The consumer's name in this column.
pub(super) fn consumer_id(row: &Row<'_>, column: usize) -> Result<ConsumerId, Failure> {
    let text = row.get_ref(column)?.as_str().map_err(|_| Failure::corrupt("consumer"))?;
    ConsumerId::parse(text).map_err(|_| Failure::corrupt("consumer"))
}

/// The time in this column.
pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, Failure> {
    Ok(Timestamp::from_millis(row.get(column)?))
}

/// The time in this column, if there is one.
pub(super) fn optional_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Failure> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

/// A column that this kind of row always has.
pub(super) fn present<T>(value: Option<T>, what: &'static str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::corrupt(what))
}
