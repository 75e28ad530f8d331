//! How much the operator hears of one endpoint and of one consumer's.
//!
//! Whoever may resume an endpoint can have it paused and resumed without end. Guarantees that this fills nobody's inbox:
//! what is beyond the bounds is in the log and the audit trail, as everything is.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use waxseal_keys::Timestamp;

use crate::id::{ConsumerId, EndpointId};

/// When the operator was told of whom.
#[derive(Debug)]
pub(super) struct Telling {
    endpoints: LruCache<EndpointId, VecDeque<Timestamp>>,
    consumers: LruCache<ConsumerId, VecDeque<Timestamp>>,
}

impl Telling {
    /// Whether something may be told of this endpoint now; then it counts as told.
    pub(super) fn may_tell(&mut self, endpoint: EndpointId, consumer: &ConsumerId, now: Timestamp) -> bool {
        let of_endpoint = self.endpoints.get_or_insert_mut(endpoint, VecDeque::new);
        let of_consumer = self.consumers.get_or_insert_mut(consumer.clone(), VecDeque::new);
        for told in [&mut *of_endpoint, &mut *of_consumer] {
            // A time that is yet to come is from before the clock was set back.
            told.retain(|at| *at <= now && now.duration_since(*at) < HOUR);
        }
        let may = of_endpoint.len() < OF_ENDPOINT && of_consumer.len() < OF_CONSUMER;
        if may {
            of_endpoint.push_back(now);
            of_consumer.push_back(now);
        }
        may
    }
}

impl Default for Telling {
    fn default() -> Self {
        Self { endpoints: LruCache::new(KEPT), consumers: LruCache::new(KEPT) }
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Within an hour: three times disabled and resumed say what there is to say.
const OF_ENDPOINT: usize = 6;

/// Within an hour: a list of a hundred says that all of them are concerned.
const OF_CONSUMER: usize = 100;

const KEPT: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_told_of_an_endpoint_and_of_a_consumer_within_an_hour() {
        let (mut telling, now) = (Telling::default(), Timestamp::from_seconds(100_000));
        let consumer = |name| ConsumerId::parse(name).unwrap();
        let (acme, beta) = (consumer("acme"), consumer("beta"));
        let one = EndpointId::generate(now);
        let told = (0..50).filter(|_| telling.may_tell(one, &acme, now)).count();
        assert_eq!(told, OF_ENDPOINT);
        let others = (0..500).filter(|_| telling.may_tell(EndpointId::generate(now), &acme, now)).count();
        assert_eq!(told + others, OF_CONSUMER);
        assert!(telling.may_tell(EndpointId::generate(now), &beta, now), "others are told of");
        assert!(!telling.may_tell(one, &acme, now.saturating_add(HOUR - Duration::from_secs(1))));
        assert!(telling.may_tell(one, &acme, now.saturating_add(HOUR)));
        assert!(telling.may_tell(one, &acme, now), "the clock was set back");
    }
}
