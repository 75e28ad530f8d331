//! [`Condition`]: how an endpoint does, for those who look.

use waxseal_keys::Timestamp;

use super::hold::Hold;
use super::limits::Standing;
use super::slots::Slots;

/// How an endpoint does. One of which nothing is known does well.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Condition {
    /// Its circuit breaker.
    pub breaker: BreakerState,
    /// Since when the breaker has been open, half-open included.
    pub open_since: Option<Timestamp>,
    /// When the next probe is made at the earliest, if the breaker is open.
    pub next_probe_at: Option<Timestamp>,
    /// How many attempts in a row have failed.
    pub failures: u32,
    /// Since when no attempt has delivered, if the last one did not.
    pub failing_since: Option<Timestamp>,
    /// It has asked for a rest until then (`Retry-After`).
    pub rests_until: Option<Timestamp>,
    /// Its rate limit allows nothing before then.
    pub rate_limited_until: Option<Timestamp>,
}

/// All that there is to see of an endpoint.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EndpointState {
    /// Why nothing is sent to it, if nothing is.
    pub hold: Option<Hold>,
    /// How it does.
    pub condition: Condition,
    /// What it waits for before it can be asked whether it wants events, if it does.
    pub verification_waits_for: Option<&'static str>,
}

/// Whether an endpoint is posted to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BreakerState {
    /// As deliveries are due.
    #[default]
    Closed,
    /// Not at all until the next probe.
    Open,
    /// One probe decides.
    HalfOpen,
}

/// How many endpoints do how.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions {
    pub(super) open: usize,
    pub(super) half_open: usize,
    pub(super) resting: usize,
    pub(super) rate_limited: usize,
    pub(super) struggling: usize,
    pub(super) slots: Slots,
}

impl BreakerState {
    /// Its name, as the API and metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl Conditions {
    pub(super) fn add(&mut self, one: &Condition, standing: Standing) {
        match one.breaker {
            BreakerState::Closed => {}
            BreakerState::Open => self.open += 1,
            BreakerState::HalfOpen => self.half_open += 1,
        }
        self.resting += usize::from(one.rests_until.is_some());
        self.rate_limited += usize::from(one.rate_limited_until.is_some());
        self.struggling += usize::from(standing == Standing::Struggling);
    }

    /// Each state with the number of endpoints in it, for metrics.
    pub(super) fn named(&self) -> [(&'static str, usize); 5] {
        [
            ("breaker_open", self.open),
            ("breaker_half_open", self.half_open),
            ("resting", self.resting),
            ("rate_limited", self.rate_limited),
            ("struggling", self.struggling),
        ]
    }
}
