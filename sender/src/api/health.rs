//! `/health` and `/metrics`: for those who run the sender.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;

use super::Api;
use super::auth::{Allowed, ToMeasure};
use super::problem::Problem;
use super::request::NoQuery;

/// Open: says only whether the store answers, by reading its one row for the ring. Whatever anybody may ask for must cost
/// the same however much there is to deliver.
pub(super) async fn health(State(api): State<Api>, _: NoQuery) -> Result<Response, Problem> {
    match tokio::time::timeout(STORE_TIME, api.store.ring()).await {
        Ok(Ok(_)) => Ok(Json(json!({ "status": "ok" })).into_response()),
        Ok(Err(error)) => {
            tracing::warn!(code = error.code(), "the store does not answer");
            Err(unhealthy())
        }
        Err(_) => Err(unhealthy()),
    }
}

/// The Prometheus text format.
pub(super) async fn metrics(
    State(api): State<Api>,
    caller: Allowed<ToMeasure>,
    _: NoQuery,
) -> Result<Response, Problem> {
    caller.unbound()?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], (api.metrics)()).into_response())
}

fn unhealthy() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "api.unhealthy", "the store does not answer")
}

/// Longer than a commit on a slow disk.
const STORE_TIME: Duration = Duration::from_secs(5);
