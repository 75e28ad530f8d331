//! Upkeep: removes by age what is no longer needed, beside everything else that goes on.
//!
//! Relies on [`Outbox::prune`](crate::store::Outbox::prune) to pass over what a live delivery needs, however old, and
//! to write in small slices. Between two slices it rests at least four times as long as the first one took, so at most
//! a fifth of the writer's time goes to it.
//!
//! **A clock that is wrong removes nothing at once.** The first look is a while after the start of a process, and when
//! the time of day has moved ahead by more than the time that has passed, an hour is left to set it right.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use waxseal_keys::{Clock, Timestamp};

use crate::clock_watch::{ClockWatch, Moved, this_instant};
use crate::leadership::Leadership;
use crate::publish::REMEMBERED;
use crate::store::{Kept, Removed, Slice, Store, StoreError};

/// How long things are kept.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Contents of events. What a delivery that is not over needs is kept longer.
    pub payloads: Age,
    /// Records: events, their deliveries, their attempts.
    pub attempts: Age,
    /// Entries of the audit trail.
    pub audit: Age,
    /// How often it is looked for what is older.
    #[serde(deserialize_with = "time_span")]
    pub check_every: Duration,
}

/// How old something may become.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Age {
    /// At least so old, and not much older.
    UpTo(Duration),
    /// It is kept for ever.
    Forever,
}

/// Removes what is old.
#[derive(Debug)]
pub struct Upkeep {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    retention: Retention,
    forgetting: Mutex<Forgetting>,
}

impl Retention {
    /// What no single field can say.
    ///
    /// # Errors
    /// The field at fault and what was expected.
    pub fn check(&self) -> Result<(), String> {
        if self.attempts < Age::UpTo(REMEMBERED) {
            return Err(format!(
                "retention.attempts: expected at least {}: for so long a repeated publication is answered with its deliveries",
                Age::UpTo(REMEMBERED)
            ));
        }
        if self.attempts < self.payloads {
            return Err(format!(
                "retention.attempts: expected at least retention.payloads ({}): a record outlasts what it is about",
                self.payloads
            ));
        }
        Ok(())
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            payloads: Age::UpTo(30 * DAY),
            attempts: Age::UpTo(90 * DAY),
            audit: Age::UpTo(365 * DAY),
            check_every: Duration::from_secs(300),
        }
    }
}

impl Age {
    /// What is as old as this or older at `now` was made at or before the answer.
    fn before(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::UpTo(age) => Some(now.saturating_sub(age)),
            Self::Forever => None,
        }
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpTo(age) if age.as_secs().is_multiple_of(DAY.as_secs()) => {
                write!(f, "{}d", age.as_secs() / DAY.as_secs())
            }
            Self::UpTo(age) => humantime::format_duration(*age).fmt(f),
            Self::Forever => f.write_str("forever"),
        }
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "forever" {
            return Ok(Self::Forever);
        }
        match humantime::parse_duration(&text) {
            Ok(age) if age > Duration::ZERO => Ok(Self::UpTo(age)),
            _ => {
                let expected = "expected a duration such as \"30d\", or \"forever\"";
                Err(serde::de::Error::custom(format!("`{text}` is no age; {expected}")))
            }
        }
    }
}

