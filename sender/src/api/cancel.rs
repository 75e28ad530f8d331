//! Cancelling: one delivery, or the live deliveries of an endpoint by what they are.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::auth::{Allowed, ToManage};
use super::problem::Problem;
use super::request::{Input, Name, NoInput};
use super::{Api, deliveries, endpoints, read};
use crate::id::DeliveryId;
use crate::model::delivery::DeliveryState;
use crate::publish::Attempting;
use crate::store::{DeliveryFilter, Order};

/// An attempt that is under way may still arrive; the answer says whether there is one.
pub(super) async fn one(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    _: NoInput,
) -> Result<Json<Value>, Problem> {
    let id = deliveries::visible(&api, &caller, &id).await?.id;
    let attempting = api.publisher.cancel(id).await?;
    let state = DeliveryState::Cancelled;
    Ok(Json(json!({ "id": id, "state": state, "in_flight": attempting == Attempting::Now })))
}

/// Of those that are live now. `next` says where another request goes on, if there may be more.
pub(super) async fn of_endpoint(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    Input(mut fields): Input,
) -> Result<Json<Value>, Problem> {
    let endpoint = endpoints::visible(&api, &caller, &id)?.id;
    let event_types = fields.list("event_types", endpoints::MAX_TYPES, read::event_type);
    let since = fields.optional("since", read::moment);
    let until = fields.optional("until", read::moment);
    let after = fields.optional("after", |value| {
        DeliveryId::parse(read::text(value)?).map_err(|error| error.to_string().into())
    });
    fields.finish()?;
    // What comes while this is under way is not meant.
    let now = api.clock.now().saturating_add(std::time::Duration::from_millis(1));
    let filter = DeliveryFilter {
        endpoint: Some(endpoint),
        states: vec![DeliveryState::Pending, DeliveryState::Retrying],
        event_types: event_types?.unwrap_or_default().iter().map(|name| name.as_str().to_owned()).collect(),
        after: since?.map(DeliveryId::lower_bound),
        before: Some(DeliveryId::lower_bound(until?.unwrap_or(now).min(now))),
        order: Order::OldestFirst,
        ..DeliveryFilter::default()
    };
    let filter = after?.map_or_else(|| filter.clone(), |after| filter.clone().behind(after));
    let done = api.publisher.cancel_matching(filter).await?;
    Ok(Json(json!({ "cancelled": done.cancelled, "in_flight": done.in_flight, "next": done.reached })))
}
