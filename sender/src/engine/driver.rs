//! The driver: reads lanes from the store, looks at held endpoints again, hears of changes, keeps time, and stops.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use waxseal_keys::Timestamp;

use super::claim::{Arrival, Read};
use super::expire;
use super::gone::{Gone, is_gone};
use super::seal::{self, Purpose, Unsealed};
use super::set_back::{self, SetBack};
use super::shared::{Phase, Shared, insist};
use super::slots::Slots;
use crate::clock_watch::this_instant;
use crate::directory::DirectoryEvent;
use crate::id::{ConsumerId, EndpointId};
use crate::model::delivery::LiveDelivery;
use crate::model::encryption_keys::KeyOwner;
use crate::model::pace::Order;
use crate::store::{StoreError, cancel_all};

/// Where changes are heard of.
#[derive(Debug)]
pub(super) struct News {
    directory: broadcast::Receiver<DirectoryEvent>,
    signing: watch::Receiver<u64>,
}

impl News {
    pub(super) fn subscribe(shared: &Shared) -> Self {
        Self { directory: shared.parts.directory.subscribe(), signing: shared.parts.signing_keys.subscribe() }
    }
}

/// Runs until the engine is stopped.
pub(super) async fn drive(shared: Arc<Shared>, mut news: News, tenure: Option<JoinHandle<()>>) {
    let mut discovery = interval(shared.parts.policy.discover_every);
    discovery.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reported = HashSet::new();
    let mut clock = SetBack::at_start();
    loop {
        let pause = start_what_is_due(&shared);
        tokio::select! {
            () = shared.rung() => {}
            () = sleep(pause) => {}
            _ = discovery.tick() => {
                if let Some(what) = clock.look(shared.parts.clock.now(), this_instant()) {
                    shared.spawn(set_back::mend(Arc::clone(&shared), what));
                }
                shared.spawn(discover(Arc::clone(&shared)));
                shared.spawn(expire::sweep(Arc::clone(&shared)));
                report(&shared, &mut reported);
            }
            heard = news.directory.recv() => hear(&shared, heard),
            Ok(()) = news.signing.changed() => look_at_holds(&shared, None),
            () = shared.wait_for(Phase::Stopping) => break,
        }
    }
    let all_ended = async {
        while shared.with(|schedule, _| schedule.in_flight()) > 0 {
            shared.rung().await;
        }
    };
    if timeout(shared.parts.policy.stop_within, all_ended).await.is_err() {
        let released = shared.with(|schedule, _| schedule.in_flight());
        tracing::warn!(released, "deliveries were still in flight at the end of the time to stop");
    }
    shared.abort().await;
    shared.set_phase(Phase::Ended);
    if let Some(tenure) = tenure {
        // An error only says that it has ended by itself.
        let _ = tenure.await;
    }
    shared.set_phase(Phase::Stopped);
}

/// Looks at an endpoint: releases it, parks it, or cancels what is left if it is gone.
pub(super) async fn look(shared: Arc<Shared>, endpoint: EndpointId) {
    let epoch = shared.with(|schedule, _| schedule.epoch());
    match seal::prepare(&shared, endpoint, Purpose::Delivery).await {
        Ok(_) => shared.with(|schedule, now| schedule.release(endpoint, now)),
        Err(Unsealed::Held(hold)) => shared.with(|schedule, now| {
            if schedule.epoch() == epoch {
                schedule.hold(endpoint, hold, now);
            }
        }),
        Err(Unsealed::EndpointGone) => match is_gone(&shared, endpoint).await {
            Gone::Yes => return cancel(shared, endpoint).await,
            Gone::No | Gone::Unknown => {}
        },
        Err(Unsealed::Cancelled | Unsealed::Refused(_)) => {}
    }
    shared.pump();
}

/// Cancels what is live for an endpoint that is no more, if that is ours to do.
pub(super) async fn cancel(shared: Arc<Shared>, endpoint: EndpointId) {
    if !shared.ownership.have(endpoint) {
        return;
    }
    // First what memory holds of them: each would end up here.
    shared.with(|schedule, now| schedule.clear(endpoint, now));
    let (store, endpoints) = (&*shared.parts.store, [endpoint]);
    let cancelled = insist("cancel", || cancel_all(store, &endpoints, shared.parts.clock.now())).await;
    if cancelled > 0 {
        tracing::info!(%endpoint, cancelled, "the endpoint is gone, its deliveries are cancelled");
        shared.meters.ended("cancelled", cancelled);
    }
    shared.with(|schedule, now| schedule.clear(endpoint, now));
    shared.pump();
}

/// Starts deliveries, reads and looks; says how long there will be nothing more to start.
fn start_what_is_due(shared: &Arc<Shared>) -> Duration {
    shared.pump();
    let (mut reads, doubtful, wake) = shared.with(|schedule, now| {
        let reads: Vec<_> = std::iter::from_fn(|| schedule.next_read(now)).collect();
        let wake = schedule.next_wake().map(|wake| wake.duration_since(now));
        (reads, schedule.doubtful(now), wake)
    });
    reads.drain(..).for_each(|one| shared.spawn(read(Arc::clone(shared), one)));
    doubtful.into_iter().for_each(|endpoint| shared.look(endpoint));
    metrics::gauge!("waxseal_in_flight").set(count(shared.with(|schedule, _| schedule.in_flight())));
    wake.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
}

