//! `/v1/deliveries`: how deliveries stand, what became of each attempt, and once more by hand.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::Value;

use super::auth::{Allowed, ToManage, ToRead};
use super::budget::ByHand;
use super::problem::Problem;
use super::request::{MaybeInput, Name, NoQuery, Query};
use super::{Api, Caller, read, search, show};
use crate::id::DeliveryId;
use crate::model::delivery::Delivery;
use crate::publish::Under;

/// Newest first, unless asked otherwise. A page may be short, or empty, and still name a next one: a search that finds
/// little in much is told in several pages.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    mut query: Query,
) -> Result<Json<Value>, Problem> {
    let (filter, limit) = search::read_filter(&mut query, &caller);
    query.finish()?;
    let Some(filter) = filter else {
        return Ok(Json(show::page(Vec::new(), None)));
    };
    let mut page = api.store.deliveries(filter).await?;
    let next = search::next_page(&mut page, limit);
    Ok(Json(show::page(page.deliveries.iter().map(show::delivery).collect(), next)))
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

/// Under the same event id, or with `{"as_new": true}` under a new one.
pub(super) async fn redeliver(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    MaybeInput(mut fields): MaybeInput,
) -> Result<Response, Problem> {
    let delivery = visible(&api, &caller, &id).await?;
    let as_new = fields.optional("as_new", read::flag);
    fields.finish()?;
    let under = if as_new? == Some(true) { Under::NewId } else { Under::SameId };
    let counted = if under == Under::NewId { ByHand::RedeliveryAsNew } else { ByHand::Redelivery };
    api.budget().spend(&caller, counted, api.clock.as_ref())?;
    let made = api.publisher.redeliver(&delivery, under).await?;
    Ok((StatusCode::ACCEPTED, Json(show::redelivered(&made))).into_response())
}

pub(super) async fn visible(api: &Api, caller: &Caller, id: &str) -> Result<Delivery, Problem> {
    let missing = || Problem::not_found("delivery");
    let id = DeliveryId::parse(id).map_err(|_| missing())?;
    let found = api.store.delivery(id).await?;
    found.filter(|delivery| caller.may_see(&delivery.consumer)).ok_or_else(missing)
}
