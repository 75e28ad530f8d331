//! `/v1/consumers`: who receives.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::Value;

use super::auth::{Allowed, ToManage, ToRead};
use super::problem::Problem;
use super::request::{Input, Name, NoInput, NoQuery, Query};
use super::{Api, Caller, read, show};
use crate::id::ConsumerId;
use crate::model::consumer::Consumer;
use crate::store::cancel_all;

pub(super) async fn create(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Input(mut fields): Input,
) -> Result<Response, Problem> {
    caller.unbound()?;
    let id = fields.optional("id", read::consumer_id);
    let description = fields.optional("description", read::description);
    let groups = fields.list("groups", MAX_GROUPS, read::group_name);
    fields.finish()?;
    let now = api.clock.now();
    let consumer = Consumer {
        id: id?.unwrap_or_else(|| ConsumerId::generate(now)),
        description: description?,
        groups: groups?.unwrap_or_default().into_iter().collect(),
        created_at: now,
    };
    let created = api.directory.create_consumer(consumer).await?;
    Ok((StatusCode::CREATED, Json(show::consumer(&created))).into_response())
}

pub(super) async fn list(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    mut query: Query,
) -> Result<Json<Value>, Problem> {
    let limit = query.limit();
    let after = query.optional("after", ConsumerId::parse);
    query.finish()?;
    let mut found = match caller.bound_to() {
        None => api.directory.consumers(after.as_ref(), limit + 1),
        Some(own) => {
            let unseen = after.is_none_or(|after| *own > after);
            api.directory.consumer(own).filter(|_| unseen).into_iter().collect()
        }
    };
    let next = show::cut(&mut found, limit, |consumer| consumer.id.clone());
    Ok(Json(show::page(found.iter().map(|consumer| show::consumer(consumer)).collect(), next)))
}

pub(super) async fn get(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    Name(id): Name,
    _: NoQuery,
) -> Result<Json<Value>, Problem> {
    let id = visible(&caller, &id)?;
    let consumer = api.directory.consumer(&id).ok_or_else(|| Problem::not_found("consumer"))?;
    Ok(Json(show::consumer(&consumer)))
}

pub(super) async fn update(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    Input(mut fields): Input,
) -> Result<Json<Value>, Problem> {
    let id = visible(&caller, &id)?;
    if fields.has("groups") {
        // Groups decide what a consumer may see: it does not choose them itself.
        caller.unbound()?;
    }
    let description = fields.change("description", read::description);
    let groups = fields.list("groups", MAX_GROUPS, read::group_name);
    fields.finish()?;
    let (description, groups) = (description?, groups?);
    let edit = |consumer: &mut Consumer| {
        if let Some(description) = description {
            consumer.description = description;
        }
        if let Some(groups) = groups {
            consumer.groups = groups.into_iter().collect();
        }
        Ok(())
    };
    let updated = api.directory.update_consumer(&id, edit).await?;
    Ok(Json(show::consumer(&updated)))
}

/// Removes the consumer, all that is its own, and the key under which its payloads can be read.
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    _: NoInput,
) -> Result<StatusCode, Problem> {
    let id = visible(&caller, &id)?;
    caller.unbound()?;
    let endpoints = api.directory.delete_consumer(&id).await?;
    cancel_all(&*api.store, &endpoints, api.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The id, if the caller may know of the consumer.
pub(super) fn visible(caller: &Caller, id: &str) -> Result<ConsumerId, Problem> {
    let id = ConsumerId::parse(id).ok().filter(|id| caller.may_see(id));
    id.ok_or_else(|| Problem::not_found("consumer"))
}

/// How many groups a consumer can name at once.
pub(super) const MAX_GROUPS: usize = 256;
