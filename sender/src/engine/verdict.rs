//! What follows from an attempt: the table of the wire format, as one pure function.
//!
//! Relies on nothing but its arguments. Guarantees that an answer is read `err` first and status second, that no
//! answer of a receiver loses an event at once except "too large", and that a wish to wait is granted, up to a bound.

use std::borrow::Cow;
use std::time::Duration;

use waxseal_keys::Timestamp;

use super::post::{Answer, PostError, RetryAfter};
use crate::model::endpoint::{Endpoint, PauseReason};
use crate::model::verification::Verification;

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The receiver took it.
    Delivered,
    /// It is tried again.
    Retry {
        /// Then.
        at: Timestamp,
        /// Because of this.
        reason: Reason,
    },
    /// The schedule is used up.
    Exhausted {
        /// How the last attempt went.
        reason: Reason,
    },
    /// Its time ran out.
    Expired,
    /// The receiver will never take it.
    Refused {
        /// Why.
        reason: Reason,
    },
    /// It was taken back. Never judged: the engine says so of deliveries whose endpoint is gone.
    Cancelled,
    /// It is kept, and so are the endpoint's others, until someone resumes the endpoint.
    PauseEndpoint {
        /// Why.
        reason: PauseReason,
        /// When it is due once the endpoint is resumed.
        at: Timestamp,
    },
    /// It is left as it was. Never judged: the engine says so of deliveries that it drops to shut down.
    Released,
}

/// Why an attempt did not deliver.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// `invalid_request`: malformed, or outside the receiver's time window.
    InvalidRequest,
    /// `invalid_key`: the receiver could not open or verify the token.
    InvalidKey,
    /// `invalid_issuer`: the receiver does not take our tokens.
    InvalidIssuer,
    /// `invalid_audience`: the receiver is somebody else.
    InvalidAudience,
    /// `authentication_failed`, or status 401.
    AuthenticationFailed,
    /// `access_denied`, or status 403.
    AccessDenied,
    /// Status 408.
    RequestTimeout,
    /// Status 410.
    Gone,
    /// Status 413.
    TooLarge,
    /// Status 429.
    Overloaded,
    /// Any 3xx: a redirect, never followed.
    Redirect,
    /// Any other 4xx.
    ClientError,
    /// Any 5xx.
    ServerError,
    /// A 2xx other than 202, of an endpoint that must answer exactly that.
    NotTaken,
    /// A status that answers no POST: 1xx, or beyond 599.
    Unexpected,
    /// There was no answer; the code is the [`PostError`]'s.
    NoAnswer(&'static str),
}

/// What is known of a delivery beside the attempt that is judged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct History {
    /// How many attempts were recorded before this one.
    pub attempts_made: u32,
    /// When the event stops being worth delivering, if it does.
    pub expires_at: Option<Timestamp>,
    /// Which answer of its endpoint means that it was taken.
    pub acceptance: Acceptance,
}

/// Which answer means that a token was taken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Acceptance {
    /// Any 2xx: an operator trusts that whatever answers there is the receiver.
    #[default]
    AnySuccess,
    /// 202 and nothing else. For an endpoint that proved itself by echo: the receiver answers so, and whoever has
    /// taken over its domain does not.
    Exactly202,
}

impl Acceptance {
    /// What an endpoint has to answer.
    pub fn of(endpoint: &Endpoint) -> Self {
        match endpoint.verification {
            Verification::Trusted { .. } => Self::AnySuccess,
            Verification::Proven { .. } | Verification::Awaited { .. } => Self::Exactly202,
        }
    }
}

/// When failed attempts are repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The pause after the first attempt, after the second, and so on; when they are used up, the delivery is
    /// [`Verdict::Exhausted`].
    pub schedule: Vec<Duration>,
    /// By how much of itself a pause varies, either way: 0.2 is a fifth.
    pub jitter: f64,
    /// The longest wish to wait that is granted.
    pub retry_after_cap: Duration,
}

impl RetryPolicy {
    /// This policy with an endpoint's own schedule, if it has one.
    pub fn of<'a>(&'a self, endpoint: &Endpoint) -> Cow<'a, Self> {
        match &endpoint.retry {
            None => Cow::Borrowed(self),
            Some(own) => {
                let retry_after_cap = self.retry_after_cap;
                Cow::Owned(Self { schedule: own.schedule(), jitter: own.jitter(), retry_after_cap })
            }
        }
    }
}

impl Default for RetryPolicy {
    /// Eleven attempts over about 76 hours: seconds for a restart, minutes for a deployment, days for a weekend.
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        let pauses =
            [5, 30, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
        Self {
            schedule: pauses.into_iter().map(Duration::from_secs).collect(),
            jitter: 0.2,
            retry_after_cap: Duration::from_secs(24 * HOUR),
        }
    }
}

/// Judges an attempt. `jitter` is uniform in `[0, 1)`.
pub fn judge(
    report: &Result<Answer, PostError>,
    history: &History,
    policy: &RetryPolicy,
    now: Timestamp,
    jitter: f64,
) -> Verdict {
    let Some(reason) = Reason::of(report, history.acceptance) else { return Verdict::Delivered };
    if let Some(pause) = reason.pauses() {
        // Not the schedule's pause: whoever resumes the endpoint wants to see it work.
        let at = now.saturating_add(policy.schedule.first().copied().unwrap_or_default());
        return Verdict::PauseEndpoint { reason: pause, at };
    }
    if reason == Reason::TooLarge {
        return Verdict::Refused { reason };
    }
    let index = usize::try_from(history.attempts_made).unwrap_or(usize::MAX);
    let Some(pause) = policy.schedule.get(index) else {
        return Verdict::Exhausted { reason };
    };
    let scheduled = now.saturating_add(varied(*pause, policy.jitter, jitter));
    let at = scheduled.max(asked_for(report, policy, now).unwrap_or(now));
    match history.expires_at {
        Some(expires_at) if at >= expires_at => Verdict::Expired,
        _ => Verdict::Retry { at, reason },
    }
}

