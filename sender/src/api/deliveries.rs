//! `/v1/deliveries`: how deliveries stand, what became of each attempt, and once more by hand.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::auth::{Allowed, ToManage, ToRead};
use super::problem::Problem;
use super::request::{Name, NoInput, NoQuery, Query};
use super::{Api, Caller, show};
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::{Delivery, DeliveryState};
use crate::store::DeliveryFilter;

/// Newest first.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    mut query: Query,
) -> Result<Json<Value>, Problem> {
    let limit = query.limit();
    let before = query.optional("after", DeliveryId::parse);
    let event = query.optional("event", EventId::parse);
    let endpoint = query.optional("endpoint", EndpointId::parse);
    let consumer = query.optional("consumer", ConsumerId::parse);
    let state = query.optional("state", state);
    query.finish()?;
    let consumer = consumer.or_else(|| caller.bound_to().cloned());
    if consumer.as_ref().is_some_and(|consumer| !caller.may_see(consumer)) {
        return Ok(Json(show::page(Vec::new(), None)));
    }
    let one_more = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let filter = DeliveryFilter { event, endpoint, consumer, state, before, limit: one_more };
    let mut found = api.store.deliveries(filter).await?;
    let next = show::cut(&mut found, limit, |delivery| delivery.id);
    Ok(Json(show::page(found.iter().map(show::delivery).collect(), next)))
}

pub(super) async fn get(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    Name(id): Name,
    _: NoQuery,
) -> Result<Json<Value>, Problem> {
    Ok(Json(show::delivery(&visible(&api, &caller, &id).await?)))
}

/// Oldest first, with the beginning of what the receiver answered.
pub(super) async fn attempts(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    Name(id): Name,
    _: NoQuery,
) -> Result<Json<Value>, Problem> {
    let delivery = visible(&api, &caller, &id).await?;
    // What an endpoint answers is shown to whoever runs the sender. A consumer chose the URL and has not proved that it
    // is its own: it must not read other people's servers through us.
    let key = api.data_keys.of(&delivery.consumer).filter(|_| caller.bound_to().is_none());
    let shown = api.store.attempts(delivery.id).await?.into_iter().map(|attempt| {
        let context = format!("attempt|{}|{}", delivery.id, attempt.number);
        let kept = key.as_ref().filter(|_| !attempt.excerpt.is_empty());
        let excerpt = kept.and_then(|key| key.decrypt(context.as_bytes(), &attempt.excerpt).ok());
        show::attempt(&attempt, excerpt.as_ref().map(|excerpt| excerpt.as_slice()))
    });
    Ok(Json(show::page(shown.collect(), None)))
}

pub(super) async fn redeliver(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    _: NoInput,
) -> Result<Response, Problem> {
    let delivery = visible(&api, &caller, &id).await?;
    let id = api.publisher.redeliver(&delivery).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": id }))).into_response())
}

async fn visible(api: &Api, caller: &Caller, id: &str) -> Result<Delivery, Problem> {
    let missing = || Problem::not_found("delivery");
    let id = DeliveryId::parse(id).map_err(|_| missing())?;
    let found = api.store.delivery(id).await?;
    found.filter(|delivery| caller.may_see(&delivery.consumer)).ok_or_else(missing)
}

fn state(text: &str) -> Result<DeliveryState, &'static str> {
    match text {
        "pending" => Ok(DeliveryState::Pending),
        "retrying" => Ok(DeliveryState::Retrying),
        "delivered" => Ok(DeliveryState::Delivered),
        "exhausted" => Ok(DeliveryState::Exhausted),
        "expired" => Ok(DeliveryState::Expired),
        "refused" => Ok(DeliveryState::Refused),
        "cancelled" => Ok(DeliveryState::Cancelled),
        _ => Err("expected pending, retrying, delivered, exhausted, expired, refused or cancelled"),
    }
}
