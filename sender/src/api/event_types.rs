//! `/v1/event-types`: what may be published, and which groups may see it.
//!
//! A token that is bound to a consumer sees the types that its consumer may see, and changes none.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::Value;
use waxseal_envelope::EventType;

use super::auth::{Allowed, ToManage, ToRead};
use super::consumers::MAX_GROUPS;
use super::problem::Problem;
use super::request::{Input, Name, NoInput, NoQuery, Query};
use super::{Api, Caller, read, show};
use crate::id::GroupName;
use crate::model::consumer::{DeclaredType, Visibility};

pub(super) async fn create(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Input(mut fields): Input,
) -> Result<Response, Problem> {
    caller.unbound()?;
    let name = fields.required("name", |value| read::declarable_type(value, &api.issuer));
    let description = fields.optional("description", read::description);
    let groups = fields.list_or_null("groups", MAX_GROUPS, read::group_name);
    fields.finish()?;
    let declared = DeclaredType {
        name: name?,
        description: description?,
        visible_to: visibility(groups?.flatten()),
        created_at: api.clock.now(),
    };
    let created = api.directory.create_event_type(declared).await?;
    Ok((StatusCode::CREATED, Json(show::event_type(&created))).into_response())
}

pub(super) async fn list(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    mut query: Query,
) -> Result<Json<Value>, Problem> {
    let limit = query.limit();
    let after = query.optional("after", EventType::parse);
    query.finish()?;
    let mut found = api.directory.event_types();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.retain(|declared| {
        after.as_ref().is_none_or(|after| declared.name > *after) && may_see(&api, &caller, declared)
    });
    let next = show::cut(&mut found, limit, |declared| declared.name.clone());
    Ok(Json(show::page(found.iter().map(|declared| shown(&caller, declared)).collect(), next)))
}

pub(super) async fn get(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    Name(name): Name,
    _: NoQuery,
) -> Result<Json<Value>, Problem> {
    let declared = api.directory.event_type(&named(&name)?);
    let declared = declared.filter(|declared| may_see(&api, &caller, declared));
    let declared = declared.ok_or_else(|| Problem::not_found("event type"))?;
    Ok(Json(shown(&caller, &declared)))
}

pub(super) async fn update(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(name): Name,
    Input(mut fields): Input,
) -> Result<Json<Value>, Problem> {
    caller.unbound()?;
    let name = named(&name)?;
    let description = fields.change("description", read::description);
    let groups = fields.list_or_null("groups", MAX_GROUPS, read::group_name);
    fields.finish()?;
    let (description, groups) = (description?, groups?);
    let edit = |declared: &mut DeclaredType| {
        if let Some(description) = description {
            declared.description = description;
        }
        if let Some(groups) = groups {
            declared.visible_to = visibility(groups);
        }
        Ok(())
    };
    let updated = api.directory.update_event_type(&name, edit).await?;
    Ok(Json(show::event_type(&updated)))
}

pub(super) async fn delete(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(name): Name,
    _: NoInput,
) -> Result<StatusCode, Problem> {
    caller.unbound()?;
    api.directory.delete_event_type(&named(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn named(name: &str) -> Result<EventType, Problem> {
    EventType::parse(name).map_err(|_| Problem::not_found("event type"))
}

/// No groups given, or `null`: every consumer may see it. An empty list: none may.
fn visibility(groups: Option<Vec<GroupName>>) -> Visibility {
    groups.map_or(Visibility::All, |groups| Visibility::Groups(groups.into_iter().collect()))
}

fn may_see(api: &Api, caller: &Caller, declared: &DeclaredType) -> bool {
    caller.bound_to().is_none_or(|own| {
        api.directory.consumer(own).is_some_and(|consumer| declared.is_visible_to(&consumer))
    })
}

fn shown(caller: &Caller, declared: &DeclaredType) -> Value {
    match caller.bound_to() {
        None => show::event_type(declared),
        Some(_) => show::visible_event_type(declared),
    }
}
