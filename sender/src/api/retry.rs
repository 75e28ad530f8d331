//! An endpoint's own retry schedule, as requests give it and answers show it.

use serde_json::{Value, json};

use super::input::{Fields, Refused, Wrong, found};
use crate::model::retry::{DEFAULT_JITTER, MAX_ENTRIES, Retry, RetryError};

/// `{"schedule_seconds": […], "jitter": 0.2}`; without `jitter` the usual one. `null` means the sender's schedule.
pub(super) fn read(fields: &mut Fields) -> Result<Option<Retry>, Refused> {
    fields.object("retry", |retry| {
        let schedule = retry.required_list("schedule_seconds", MAX_ENTRIES, pause);
        let jitter = retry.optional("jitter", |value| match value {
            Value::Number(number) => number.as_f64().ok_or_else(|| "expected a number from 0 to 1".into()),
            other => Err(found("a number from 0 to 1", other)),
        });
        let (schedule, jitter) = (schedule?, jitter?.unwrap_or(DEFAULT_JITTER));
        Retry::new(schedule, jitter).map_err(|error| {
            let field = if error == RetryError::Jitter { "jitter" } else { "schedule_seconds" };
            retry.refuse(field, error.to_string())
        })
    })
}

/// As [`read`], of a partial update: missing leaves things as they are.
pub(super) fn change(fields: &mut Fields) -> Result<Option<Option<Retry>>, Refused> {
    let given = fields.has("retry");
    read(fields).map(|retry| given.then_some(retry))
}

pub(super) fn show(retry: &Retry) -> Value {
    json!({ "schedule_seconds": retry.schedule_seconds(), "jitter": retry.jitter() })
}

fn pause(value: &Value) -> Result<u32, Wrong> {
    match value {
        Value::Number(number) => number
            .as_u64()
            .and_then(|seconds| u32::try_from(seconds).ok())
            .ok_or_else(|| RetryError::Pause.to_string().into()),
        other => Err(found("a whole number of seconds", other)),
    }
}
