//! What the sender's answers mean for the rows that were posted. Pure.
//!
//! Guarantees that a row is given up only for an answer that is certainly the sender's, about this event, and will be the
//! same next time. Whatever is unclear is tried again: a repetition does no harm.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What becomes of one row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// The sender has the event on disk.
    Published,
    /// It never will, as it is.
    Refused(Refusal),
    /// Not now; the code says why.
    PutOff(String),
}

/// Why an event is refused, as the sender's API says it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// In words.
    pub reason: String,
}

/// Why a call decided about no row.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedCall {
    /// The batch as such is not acceptable: one event in it, or its size.
    #[error("refused the batch with {}: {}", .0.code, .0.reason)]
    Batch(Refusal),
    /// The token does not open the API.
    #[error("refused the API token with status {0}: it needs the scope `publish`")]
    Token(u16),
    /// No answer within the time that a transaction may be open.
    #[error("no answer in time")]
    Late,
    /// No connection.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// Something else than results.
    #[error("answered with status {0}")]
    Unusable(u16),
}

impl RefusedCall {
    /// A stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Batch(_) => "relay.batch_refused",
            Self::Token(_) => "relay.token_refused",
            Self::Late => "relay.sender_late",
            Self::Unreachable(_) => "relay.sender_unreachable",
            Self::Unusable(_) => "relay.sender_answer",
        }
    }

    /// Whether fewer events in one call may help.
    pub(super) fn is_of_batch(&self) -> bool {
        matches!(self, Self::Batch(_) | Self::Late)
    }
}

/// Reads the answer to a batch of so many events.
pub(super) fn read(status: u16, body: &[u8], events: usize) -> Result<Vec<Fate>, RefusedCall> {
    match status {
        202 => {
            let answer: Result<Answer<'_>, _> = serde_json::from_slice(body);
            let results = answer.map(|answer| answer.results).unwrap_or_default();
            if results.len() == events {
                return Ok(results.iter().map(|result| fate(result.get().as_bytes())).collect());
            }
            Err(RefusedCall::Unusable(status))
        }
        401 | 403 => Err(RefusedCall::Token(status)),
        400 | 413 | 422 => match problem(body) {
            // Another server, or a proxy, says such things too: only our own codes count.
            Some(problem) if problem.code.starts_with("api.") => {
                Err(RefusedCall::Batch(problem.refusal(status)))
            }
            Some(_) | None => Err(RefusedCall::Unusable(status)),
        },
        _ => Err(RefusedCall::Unusable(status)),
    }
}

/// What one result of a batch says.
fn fate(result: &[u8]) -> Fate {
    if serde_json::from_slice::<Accepted>(result).is_ok_and(|accepted| accepted.id.starts_with("evt_")) {
        return Fate::Published;
    }
    let Some(problem) = problem(result) else { return Fate::PutOff("relay.sender_answer".to_owned()) };
    match problem.status {
        Some(status)
            if (400..500).contains(&status) && !LATER.contains(&status) && problem.code != SUPERSEDED =>
        {
            Fate::Refused(problem.refusal(status))
        }
        Some(_) | None => Fate::PutOff(problem.code),
    }
}

fn problem(body: &[u8]) -> Option<Problem> {
    serde_json::from_slice(body).ok()
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Accepted {
    id: String,
}

/// Problem details (RFC 9457) as far as they matter here.
#[derive(Deserialize)]
struct Problem {
    status: Option<u16>,
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<FieldError>,
}

#[derive(Deserialize)]
struct FieldError {
    field: String,
    detail: String,
}

impl Problem {
    fn refusal(self, status: u16) -> Refusal {
        let fields: Vec<_> =
            self.errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect();
        let reason = if fields.is_empty() { self.detail } else { fields.join("; ") };
        Refusal { status, code: self.code, reason: reason.chars().take(LONGEST_REASON).collect() }
    }
}

/// Statuses that speak of the caller or of the moment, and not of the event.
const LATER: [u16; 5] = [401, 403, 408, 425, 429];
/// Nothing is wrong with the event: the sender's configuration changed while it was read.
const SUPERSEDED: &str = "api.superseded";
/// A reason is for people.
const LONGEST_REASON: usize = 1_000;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fate_of(result: &Value) -> Fate {
        let body = json!({ "results": [result] }).to_string();
        read(202, body.as_bytes(), 1).unwrap().remove(0)
    }

    #[test]
    fn an_event_is_given_up_only_for_what_will_be_the_same_next_time() {
        let accepted = json!({ "id": "evt_0192", "deliveries": [], "replayed": false });
        assert_eq!(fate_of(&accepted), Fate::Published);
        let refused = json!({ "status": 400, "code": "api.validation", "detail": "no",
            "errors": [{ "field": "to", "detail": "there is no such consumer" }] });
        let refusal = Refusal {
            status: 400,
            code: "api.validation".to_owned(),
            reason: "to: there is no such consumer".to_owned(),
        };
        assert_eq!(fate_of(&refused), Fate::Refused(refusal));
        let conflict = json!({ "status": 409, "code": "api.idempotency_conflict", "detail": "used before" });
        assert!(matches!(fate_of(&conflict), Fate::Refused(refusal) if refusal.reason == "used before"));
        for (status, code) in [
            (503, "api.unavailable"),
            (500, "api.internal"),
            (507, "api.store_full"),
            (429, "api.slow_down"),
            (401, "api.unauthenticated"),
            (409, "api.superseded"),
        ] {
            let result = json!({ "status": status, "code": code, "detail": "" });
            assert_eq!(fate_of(&result), Fate::PutOff(code.to_owned()), "{status}");
        }
        for odd in [json!({}), json!(null), json!({ "id": 7 }), json!({ "code": "x" }), json!({ "id": "x" })]
        {
            assert!(matches!(fate_of(&odd), Fate::PutOff(_)), "{odd}");
        }
    }

    #[test]
    fn a_call_that_is_not_certainly_the_senders_decides_about_nothing() {
        let problem = |code: &str| json!({ "status": 400, "code": code, "detail": "d" }).to_string();
        for (status, body, expected) in [
            (202, r#"{"results":[]}"#.to_owned(), "relay.sender_answer"),
            (202, "<html>".to_owned(), "relay.sender_answer"),
            (200, r#"{"results":[{"id":"evt_1"}]}"#.to_owned(), "relay.sender_answer"),
            (400, problem("api.malformed_json"), "relay.batch_refused"),
            (413, problem("api.too_large"), "relay.batch_refused"),
            (400, problem("proxy.bad"), "relay.sender_answer"),
            (400, "<html>".to_owned(), "relay.sender_answer"),
            (404, problem("api.no_such_route"), "relay.sender_answer"),
            (401, problem("api.unauthenticated"), "relay.token_refused"),
            (403, problem("api.scope"), "relay.token_refused"),
            (503, problem("api.unavailable"), "relay.sender_answer"),
        ] {
            assert_eq!(read(status, body.as_bytes(), 1).unwrap_err().code(), expected, "{status} {body}");
        }
    }
}
