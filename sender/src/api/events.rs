//! `/v1/events`: publishing, one event or a batch, and looking at what was published.

use std::error::Error;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use waxseal_envelope::Data;

use super::auth::{Allowed, ToPublish, ToRead};
use super::problem::{Inside, Problem};
use super::request::{JsonText, Name, Query};
use super::{Api, publication, show};
use crate::id::EventId;
use crate::model::event::PublishedEvent;
use crate::publish::{Published, PublishedDelivery, RedeliverError};
use crate::store::EventSummary;

/// Answers `202` once the event and its deliveries are on disk.
pub(super) async fn publish(
    State(api): State<Api>,
    caller: Allowed<ToPublish>,
    headers: HeaderMap,
    JsonText(text): JsonText,
) -> Result<Response, Problem> {
    let key = publication::idempotency_key(&headers)?;
    let publication = publication::one(&text, &caller, key)?;
    let published = api.publisher.publish(publication).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted::from(published))).into_response())
}

/// Each event stands for itself: the answer has a result for each, in order, and is `202` if the batch as such was
/// understood. With an idempotency key, an event without an id of its own is known by the key and its place.
pub(super) async fn publish_batch(
    State(api): State<Api>,
    caller: Allowed<ToPublish>,
    headers: HeaderMap,
    JsonText(text): JsonText,
) -> Result<Response, Problem> {
    let key = publication::idempotency_key(&headers)?;
    let events = publication::batch(&text)?;
    let one = async |place: u32, event: &RawValue| {
        let key = key.as_ref().map(|key| key.at(place));
        let publication = publication::one(event.get().as_bytes(), &caller, key)?;
        Ok(api.publisher.publish(publication).await?)
    };
    let results = join_all((0..).zip(&events).map(|(place, event)| one(place, event))).await;
    let results = results.into_iter().map(|result: Result<Published, Problem>| match result {
        Ok(published) => json!(Accepted::from(published)),
        Err(problem) => {
            if let Some(Inside { code, source }) = problem.inside() {
                let error: &dyn Error = &**source;
                tracing::error!(code, error, "an event of a batch failed");
            }
            problem.to_json()
        }
    });
    let body = json!({ "results": results.collect::<Vec<_>>() });
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

/// What is known of an event; its content only with `?data=true`.
pub(super) async fn get(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    Name(id): Name,
    mut query: Query,
) -> Result<Response, Problem> {
    let with_data = query.optional("data", |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected `true` or `false`"),
    });
    query.finish()?;
    let missing = || Problem::not_found("event");
    let id = EventId::parse(&id).map_err(|_| missing())?;
    let mut event = api.store.event(id).await?.ok_or_else(missing)?;
    if let Some(own) = caller.bound_to() {
        event.consumers.retain(|consumer| consumer == own);
        if event.consumers.is_empty() {
            return Err(missing());
        }
    }
    if with_data != Some(true) {
        return Ok(Json(summary(&event)).into_response());
    }
    if !event.content_kept {
        let error = RedeliverError::ContentNotKept;
        return Err(error.into());
    }
    for consumer in &event.consumers {
        if let Some(content) = api.publisher.content(id, consumer).await? {
            return Ok(Json(WithContent::of(&event, &content)).into_response());
        }
    }
    let detail = "the content of this event cannot be read any more, or was kept for nobody";
    Err(Problem::new(StatusCode::GONE, "api.content_gone", detail))
}

/// The answer to a publication.
#[derive(Debug, Serialize)]
struct Accepted {
    id: EventId,
    deliveries: Vec<PublishedDelivery>,
    replayed: bool,
}

impl From<Published> for Accepted {
    fn from(published: Published) -> Self {
        Self { id: published.event, deliveries: published.deliveries, replayed: published.replayed }
    }
}

/// An event with its content, JSON byte for byte.
#[derive(Debug, Serialize)]
struct WithContent<'a> {
    #[serde(flatten)]
    summary: Value,
    publisher_id: Option<&'a str>,
    occurred_at: Option<String>,
    redelivery_of: Option<EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<&'a str>,
}

impl<'a> WithContent<'a> {
    fn of(event: &EventSummary, content: &'a PublishedEvent) -> Self {
        let (data, data_base64, datacontenttype) = match &content.data {
            Data::Json(json) => (Some(&**json), None, None),
            Data::Binary { content_type, bytes } => {
                (None, Some(STANDARD.encode(bytes)), Some(content_type.as_str()))
            }
        };
        Self {
            summary: summary(event),
            publisher_id: content.txn.as_deref(),
            occurred_at: content.occurred_at.map(show::moment),
            redelivery_of: content.redelivery_of,
            data,
            data_base64,
            datacontenttype,
        }
    }
}

fn summary(event: &EventSummary) -> Value {
    json!({
        "id": event.id,
        "type": event.event_type,
        "accepted_at": show::moment(event.accepted_at),
        "expires_at": event.expires_at.map(show::moment),
        "consumers": event.consumers,
        "data_kept": event.content_kept,
    })
}
