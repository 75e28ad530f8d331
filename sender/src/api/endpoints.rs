//! `/v1/endpoints`: where consumers receive.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::Value;
use waxseal_envelope::{Audience, EventType};

use super::auth::{Allowed, ToManage, ToRead};
use super::budget::ByHand;
use super::encryption_keys::{self, NewKeys};
use super::endpoint_auth::{self, Proofs};
use super::input::{Fields, Refused, Wrong};
use super::pace::PaceChange;
use super::problem::Problem;
use super::request::{Input, Name, NoInput, NoQuery, Query};
use super::verification::{self, Trust};
use super::{Api, Caller, read, retry, show};
use crate::engine::condition::EndpointState;
use crate::engine::hold::Hold;
use crate::id::{ConsumerId, EndpointId};
use crate::model::encryption_keys::KeyOwner;
use crate::model::endpoint::{Endpoint, EndpointStatus, PauseReason, Subscription};
use crate::model::token::Scope;
use crate::model::verification::Verification;
use crate::store::cancel_all;

pub(super) async fn create(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Input(mut fields): Input,
) -> Result<Response, Problem> {
    let detour = fields.has("audience") || fields.text_is("protection", "signed");
    if detour || fields.has("encryption_keys") || endpoint_auth::concerned(&fields) {
        // Whoever may not change protection or keys must not go around them with an endpoint more.
        caller.require(Scope::ConsumerKeys)?;
    }
    Trust::permitted(&caller, &fields)?;
    let sensitive = endpoint_auth::sensitive(&fields);
    let now = api.clock.now();
    let trust = Trust::read(&caller, &mut fields, now);
    let consumer = consumer(&caller, &mut fields);
    let url = fields.required("url", |value| read::target_url(value, &api.egress));
    let event_types = subscription(&mut fields);
    let protection = fields.required("protection", read::protection);
    let audience = fields.optional("audience", |value| audience(&caller, value));
    let description = fields.optional("description", read::description);
    let pace = PaceChange::read(&mut fields);
    let retry = retry::read(&mut fields);
    let keys = fields.object("encryption_keys", |keys| NewKeys::read(keys, &api.egress, now));
    let proofs = Proofs::read(&mut fields, &api.egress, now);
    let event_types = match event_types {
        Ok(None) => Err(fields.refuse("event_types", "this field is required, as an array")),
        Ok(Some(event_types)) => Ok(event_types),
        Err(refused) => Err(refused),
    };
    fields.finish()?;
    let proofs = proofs?.permitted(&caller)?;
    let mut endpoint = Endpoint {
        id: EndpointId::generate(now),
        consumer: consumer?,
        url: url?,
        event_types: event_types?,
        audience: audience?,
        protection: protection?,
        retry: retry?,
        description: description?,
        status: EndpointStatus::Active,
        pace: pace?.into_pace(),
        created_at: now,
        authentication: None,
        server_authentication: None,
        verification: Verification::UNASKED,
    };
    trust?.apply(&mut endpoint);
    proofs.apply(&mut endpoint)?;
    let owner = KeyOwner::Endpoint(endpoint.consumer.clone(), endpoint.id);
    let keys = keys?.map(|keys| keys.into_set(owner.clone(), None));
    let has_keys = keys.is_some();
    let created = api.directory.create_endpoint(endpoint, keys).await?;
    if has_keys {
        encryption_keys::look_up(&api, owner);
    }
    endpoint_auth::record(&caller, &created, &sensitive);
    Ok((StatusCode::CREATED, Json(show_with(&api, &caller, &created, &EndpointState::default())))
        .into_response())
}

pub(super) async fn list(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    mut query: Query,
) -> Result<Json<Value>, Problem> {
    let limit = query.limit();
    let after = query.optional("after", EndpointId::parse);
    let consumer = query.optional("consumer", ConsumerId::parse);
    query.finish()?;
    let consumer = consumer.or_else(|| caller.bound_to().cloned());
    let hidden = consumer.as_ref().is_some_and(|consumer| !caller.may_see(consumer));
    let mut found =
        if hidden { Vec::new() } else { api.directory.endpoints(consumer.as_ref(), after, limit + 1) };
    let next = show::cut(&mut found, limit, |endpoint| endpoint.id);
    let ids: Vec<_> = found.iter().map(|endpoint| endpoint.id).collect();
    let mut states = states(&api, &ids).await;
    let data = found.iter().map(|endpoint| {
        let state = states.remove(&endpoint.id).unwrap_or_default();
        show_with(&api, &caller, endpoint, &state)
    });
    Ok(Json(show::page(data.collect(), next)))
}

