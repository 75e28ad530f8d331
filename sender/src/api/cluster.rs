//! `/v1/cluster`: which nodes share the store, and what each works on.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};

use super::auth::{Allowed, ToSeeNodes};
use super::problem::Problem;
use super::request::NoQuery;
use super::{Api, show};
use crate::store::{NodeState, Overview};

/// Every node of which the store has heard lately.
pub(super) async fn get(
    State(api): State<Api>,
    caller: Allowed<ToSeeNodes>,
    _: NoQuery,
) -> Result<Json<Value>, Problem> {
    caller.unbound()?;
    let Some(cluster) = api.store.cluster() else {
        let detail = "this sender has its store to itself: there are no nodes";
        return Err(Problem::new(StatusCode::NOT_FOUND, "api.no_cluster", detail));
    };
    let overview = cluster.overview().await?;
    let this = api.engine.node().map(|view| view.node.id);
    let Overview { nodes, unowned, synchronous_standby, oldest_snapshot, standby_lag_bytes } = overview;
    Ok(Json(json!({
        "data": nodes.iter().map(|state| node(state, this == Some(state.node.id))).collect::<Vec<_>>(),
        "unowned_shards": unowned.len(),
        "synchronous_standby": synchronous_standby,
        "oldest_snapshot_seconds": oldest_snapshot.as_secs(),
        "standby_lag_bytes": standby_lag_bytes,
    })))
}

fn node(state: &NodeState, is_this: bool) -> Value {
    let NodeState { node, lease_left, shards, works_by } = state;
    json!({
        "id": node.id,
        "name": node.name,
        "role": node.role.name(),
        "program": node.program,
        "started_at": show::moment(node.started_at),
        "lease_seconds": lease_left.as_secs(),
        "shards": shards.len(),
        "works_by": works_by,
        "answers": is_this,
    })
}
