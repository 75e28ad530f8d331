//! `/v1/signing-keys`: the keys that receivers verify with. They are public; rotating and revoking is not.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::auth::{Allowed, ToChangeSigningKeys, ToSeeSigningKeys};
use super::problem::Problem;
use super::request::{Name, NoInput, NoQuery};
use super::{Api, show};

pub(super) async fn list(
    State(api): State<Api>,
    _: Allowed<ToSeeSigningKeys>,
    _: NoQuery,
) -> Result<Json<Value>, Problem> {
    Ok(shown(&api))
}

/// Lets the standby sign, if it has been published for long enough.
pub(super) async fn rotate(
    State(api): State<Api>,
    caller: Allowed<ToChangeSigningKeys>,
    _: NoInput,
) -> Result<Json<Value>, Problem> {
    caller.unbound()?;
    api.signing_keys.rotate().await?;
    Ok(shown(&api))
}

/// Takes a key out of use and out of the published set at once.
pub(super) async fn revoke(
    State(api): State<Api>,
    caller: Allowed<ToChangeSigningKeys>,
    Name(kid): Name,
    _: NoInput,
) -> Result<Json<Value>, Problem> {
    caller.unbound()?;
    api.signing_keys.revoke(&kid).await?;
    Ok(shown(&api))
}

fn shown(api: &Api) -> Json<Value> {
    let keys = api.signing_keys.entries();
    Json(show::page(keys.iter().map(show::signing_key).collect(), None))
}
