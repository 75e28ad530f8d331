//! `/health` and `/metrics`: for those who run the sender.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::Api;
use super::auth::{Allowed, ToMeasure};
use super::problem::Problem;
use super::request::NoQuery;
use crate::engine::ownership::NodeView;

/// Open: says only whether the store answers, by reading its one row for the ring. Whatever anybody may ask for must cost
/// the same however much there is to deliver.
pub(super) async fn health(State(api): State<Api>, _: NoQuery) -> Result<Response, Problem> {
    match tokio::time::timeout(STORE_TIME, api.store.ring()).await {
        Ok(Ok(_)) => Ok(Json(shown(api.engine.node())).into_response()),
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

/// Where several nodes share the store, it is said what this one is to them.
fn shown(node: Option<NodeView>) -> Value {
    let Some(node) = node else { return json!({ "status": "ok" }) };
    let standby = match node.synchronous_standby {
        Some(false) => Some("no synchronous standby: what is acknowledged is on one machine only"),
        Some(true) | None => None,
    };
    let lease = (!node.trusted).then_some("the lease could not be renewed: nothing is delivered until it is");
    let warnings: Vec<_> = [standby, lease].into_iter().flatten().collect();
    json!({
        "status": "ok",
        "node": node.node.name,
        "role": node.role().name(),
        "shards": node.shards.len(),
        "trusted": node.trusted,
        "warnings": warnings,
    })
}

fn unhealthy() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "api.unhealthy", "the store does not answer")
}

/// Longer than a commit on a slow disk.
const STORE_TIME: Duration = Duration::from_secs(5);
