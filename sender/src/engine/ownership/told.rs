//! How endpoints do, as nodes tell each other: ids, codes and times.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use waxseal_keys::Timestamp;

use crate::engine::condition::{BreakerState, Condition, EndpointState};
use crate::engine::hold::Hold;
use crate::engine::verification;
use crate::id::EndpointId;
use crate::store::ToldCondition;

/// What is told of one endpoint. Times are milliseconds since 1970.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_since: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_probe_at: Option<i64>,
    #[serde(skip_serializing_if = "is_zero")]
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rests_until: Option<i64>,
}

/// What to tell of an endpoint; nothing, if it does well. That its rate is limited just now is nobody's trouble.
pub(super) fn told(endpoint: EndpointId, state: &EndpointState) -> Option<ToldCondition> {
    let EndpointState { hold, condition, verification_waits_for } = state;
    let millis = |moment: Option<Timestamp>| moment.map(Timestamp::as_millis);
    let breaker = Some(condition.breaker).filter(|breaker| *breaker != BreakerState::Closed);
    let told = Told {
        hold: hold.map(|hold| hold.code().to_owned()),
        waits_for: verification_waits_for.map(str::to_owned),
        breaker: breaker.map(|breaker| breaker.name().to_owned()),
        open_since: millis(condition.open_since),
        next_probe_at: millis(condition.next_probe_at),
        failures: condition.failures,
        failing_since: millis(condition.failing_since),
        rests_until: millis(condition.rests_until),
    };
    if told == Told::default() {
        return None;
    }
    serde_json::to_string(&told).ok().map(|told| ToldCondition { endpoint, told })
}

/// What others have told. What cannot be understood says nothing: a newer node may have told it.
pub(in crate::engine) fn states(told: Vec<ToldCondition>) -> HashMap<EndpointId, EndpointState> {
    told.into_iter().filter_map(|one| Some((one.endpoint, read(&one.told)?))).collect()
}

fn read(text: &str) -> Option<EndpointState> {
    let told: Told = serde_json::from_str(text).ok()?;
    let moment = |millis: Option<i64>| millis.map(Timestamp::from_millis);
    let breaker = match told.breaker.as_deref() {
        Some("open") => BreakerState::Open,
        Some("half_open") => BreakerState::HalfOpen,
        Some(_) | None => BreakerState::Closed,
    };
    let waits_for = told.waits_for.as_deref();
    Some(EndpointState {
        hold: told.hold.as_deref().and_then(Hold::from_code),
        condition: Condition {
            breaker,
            open_since: moment(told.open_since),
            next_probe_at: moment(told.next_probe_at),
            failures: told.failures,
            failing_since: moment(told.failing_since),
            rests_until: moment(told.rests_until),
            rate_limited_until: None,
        },
        verification_waits_for: waits_for.and_then(verification::known_wait),
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        let (endpoint, at) = (EndpointId::generate(Timestamp::from_seconds(1)), Timestamp::from_seconds(9));
        let state = EndpointState {
            hold: Some(Hold::NoUsableKey),
            condition: Condition {
                breaker: BreakerState::HalfOpen,
                open_since: Some(at),
                next_probe_at: Some(at),
                failures: 12,
                failing_since: Some(at),
                rests_until: Some(at),
                rate_limited_until: None,
            },
            verification_waits_for: Some(verification::HOST_LIMIT),
        };
        let told = told(endpoint, &state).unwrap();
        assert_eq!(states(vec![told]).remove(&endpoint), Some(state));
    }

    #[test]
    fn of_an_endpoint_that_does_well_nothing_is_told() {
        let endpoint = EndpointId::generate(Timestamp::from_seconds(1));
        let limited = Condition { rate_limited_until: Some(Timestamp::MAX), ..Condition::default() };
        let well = EndpointState { condition: limited, ..EndpointState::default() };
        assert_eq!(told(endpoint, &well), None);
    }

    #[test]
    fn what_a_newer_node_tells_is_taken_as_far_as_it_is_known() {
        let endpoint = EndpointId::generate(Timestamp::from_seconds(1));
        let one = |told: &str| {
            let told = ToldCondition { endpoint, told: told.to_owned() };
            states(vec![told]).remove(&endpoint)
        };
        assert_eq!(one("not JSON"), None);
        let newer = one(r#"{"hold":"hold.of_tomorrow","breaker":"melted","more":1,"failures":3}"#).unwrap();
        assert_eq!(
            (newer.hold, newer.condition.breaker, newer.condition.failures),
            (None, BreakerState::Closed, 3)
        );
    }
}
