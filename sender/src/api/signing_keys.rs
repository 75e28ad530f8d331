//! `/v1/signing-keys`: the keys that receivers verify with. They are public; rotating and revoking is not.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::Value;
use waxseal_keys::SigningKey;

use super::auth::{Allowed, ToChangeSigningKeys, ToSeeSigningKeys};
use super::input::{Fields, Refused};
use super::problem::Problem;
use super::request::{Input, Name, NoInput, NoQuery};
use super::{Api, read, show};
use crate::config::parse_signature_algorithm;
use crate::model::secret::Secret;
use crate::signing_keys::import::signing_key_from_file;

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

/// Lets this one sign, of several keys that stand by.
pub(super) async fn activate(
    State(api): State<Api>,
    caller: Allowed<ToChangeSigningKeys>,
    Name(kid): Name,
    _: NoInput,
) -> Result<Json<Value>, Problem> {
    caller.unbound()?;
    api.signing_keys.rotate_to(&kid).await?;
    Ok(shown(&api))
}

/// Takes a key in that was made elsewhere, as a standby.
pub(super) async fn import(
    State(api): State<Api>,
    caller: Allowed<ToChangeSigningKeys>,
    Input(mut fields): Input,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.unbound()?;
    let key = read_key(&mut fields);
    fields.finish()?;
    let entry = api.signing_keys.import(key?).await?;
    Ok((StatusCode::CREATED, Json(show::signing_key(&entry))))
}

/// `{private_key, passphrase?, algorithm?}`.
fn read_key(fields: &mut Fields) -> Result<SigningKey, Refused> {
    let file = fields.required("private_key", |value| read::text(value).map(Secret::new));
    let passphrase = fields.optional("passphrase", |value| read::text(value).map(Secret::new));
    let alg = fields.optional("algorithm", |value| Ok(parse_signature_algorithm(read::text(value)?)?));
    let (file, passphrase, alg) = (file?, passphrase?, alg?);
    let passphrase = passphrase.as_ref().map(|secret| secret.reveal().as_bytes());
    signing_key_from_file(file.reveal().as_bytes(), passphrase, alg).map_err(|error| {
        let field = if error.concerns_passphrase() { "passphrase" } else { "private_key" };
        fields.refuse(field, error.to_string())
    })
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
    // It counts as a change of what is configured, so that it is known everywhere when this is answered.
    if let Err(error) = api.directory.catch_up().await {
        tracing::warn!(code = error.code(), %kid, "other nodes may sign with a revoked key for some seconds");
    }
    Ok(shown(&api))
}

fn shown(api: &Api) -> Json<Value> {
    let keys = api.signing_keys.entries();
    Json(show::page(keys.iter().map(show::signing_key).collect(), None))
}
