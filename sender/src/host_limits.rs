//! What one host hears of us because somebody has named it, whoever that is: verification, key sets, token servers.
//!
//! Whoever may create endpoints or give keys chooses whom we ask. Guarantees that one host, on whatever ports and paths and for
//! however many consumers, is asked once in a while and a bounded number of times an hour; that one consumer has a part
//! of that only, so that it cannot use it up for the others; and that one consumer has a bounded number of all hosts
//! together. Names that lead to the same address count apart: the last bound is theirs. Where several nodes use the store,
//! each counts for itself.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use url::Url;
use waxseal_keys::{Clock, Timestamp};

use crate::id::ConsumerId;

/// How often hosts are asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostLimits {
    /// At least so much time lies between two attempts.
    pub apart: Duration,
    /// So many attempts within an hour.
    pub an_hour: usize,
    /// So many of them for one consumer.
    pub an_hour_for_consumer: usize,
    /// So many attempts within an hour for one consumer, at all hosts together.
    pub an_hour_everywhere: usize,
}

impl HostLimits {
    /// So many attempts within an hour for each consumer, and no bound but that: of one, nothing is left to the others.
    pub(crate) fn of_consumers(an_hour: usize) -> Self {
        Self {
            apart: Duration::ZERO,
            an_hour: usize::MAX,
            an_hour_for_consumer: an_hour,
            an_hour_everywhere: an_hour,
        }
    }
}

impl Default for HostLimits {
    fn default() -> Self {
        Self {
            apart: Duration::from_secs(10),
            an_hour: 60,
            an_hour_for_consumer: 20,
            an_hour_everywhere: 120,
        }
    }
}

/// When which host was asked.
#[derive(Debug)]
pub(crate) struct Hosts {
    limits: HostLimits,
    asked: LruCache<String, VecDeque<(Timestamp, ConsumerId)>>,
    asked_for: LruCache<ConsumerId, VecDeque<Timestamp>>,
}

impl Hosts {
    pub(crate) fn new(limits: HostLimits) -> Self {
        Self { limits, asked: LruCache::new(KEPT), asked_for: LruCache::new(KEPT) }
    }

    /// Notes that the host of `url` is asked now. It reads the clock itself, so that whoever shares this by way of a lock
    /// reads it under the lock: a time that was read before is behind what others have noted since, which looks as if the
    /// clock had been set back.
    ///
    /// # Errors
    /// When it may be asked, if that is later. Nothing is noted then.
    pub(crate) fn reserve(
        &mut self,
        url: &Url,
        consumer: &ConsumerId,
        clock: &dyn Clock,
    ) -> Result<(), Timestamp> {
        let now = clock.now();
        let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_owned();
        let asked = self.asked.get_or_insert_mut(host, VecDeque::new);
        let asked_for = self.asked_for.get_or_insert_mut(consumer.clone(), VecDeque::new);
        asked.retain(|(at, _)| is_recent(*at, now));
        asked_for.retain(|at| is_recent(*at, now));

        let all: Vec<_> = asked.iter().map(|(at, _)| *at).collect();
        let own: Vec<_> = asked.iter().filter(|(_, other)| other == consumer).map(|(at, _)| *at).collect();
        let rested = all.last().map(|last| last.saturating_add(self.limits.apart));
        let times = [
            rested,
            free_at(&all, self.limits.an_hour),
            free_at(&own, self.limits.an_hour_for_consumer),
            free_at(asked_for.make_contiguous(), self.limits.an_hour_everywhere),
        ];
        match times.into_iter().flatten().max().filter(|at| *at > now) {
            Some(later) => Err(later),
            None => {
                asked.push_back((now, consumer.clone()));
                asked_for.push_back(now);
                Ok(())
            }
        }
    }
}

/// A time that is yet to come is from before the clock was set back.
fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    at <= now && now.duration_since(at) < HOUR
}

