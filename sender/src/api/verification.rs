//! Whether endpoints get events: trusted by an operator, proven, or asked.
//!
//! Guarantees that only whoever is bound to no consumer, and may say where content can be read, trusts an endpoint; and
//! that of one that has not proved itself nothing is shown that depends on what its server answered, or how fast:
//! otherwise consumers could have us read other people's servers, or look for them. Nor do they see how their token
//! server or their `jwks_uri` failed.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};
use waxseal_keys::Timestamp;

use super::auth::{Allowed, ToManage};
use super::input::{Fields, Refused};
use super::problem::Problem;
use super::request::{Name, NoInput};
use super::{Api, Caller, endpoints, read, show};
use crate::engine::hold::Hold;
use crate::id::TokenId;
use crate::model::endpoint::Endpoint;
use crate::model::token::Scope;
use crate::model::verification::{Standing, Verification};

/// What a request says about trust.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trust {
    /// Nothing.
    Unsaid,
    /// The endpoint need not prove itself.
    Given {
        /// By the bearer of this token.
        by: TokenId,
        /// Now.
        since: Timestamp,
    },
    /// It must prove itself, whoever has trusted it.
    Withdrawn,
}

impl Trust {
    /// Refuses callers who have no say in it.
    pub(super) fn permitted(caller: &Caller, fields: &Fields) -> Result<(), Problem> {
        if fields.has("trusted") {
            caller.unbound()?;
            caller.require(Scope::ConsumerKeys)?;
        }
        Ok(())
    }

    pub(super) fn read(caller: &Caller, fields: &mut Fields, since: Timestamp) -> Result<Self, Refused> {
        let trusted = fields.unclearable("trusted", read::boolean)?;
        Ok(match trusted {
            None => Self::Unsaid,
            Some(true) => Self::Given { by: caller.token_id(), since },
            Some(false) => Self::Withdrawn,
        })
    }

    /// Refuses trust in whatever an existing endpoint may be by now: its consumer may have changed it since it was looked
    /// at. To be asked before its URL and its protection are read.
    pub(super) fn meant(self, fields: &mut Fields) -> Result<Self, Refused> {
        if let Self::Given { .. } = self {
            let unsaid = ["url", "protection"].map(|name| {
                let detail =
                    "this field is required with `trusted`: true; say what you have seen and mean to trust";
                (!fields.has(name)).then(|| fields.refuse(name, detail))
            });
            unsaid.into_iter().flatten().next().map_or(Ok(()), Err)?;
        }
        Ok(self)
    }

    /// To be applied after the URL and the protection: those that are given with it are what is trusted.
    pub(super) fn apply(self, endpoint: &mut Endpoint) {
        match (self, &endpoint.verification) {
            (Self::Given { by, since }, _) => {
                endpoint.verification = Verification::Trusted { by: Some(by), since: Some(since) };
            }
            (Self::Withdrawn, Verification::Trusted { .. }) => endpoint.verification = Verification::UNASKED,
            (Self::Unsaid | Self::Withdrawn, _) => {}
        }
    }
}

/// Has an endpoint asked from the beginning. One that is verified is left as it is.
pub(super) async fn verify(
    State(api): State<Api>,
    caller: Allowed<ToManage>,
    Name(id): Name,
    _: NoInput,
) -> Result<Response, Problem> {
    let id = endpoints::visible(&api, &caller, &id)?.id;
    let endpoint = api.directory.ask_again(id, api.clock.now()).await?;
    let status = match api.directory.standing(&endpoint, api.clock.now()) {
        Standing::Trusted | Standing::Proven => StatusCode::OK,
        Standing::Pending | Standing::Failed => StatusCode::ACCEPTED,
    };
    Ok((status, Json(endpoints::shown(&api, &caller, &endpoint).await)).into_response())
}

/// The member `verification` of an endpoint.
pub(super) fn show(
    api: &Api,
    caller: &Caller,
    endpoint: &Endpoint,
    waits_for: Option<&'static str>,
) -> Value {
    let now = api.clock.now();
    let keys = api.directory.key_set_for(endpoint);
    let (status, code, expires_at) = match endpoint.verification.standing(endpoint, keys.as_deref(), now) {
        Standing::Trusted => ("trusted", None, None),
        Standing::Proven => ("proven", None, None),
        Standing::Failed => ("failed", Some(NOT_CONFIRMED), None),
        Standing::Pending => {
            let challenge = endpoint.verification.challenge(endpoint, keys.as_deref());
            let missed = challenge.is_some_and(|challenge| challenge.has_missed(now));
            let waits_for = waits_for.map(|code| match caller.bound_to() {
                None => code,
                Some(_) => Hold::code_as_told_to_consumer(code),
            });
            let code = waits_for.or_else(|| missed.then_some(NOT_CONFIRMED));
            ("pending", code, challenge.map(|challenge| show::moment(challenge.ends_at)))
        }
    };
    let (since, by) = match &endpoint.verification {
        Verification::Trusted { by, since } => (Some(since.unwrap_or(endpoint.created_at)), *by),
        Verification::Proven { at, .. } if status == "proven" => (Some(*at), None),
        Verification::Proven { .. } | Verification::Awaited { .. } => (None, None),
    };
    let since = since.map(show::moment);
    json!({ "status": status, "code": code, "since": since, "by": by, "expires_at": expires_at })
}

/// It was asked, and has not answered as its owner's server does. Never why.
const NOT_CONFIRMED: &str = "verification.not_confirmed";