pub(super) async fn get(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    Name(id): Name,
    _: NoQuery,
) -> Result<Json<Value>, Problem> {
    let endpoint = visible(&api, &caller, &id)?;
    Ok(Json(shown(&api, &caller, &endpoint).await))
}

pub(super) async fn update(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    Input(mut fields): Input,
) -> Result<Json<Value>, Problem> {
    let id = visible(&api, &caller, &id)?.id;
    let named = ["url", "protection", "audience"].iter().any(|name| fields.has(name));
    if named || endpoint_auth::concerned(&fields) {
        caller.require(Scope::ConsumerKeys)?;
    }
    Trust::permitted(&caller, &fields)?;
    let sensitive = endpoint_auth::sensitive(&fields);
    let trust = Trust::read(&caller, &mut fields, api.clock.now());
    let trust = trust.and_then(|trust| trust.meant(&mut fields));
    let url = fields.unclearable("url", |value| read::target_url(value, &api.egress));
    let event_types = subscription(&mut fields);
    let protection = fields.unclearable("protection", read::protection);
    let audience = fields.change("audience", |value| audience(&caller, value));
    let description = fields.change("description", read::description);
    let pace = PaceChange::read(&mut fields);
    let proofs = Proofs::read(&mut fields, &api.egress, api.clock.now());
    let retry = retry::change(&mut fields);
    fields.finish()?;
    let (pace, proofs, trust) = (pace?, proofs?.permitted(&caller)?, trust?);
    let (url, event_types, protection) = (url?, event_types?, protection?);
    let (audience, description, retry) = (audience?, description?, retry?);
    let edit = |endpoint: &mut Endpoint| {
        if let Some(url) = url {
            endpoint.move_to(url);
        }
        endpoint.event_types = event_types.unwrap_or_else(|| endpoint.event_types.clone());
        if let Some(protection) = protection {
            endpoint.protect_as(protection);
        }
        trust.apply(endpoint);
        if let Some(audience) = audience {
            endpoint.audience = audience;
        }
        if let Some(retry) = retry {
            endpoint.retry = retry;
        }
        if let Some(description) = description {
            endpoint.description = description;
        }
        pace.apply(&mut endpoint.pace);
        proofs.apply(endpoint)
    };
    let updated = api.directory.update_endpoint(id, edit).await?;
    endpoint_auth::record(&caller, &updated, &sensitive);
    Ok(Json(shown(&api, &caller, &updated).await))
}

