//! `/v1/groups`: sets of consumers. None of it is open to a token that is bound to one consumer.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::Value;

use super::auth::{Allowed, ToManage, ToRead};
use super::problem::Problem;
use super::request::{Input, Name, Names, NoInput, NoQuery, Query};
use super::{Api, read, show};
use crate::id::{ConsumerId, GroupName};
use crate::model::consumer::Group;

pub(super) async fn create(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Input(mut fields): Input,
) -> Result<Response, Problem> {
    caller.unbound()?;
    let name = fields.required("name", read::group_name);
    let description = fields.optional("description", read::description);
    fields.finish()?;
    let group = Group { name: name?, description: description?, created_at: api.clock.now() };
    let created = api.directory.create_group(group).await?;
    Ok((StatusCode::CREATED, Json(show::group(&created))).into_response())
}

pub(super) async fn list(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    mut query: Query,
) -> Result<Json<Value>, Problem> {
    caller.unbound()?;
    let limit = query.limit();
    let after = query.optional("after", GroupName::parse);
    query.finish()?;
    let mut found = api.directory.groups();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.retain(|group| after.as_ref().is_none_or(|after| group.name > *after));
    let next = show::cut(&mut found, limit, |group| group.name.clone());
    Ok(Json(show::page(found.iter().map(|group| show::group(group)).collect(), next)))
}

pub(super) async fn get(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    Name(name): Name,
    _: NoQuery,
) -> Result<Json<Value>, Problem> {
    caller.unbound()?;
    let group = api.directory.group(&named(&name)?).ok_or_else(|| Problem::not_found("group"))?;
    Ok(Json(show::group(&group)))
}

pub(super) async fn delete(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(name): Name,
    _: NoInput,
) -> Result<StatusCode, Problem> {
    caller.unbound()?;
    api.directory.delete_group(&named(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn join(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Names(group, consumer): Names,
    _: NoInput,
) -> Result<StatusCode, Problem> {
    caller.unbound()?;
    change_membership(&api, &group, &consumer, Membership::Joined).await
}

pub(super) async fn leave(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Names(group, consumer): Names,
    _: NoInput,
) -> Result<StatusCode, Problem> {
    caller.unbound()?;
    change_membership(&api, &group, &consumer, Membership::Left).await
}

enum Membership {
    Joined,
    Left,
}

async fn change_membership(
    api: &Api,
    group: &str,
    consumer: &str,
    membership: Membership,
) -> Result<StatusCode, Problem> {
    let group = named(group)?;
    api.directory.group(&group).ok_or_else(|| Problem::not_found("group"))?;
    let consumer = ConsumerId::parse(consumer).map_err(|_| Problem::not_found("consumer"))?;
    let edit = |consumer: &mut crate::model::consumer::Consumer| {
        match membership {
            Membership::Joined => consumer.groups.insert(group),
            Membership::Left => consumer.groups.remove(&group),
        };
        Ok(())
    };
    api.directory.update_consumer(&consumer, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn named(name: &str) -> Result<GroupName, Problem> {
    GroupName::parse(name).map_err(|_| Problem::not_found("group"))
}
