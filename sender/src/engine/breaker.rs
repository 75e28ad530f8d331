//! How an endpoint has been doing, and what follows for its lane: the circuit breaker, the rest that it asked for,
//! and whether it is slow. A pure state machine; what time it is and how an attempt went, it is told.
//!
//! ```text
//!             so many failures in a row                   its time has come
//!   closed ------------------------------> open ------------------------------> half-open
//!      ^                                    ^                                       |
//!      |                                    +------------ the probe failed, -------+
//!      |                                                  a longer pause           |
//!      +---------------------------------------- any answer but a failure ---------+
//! ```
//!
//! A breaker counts failures **in a row**, not their share: an endpoint that takes a part of what it gets is worth
//! posting to, and that it takes long or fails often costs only its own slots (`limits`, `slots`).
//! While it is open, deliveries wait as they are: no attempt is used up and no row is touched. The probe is the lane's
//! first delivery, so a probe that succeeds has delivered something.
//!
//! A failure is one of the endpoint as a whole: no connection, no answer in time, 5xx, 429, 401, 404 and the like. An
//! answer that refuses one event (413, `invalid_request`) shows that somebody is there; it trips nothing.

use std::time::Duration;

use waxseal_keys::Timestamp;

use super::post::{Answer, PostError, RetryAfter};
use super::verdict::{Acceptance, Reason};
use crate::model::health::OpenBreaker;

/// When an endpoint is left alone, and when it is given up.
#[derive(Clone, Debug)]
pub struct BreakerPolicy {
    /// So many failures in a row open the breaker.
    pub failures: u32,
    /// How long it stays open before the first probe; twice as long after each that failed.
    pub first_pause: Duration,
    /// And how long at most.
    pub longest_pause: Duration,
    /// By how much of itself a pause varies, either way: 0.2 is a fifth.
    pub jitter: f64,
    /// The longest rest that is granted to an endpoint that asks for it with `Retry-After`.
    pub longest_rest: Duration,
    /// How long an endpoint may do nothing but fail before it is paused; `None`: for ever.
    pub disable_after: Option<Duration>,
    /// And how many attempts it must have had in that time.
    pub disable_attempts: u32,
}

/// What an attempt says of its endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sign {
    /// It delivered.
    Delivered,
    /// Somebody is there, and does not want this one event, or this key.
    Answered,
    /// The endpoint as a whole does not work.
    Failed,
}

/// One attempt, as far as its endpoint is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation {
    pub(super) sign: Sign,
    pub(super) took: Duration,
    /// Not before this, it asked.
    pub(super) rest_until: Option<Timestamp>,
    pub(super) kind: Kind,
    /// Uniform in `[0, 1)`.
    pub(super) jitter: f64,
    pub(super) at: Timestamp,
}

/// Why a delivery was claimed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// In the course of things.
    Regular,
    /// To see whether the endpoint works again.
    Probe,
}

/// How an endpoint has been doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Health {
    /// In a row.
    pub(super) failures: u32,
    pub(super) failing: Option<Failing>,
    pub(super) open: Option<OpenBreaker>,
    pub(super) rests_until: Option<Timestamp>,
    /// A maximum that decays: up at once, down by a quarter of the difference with each faster answer.
    latency: Duration,
    /// It has answered.
    pub(super) proven: bool,
}

/// No attempt has delivered since.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Failing {
    pub(super) since: Timestamp,
    pub(super) attempts: u32,
    /// It has lasted long enough to be worth keeping.
    noted: bool,
}

impl Observation {
    /// What a report says; `at` is when the attempt ended.
    pub(super) fn of(
        report: &Result<Answer, PostError>,
        acceptance: Acceptance,
        took: Duration,
        kind: Kind,
        jitter: f64,
        at: Timestamp,
    ) -> Self {
        let rest_until = report.as_ref().ok().filter(|answer| matches!(answer.status, 429 | 503));
        let rest_until = rest_until.and_then(|answer| answer.retry_after).map(|asked| match asked {
            RetryAfter::In(pause) => at.saturating_add(pause),
            RetryAfter::At(time) => time,
        });
        Self { sign: Sign::of(report, acceptance), took, rest_until, kind, jitter, at }
    }
}

impl Sign {
    fn of(report: &Result<Answer, PostError>, acceptance: Acceptance) -> Self {
        let Some(reason) = Reason::of(report, acceptance) else { return Self::Delivered };
        match reason {
            Reason::InvalidRequest
            | Reason::InvalidKey
            | Reason::InvalidIssuer
            | Reason::InvalidAudience
            | Reason::Gone
            | Reason::TooLarge => Self::Answered,
            // What these four say, they say of the request; the other 4xx, of what stands at the URL.
            Reason::ClientError => match report.as_ref().map(|answer| answer.status) {
                Ok(400 | 409 | 415 | 422) => Self::Answered,
                Ok(_) | Err(_) => Self::Failed,
            },
            Reason::AuthenticationFailed
            | Reason::AccessDenied
            | Reason::RequestTimeout
            | Reason::Overloaded
            | Reason::Redirect
            | Reason::ServerError
            | Reason::NotTaken
            | Reason::Unexpected
            | Reason::NoAnswer(_) => Self::Failed,
        }
    }
}

