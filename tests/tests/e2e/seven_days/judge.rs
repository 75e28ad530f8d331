//! What must hold of one delivery: that it ended as it had to, and that each attempt came in its time.

use std::time::Duration;

use waxseal_keys::Timestamp;
use waxseal_sender::model::delivery::{Attempt, DeliveryState};
use waxseal_sender::model::pace::Order;

use super::ledger::Entry;
use super::plan::{Illness, Role};

/// From then till then nothing could be posted: no process ran, or no key signed.
pub type Window = (Timestamp, Timestamp);

/// Judges deliveries of one role, in the order in which they were accepted.
pub struct Judge<'a> {
    pub role: &'a Role,
    pub windows: &'a [Window],
    /// When a strict order let the next one go.
    pub free_at: Timestamp,
    /// Each wait as a part of its pause.
    pub varied: Vec<f64>,
    pub faults: Vec<String>,
    /// Lateness is explained by what the endpoint asked for, or by its breaker.
    pub rests: bool,
    /// It was given up, and removed.
    pub removed: bool,
}

impl<'a> Judge<'a> {
    pub fn new(role: &'a Role, windows: &'a [Window], start: Timestamp) -> Self {
        let (rests, removed) = (matches!(role.mood, Illness::From(.., Some(_))), false);
        Self { role, windows, free_at: start, varied: Vec::new(), faults: Vec::new(), rests, removed }
    }

    pub fn judge(&mut self, entry: &Entry) {
        let Some((state, ended)) = entry.end else { return self.fault(entry, "has not ended".to_owned()) };
        let due = entry.accepted.max(self.free_at);
        self.first(entry, due);
        for pair in entry.attempts.windows(2) {
            self.next(entry, &pair[0], &pair[1]);
        }
        for attempt in &entry.attempts {
            let taken = attempt.result == "delivered";
            if entry.expires.is_some_and(|expires| attempt.started_at >= expires) {
                self.fault(entry, format!("attempt {} after its time", attempt.number));
            }
            if taken != (attempt.number as usize == entry.attempts.len() && state == DeliveryState::Delivered)
            {
                self.fault(entry, format!("attempt {}: {}", attempt.number, attempt.result));
            }
            if !taken && !EXPECTED.contains(&attempt.result.as_str()) {
                self.fault(entry, format!("attempt {}: {}", attempt.number, attempt.result));
            }
        }
        let last = entry.attempts.last();
        let rightly = match state {
            DeliveryState::Delivered => last.is_some_and(|last| last.started_at == ended),
            DeliveryState::Exhausted => {
                let all = entry.attempts.len() == self.role.policy().schedule.len() + 1;
                all && last.is_some_and(|last| last.started_at == ended)
            }
            DeliveryState::Expired => self.expired_rightly(entry, ended),
            DeliveryState::Cancelled => self.removed,
            _ => false,
        };
        if !rightly {
            self.fault(entry, format!("ended as {state:?}, {ended:?}, after {:?}", entry.attempts));
        }
        if self.role.order == Order::Fifo {
            self.free_at = ended;
        }
    }

    fn first(&mut self, entry: &Entry, due: Timestamp) {
        let first = entry.attempts.first().map(|first| first.started_at);
        if let Some(first) = first
            && (first < due || first > self.latest(due) && !self.rests)
        {
            self.fault(entry, format!("first made {first:?} instead of {due:?}"));
        }
    }

    /// The schedule, its jitter, and that the attempt is made when the one before said.
    fn next(&mut self, entry: &Entry, before: &Attempt, after: &Attempt) {
        let policy = self.role.policy();
        let pause = policy.schedule[before.number as usize - 1];
        let Some(next_at) = before.next_at else {
            return self.fault(entry, format!("attempt {} was not announced", after.number));
        };
        let waits = next_at.duration_since(before.started_at);
        let (least, most) = (pause.mul_f64(1.0 - policy.jitter), pause.mul_f64(1.0 + policy.jitter));
        let asked = match (self.role.mood, before.status) {
            (Illness::From(.., Some(asked)), Some(503)) => Duration::from_secs(asked.into()),
            _ => Duration::ZERO,
        };
        if waits + MILLISECOND < least.max(asked) || waits > most.max(asked) + MILLISECOND {
            self.fault(entry, format!("waits {waits:?} after attempt {}, planned {pause:?}", before.number));
        }
        if asked.is_zero() {
            self.varied.push((waits.as_secs_f64() / pause.as_secs_f64() - 1.0) / policy.jitter);
        }
        let late = after.started_at > self.latest(next_at) && !self.rests;
        if after.number != before.number + 1 || after.started_at < next_at || late {
            let made = after.started_at;
            self.fault(entry, format!("attempt {} made {made:?} instead of {next_at:?}", after.number));
        }
    }

    /// Either its time came while it waited, or an attempt found that the next one would come too late.
    fn expired_rightly(&self, entry: &Entry, ended: Timestamp) -> bool {
        let Some(expires) = entry.expires else { return false };
        let found_early = entry.attempts.last().is_some_and(|last| {
            let policy = self.role.policy();
            let pause = policy.schedule.get(last.number as usize - 1).copied().unwrap_or_default();
            last.next_at.is_none()
                && last.started_at == ended
                && ended.saturating_add(pause.mul_f64(1.0 + policy.jitter)) >= expires
        });
        found_early || (ended >= expires && ended <= self.latest(expires))
    }

    fn latest(&self, due: Timestamp) -> Timestamp {
        let held = self.windows.iter().filter(|(from, till)| (*from..=*till).contains(&due));
        held.map(|(_, till)| *till).max().unwrap_or(due).saturating_add(SLACK)
    }

    fn fault(&mut self, entry: &Entry, what: String) {
        self.faults
            .push(format!("{} {}, accepted {:?}: {what}", self.role.name, entry.event, entry.accepted));
    }
}

/// How the partners of this week fail.
const EXPECTED: [&str; 3] = ["answer.server_error", "answer.overloaded", "post.connect"];

const MILLISECOND: Duration = Duration::from_millis(1);

/// Simulated time stands still while deliveries are made.
const SLACK: Duration = Duration::from_secs(1);