impl Upkeep {
    /// Over this store.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, retention: Retention) -> Self {
        Self { store, clock, retention, forgetting: Mutex::default() }
    }

    /// Runs until `stopped` says so, and removes something while this node leads.
    pub async fn run(self, mut stopped: watch::Receiver<bool>, leadership: Leadership) {
        tokio::select! {
            () = self.keep_up(&leadership) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    async fn keep_up(&self, leadership: &Leadership) {
        let Some(first) = later(self.retention.check_every) else { return };
        let mut ticks = interval_at(first, self.retention.check_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut trust = Trust::default();
        // By now already: the clock may be set before there is anything to be done by it.
        trust.trusts(self.clock.now(), this_instant());
        loop {
            ticks.tick().await;
            // Every node looks at its clock, whoever leads: the next one may.
            if !trust.trusts(self.clock.now(), this_instant()) || !leadership.leads() {
                continue;
            }
            if let Err(error) = self.pass().await {
                tracing::warn!(code = error.code(), "what is old cannot be removed now");
            }
        }
    }

    /// Removes everything that is too old now, by a clock that the caller believes: for those who keep a schedule of
    /// their own instead of [`Upkeep::run`].
    ///
    /// # Errors
    /// If the store fails; what was removed until then is gone, and the next call goes on.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Retention { payloads, attempts, audit, .. } = self.retention;
        // One that fails keeps no other from being done.
        let mut done = Ok(());
        for (kept, age) in [(Kept::Contents, payloads), (Kept::Records, attempts)] {
            if let Some(until) = age.before(now) {
                done = done.and(self.walk(kept, until).await);
            }
        }
        if let Some(until) = audit.before(now) {
            done = done.and(self.forget_audit(until).await);
        }
        let shared = self.store.cluster().is_some();
        let turn = if shared { self.forgetting().take(this_instant()) } else { Turn::ALONE };
        if turn.endpoints {
            done = done.and(self.forget_endpoints().await);
        }
        if turn.changes {
            done = done.and(self.forget_changes().await);
        }
        done
    }

    fn forgetting(&self) -> MutexGuard<'_, Forgetting> {
        self.forgetting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was removed from what is configured, where several nodes follow that, as soon as they all know.
    async fn forget_changes(&self) -> Result<(), StoreError> {
        let Some(cluster) = self.store.cluster() else { return Ok(()) };
        while cluster.forget_changes(SLICE).await? >= u64::from(SLICE) {
            sleep(REST).await;
        }
        Ok(())
    }

    async fn forget_audit(&self, until: Timestamp) -> Result<(), StoreError> {
        let mut all = 0;
        loop {
            let forgotten = self.store.forget_audit(until, SLICE).await?;
            metrics::counter!("waxseal_retention_removed_total", "what" => "audit").increment(forgotten);
            all += forgotten;
            if forgotten < u64::from(SLICE) {
                break;
            }
            sleep(REST).await;
        }
        if all > 0 {
            tracing::info!(entries = all, "removed entries of the audit trail that were old");
        }
        Ok(())
    }

    async fn forget_endpoints(&self) -> Result<(), StoreError> {
        let (mut all, mut after) = (0, None);
        loop {
            let begun = self.clock.now();
            let forgotten = self.store.forget_endpoints(after, SLICE).await?;
            let took = self.clock.now().duration_since(begun).min(LONGEST_SLICE);
            metrics::counter!("waxseal_retention_removed_total", "what" => "endpoint")
                .increment(forgotten.endpoints);
            all += forgotten.endpoints;
            after = forgotten.next;
            if after.is_none() {
                break;
            }
            sleep((took * 4).max(REST)).await;
        }
        if all > 0 {
            tracing::info!(endpoints = all, "forgot endpoints that are gone, with their last records");
        }
        Ok(())
    }

    async fn walk(&self, kept: Kept, until: Timestamp) -> Result<(), StoreError> {
        let mut all = Removed::default();
        loop {
            let begun = self.clock.now();
            let removed = self.store.prune(Slice { kept, until, after: all.next, limit: SLICE }).await?;
            let took = self.clock.now().duration_since(begun).min(LONGEST_SLICE);
            count(kept, &removed, took);
            all.events += removed.events;
            all.deliveries += removed.deliveries;
            all.next = removed.next;
            if all.next.is_none() {
                break;
            }
            sleep((took * 4).max(REST)).await;
        }
        if all.events > 0 {
            let (events, deliveries) = (all.events, all.deliveries);
            match kept {
                Kept::Contents => tracing::info!(events, "removed contents that were old"),
                Kept::Records => tracing::info!(events, deliveries, "removed records that were old"),
            }
        }
        Ok(())
    }
}

/// When it was last forgotten where several nodes follow that, by this process.
///
/// Whose an endpoint was that is gone is forgotten [`SETTLED`] after all nodes were seen to know of that, or later, whichever
/// node saw it: what one of them was accepting for it has come by then.
#[derive(Debug, Default)]
struct Forgetting(Option<Instant>);

/// What is to be forgotten now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Turn {
    endpoints: bool,
    changes: bool,
}

impl Turn {
    /// Where there is no other node.
    const ALONE: Self = Self { endpoints: true, changes: false };
}

impl Forgetting {
    fn take(&mut self, at: Instant) -> Turn {
        let since = self.0.map(|last| at.saturating_duration_since(last));
        let turn = match since {
            // Another node may have forgotten some a moment ago.
            None => Turn { endpoints: false, changes: true },
            Some(since) => Turn { endpoints: since >= SETTLED, changes: since >= SETTLED },
        };
        if turn.changes {
            self.0 = Some(at);
        }
        turn
    }
}

/// Whether the time of day is to be believed.
#[derive(Debug, Default)]
struct Trust {
    watch: ClockWatch,
    distrusted_until: Option<Instant>,
}

impl Trust {
    fn trusts(&mut self, now: Timestamp, at: Instant) -> bool {
        if let Moved::Ahead(by) = self.watch.look(now, at)
            && by > TOLERANCE
        {
            let seconds = by.as_secs();
            tracing::warn!(
                seconds,
                "the clock was set ahead; nothing is removed by age for an hour, so that it can be set right"
            );
            self.distrusted_until = at.checked_add(DISTRUST);
        }
        self.distrusted_until.is_none_or(|until| until <= at)
    }
}

fn count(kept: Kept, removed: &Removed, took: Duration) {
    let events = match kept {
        Kept::Contents => "content",
        Kept::Records => "event",
    };
    metrics::counter!("waxseal_retention_removed_total", "what" => events).increment(removed.events);
    if kept == Kept::Records {
        metrics::counter!("waxseal_retention_removed_total", "what" => "delivery")
            .increment(removed.deliveries);
    }
    metrics::histogram!("waxseal_retention_slice_seconds").record(took.as_secs_f64());
}

fn later(wait: Duration) -> Option<Instant> {
    this_instant().checked_add(wait)
}

fn time_span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match Age::deserialize(deserializer)? {
        Age::UpTo(span) => Ok(span),
        Age::Forever => Err(serde::de::Error::custom("expected a duration such as \"5m\"")),
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Events that one slice looks at.
const SLICE: u32 = 256;

/// Between two slices, at least.
const REST: Duration = Duration::from_millis(20);

/// What a slice can be believed to have taken; more is the clock.
const LONGEST_SLICE: Duration = Duration::from_secs(5);

/// Longer than any write to the store takes.
const SETTLED: Duration = Duration::from_secs(60);

/// How far a clock that is being corrected may run ahead.
const TOLERANCE: Duration = Duration::from_secs(300);

/// How long nothing is removed after more than that.
const DISTRUST: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests;
