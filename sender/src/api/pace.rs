//! An endpoint's pace and health: how they are given and how they are shown.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::input::{Fields, Refused, Wrong, found};
use super::read::text;
use super::show::moment;
use crate::engine::condition::Condition;
use crate::model::pace::{Concurrency, DisableAfter, Order, Pace, RateLimit};

/// What a request says of an endpoint's pace. Each member: missing, cleared, or given.
#[derive(Debug)]
pub(super) struct PaceChange {
    rate_limit: Option<Option<RateLimit>>,
    concurrency: Option<Option<Concurrency>>,
    order: Option<Option<Order>>,
    disable_after: Option<Option<DisableAfter>>,
}

impl PaceChange {
    /// Reads the members that make up a pace.
    pub(super) fn read(fields: &mut Fields) -> Result<Self, Refused> {
        let rate_limit = fields.change_object("rate_limit", rate_limit);
        let concurrency = fields.change("concurrency", |value| {
            let count = whole(value, "a whole number from 1 to 64")?;
            Concurrency::new(count).map_err(|error| error.to_string().into())
        });
        let order = fields.change("order", order);
        let disable_after = fields.change("disable_after", disable_after);
        Ok(Self {
            rate_limit: rate_limit?,
            concurrency: concurrency?,
            order: order?,
            disable_after: disable_after?,
        })
    }

    /// Changes what was given and clears what was cleared.
    pub(super) fn apply(self, pace: &mut Pace) {
        pace.rate_limit = self.rate_limit.unwrap_or(pace.rate_limit);
        pace.concurrency = self.concurrency.unwrap_or(pace.concurrency);
        pace.order = self.order.map_or(pace.order, Option::unwrap_or_default);
        pace.disable_after = self.disable_after.map_or(pace.disable_after, Option::unwrap_or_default);
    }

    /// The pace of a new endpoint.
    pub(super) fn into_pace(self) -> Pace {
        let mut pace = Pace::default();
        self.apply(&mut pace);
        pace
    }
}

/// The members of an endpoint that are its pace and its health.
pub(super) fn show(pace: &Pace, condition: &Condition) -> Map<String, Value> {
    let members = json!({
        "rate_limit": pace.rate_limit,
        "concurrency": pace.concurrency,
        "order": pace.order,
        "disable_after": match pace.disable_after {
            DisableAfter::Default => Value::Null,
            DisableAfter::Never => json!("never"),
            DisableAfter::Seconds(seconds) => {
                json!(humantime::format_duration(Duration::from_secs(seconds)).to_string())
            }
        },
        "health": {
            "breaker": condition.breaker.name(),
            "open_since": condition.open_since.map(moment),
            "next_probe_at": condition.next_probe_at.map(moment),
            "consecutive_failures": condition.failures,
            "failing_since": condition.failing_since.map(moment),
            "resting_until": condition.rests_until.map(moment),
            "rate_limited_until": condition.rate_limited_until.map(moment),
        },
    });
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn rate_limit(fields: &mut Fields) -> Result<RateLimit, Refused> {
    let per_second = fields.required("per_second", |value| {
        let number =
            value.as_f64().ok_or_else(|| found("a number of POSTs a second from 1/60 to 10000", value))?;
        RateLimit::new(number, None).map(|_| number).map_err(|error| error.to_string().into())
    });
    let burst = fields.optional("burst", |value| {
        let burst = whole(value, "a whole number from 1 to 10000")?;
        RateLimit::new(1.0, Some(burst)).map(|_| burst).map_err(|error| error.to_string().into())
    });
    RateLimit::new(per_second?, burst?).map_err(|error| fields.refuse("", error.to_string()))
}

fn whole(value: &Value, expected: &'static str) -> Result<u64, Wrong> {
    match value {
        Value::Number(number) => number.as_u64().ok_or_else(|| format!("expected {expected}").into()),
        other => Err(found(expected, other)),
    }
}

fn order(value: &Value) -> Result<Order, Wrong> {
    match text(value)? {
        "any" => Ok(Order::Any),
        "fifo" => Ok(Order::Fifo),
        _ => Err("expected `any` or `fifo`".into()),
    }
}

fn disable_after(value: &Value) -> Result<DisableAfter, Wrong> {
    const EXPECTED: &str = "expected a duration from \"1h\" to \"365d\", or \"never\"";
    let text = text(value)?;
    if text == "never" {
        return Ok(DisableAfter::Never);
    }
    let time = humantime::parse_duration(text).map_err(|_| EXPECTED)?;
    if !(LEAST_FAILING..=MOST_FAILING).contains(&time) {
        return Err(EXPECTED.into());
    }
    Ok(DisableAfter::Seconds(time.as_secs()))
}

/// Less than this is an outage, for which there is the breaker.
const LEAST_FAILING: Duration = Duration::from_secs(60 * 60);
const MOST_FAILING: Duration = Duration::from_secs(365 * 24 * 60 * 60);
