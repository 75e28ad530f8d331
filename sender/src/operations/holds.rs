//! Which holds are worth telling: those that last. What comes and goes is no news, and its end is none either.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use waxseal_keys::Timestamp;

use super::notices::{self, HeldEndpoint};
use crate::directory::News;
use crate::engine::hold::Hold;
use crate::id::{ConsumerId, EndpointId};
use crate::model::told::Told;

/// An endpoint that is held now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Held {
    pub(super) endpoint: EndpointId,
    pub(super) consumer: ConsumerId,
    pub(super) hold: Hold,
}

/// Since when what has been seen.
#[derive(Debug)]
pub(super) struct Holds {
    held_after: Duration,
    /// Since when an endpoint is held for this reason.
    held: HashMap<EndpointId, (Hold, Timestamp)>,
    /// Since when an endpoint that was told is not held any more.
    free: HashMap<EndpointId, Timestamp>,
}

impl Holds {
    pub(super) fn new(held_after: Duration) -> Self {
        Self { held_after, held: HashMap::new(), free: HashMap::new() }
    }

    /// What is new at `now`, given what is held and what was told.
    pub(super) fn look(
        &mut self,
        held_now: Vec<Held>,
        told: &[Arc<Told>],
        exists: impl Fn(EndpointId) -> bool,
        now: Timestamp,
    ) -> News {
        // A pause is somebody's decision, and the engine's are told at once.
        let held_now: Vec<_> =
            held_now.into_iter().filter(|held| held.hold != Hold::EndpointPaused).collect();
        self.note(&held_now, now);
        let told: HashMap<_, _> = told.iter().filter_map(|told| of_hold(told)).collect();
        let mut news = News::default();
        self.begun(held_now, &told, now, &mut news);
        self.over(&told, exists, now, &mut news);
        news
    }

    fn note(&mut self, held_now: &[Held], now: Timestamp) {
        let mut noted = HashMap::with_capacity(held_now.len());
        for held in held_now {
            let before = self.held.get(&held.endpoint).filter(|(hold, _)| *hold == held.hold);
            // A clock that was set back must not make us wait until it is where it was.
            let since = before.map_or(now, |(_, since)| (*since).min(now));
            noted.insert(held.endpoint, (held.hold, since));
        }
        self.held = noted;
    }

    /// One notice for each reason for which endpoints are held now long enough.
    fn begun(
        &self,
        held_now: Vec<Held>,
        told: &HashMap<EndpointId, Standing<'_>>,
        now: Timestamp,
        news: &mut News,
    ) {
        let mut by_code: BTreeMap<&str, (Hold, Vec<HeldEndpoint>)> = BTreeMap::new();
        for Held { endpoint, consumer, hold } in held_now {
            let since = self.held.get(&endpoint).map_or(now, |(_, since)| *since);
            let is_known = told.get(&endpoint).is_some_and(|standing| standing.code == hold.code());
            if is_known || now.duration_since(since) < self.held_after {
                continue;
            }
            let (told_endpoint, told_consumer) = (endpoint, consumer.clone());
            news.told.push(Told::Held {
                endpoint: told_endpoint,
                consumer: told_consumer,
                code: hold.code().to_owned(),
                since,
            });
            let entry = by_code.entry(hold.code()).or_insert_with(|| (hold, Vec::new()));
            entry.1.push(HeldEndpoint { endpoint, consumer, since });
        }
        news.notices.extend(by_code.values().map(|(hold, endpoints)| notices::held(*hold, endpoints, now)));
    }

    /// One notice for each reason for which endpoints were held and have not been for a while. At the start of a process
    /// nothing is held yet: also therefore the while.
    fn over(
        &mut self,
        told: &HashMap<EndpointId, Standing<'_>>,
        exists: impl Fn(EndpointId) -> bool,
        now: Timestamp,
        news: &mut News,
    ) {
        let held = &self.held;
        self.free.retain(|endpoint, _| told.contains_key(endpoint) && !held.contains_key(endpoint));
        let mut by_code: BTreeMap<&str, Vec<HeldEndpoint>> = BTreeMap::new();
        for (endpoint, standing) in told.iter().filter(|(endpoint, _)| !held.contains_key(endpoint)) {
            let free_since = self.free.entry(*endpoint).or_insert(now);
            *free_since = (*free_since).min(now); // the clock may have been set back
            if !exists(*endpoint) {
                news.over.push(Told::held_id(*endpoint));
                continue;
            }
            if now.duration_since(*free_since) < self.held_after / RELEASED_IN {
                continue;
            }
            news.over.push(Told::held_id(*endpoint));
            let (consumer, since) = (standing.consumer.clone(), standing.since);
            by_code.entry(standing.code).or_default().push(HeldEndpoint {
                endpoint: *endpoint,
                consumer,
                since,
            });
        }
        for (code, endpoints) in &mut by_code {
            endpoints.sort_by_key(|held| held.endpoint);
            news.notices.push(notices::released(code, endpoints, now));
        }
    }
}

/// A hold that was told.
#[derive(Debug)]
struct Standing<'a> {
    consumer: &'a ConsumerId,
    code: &'a str,
    since: Timestamp,
}

fn of_hold(told: &Told) -> Option<(EndpointId, Standing<'_>)> {
    match told {
        Told::Held { endpoint, consumer, code, since } => {
            Some((*endpoint, Standing { consumer, code, since: *since }))
        }
        _ => None,
    }
}

/// The end of a hold is told in this part of the time in which its beginning is.
const RELEASED_IN: u32 = 5;

#[cfg(test)]
mod tests;