/// Reads on in one lane, with the payloads of what is due.
async fn read(shared: Arc<Shared>, read: Read) {
    match AssertUnwindSafe(arrivals(&shared, read)).catch_unwind().await {
        Ok(Ok(rows)) => shared.with(|schedule, now| schedule.read(read, rows, now)),
        Ok(Err(error)) => {
            tracing::warn!(endpoint = %read.endpoint, code = error.code(), "due deliveries cannot be read");
            shared.with(|schedule, now| schedule.reading_failed(read, now));
        }
        // A fault of ours must not keep the lane from being read, nor its reader.
        Err(_) => {
            tracing::error!(endpoint = %read.endpoint, "reading due deliveries failed inside");
            metrics::counter!("waxseal_engine_panics_total", "what" => "read").increment(1);
            shared.with(|schedule, now| schedule.reading_failed(read, now));
        }
    }
    shared.pump();
    shared.ring(); // another lane may be read now
}

async fn arrivals(shared: &Shared, read: Read) -> Result<Vec<Arrival>, StoreError> {
    let limit = u32::try_from(read.limit).unwrap_or(u32::MAX);
    let (store, after) = (&shared.parts.store, read.after);
    let rows = match read.order {
        Order::Any => store.due(read.endpoint, Some(after), Timestamp::MAX, limit).await?,
        Order::Fifo => store.in_order(read.endpoint, Some(after.id), limit).await?,
    };
    let lacks = shared.with(|schedule, now| schedule.lacks(read, &rows, now));
    let mut payloads = seal::payloads(shared, lacks).await;
    let arrival = |delivery: LiveDelivery| Arrival { payload: payloads.remove(&delivery.event), delivery };
    Ok(rows.into_iter().map(arrival).collect())
}

/// Searches the store for what nobody announced.
pub(super) async fn discover(shared: Arc<Shared>) {
    let turn = shared.begin_survey().await;
    let survey = shared.with(|schedule, _| schedule.begin_survey());
    if survey.shards.is_empty() {
        return;
    }
    match shared.parts.store.endpoints_with_work(survey.shards).await {
        Ok(work) => shared.with(|schedule, now| {
            for one in work {
                schedule.discovered(one, now);
            }
            schedule.surveyed(survey);
        }),
        Err(error) => tracing::warn!(code = error.code(), "endpoints with work cannot be found"),
    }
    drop(turn);
    shared.pump();
}

fn hear(shared: &Arc<Shared>, heard: Result<DirectoryEvent, broadcast::error::RecvError>) {
    match heard {
        Ok(DirectoryEvent::EndpointChanged(endpoint)) => {
            shared.with(|schedule, now| {
                schedule.new_epoch();
                schedule.refresh(endpoint, now);
            });
            shared.pump();
            shared.look(endpoint);
        }
        Ok(DirectoryEvent::EndpointRemoved(endpoint)) => {
            shared.with(|schedule, _| schedule.new_epoch());
            shared.spawn(cancel(Arc::clone(shared), endpoint));
        }
        Ok(DirectoryEvent::KeysChanged(KeyOwner::Endpoint(_, endpoint))) => {
            shared.with(|schedule, _| schedule.new_epoch());
            shared.look(endpoint);
        }
        Ok(DirectoryEvent::KeysChanged(KeyOwner::Consumer(consumer))) => {
            look_at_holds(shared, Some(&consumer));
        }
        Ok(DirectoryEvent::RecoveryChanged(_) | DirectoryEvent::NoticeKept) => {}
        // Too many changes at once: any endpoint may be concerned. Those that are gone are noticed at the next claim.
        Err(broadcast::error::RecvError::Lagged(_)) => {
            shared.with(|schedule, now| schedule.refresh_all(now));
            look_at_holds(shared, None);
        }
        // The directory lives in `shared`.
        Err(broadcast::error::RecvError::Closed) => {}
    }
}

/// Looks at the held endpoints of one consumer, or of all.
fn look_at_holds(shared: &Arc<Shared>, consumer: Option<&ConsumerId>) {
    let held: Vec<_> = shared.with(|schedule, _| {
        schedule.new_epoch();
        let of_consumer = |owner: &ConsumerId| consumer.is_none_or(|consumer| consumer == owner);
        schedule.holds().filter(|(_, owner, _)| of_consumer(owner)).map(|(endpoint, _, _)| endpoint).collect()
    });
    held.into_iter().for_each(|endpoint| shared.look(endpoint));
}

/// Says how many endpoints are held for which reason, also where that has become none.
fn report(shared: &Shared, reported: &mut HashSet<&'static str>) {
    let codes: Vec<_> = shared.with(|schedule, _| schedule.holds().map(|(_, _, hold)| hold.code()).collect());
    reported.extend(&codes);
    for reason in reported.iter() {
        let held = codes.iter().filter(|code| *code == reason).count();
        metrics::gauge!("waxseal_holds", "reason" => *reason).set(count(held));
    }
    let conditions = shared.with(|schedule, now| schedule.conditions(now));
    for (state, endpoints) in conditions.named() {
        metrics::gauge!("waxseal_endpoints", "state" => state).set(count(endpoints));
    }
    let Slots { sound, new, struggling } = conditions.slots;
    for (standing, slots) in [("sound", sound), ("new", new), ("struggling", struggling)] {
        metrics::gauge!("waxseal_slots", "standing" => standing).set(count(slots));
    }
}

fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

/// Timers are rearmed at least so often; the time of day may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
