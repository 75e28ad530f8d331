//! Takes deliveries back before they are made.
//!
//! Guarantees that a delivery that was cancelled is never begun again, and that the answer says whether an attempt was
//! under way: what has left cannot be taken back, it may still arrive, and then it is on record as cancelled.

use futures_util::future::join_all;

use super::Publisher;
use crate::audit::Deed;
use crate::id::{ConsumerId, DeliveryId};
use crate::model::delivery::{Delivery, DeliveryState, LiveDelivery};
use crate::store::{DeliveryFilter, Outcome, RecordChange, Settled, Settlement, StoreError};

/// Whether an attempt was being made when its delivery was cancelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attempting {
    /// It was, and may still arrive.
    Now,
    /// It was not.
    Not,
}

/// What became of a part of the deliveries that were to be cancelled.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CancelledSome {
    /// How many were cancelled.
    pub cancelled: u64,
    /// Of how many of them an attempt was under way.
    pub in_flight: u64,
    /// Where to go on, if there may be more.
    pub reached: Option<DeliveryId>,
}

/// Why a delivery was not cancelled. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CancelError {
    /// There is none with this id.
    #[error("there is no such delivery")]
    NotFound,
    /// It is over.
    #[error("the delivery is over: it ended as {}", state.name())]
    Over {
        /// How it ended.
        state: DeliveryState,
    },
    /// Each time it was tried, an attempt had just been recorded.
    #[error("attempts of this delivery end faster than it can be cancelled; try again")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process is ending.
    #[error("the process is ending")]
    Ending,
}

impl CancelError {
    /// A stable code for logs and problem details.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "cancel.not_found",
            Self::Over { .. } => "cancel.over",
            Self::Contended => "cancel.contended",
            Self::Store(error) => error.code(),
            Self::Ending => "cancel.ending",
        }
    }
}

impl Publisher {
    /// Cancels a live delivery.
    ///
    /// # Errors
    /// [`CancelError`], if it is over, or the store fails.
    pub async fn cancel(&self, id: DeliveryId) -> Result<Attempting, CancelError> {
        let this = self.clone();
        let consumer = self.store.delivery(id).await?.map(|delivery| delivery.consumer);
        let entry = self.entry("delivery.cancel", id.to_string(), consumer);
        // A task of its own: whoever asked may go away between the write and the word to the engine.
        tokio::spawn(async move { this.cancel_one(id, vec![entry]).await })
            .await
            .map_err(|_| CancelError::Ending)?
    }

    /// Cancels some of the live deliveries that match, as many as one request should; says where to go on.
    ///
    /// # Errors
    /// If the store fails; what was cancelled until then stays so.
    pub async fn cancel_matching(&self, filter: DeliveryFilter) -> Result<CancelledSome, CancelError> {
        let this = self.clone();
        let (object, owner) = match filter.endpoint.and_then(|id| self.directory.endpoint(id)) {
            Some(endpoint) => (endpoint.id.to_string(), Some(endpoint.consumer.clone())),
            None => (String::new(), filter.consumer.clone()),
        };
        // Once for all of them, and first: nothing is cancelled that is not on record.
        self.store.change(vec![self.entry("endpoint.cancel", object, owner)]).await?;
        tokio::spawn(async move { this.cancel_pages(filter).await }).await.map_err(|_| CancelError::Ending)?
    }

    fn entry(&self, action: &str, object: String, consumer: Option<ConsumerId>) -> RecordChange {
        let deed = Deed { action: action.to_owned(), object, consumer, ..Deed::default() };
        self.directory.recorder().entry(deed)
    }

    async fn cancel_one(
        &self,
        id: DeliveryId,
        changes: Vec<RecordChange>,
    ) -> Result<Attempting, CancelError> {
        for _ in 0..TRIES {
            let delivery = self.store.delivery(id).await?.ok_or(CancelError::NotFound)?;
            let live = delivery.live().ok_or(CancelError::Over { state: delivery.state })?;
            if self.end(live, changes.clone()).await? == Settled::Recorded {
                let in_flight = self.engine.withdrawn(delivery.endpoint, &[id]);
                return Ok(if in_flight.is_empty() { Attempting::Not } else { Attempting::Now });
            }
        }
        Err(CancelError::Contended)
    }

    async fn cancel_pages(&self, filter: DeliveryFilter) -> Result<CancelledSome, CancelError> {
        let mut rest = DeliveryFilter { limit: PAGE, ..filter };
        let mut sum = CancelledSome::default();
        for _ in 0..PAGES {
            let page = self.store.deliveries(rest.clone()).await?;
            let full = u32::try_from(page.deliveries.len()).is_ok_and(|found| found >= PAGE);
            let last = page.deliveries.last().map(|delivery| delivery.id);
            sum.add(self.cancel_all(page.deliveries).await?);
            sum.reached = page.reached.or_else(|| last.filter(|_| full));
            match sum.reached {
                Some(reached) => rest = rest.behind(reached),
                None => break,
            }
        }
        Ok(sum)
    }

    /// One commit for all that nothing happens to meanwhile, and another try for each of the others.
    async fn cancel_all(&self, found: Vec<Delivery>) -> Result<CancelledSome, CancelError> {
        let ends = found.into_iter().map(async |delivery| {
            let Some(live) = delivery.live() else { return Ok(None) };
            let (endpoint, id) = (delivery.endpoint, delivery.id);
            match self.end(live, Vec::new()).await? {
                Settled::Recorded => Ok(Some(self.engine.withdrawn(endpoint, &[id]).len())),
                Settled::Stale => match self.cancel_one(id, Vec::new()).await {
                    Ok(attempting) => Ok(Some(usize::from(attempting == Attempting::Now))),
                    Err(CancelError::NotFound | CancelError::Over { .. }) => Ok(None),
                    Err(error) => Err(error),
                },
            }
        });
        let mut sum = CancelledSome::default();
        for ended in join_all(ends).await {
            if let Some(in_flight) = ended? {
                sum.cancelled += 1;
                sum.in_flight += u64::from(in_flight > 0);
            }
        }
        Ok(sum)
    }

    async fn end(&self, delivery: LiveDelivery, changes: Vec<RecordChange>) -> Result<Settled, StoreError> {
        let outcome = Outcome::Final(DeliveryState::Cancelled);
        let at = self.clock.now();
        let settled = self.store.settle(Settlement { delivery, attempt: None, outcome, at, changes }).await?;
        if settled == Settled::Recorded {
            metrics::counter!("waxseal_deliveries_total", "result" => "cancelled").increment(1);
        }
        Ok(settled)
    }
}

impl CancelledSome {
    fn add(&mut self, other: Self) {
        self.cancelled += other.cancelled;
        self.in_flight += other.in_flight;
    }
}

/// A delivery that is settled under our hands so often is one whose attempts take no time at all.
const TRIES: u32 = 8;

/// As many as one commit takes.
const PAGE: u32 = 256;

/// With the bounded effort of each page, a request stays well within its time.
const PAGES: usize = 20;
