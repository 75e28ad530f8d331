//! Whose endpoints are, remembered: a row of `routes` for each that was ever delivered to.
//!
//! A row is written in a transaction of its own, before the first delivery: it says nothing else than what is so, and nobody
//! waits for a lock on it. It never changes, and goes only when no node can still be writing of its endpoint (see `forget`), so what is
//! remembered is never wrong, as long as the database loses nothing: with a new connection, which may be to a standby that took over, everything is written anew.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use super::connect::Session;
use super::failure::Failure;
use super::values::{consumer_id, endpoint_id, uuid};
use crate::id::{ConsumerId, EndpointId};
use crate::store::NewDelivery;

/// The endpoints whose consumers are known.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    of: HashMap<EndpointId, ConsumerId>,
    /// How many connections had been made when this was known.
    made: u64,
}

impl Routes {
    /// Hears how many connections to write on have been made: after another one nothing is known.
    pub(super) fn connected(&self, made: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.made != made {
            *known = Known { of: HashMap::new(), made };
        }
    }

    /// Makes the endpoints of these deliveries known. Outside of any transaction: each statement is one.
    pub(super) async fn know(&self, session: &Session, deliveries: &[&NewDelivery]) -> Result<(), Failure> {
        if deliveries.iter().all(|delivery| self.is_known(delivery) == Some(true)) {
            return Ok(());
        }
        let written = self.write(session, deliveries).await?;
        self.remember(written);
        Ok(())
    }

    /// Whether nothing is to be written for these deliveries.
    pub(super) fn all_known(&self, deliveries: &[NewDelivery]) -> bool {
        deliveries.iter().all(|delivery| self.is_known(delivery) == Some(true))
    }

    /// Writes what is not known of the endpoints of these deliveries. It is to be remembered after the commit, not before.
    pub(super) async fn write<D: Borrow<NewDelivery>>(
        &self,
        session: &Session,
        deliveries: &[D],
    ) -> Result<Vec<(EndpointId, ConsumerId)>, Failure> {
        let mut unknown = BTreeMap::new();
        for delivery in deliveries.iter().map(Borrow::borrow) {
            let known = match self.is_known(delivery) {
                Some(true) => None,
                Some(false) => return Err(changed_hands()),
                None => unknown.insert(delivery.endpoint, &delivery.consumer),
            };
            if known.is_some_and(|known| *known != delivery.consumer) {
                return Err(changed_hands());
            }
        }
        let endpoints: Vec<_> = unknown.keys().map(|endpoint| uuid(endpoint.as_bytes())).collect();
        let consumers: Vec<_> = unknown.values().map(|consumer| consumer.as_str()).collect();
        session.execute(INSERT, &[&endpoints, &consumers]).await?;
        let mut written = Vec::with_capacity(unknown.len());
        for row in session.query(SELECT, &[&endpoints]).await? {
            let (endpoint, consumer) = (endpoint_id(&row, 0)?, consumer_id(&row, 1)?);
            if unknown.get(&endpoint) != Some(&&consumer) {
                return Err(changed_hands());
            }
            written.push((endpoint, consumer));
        }
        Ok(written)
    }

    /// Remembers what is on disk.
    pub(super) fn remember(&self, written: Vec<(EndpointId, ConsumerId)>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.of.len().saturating_add(written.len()) > REMEMBERED {
            known.of.clear();
        }
        known.of.extend(written);
    }

    /// Forgets endpoints whose rows are gone.
    pub(super) fn forget(&self, endpoints: &[EndpointId]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for endpoint in endpoints {
            known.of.remove(endpoint);
        }
    }

    fn is_known(&self, delivery: &NewDelivery) -> Option<bool> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.of.get(&delivery.endpoint).map(|consumer| *consumer == delivery.consumer)
    }
}

/// Listing one consumer's deliveries to another would be a leak.
fn changed_hands() -> Failure {
    Failure::corrupt("delivery: its endpoint belongs to another consumer")
}

/// In the order of the endpoints, so that two who write the same ones wait for each other and not both.
const INSERT: &str = "INSERT INTO routes (endpoint, consumer)
    SELECT endpoint, consumer FROM unnest($1::uuid[], $2::text[]) AS r (endpoint, consumer) ORDER BY endpoint
    ON CONFLICT (endpoint) DO NOTHING";

const SELECT: &str = "SELECT endpoint, consumer FROM routes WHERE endpoint = ANY($1::uuid[])";

/// About 10 MiB at most.
const REMEMBERED: usize = 100_000;
