//! How the model's values are written in columns, and read back with suspicion.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;
use waxseal_keys::Timestamp;

use super::failure::Failure;
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::DeliveryState;
use crate::store::Shard;

/// The final states, each with its number in the column `state`. Numbers are never reused.
pub(super) const FINAL_STATES: [(DeliveryState, i16); 5] = [
    (DeliveryState::Delivered, 1),
    (DeliveryState::Exhausted, 2),
    (DeliveryState::Expired, 3),
    (DeliveryState::Refused, 4),
    (DeliveryState::Cancelled, 5),
];

/// The number of a final state; none if the state is not final.
pub(super) fn state_number(state: DeliveryState) -> Option<i16> {
    FINAL_STATES.iter().find(|(known, _)| *known == state).map(|(_, number)| *number)
}

/// The final state with this number.
pub(super) fn final_state(number: i16) -> Result<DeliveryState, Failure> {
    FINAL_STATES
        .iter()
        .find(|(_, known)| *known == number)
        .map(|(state, _)| *state)
        .ok_or_else(|| Failure::corrupt("delivery state"))
}

/// An id as a column has it.
pub(super) fn uuid(bytes: &[u8; 16]) -> Uuid {
    Uuid::from_bytes(*bytes)
}

/// A shard as a column has it.
pub(super) fn shard_of(endpoint: EndpointId) -> i16 {
    i16::from(Shard::of(endpoint).number())
}

/// The shard in this column.
pub(super) fn shard(row: &Row, column: usize) -> Result<Shard, Failure> {
    let number: i16 = get(row, column)?;
    u8::try_from(number).map(Shard::new).map_err(|_| Failure::corrupt("shard"))
}

/// The value in this column.
pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, Failure> {
    row.try_get(column).map_err(|_| Failure::corrupt("stored value"))
}

/// The event id in this column.
pub(super) fn event_id(row: &Row, column: usize) -> Result<EventId, Failure> {
    Ok(EventId::from_bytes(get::<Uuid>(row, column)?.into_bytes()))
}

/// The endpoint id in this column.
pub(super) fn endpoint_id(row: &Row, column: usize) -> Result<EndpointId, Failure> {
    Ok(EndpointId::from_bytes(get::<Uuid>(row, column)?.into_bytes()))
}

/// The delivery id in this column.
pub(super) fn delivery_id(row: &Row, column: usize) -> Result<DeliveryId, Failure> {
    Ok(DeliveryId::from_bytes(get::<Uuid>(row, column)?.into_bytes()))
}

/// The consumer's name in this column.
pub(super) fn consumer_id(row: &Row, column: usize) -> Result<ConsumerId, Failure> {
    ConsumerId::parse(get(row, column)?).map_err(|_| Failure::corrupt("consumer"))
}

/// The time in this column.
pub(super) fn time(row: &Row, column: usize) -> Result<Timestamp, Failure> {
    Ok(Timestamp::from_millis(get(row, column)?))
}

/// The time in this column, if there is one.
pub(super) fn optional_time(row: &Row, column: usize) -> Result<Option<Timestamp>, Failure> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp::from_millis))
}

/// A count in a column of four bytes.
pub(super) fn count(row: &Row, column: usize) -> Result<u32, Failure> {
    u32::try_from(get::<i32>(row, column)?).map_err(|_| Failure::corrupt("stored value"))
}

/// A count for a column of four bytes.
pub(super) fn integer(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A count for a column of eight bytes.
pub(super) fn bigint(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count from a column of eight bytes.
pub(super) fn counted(row: &Row, column: usize) -> Result<u64, Failure> {
    u64::try_from(get::<i64>(row, column)?).map_err(|_| Failure::corrupt("stored value"))
}

/// The times of some things, for one parameter.
pub(super) fn millis(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millis)
}