/// Removes the endpoint. What was on its way to it is cancelled.
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    _: NoInput,
) -> Result<StatusCode, Problem> {
    let id = visible(&api, &caller, &id)?.id;
    api.directory.delete_endpoint(id).await?;
    cancel_all(&*api.store, &[id], api.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes deliveries wait. An endpoint that is paused already keeps its reason, unless the operator now has one.
pub(super) async fn pause(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    _: NoInput,
) -> Result<Json<Value>, Problem> {
    let id = visible(&api, &caller, &id)?.id;
    let since = api.clock.now();
    let reason = if caller.bound_to().is_some() { PauseReason::Consumer } else { PauseReason::Operator };
    let edit = |endpoint: &mut Endpoint| {
        if endpoint.is_active() || (reason == PauseReason::Operator && !paused_by_operator(endpoint)) {
            endpoint.status = EndpointStatus::Paused { reason, since };
        }
        Ok(())
    };
    let updated = api.directory.update_endpoint(id, edit).await?;
    Ok(Json(shown(&api, &caller, &updated).await))
}

/// Lets deliveries go on, whatever the pause was for; only what the operator has paused is the operator's to resume.
pub(super) async fn resume(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    _: NoInput,
) -> Result<Json<Value>, Problem> {
    let id = visible(&api, &caller, &id)?.id;
    let bound = caller.bound_to().is_some();
    let mut reserved = false;
    let edit = |endpoint: &mut Endpoint| {
        reserved = bound && paused_by_operator(endpoint);
        if !reserved {
            endpoint.status = EndpointStatus::Active;
        }
        Ok(())
    };
    let updated = api.directory.update_endpoint(id, edit).await?;
    if reserved {
        let detail = "the operator of this service has paused the endpoint, and can resume it";
        return Err(Problem::forbidden("api.paused_by_operator", detail));
    }
    Ok(Json(shown(&api, &caller, &updated).await))
}

fn paused_by_operator(endpoint: &Endpoint) -> bool {
    matches!(endpoint.status, EndpointStatus::Paused { reason: PauseReason::Operator, .. })
}

/// Sends it an event of the type `waxseal.test`, whatever it is subscribed to.
pub(super) async fn test(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    _: NoInput,
) -> Result<Response, Problem> {
    let id = visible(&api, &caller, &id)?.id;
    api.budget().spend(&caller, ByHand::Test, api.clock.as_ref())?;
    let made = api.publisher.test(id).await?;
    Ok((StatusCode::ACCEPTED, Json(show::redelivered(&made))).into_response())
}

/// The endpoint, if the caller may know of it.
pub(super) fn visible(api: &Api, caller: &Caller, id: &str) -> Result<Arc<Endpoint>, Problem> {
    let found = EndpointId::parse(id).ok().and_then(|id| api.directory.endpoint(id));
    let found = found.filter(|endpoint| caller.may_see(&endpoint.consumer));
    found.ok_or_else(|| Problem::not_found("endpoint"))
}

pub(super) async fn shown(api: &Api, caller: &Caller, endpoint: &Endpoint) -> Value {
    let state = states(api, &[endpoint.id]).await.remove(&endpoint.id).unwrap_or_default();
    show_with(api, caller, endpoint, &state)
}

/// How endpoints do. What other nodes have told of it is not worth an error: something may have been changed already.
async fn states(api: &Api, endpoints: &[EndpointId]) -> HashMap<EndpointId, EndpointState> {
    api.engine.states(endpoints).await.unwrap_or_else(|error| {
        tracing::warn!(code = error.code(), "it cannot be said how endpoints of other nodes do");
        HashMap::new()
    })
}

fn show_with(api: &Api, caller: &Caller, endpoint: &Endpoint, state: &EndpointState) -> Value {
    let hold = match caller.bound_to() {
        None => state.hold,
        Some(_) => state.hold.map(Hold::as_told_to_consumer),
    };
    let mut shown = show::endpoint(endpoint, hold, &state.condition);
    shown["verification"] = verification::show(api, caller, endpoint, state.verification_waits_for);
    shown
}

/// Whose endpoint it is to be. A bound token need not say it, and learns nothing about others by saying another.
fn consumer(caller: &Caller, fields: &mut Fields) -> Result<ConsumerId, Refused> {
    let given = match caller.bound_to() {
        None => fields.required("consumer", read::consumer_id)?,
        Some(own) => fields.optional("consumer", read::consumer_id)?.unwrap_or_else(|| own.clone()),
    };
    if caller.may_see(&given) {
        Ok(given)
    } else {
        Err(fields.refuse("consumer", format!("there is no consumer `{given}`")))
    }
}

/// Whose tokens are worth something elsewhere is the operator's to know: a bound token chooses under its own name.
fn audience(caller: &Caller, value: &Value) -> Result<Audience, Wrong> {
    let audience = read::audience(value)?;
    let Some(own) = caller.bound_to() else { return Ok(audience) };
    let text = audience.to_string();
    match text.strip_prefix(own.as_str()) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Ok(audience),
        _ => Err(format!("expected `{own}`, or a name that begins with `{own}/`").into()),
    }
}

/// `["*"]`, or the names of types.
fn subscription(fields: &mut Fields) -> Result<Option<Subscription>, Refused> {
    enum Item {
        Every,
        One(EventType),
    }
    let items = fields.list("event_types", MAX_TYPES, |value| match read::text(value)? {
        "*" => Ok(Item::Every),
        _ => read::event_type(value).map(Item::One),
    })?;
    let Some(items) = items else {
        return Ok(None);
    };
    match items.as_slice() {
        [] => Err(fields.refuse("event_types", "expected at least one event type, or [\"*\"] for every one")),
        [Item::Every] => Ok(Some(Subscription::All)),
        _ => {
            let types = items.into_iter().map(|item| match item {
                Item::One(name) => Some(name),
                Item::Every => None,
            });
            let types = types.collect::<Option<BTreeSet<_>>>();
            let detail = "expected \"*\" alone, or names of event types without it";
            types.map(Subscription::Types).ok_or_else(|| fields.refuse("event_types", detail)).map(Some)
        }
    }
}

/// How many types an endpoint can name.
pub(super) const MAX_TYPES: usize = 256;
