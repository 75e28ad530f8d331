//! What `GET /v1/deliveries` can be asked: every parameter narrows, and all of them can be combined.

use serde_json::Value;
use waxseal_envelope::EventType;
use waxseal_keys::Timestamp;

use super::request::Query;
use super::{Caller, read, show};
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::DeliveryState;
use crate::store::{DeliveryFilter, DeliveryPage, Order};

/// The filter that a query describes, and how many items its page may have; `None`: the caller may see nothing of it.
pub(super) fn read_filter(query: &mut Query, caller: &Caller) -> (Option<DeliveryFilter>, usize) {
    let limit = query.limit();
    let cursor = query.optional("after", DeliveryId::parse);
    let consumer = query.optional("consumer", ConsumerId::parse).or_else(|| caller.bound_to().cloned());
    let filter = DeliveryFilter {
        event: query.optional("event", EventId::parse),
        endpoint: query.optional("endpoint", EndpointId::parse),
        consumer: consumer.clone(),
        states: query.optional("state", states).unwrap_or_default(),
        event_types: query.optional("type", event_type).into_iter().collect(),
        after: query.optional("since", moment).map(DeliveryId::lower_bound),
        before: query.optional("until", moment).map(DeliveryId::lower_bound),
        order: query.optional("order", order).unwrap_or_default(),
        // One more than is shown tells whether there is another page.
        limit: u32::try_from(limit + 1).unwrap_or(u32::MAX),
    };
    let filter = match cursor {
        Some(cursor) => filter.behind(cursor),
        None => filter,
    };
    let hidden = consumer.is_some_and(|consumer| !caller.may_see(&consumer));
    ((!hidden).then_some(filter), limit)
}

/// RFC 3339 text, or whole seconds since 1970, as everywhere in the API.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    let value = match text.parse::<i64>() {
        Ok(seconds) => Value::from(seconds),
        Err(_) => Value::from(text),
    };
    read::moment(&value).map_err(Into::into)
}

/// Any of several states, with commas.
fn states(text: &str) -> Result<Vec<DeliveryState>, String> {
    text.split(',').map(state).collect()
}

/// One state, by its name.
pub(super) fn state(name: &str) -> Result<DeliveryState, String> {
    let known = DeliveryState::ALL.into_iter().find(|state| state.name() == name);
    known.ok_or_else(|| {
        let names = DeliveryState::ALL.map(DeliveryState::name).join(", ");
        format!("expected one of {names}")
    })
}

fn event_type(text: &str) -> Result<String, String> {
    EventType::parse(text).map(|name| name.as_str().to_owned()).map_err(|error| error.to_string())
}

fn order(text: &str) -> Result<Order, &'static str> {
    match text {
        "newest" => Ok(Order::NewestFirst),
        "oldest" => Ok(Order::OldestFirst),
        _ => Err("expected `newest` or `oldest`"),
    }
}

/// Cuts a page that was read one longer than it is shown; says where the next one goes on, if there may be one.
pub(super) fn next_page(page: &mut DeliveryPage, limit: usize) -> Option<String> {
    let cut = show::cut(&mut page.deliveries, limit, |delivery| delivery.id);
    cut.or_else(|| page.reached.map(|id| id.to_string()))
}
