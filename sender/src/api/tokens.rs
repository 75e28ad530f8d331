//! `/v1/tokens`: who may call this API. Nobody hands out, or withdraws, more than they have themselves.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::auth::{Allowed, Grant, NewToken, ToGrant};
use super::problem::Problem;
use super::request::{Input, Name, NoInput, Query};
use super::{Api, read, show};
use crate::id::TokenId;
use crate::model::token::Scope;

/// The only answer that ever holds the token itself.
pub(super) async fn create(
    State(api): State<Api>,
    caller: Allowed<ToGrant>,
    Input(mut fields): Input,
) -> Result<Response, Problem> {
    let now = api.clock.now();
    let label = fields.optional("label", read::description);
    let scopes = match fields.required_list("scopes", Scope::ALL.len(), read::scope) {
        Ok(scopes) if scopes.is_empty() => Err(fields.refuse("scopes", "expected at least one scope")),
        scopes => scopes,
    };
    let consumer = fields.optional("consumer", read::consumer_id);
    let end = caller.expires_at();
    let expires_at = fields.optional("expires_at", |value| match read::moment(value)? {
        at if at <= now => Err("expected a time in the future".into()),
        at if end.is_some_and(|end| at > end) => {
            Err("expected a time at which the token that makes this one still works".into())
        }
        at => Ok(at),
    });
    fields.finish()?;
    let consumer = consumer?.or_else(|| caller.bound_to().cloned());
    let grant = Grant {
        label: label?,
        scopes: scopes?.into_iter().collect(),
        consumer,
        expires_at: expires_at?.or(end),
    };
    if !caller.covers(&grant.scopes, grant.consumer.as_ref()) {
        let detail =
            "a token can only be given scopes, and a consumer, that the token which makes it has itself";
        return Err(Problem::forbidden("api.grant", detail));
    }
    let NewToken { secret, record } = NewToken::generate(grant, now);
    let record = api.directory.create_token(record).await?;
    let mut body = show::token(&record);
    body["token"] = json!(secret.as_str());
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

pub(super) async fn list(
    State(api): State<Api>,
    caller: Allowed<ToGrant>,
    mut query: Query,
) -> Result<Json<Value>, Problem> {
    let limit = query.limit();
    let after = query.optional("after", TokenId::parse);
    query.finish()?;
    let mut found = api.directory.tokens();
    found.retain(|token| {
        let visible = caller.bound_to().is_none_or(|own| token.consumer.as_ref() == Some(own));
        visible && after.is_none_or(|after| token.id > after)
    });
    let next = show::cut(&mut found, limit, |token| token.id);
    Ok(Json(show::page(found.iter().map(|token| show::token(token)).collect(), next)))
}

pub(super) async fn delete(
    State(api): State<Api>,
    caller: Allowed<ToGrant>,
    Name(id): Name,
    _: NoInput,
) -> Result<StatusCode, Problem> {
    let missing = || Problem::not_found("token");
    let id = TokenId::parse(&id).map_err(|_| missing())?;
    let token = api.directory.tokens().into_iter().find(|token| token.id == id).ok_or_else(missing)?;
    if caller.bound_to().is_some_and(|own| token.consumer.as_ref() != Some(own)) {
        return Err(missing());
    }
    if !caller.covers(&token.scopes, token.consumer.as_ref()) {
        let detail = "a token can only be withdrawn by one that has all of its scopes";
        return Err(Problem::forbidden("api.grant", detail));
    }
    api.directory.delete_token(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
