//! The time of a simulated week. It stands still until the test moves it, and nothing happens while it stands.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use waxseal_keys::{Clock, ManualClock, Timestamp};

/// A clock, and the one who sleeps by it: the signing keys' maintenance.
#[derive(Debug)]
pub struct SimulatedTime {
    clock: ManualClock,
    start: Timestamp,
    moved: watch::Sender<()>,
    alarm: watch::Sender<Option<Timestamp>>,
}

impl SimulatedTime {
    pub fn new(start: Timestamp) -> Arc<Self> {
        let (moved, alarm) = (watch::Sender::new(()), watch::Sender::new(None));
        Arc::new(Self { clock: ManualClock::new(start), start, moved, alarm })
    }

    /// So long after the beginning.
    pub fn at(&self, after: Duration) -> Timestamp {
        self.start.saturating_add(after)
    }

    /// How long after the beginning that is, for people.
    pub fn said(&self, at: Timestamp) -> String {
        let hours = at.duration_since(self.start).as_secs_f64() / 3600.0;
        format!("day {:.0} {:.3} h", (hours / 24.0).floor(), hours % 24.0)
    }

    pub fn set(&self, now: Timestamp) {
        assert!(now >= self.now(), "this clock does not go back");
        self.clock.set(now);
        self.moved.send_replace(());
    }

    /// When the sleeper wakes, if one sleeps.
    pub fn alarm(&self) -> Option<Timestamp> {
        *self.alarm.borrow()
    }

    /// Waits until the sleeper has done what is due, and sleeps again.
    pub async fn asleep(&self) {
        let mut alarm = self.alarm.subscribe();
        alarm.wait_for(|alarm| alarm.is_some_and(|alarm| alarm > self.now())).await.unwrap();
    }

    /// Sleeps until the test has moved the clock so far.
    pub fn sleep(self: &Arc<Self>, pause: Duration) -> impl Future<Output = ()> + Send + use<> {
        let time = Arc::clone(self);
        async move {
            let (until, mut moved) = (time.now().saturating_add(pause), time.moved.subscribe());
            time.alarm.send_replace(Some(until));
            let _asleep = Asleep(&time);
            while time.now() < until {
                moved.changed().await.unwrap();
            }
        }
    }
}

impl Clock for SimulatedTime {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

struct Asleep<'a>(&'a SimulatedTime);

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.0.alarm.send_replace(None);
    }
}