/// When there are fewer than `limit` within the last hour.
fn free_at(times: &[Timestamp], limit: usize) -> Option<Timestamp> {
    let over = times.len().checked_sub(limit)?;
    times.get(over).map(|at| at.saturating_add(HOUR))
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const KEPT: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use waxseal_keys::ManualClock;

    use super::*;
    use crate::at_once;

    fn at(seconds: i64) -> ManualClock {
        ManualClock::new(Timestamp::from_seconds(10_000 + seconds))
    }

    fn consumer(name: &str) -> ConsumerId {
        ConsumerId::parse(name).unwrap()
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// How often the host is asked within `seconds` if everybody asks all the time.
    fn asked(hosts: &mut Hosts, urls: &[&str], consumers: &[&str], seconds: i64) -> usize {
        let mut count = 0;
        for second in 0..seconds {
            for (number, name) in consumers.iter().enumerate() {
                let url = url(urls[number % urls.len()]);
                count += usize::from(hosts.reserve(&url, &consumer(name), &at(second)).is_ok());
            }
        }
        count
    }

    #[test]
    fn a_host_is_asked_once_in_ten_seconds_whoever_asks_and_wherever_it_listens() {
        let mut hosts = Hosts::new(HostLimits::default());
        let urls = ["https://victim.example/a", "https://VICTIM.example:8443/b", "https://victim.example./c"];
        assert_eq!(asked(&mut hosts, &urls, &["a", "b", "c", "d", "e", "f", "g"], 100), 10);
        let mut hosts = Hosts::new(HostLimits::default());
        assert_eq!(asked(&mut hosts, &urls, &["a", "b", "c", "d", "e", "f", "g"], 3_600), 60);
    }

    #[test]
    fn one_consumer_has_a_part_of_a_host_and_of_all_hosts() {
        let mut hosts = Hosts::new(HostLimits::default());
        assert_eq!(asked(&mut hosts, &["https://one.example/"], &["acme"], 3_600), 20);
        assert!(hosts.reserve(&url("https://one.example/"), &consumer("beta"), &at(3_599)).is_ok());
        let mut hosts = Hosts::new(HostLimits::default());
        let many = (0..1_000).filter(|number| {
            let url = url(&format!("https://{number}.wildcard.example/"));
            hosts.reserve(&url, &consumer("acme"), &at(0)).is_ok()
        });
        assert_eq!(many.count(), 120);
    }

    #[test]
    fn where_consumers_alone_are_bounded_none_uses_up_anothers() {
        let mut hosts = Hosts::new(HostLimits::of_consumers(30));
        let mut asks = |name: &str, path: usize| {
            hosts.reserve(&url(&format!("https://one.example/{path}")), &consumer(name), &at(0)).is_ok()
        };
        assert_eq!((0..100).filter(|path| asks("acme", *path)).count(), 30);
        assert_eq!((0..100).filter(|path| asks("beta", *path)).count(), 30);
    }

    #[test]
    fn whoever_waits_until_then_is_let_through() {
        let mut hosts = Hosts::new(HostLimits { an_hour: 3, ..HostLimits::default() });
        let (url, acme) = (url("https://one.example/"), consumer("acme"));
        let clock = at(0);
        let begun = clock.now();
        let mut times = Vec::new();
        while times.len() < 7 {
            match hosts.reserve(&url, &acme, &clock) {
                Ok(()) => times.push(clock.now().duration_since(begun).as_secs()),
                Err(later) => clock.set(later),
            }
        }
        assert_eq!(times, [0, 10, 20, 3_600, 3_610, 3_620, 7_200]);
        // The clock is set back: what it dated before does not hold anything up.
        assert!(hosts.reserve(&url, &acme, &at(-5_000)).is_ok());
    }

    #[test]
    fn of_those_who_ask_at_once_one_is_let_through() {
        let (url, acme) = (url("https://one.example/"), consumer("acme"));
        for round in 0..500 {
            let hosts = Mutex::new(Hosts::new(HostLimits { apart: HOUR, ..HostLimits::default() }));
            let granted = at_once::granted(|clock| hosts.lock().unwrap().reserve(&url, &acme, clock).is_ok());
            assert_eq!(granted, 1, "round {round}");
        }
    }
}
