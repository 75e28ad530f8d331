//! What a new or changed thing must agree with in the rest of the configuration.

use std::collections::BTreeSet;

use waxseal_envelope::Audience;

use super::ChangeError;
use super::state::State;
use crate::id::{ConsumerId, GroupName};
use crate::model::consumer::{DeclaredType, Visibility};
use crate::model::endpoint::{Endpoint, Subscription};
use crate::operations::notices::TYPES;

pub(super) fn groups_exist(
    state: &State,
    field: &'static str,
    groups: &BTreeSet<GroupName>,
) -> Result<(), ChangeError> {
    match groups.iter().find(|name| !state.groups.contains_key(*name)) {
        Some(name) => Err(invalid(field, format!("there is no group `{name}`; create it first"))),
        None => Ok(()),
    }
}

pub(super) fn visible_groups_exist(state: &State, declared: &DeclaredType) -> Result<(), ChangeError> {
    match &declared.visible_to {
        Visibility::All => Ok(()),
        Visibility::Groups(groups) => groups_exist(state, "groups", groups),
    }
}

pub(super) fn subscription_fits(state: &State, endpoint: &Endpoint) -> Result<(), ChangeError> {
    let consumer = state
        .consumers
        .get(&endpoint.consumer)
        .ok_or_else(|| invalid("consumer", format!("there is no consumer `{}`", endpoint.consumer)))?;
    let Subscription::Types(types) = &endpoint.event_types else {
        return Ok(());
    };
    let is_operator = state.operator.as_ref() == Some(&endpoint.consumer);
    for name in types {
        let declared = state.event_types.get(name);
        let operational = is_operator && TYPES.contains(&name.as_str());
        if !operational && !declared.is_some_and(|declared| declared.is_visible_to(consumer)) {
            // The same words whether it is not declared or not visible: a consumer must not learn which types exist.
            let detail = format!("`{name}` is not an event type that consumer `{}` may see", consumer.id);
            return Err(invalid("event_types", detail));
        }
    }
    Ok(())
}

/// A token is worth something where its audience is expected, so nobody may have tokens made for another's: an
/// endpoint's own audience is neither another consumer's id nor an audience of another consumer's endpoint.
pub(super) fn audience_is_free(state: &State, endpoint: &Endpoint) -> Result<(), ChangeError> {
    let Some(audience) = &endpoint.audience else { return Ok(()) };
    let text = audience.to_string();
    let named = ConsumerId::parse(&text).ok().filter(|id| state.consumers.contains_key(id));
    let used = user_of(state, audience);
    match named.as_ref().into_iter().chain(used).find(|other| **other != endpoint.consumer) {
        Some(_) => Err(invalid("audience", format!("`{text}` is an audience of another consumer"))),
        None => Ok(()),
    }
}

/// A new consumer's id becomes an audience, too.
pub(super) fn id_is_no_audience(state: &State, id: &ConsumerId) -> Result<(), ChangeError> {
    let audience = Audience::parse(id.as_str()).expect("a consumer id is a valid audience");
    match user_of(state, &audience).filter(|user| *user != id) {
        Some(user) => {
            let detail =
                format!("`{id}` is the audience of an endpoint of consumer `{user}`; choose another id");
            Err(invalid("id", detail))
        }
        None => Ok(()),
    }
}

/// The consumer whose endpoints have this audience of their own. All are one consumer's.
fn user_of<'a>(state: &'a State, audience: &Audience) -> Option<&'a ConsumerId> {
    let endpoint = state.audiences.get(audience)?.first()?;
    state.endpoints.get(endpoint).map(|endpoint| &endpoint.consumer)
}

/// Each endpoint of a consumer can be one delivery more of every event, and consumers may create their own.
pub(super) fn one_more_endpoint_fits(state: &State, consumer: &ConsumerId) -> Result<(), ChangeError> {
    let present = state.endpoints_of.get(consumer).map_or(0, BTreeSet::len);
    if present < ENDPOINTS_PER_CONSUMER {
        return Ok(());
    }
    let detail =
        format!("consumer `{consumer}` has {present} endpoints, which is the most that one can have");
    Err(invalid("consumer", detail))
}

/// Consumers may create their own tokens, too.
pub(super) fn one_more_token_fits(state: &State, consumer: &ConsumerId) -> Result<(), ChangeError> {
    let present = state.tokens.values().filter(|token| token.consumer.as_ref() == Some(consumer)).count();
    if present < TOKENS_PER_CONSUMER {
        return Ok(());
    }
    let detail = format!("consumer `{consumer}` has {present} tokens, which is the most that one can have");
    Err(invalid("consumer", detail))
}

pub(super) fn invalid(field: &'static str, detail: String) -> ChangeError {
    ChangeError::Invalid { field, detail }
}

const ENDPOINTS_PER_CONSUMER: usize = 1_000;
const TOKENS_PER_CONSUMER: usize = 100;