/// The code that an attempt is recorded with: `delivered`, or its reason's.
pub fn result_code(report: &Result<Answer, PostError>, acceptance: Acceptance) -> &'static str {
    Reason::of(report, acceptance).map_or("delivered", Reason::code)
}

impl Reason {
    /// Why `report` is not a delivery; `None` if it is one.
    pub fn of(report: &Result<Answer, PostError>, acceptance: Acceptance) -> Option<Self> {
        match report {
            Ok(answer) => match answer.err.as_deref().and_then(Self::of_err) {
                Some(reason) => Some(reason),
                None => Self::of_status(answer.status, acceptance),
            },
            Err(error) => Some(Self::NoAnswer(error.code())),
        }
    }

    /// A stable code for attempts, logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "answer.invalid_request",
            Self::InvalidKey => "answer.invalid_key",
            Self::InvalidIssuer => "answer.invalid_issuer",
            Self::InvalidAudience => "answer.invalid_audience",
            Self::AuthenticationFailed => "answer.authentication_failed",
            Self::AccessDenied => "answer.access_denied",
            Self::RequestTimeout => "answer.request_timeout",
            Self::Gone => "answer.gone",
            Self::TooLarge => "answer.too_large",
            Self::Overloaded => "answer.overloaded",
            Self::Redirect => "answer.redirect",
            Self::ClientError => "answer.client_error",
            Self::ServerError => "answer.server_error",
            Self::NotTaken => "answer.not_taken",
            Self::Unexpected => "answer.unexpected",
            Self::NoAnswer(code) => code,
        }
    }

    /// Whether the consumer may have changed its encryption keys: they are looked up again, and if another one is
    /// chosen then, the token is sealed to it and posted once more at once.
    pub fn asks_for_other_key(self) -> bool {
        self == Self::InvalidKey
    }

    /// Whether the endpoint did not take what it was shown beside the token: an OAuth token is renewed then, and if
    /// there is another one the same is posted once more at once.
    pub fn asks_for_other_credentials(self) -> bool {
        matches!(self, Self::AuthenticationFailed | Self::AccessDenied)
    }

    /// RFC 8935 §2.4. A code that we do not know leaves the decision to the status.
    fn of_err(err: &str) -> Option<Self> {
        match err {
            "invalid_request" => Some(Self::InvalidRequest),
            "invalid_key" => Some(Self::InvalidKey),
            "invalid_issuer" => Some(Self::InvalidIssuer),
            "invalid_audience" => Some(Self::InvalidAudience),
            "authentication_failed" => Some(Self::AuthenticationFailed),
            "access_denied" => Some(Self::AccessDenied),
            _ => None,
        }
    }

    fn of_status(status: u16, acceptance: Acceptance) -> Option<Self> {
        match status {
            202 => None,
            200..=299 => match acceptance {
                Acceptance::AnySuccess => None,
                Acceptance::Exactly202 => Some(Self::NotTaken),
            },
            300..=399 => Some(Self::Redirect),
            401 => Some(Self::AuthenticationFailed),
            403 => Some(Self::AccessDenied),
            408 => Some(Self::RequestTimeout),
            410 => Some(Self::Gone),
            413 => Some(Self::TooLarge),
            429 => Some(Self::Overloaded),
            400..=499 => Some(Self::ClientError),
            500..=599 => Some(Self::ServerError),
            _ => Some(Self::Unexpected),
        }
    }

    fn pauses(self) -> Option<PauseReason> {
        match self {
            Self::Gone => Some(PauseReason::Gone),
            Self::InvalidIssuer => Some(PauseReason::WrongIssuer),
            Self::InvalidAudience => Some(PauseReason::WrongAudience),
            Self::InvalidRequest
            | Self::InvalidKey
            | Self::AuthenticationFailed
            | Self::AccessDenied
            | Self::RequestTimeout
            | Self::TooLarge
            | Self::Overloaded
            | Self::Redirect
            | Self::ClientError
            | Self::ServerError
            | Self::NotTaken
            | Self::Unexpected
            | Self::NoAnswer(_) => None,
        }
    }
}

fn varied(pause: Duration, by: f64, jitter: f64) -> Duration {
    let factor = 1.0 + by.clamp(0.0, 1.0) * (2.0 * jitter.clamp(0.0, 1.0) - 1.0);
    Duration::from_secs_f64(pause.as_secs_f64() * factor)
}

/// The time before which the receiver does not want to hear from us, as far as that wish is granted.
fn asked_for(report: &Result<Answer, PostError>, policy: &RetryPolicy, now: Timestamp) -> Option<Timestamp> {
    let latest = now.saturating_add(policy.retry_after_cap);
    match report.as_ref().ok()?.retry_after? {
        RetryAfter::In(pause) => Some(now.saturating_add(pause.min(policy.retry_after_cap))),
        RetryAfter::At(time) => Some(time.min(latest)),
    }
}

#[cfg(test)]
mod tests;
