//! What the engine does when the clock was set back: nothing waits until the old time comes again.
//!
//! What was accepted or tried while the clock was ahead is dated with a time that is yet to come. Its dates are moved in
//! the store, so that it waits as long as it was to wait and no longer; what memory holds is left to the store, to be
//! read anew. That is done twice, for a read that was under way may have brought the old dates. The store is looked
//! through at the start, too, and from time to time: the clock may have been set while no sender ran, or to and fro
//! between two looks at it. A clock that is set ahead needs nothing: what was to wait is made early.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use waxseal_keys::Timestamp;

use super::driver::discover;
use super::schedule::Schedule;
use super::shared::Shared;
use crate::clock_watch::{ClockWatch, Moved};
use crate::id::EndpointId;
use crate::store::StoreError;

/// Notices that the clock was set back.
#[derive(Debug)]
pub(super) struct SetBack {
    watch: ClockWatch,
    rounds: u8,
    ticks: u32,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mend {
    /// The store is looked through.
    IfNeeded,
    /// Memory is not believed either.
    All,
}

impl SetBack {
    /// For an engine that starts now.
    pub(super) fn at_start() -> Self {
        Self { watch: ClockWatch::default(), rounds: 0, ticks: 0 }
    }

    /// Looks at the clock; says what there is to mend.
    pub(super) fn look(&mut self, now: Timestamp, at: Instant) -> Option<Mend> {
        if let Moved::Back(by) = self.watch.look(now, at)
            && by > TOLERANCE
        {
            let seconds = by.as_secs();
            tracing::warn!(
                seconds,
                "the clock was set back; what waits is dated anew; see that it is kept right (NTP): receivers refuse wrong times"
            );
            self.rounds = 2;
        }
        let regular = self.ticks.is_multiple_of(EVERY).then_some(Mend::IfNeeded);
        self.ticks = self.ticks.wrapping_add(1);
        if self.rounds == 0 {
            return regular;
        }
        self.rounds -= 1;
        Some(Mend::All)
    }
}

/// Dates anew what was dated with a time that is yet to come.
pub(super) async fn mend(shared: Arc<Shared>, what: Mend) {
    match redate(&shared).await {
        Ok(0) if what == Mend::IfNeeded => return,
        Ok(0) => {}
        Ok(moved) => tracing::info!(moved, "deliveries were dated anew, because the clock was set back"),
        Err(error) => tracing::warn!(code = error.code(), "deliveries cannot be dated anew"),
    }
    shared.with(Schedule::set_back);
    discover(shared).await;
}

async fn redate(shared: &Shared) -> Result<u64, StoreError> {
    let mut moved = 0;
    let owned = shared.with(|schedule, _| schedule.owned());
    if owned.is_empty() {
        return Ok(0);
    }
    for work in shared.parts.store.endpoints_with_work(owned).await? {
        moved += redate_endpoint(shared, work.endpoint).await?;
    }
    Ok(moved)
}

async fn redate_endpoint(shared: &Shared, endpoint: EndpointId) -> Result<u64, StoreError> {
    let (mut moved, mut after) = (0, None);
    let now = shared.parts.clock.now();
    // What others have dated since `now` was read, or by a clock that is a little ahead of ours, was not set back.
    let latest = now.saturating_add(TOLERANCE);
    loop {
        let redated = shared.parts.store.redate(endpoint, now, latest, after, SLICE).await?;
        moved += redated.moved;
        after = redated.next;
        if after.is_none() {
            return Ok(moved);
        }
    }
}

/// A clock that is slewed or corrected by a little sets nothing back that matters.
const TOLERANCE: Duration = Duration::from_secs(60);

/// How many looks at the clock there are to one at the store: ten minutes.
const EVERY: u32 = 20;

/// Deliveries looked at at once.
const SLICE: u32 = 256;
