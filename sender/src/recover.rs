//! Recoveries: delivers again what an endpoint missed, oldest first, slowly enough that everything else goes on.
//!
//! **Exactly one redelivery for each.** A step adds some deliveries and moves the recovery's cursor behind them in one
//! transaction. A process that is killed goes on where the last step ended.
//!
//! **Throttled twice**: by a rate, and by how many of its redeliveries are not over yet ([`LIVE_AT_ONCE`]). So an
//! endpoint that is down again, or paused, gets no new backlog, and what is published meanwhile waits behind a few.
//!
//! **Only the last delivery of an event counts.** One that somebody has delivered again since is left to that.
//!
//! Relies on the store to find what matches at a bounded effort, and on [`Publisher`] to say what may be delivered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};
use waxseal_keys::Clock;

use crate::directory::{ChangeError, Directory, DirectoryEvent};
use crate::engine::Arrival;
use crate::id::{DeliveryId, EventId, RecoveryId};
use crate::leadership::Leadership;
use crate::model::delivery::Delivery;
use crate::model::recovery::{Recovery, RecoveryState};
use crate::publish::{Publisher, RedeliverError};
use crate::store::{DeliveryFilter, NewDelivery, Store, StoreError};

/// Takes every running recovery forward.
#[derive(Debug)]
pub struct Recoveries {
    store: Arc<dyn Store>,
    directory: Arc<Directory>,
    publisher: Publisher,
    clock: Arc<dyn Clock>,
}

/// Why a step was not made. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// What a step adds.
#[derive(Debug, Default)]
struct Batch {
    deliveries: Vec<(NewDelivery, EventId)>,
    arrivals: Vec<Arrival>,
    skipped: u64,
}

