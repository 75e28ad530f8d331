//! What was accepted, and what became of it as the store tells it before it forgets.

use std::time::Duration;

use waxseal_keys::{Clock, Timestamp};
use waxseal_sender::id::{DeliveryId, EventId};
use waxseal_sender::model::delivery::{Attempt, DeliveryState};

use super::house::{CONTENTS, KEPT, RECORDS, Running};
use super::time::SimulatedTime;

/// One accepted event: each goes to one endpoint.
pub struct Entry {
    pub role: usize,
    pub event: EventId,
    pub delivery: DeliveryId,
    pub accepted: Timestamp,
    pub expires: Option<Timestamp>,
    /// How and when it ended.
    pub end: Option<(DeliveryState, Timestamp)>,
    pub attempts: Vec<Attempt>,
    forgotten: bool,
}

/// How often something was found as it must be.
#[derive(Debug, Default)]
pub struct Looked {
    pub content_young: u32,
    pub content_needed: u32,
    pub content_gone: u32,
    pub record_young: u32,
    pub record_gone: u32,
}

impl Entry {
    pub fn new(
        role: usize,
        event: EventId,
        delivery: DeliveryId,
        accepted: Timestamp,
        expires: Option<Timestamp>,
    ) -> Self {
        let (end, attempts, forgotten) = (None, Vec::new(), false);
        Self { role, event, delivery, accepted, expires, end, attempts, forgotten }
    }

    pub fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Writes down how it ended, if it has.
    pub async fn follow(&mut self, sender: &Running) {
        if self.end.is_some() {
            return;
        }
        let delivery = sender.store.delivery(self.delivery).await.unwrap().expect("lost");
        if let Some(at) = delivery.ended_at {
            self.end = Some((delivery.state, at));
            self.attempts = sender.store.attempts(self.delivery).await.unwrap();
        }
    }

    /// Looks whether what is kept of it is what must be, just after a round of upkeep; says what is wrong.
    pub async fn look(
        &mut self,
        sender: &Running,
        time: &SimulatedTime,
        looked: &mut Looked,
    ) -> Option<String> {
        if self.forgotten {
            return None;
        }
        let (now, round) = (time.now(), KEPT.check_every);
        let age = now.duration_since(self.accepted);
        let ended = self.end.map(|(_, at)| now.duration_since(at));
        let about = |limit: Duration, age: Duration| age < limit && age + round >= limit;
        let due = ended.is_some_and(|ended| ended >= RECORDS && age >= RECORDS);
        if !due && age < CONTENTS.saturating_sub(round) {
            return None;
        }
        let young = about(RECORDS, ended.unwrap_or_default());
        let fresh = age >= CONTENTS && age < CONTENTS + round * 2;
        if !(due || young || fresh || age < CONTENTS || ended.is_none_or(|ended| ended < round * 2)) {
            return None;
        }
        let kept = sender.store.event(self.event).await.unwrap();
        let wrong = |what: &str| Some(format!("{}, {age:?} old: {what}", self.event));
        let Some(kept) = kept else {
            if !due {
                return wrong("its record is gone too early");
            }
            let delivery = sender.store.delivery(self.delivery).await.unwrap();
            assert!(delivery.is_none() && sender.store.attempts(self.delivery).await.unwrap().is_empty());
            looked.record_gone += 1;
            self.forgotten = true;
            return None;
        };
        looked.record_young += u32::from(young);
        match (kept.content_kept, ended) {
            _ if due => wrong("its record is still there"),
            (true, _) if age < CONTENTS => {
                looked.content_young += 1;
                None
            }
            (true, None) => {
                looked.content_needed += 1;
                None
            }
            (false, None) => wrong("its content is gone, and a retry needs it"),
            (false, _) if age < CONTENTS => wrong("its content is gone too early"),
            (false, Some(_)) => {
                looked.content_gone += 1;
                None
            }
            (true, Some(_)) => wrong("its content is still there"),
        }
    }
}
