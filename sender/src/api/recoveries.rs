//! `/v1/recoveries`: what an endpoint missed, delivered again bit by bit.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::auth::{Allowed, ToManage, ToRead};
use super::input::{Fields, Refused, Wrong, found};
use super::problem::Problem;
use super::request::{Input, Name, NoInput, NoQuery, Query};
use super::show::moment;
use super::{Api, Caller, endpoints, read, search, show};
use crate::id::{ConsumerId, EndpointId, RecoveryId};
use crate::model::delivery::DeliveryState;
use crate::model::recovery::{Recovery, RecoveryState};
use crate::recover::{DEFAULT_RATE, HIGHEST_RATE};
use crate::store::DeliveryFilter;

/// Begins one. What ends badly from now on is not meant.
pub(super) async fn create(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    Input(mut fields): Input,
) -> Result<Response, Problem> {
    let endpoint = endpoints::visible(&api, &caller, &id)?;
    let (now, made) = (api.clock.now(), api.publisher.horizon());
    let since = fields.required("since", read::moment);
    let until = fields.optional("until", read::moment);
    let states = read_states(&mut fields);
    let event_types = fields.list("event_types", endpoints::MAX_TYPES, read::event_type);
    let rate = fields.optional("rate", read_rate);
    if let (Ok(since), Ok(until)) = (&since, &until)
        && *since >= until.unwrap_or(now)
    {
        fields.refuse("since", "expected a time before `until`, which is now if it is not given");
    }
    fields.finish()?;
    let recovery = Recovery {
        id: RecoveryId::generate(now),
        endpoint: endpoint.id,
        consumer: endpoint.consumer.clone(),
        since: since?,
        until: until?.map_or(made, |until| until.min(made)),
        states: states?,
        event_types: event_types?.unwrap_or_default().into_iter().collect::<BTreeSet<_>>(),
        rate: rate?.unwrap_or(DEFAULT_RATE),
        state: RecoveryState::Running,
        cursor: None,
        redelivered: 0,
        skipped: 0,
        live: Vec::new(),
        created_at: now,
        ended_at: None,
    };
    let created = api.directory.create_recovery(recovery).await?;
    Ok((StatusCode::ACCEPTED, Json(shown(&api, &created).await?)).into_response())
}

pub(super) async fn list(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    mut query: Query,
) -> Result<Json<Value>, Problem> {
    let limit = query.limit();
    let after = query.optional("after", RecoveryId::parse);
    let consumer = query.optional("consumer", ConsumerId::parse);
    let endpoint = query.optional("endpoint", EndpointId::parse);
    query.finish()?;
    let consumer = consumer.or_else(|| caller.bound_to().cloned());
    let hidden = consumer.as_ref().is_some_and(|consumer| !caller.may_see(consumer));
    let mut found = if hidden {
        Vec::new()
    } else {
        api.directory.recoveries(consumer.as_ref(), endpoint, after, limit + 1)
    };
    let next = show::cut(&mut found, limit, |recovery| recovery.id);
    Ok(Json(show::page(found.iter().map(|recovery| summary(recovery)).collect(), next)))
}

pub(super) async fn get(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    Name(id): Name,
    _: NoQuery,
) -> Result<Json<Value>, Problem> {
    let recovery = visible(&api, &caller, &id)?;
    Ok(Json(shown(&api, &recovery).await?))
}

/// Stops one. What it has delivered again stays delivered, or on its way.
pub(super) async fn cancel(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    _: NoInput,
) -> Result<Json<Value>, Problem> {
    let id = visible(&api, &caller, &id)?.id;
    match api.directory.cancel_recovery(id, api.clock.now()).await? {
        Some(ended) => Ok(Json(shown(&api, &ended).await?)),
        None => Err(Problem::conflict("api.recovery_over", "the recovery is over already")),
    }
}

fn visible(api: &Api, caller: &Caller, id: &str) -> Result<std::sync::Arc<Recovery>, Problem> {
    let found = RecoveryId::parse(id).ok().and_then(|id| api.directory.recovery(id));
    found.filter(|recovery| caller.may_see(&recovery.consumer)).ok_or_else(|| Problem::not_found("recovery"))
}

/// With how much is left: counted as far as one search goes, so from a thousand on it is "at least".
async fn shown(api: &Api, recovery: &Recovery) -> Result<Value, Problem> {
    let mut shown = summary(recovery);
    if recovery.is_running() {
        let rest = api.store.deliveries(DeliveryFilter { limit: COUNTED, ..recovery.rest() }).await?;
        let count = rest.deliveries.len();
        let exact = rest.reached.is_none() && u32::try_from(count).is_ok_and(|count| count < COUNTED);
        shown["remaining"] = json!(count);
        shown["remaining_is_exact"] = json!(exact);
    }
    Ok(shown)
}

fn summary(recovery: &Recovery) -> Value {
    json!({
        "id": recovery.id,
        "endpoint": recovery.endpoint,
        "consumer": recovery.consumer,
        "state": recovery.state,
        "since": moment(recovery.since),
        "until": moment(recovery.until),
        "states": recovery.states,
        "event_types": recovery.event_types,
        "rate": recovery.rate,
        "matched": recovery.redelivered + recovery.skipped,
        "redelivered": recovery.redelivered,
        "skipped": recovery.skipped,
        "reached": recovery.cursor.map(|cursor| moment(cursor.made_at())),
        "created_at": moment(recovery.created_at),
        "ended_at": recovery.ended_at.map(moment),
    })
}

/// What ended without being delivered. What somebody took back, or let run out, is meant only if it is said.
fn read_states(fields: &mut Fields) -> Result<Vec<DeliveryState>, Refused> {
    let states = fields.list("states", DeliveryState::ALL.len(), |value| {
        let state = search::state(read::text(value)?).ok();
        state
            .filter(|state| state.is_final() && *state != DeliveryState::Delivered)
            .ok_or_else(|| "expected `exhausted`, `expired`, `refused` or `cancelled`".into())
    })?;
    match states {
        None => Ok(vec![DeliveryState::Exhausted, DeliveryState::Refused]),
        Some(states) if states.is_empty() => Err(fields.refuse("states", "expected at least one state")),
        Some(states) => Ok(states),
    }
}

fn read_rate(value: &Value) -> Result<u32, Wrong> {
    let Value::Number(number) = value else { return Err(found("a number", value)) };
    let rate = number.as_u64().and_then(|rate| u32::try_from(rate).ok());
    rate.filter(|rate| (1..=HIGHEST_RATE).contains(rate))
        .ok_or_else(|| format!("expected a whole number from 1 to {HIGHEST_RATE}").into())
}

/// How many of what is left are counted.
const COUNTED: u32 = 1_000;