impl Recoveries {
    /// Over these parts.
    pub fn new(
        store: Arc<dyn Store>,
        directory: Arc<Directory>,
        publisher: Publisher,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, directory, publisher, clock }
    }

    /// Runs until `stopped` says so, and goes forward while this node leads.
    pub async fn run(self, mut stopped: watch::Receiver<bool>, mut leadership: Leadership) {
        let mut news = self.directory.subscribe();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What each may add now, in parts of one delivery.
        let mut credit: HashMap<RecoveryId, u32> = HashMap::new();
        // For how many ticks those are left alone that can add nothing.
        let mut resting: HashMap<RecoveryId, u32> = HashMap::new();
        loop {
            if !leadership.leads() {
                tokio::select! {
                    () = leadership.taken() => {}
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                }
            }
            let running = self.directory.running_recoveries();
            credit.retain(|id, _| running.iter().any(|recovery| recovery.id == *id));
            resting.retain(|id, ticks| {
                *ticks -= 1;
                *ticks > 0 && credit.contains_key(id)
            });
            let idle = running.is_empty();
            tokio::select! {
                () = until_recovery_changes(&mut news), if idle => continue,
                _ = ticks.tick(), if !idle => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            let awake = running.iter().filter(|recovery| !resting.contains_key(&recovery.id));
            for recovery in awake.collect::<Vec<_>>() {
                if *stopped.borrow() {
                    return;
                }
                if !leadership.leads() {
                    break;
                }
                let credit = credit.entry(recovery.id).or_default();
                *credit = (*credit + recovery.rate).min(recovery.rate.max(TICKS_PER_SECOND));
                match self.step(recovery, *credit / TICKS_PER_SECOND).await {
                    Ok(Some(added)) => *credit = credit.saturating_sub(added * TICKS_PER_SECOND),
                    Ok(None) => drop(resting.insert(recovery.id, REST)),
                    Err(error) => {
                        tracing::warn!(recovery = %recovery.id, %error, "a recovery cannot go on now");
                        resting.insert(recovery.id, REST);
                    }
                }
            }
        }
    }

    /// One step of at most `most` redeliveries; returns how many there were, or nothing if there is no room for any.
    async fn step(&self, before: &Recovery, most: u32) -> Result<Option<u32>, StepError> {
        if most == 0 {
            return Ok(Some(0));
        }
        let live = self.still_live(before, most).await?;
        let room = LIVE_AT_ONCE.saturating_sub(u32::try_from(live.len()).unwrap_or(u32::MAX));
        let limit = most.min(room);
        if limit == 0 {
            return Ok(None);
        }
        let page = self.store.deliveries(DeliveryFilter { limit, ..before.rest() }).await?;
        let full = u32::try_from(page.deliveries.len()).is_ok_and(|found| found >= limit);
        let last = page.deliveries.last().map(|delivery| delivery.id);
        let over = !full && page.reached.is_none();
        let batch = self.batch(&page.deliveries).await?;
        let added = u32::try_from(batch.deliveries.len()).unwrap_or(u32::MAX);
        let mut next = Recovery {
            cursor: page.reached.or(last).or(before.cursor),
            redelivered: before.redelivered + u64::from(added),
            skipped: before.skipped + batch.skipped,
            live,
            ..before.clone()
        };
        next.live.extend(batch.deliveries.iter().map(|(delivery, _)| delivery.id));
        if over {
            next.state = RecoveryState::Finished;
            next.ended_at = Some(self.clock.now());
            next.live = Vec::new();
        }
        let Some(step) = self.directory.begin_recovery_step(before, next).await? else { return Ok(Some(0)) };
        self.store.redeliver(batch.deliveries, step.changes()).await?;
        step.adopt();
        self.publisher.arrived(batch.arrivals);
        if over {
            tracing::info!(recovery = %before.id, endpoint = %before.endpoint, "a recovery has finished");
        }
        Ok(Some(added))
    }

    /// Which of its redeliveries are not over. Asked only where the answer may leave no room.
    async fn still_live(&self, recovery: &Recovery, most: u32) -> Result<Vec<DeliveryId>, StepError> {
        let known = u32::try_from(recovery.live.len()).unwrap_or(u32::MAX);
        if known.saturating_add(most) <= LIVE_AT_ONCE {
            return Ok(recovery.live.clone());
        }
        let mut live = Vec::new();
        for id in &recovery.live {
            if self.store.delivery(*id).await?.is_some_and(|delivery| !delivery.state.is_final()) {
                live.push(*id);
            }
        }
        Ok(live)
    }

    async fn batch(&self, found: &[Delivery]) -> Result<Batch, StepError> {
        let mut batch = Batch::default();
        for delivery in found {
            if self.is_superseded(delivery).await? {
                batch.skipped += 1;
                continue;
            }
            match self.publisher.ready_again(delivery).await {
                Ok(ready) => {
                    batch.deliveries.push((ready.delivery, ready.arrival.delivery.event));
                    batch.arrivals.push(ready.arrival);
                }
                Err(RedeliverError::Store(error @ StoreError::Corrupt { .. })) => {
                    tracing::error!(delivery = %delivery.id, code = error.code(), "a damaged delivery is not recovered");
                    self.store.distrust("a delivery");
                    batch.skipped += 1;
                }
                Err(RedeliverError::Store(error)) => return Err(error.into()),
                // Not to be delivered any more, or nothing to be delivered.
                Err(_) => batch.skipped += 1,
            }
        }
        Ok(batch)
    }

    /// Whether the event was delivered to the endpoint again since, however that went.
    async fn is_superseded(&self, delivery: &Delivery) -> Result<bool, StepError> {
        let later = DeliveryFilter {
            event: Some(delivery.event),
            endpoint: Some(delivery.endpoint),
            after: Some(delivery.id),
            limit: 1,
            ..DeliveryFilter::default()
        };
        Ok(!self.store.deliveries(later).await?.deliveries.is_empty())
    }
}

/// Waits for word of a recovery, or for having missed too many words to know.
async fn until_recovery_changes(news: &mut broadcast::Receiver<DirectoryEvent>) {
    loop {
        match news.recv().await {
            Ok(DirectoryEvent::RecoveryChanged(_)) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Ok(_) => {}
            // Nobody is left to begin one.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// How many redeliveries of one recovery may not be over yet. Few enough that what is published meanwhile hardly waits.
pub const LIVE_AT_ONCE: u32 = 64;

/// Redeliveries in a second, where nothing else is said.
pub const DEFAULT_RATE: u32 = 20;

/// The most that can be asked for.
pub const HIGHEST_RATE: u32 = 500;

const TICKS_PER_SECOND: u32 = 5;

/// Ticks between two looks at one whose redeliveries wait, behind a pause for instance: two seconds.
const REST: u32 = 10;
const TICK: Duration = Duration::from_millis(200);