impl Health {
    /// The clock was set back: nothing waits for a moment that was planned by what it said before.
    pub(super) fn set_back(&mut self, now: Timestamp) {
        self.rests_until = None;
        if let Some(open) = &mut self.open {
            open.probe_at = open.probe_at.min(now);
        }
    }

    /// The health of an endpoint that was failing when this process was not there.
    pub(super) fn restored(since: Timestamp, attempts: u32, open: Option<OpenBreaker>) -> Self {
        let failing = Some(Failing { since, attempts, noted: true });
        Self { failures: 1, failing, open, ..Self::default() }
    }

    /// The health of an endpoint that is not judged by its past, except that it may be known to answer.
    pub(super) fn anew(proven: bool) -> Self {
        Self { proven, ..Self::default() }
    }

    /// Takes in how an attempt went. Says whether it is time to give the endpoint up.
    pub(super) fn observe(
        &mut self,
        seen: &Observation,
        policy: &BreakerPolicy,
        disable_after: Option<Duration>,
    ) -> bool {
        self.latency = seen.took.max((self.latency * 3 + seen.took) / 4);
        if let Some(asked) = seen.rest_until {
            let until = asked.min(seen.at.saturating_add(policy.longest_rest));
            self.rests_until = Some(self.rests_until.map_or(until, |already| already.max(until)));
        }
        if seen.sign != Sign::Failed {
            self.failures = 0;
            self.open = None;
            self.proven = true;
        }
        if seen.sign == Sign::Delivered {
            self.failing = None;
            return false;
        }
        let failing = self.failing.get_or_insert(Failing { since: seen.at, attempts: 0, noted: false });
        failing.attempts = failing.attempts.saturating_add(1);
        let lasted = seen.at.duration_since(failing.since);
        failing.noted |= lasted >= NOTED_AFTER;
        let (attempts, enough) = (failing.attempts, disable_after.is_some_and(|after| lasted >= after));
        if seen.sign == Sign::Failed {
            self.failures = self.failures.saturating_add(1);
            self.trip(seen, policy);
        }
        enough && attempts >= policy.disable_attempts
    }

    /// When the next probe may be made, if the breaker is open.
    pub(super) fn probe_at(&self) -> Option<Timestamp> {
        self.open.map(|open| open.probe_at)
    }

    /// Whether it fails, or has been taking long.
    pub(super) fn struggles(&self) -> bool {
        self.failures > 0 || self.open.is_some() || self.latency > SLOW
    }

    /// What is worth keeping: since when it has been failing, after how many attempts, and its breaker.
    pub(super) fn kept(&self) -> Option<(Failing, Option<OpenBreaker>)> {
        let failing = self.failing?;
        (failing.noted || self.open.is_some()).then_some((failing, self.open))
    }

    /// Whether nothing is lost by forgetting it at `now`; that it is proven is remembered elsewhere.
    pub(super) fn is_trivial(&self, now: Timestamp) -> bool {
        self.kept().is_none() && self.rests_until.is_none_or(|until| until <= now)
    }

    fn trip(&mut self, seen: &Observation, policy: &BreakerPolicy) {
        let (since, failed_probes) = match (self.open, seen.kind) {
            (None, _) if self.failures >= policy.failures => (seen.at, 0),
            (Some(open), Kind::Probe) => (open.since, open.failed_probes.saturating_add(1)),
            // It has begun before the breaker opened.
            (Some(_), Kind::Regular) | (None, _) => return,
        };
        let doubled = policy.first_pause.saturating_mul(1_u32.checked_shl(failed_probes).unwrap_or(u32::MAX));
        let factor = 1.0 + policy.jitter.clamp(0.0, 1.0) * (2.0 * seen.jitter.clamp(0.0, 1.0) - 1.0);
        let pause = doubled.min(policy.longest_pause).mul_f64(factor);
        self.open = Some(OpenBreaker { since, failed_probes, probe_at: seen.at.saturating_add(pause) });
    }
}

impl Default for BreakerPolicy {
    /// Ten in a row are no accident of one request; ten seconds are a restart, five minutes between probes keep the
    /// time short in which a receiver is back and nobody knows. Five days is what others in this trade wait.
    fn default() -> Self {
        Self {
            failures: 10,
            first_pause: Duration::from_secs(10),
            longest_pause: Duration::from_secs(5 * 60),
            jitter: 0.2,
            longest_rest: Duration::from_secs(60 * 60),
            disable_after: Some(Duration::from_secs(5 * 24 * 60 * 60)),
            disable_attempts: 10,
        }
    }
}

/// An endpoint that takes longer than this shares the slots of those that fail.
pub(super) const SLOW: Duration = Duration::from_secs(5);

/// Failing for less than this is not kept: most trouble is over by then, and each record is a write.
const NOTED_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
