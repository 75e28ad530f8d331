//! How usable a cached set is: a pure function of three durations, two dates and `now`.
//!
//! Relies on the caller to record attempts and successes. Guarantees that no set is used beyond
//! [`MAX_CACHED`], and that two fetches never start within one cooldown.

use std::time::Duration;

use waxseal_keys::Timestamp;

/// The three durations of a cache, and the time limit of one fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a caller sets any of them and takes the others from Default")]
pub struct RemotePolicy {
    /// Time limit of one fetch; 5 s by default.
    pub timeout: Duration,
    /// No fetch begins sooner than this after the one before, whatever its outcome; 30 s by default.
    pub cooldown: Duration,
    /// A set is used without asking for this long, or for as long as its own `Cache-Control` says if that
    /// is shorter; 10 min by default.
    pub max_age: Duration,
    /// While fetching fails, a set is used up to this age, counted from its own fetch; 15 min by default.
    pub stale_if_error: Duration,
}

impl RemotePolicy {
    /// The same policy within [`MAX_CACHED`]: the stated bound of a revocation.
    #[must_use]
    pub fn capped(self) -> Self {
        Self {
            max_age: self.max_age.min(MAX_CACHED),
            stale_if_error: self.stale_if_error.min(MAX_CACHED),
            ..self
        }
    }
}

impl Default for RemotePolicy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            cooldown: Duration::from_secs(30),
            max_age: Duration::from_secs(10 * 60),
            stale_if_error: MAX_CACHED,
        }
    }
}

/// What to do with the cached set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// Use the set.
    Fresh,
    /// The set is over its age, and it is too soon to fetch again: use it.
    StaleUsable,
    /// There is no set to use, and it is too soon to fetch.
    CoolingDown {
        /// When a fetch is possible again.
        retry_after: Duration,
    },
    /// Fetch now.
    MustFetch,
}

/// The dates of a cached set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    fetched: Option<Fetched>,
    attempted_at: Option<Timestamp>,
    last_attempt_succeeded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fetched {
    at: Timestamp,
    max_age: Option<Duration>,
}

impl History {
    /// Records that a fetch begins. A set dated later than that, by a clock that has been set back since, is given
    /// up: otherwise it would be fresh once more when its time comes.
    pub fn attempt(&mut self, now: Timestamp) {
        self.fetched = self.fetched.filter(|fetched| fetched.at <= now);
        self.attempted_at = Some(now);
        self.last_attempt_succeeded = false;
    }

    /// Records that the fetch that began at `began` brought a set, which says that it stays fresh for `max_age`.
    /// The set's age counts from the beginning: what it says was true then.
    pub fn success(&mut self, began: Timestamp, max_age: Option<Duration>) {
        self.fetched = Some(Fetched { at: began, max_age });
        self.last_attempt_succeeded = true;
    }

    /// Whether the last fetch that began also brought a set.
    pub fn last_attempt_succeeded(&self) -> bool {
        self.last_attempt_succeeded
    }

    /// What to do with the cached set.
    ///
    /// ```
    /// use std::time::Duration;
    /// use waxseal_jwks::freshness::{Freshness, History, RemotePolicy};
    /// use waxseal_keys::Timestamp;
    ///
    /// let (policy, noon) = (RemotePolicy::default(), Timestamp::from_seconds(43_200));
    /// let mut history = History::default();
    /// assert_eq!(history.at(noon, &policy), Freshness::MustFetch);
    /// history.attempt(noon);
    /// history.success(noon, None);
    /// assert_eq!(history.at(noon.saturating_add(Duration::from_secs(599)), &policy), Freshness::Fresh);
    /// assert_eq!(history.at(noon.saturating_add(Duration::from_secs(600)), &policy), Freshness::MustFetch);
    /// ```
    pub fn at(&self, now: Timestamp, policy: &RemotePolicy) -> Freshness {
        let age = self.age(now);
        if age.is_some_and(|age| age < self.lifetime(policy)) {
            return Freshness::Fresh;
        }
        match self.held_off(now, policy) {
            None => Freshness::MustFetch,
            Some(_) if age.is_some_and(|age| age < policy.stale_if_error) => Freshness::StaleUsable,
            Some(retry_after) => Freshness::CoolingDown { retry_after },
        }
    }

    /// How long the next fetch is held off by the one before.
    pub fn held_off(&self, now: Timestamp, policy: &RemotePolicy) -> Option<Duration> {
        let elapsed = elapsed(self.attempted_at?, now)?;
        policy.cooldown.checked_sub(elapsed).filter(|left| !left.is_zero())
    }

    fn age(&self, now: Timestamp) -> Option<Duration> {
        elapsed(self.fetched?.at, now)
    }

    fn lifetime(&self, policy: &RemotePolicy) -> Duration {
        let said = self.fetched.and_then(|fetched| fetched.max_age);
        said.map_or(policy.max_age, |said| said.min(policy.max_age))
    }
}

/// `None` if `then` is in the future: after the clock was set back, nothing that it dated is trusted, or a
/// set could outlive its bound by as much as the clock was wrong.
fn elapsed(then: Timestamp, now: Timestamp) -> Option<Duration> {
    (then <= now).then(|| now.duration_since(then))
}

/// No set is used for longer than this after it was fetched, failures included.
pub const MAX_CACHED: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn fetched_at(seconds: i64, max_age: Option<Duration>) -> History {
        let mut history = History::default();
        history.attempt(at(seconds));
        history.success(at(seconds), max_age);
        history
    }

    #[test]
    fn a_set_passes_through_every_state() {
        let policy = RemotePolicy::default();
        let mut history = fetched_at(0, None);
        let table = [(0, Freshness::Fresh), (599, Freshness::Fresh), (600, Freshness::MustFetch)];
        for (second, expected) in table {
            assert_eq!(history.at(at(second), &policy), expected, "at {second} s");
        }
        history.attempt(at(880));
        assert!(!history.last_attempt_succeeded());
        assert_eq!(history.at(at(881), &policy), Freshness::StaleUsable);
        assert_eq!(history.at(at(899), &policy), Freshness::StaleUsable);
        let retry_after = Duration::from_secs(10);
        assert_eq!(history.at(at(900), &policy), Freshness::CoolingDown { retry_after });
        assert_eq!(history.at(at(910), &policy), Freshness::MustFetch);
    }

    #[test]
    fn the_set_s_own_lifetime_only_shortens() {
        let policy = RemotePolicy::default();
        let short = fetched_at(0, Some(Duration::from_secs(60)));
        assert_eq!(short.at(at(60), &policy), Freshness::MustFetch);
        let long = fetched_at(0, Some(Duration::from_secs(86_400)));
        assert_eq!(long.at(at(600), &policy), Freshness::MustFetch);
        let none_at_all = fetched_at(0, Some(Duration::ZERO));
        assert_eq!(none_at_all.at(at(1), &policy), Freshness::StaleUsable);
    }

    #[test]
    fn no_policy_keeps_a_set_beyond_the_cap() {
        let day = Duration::from_secs(86_400);
        let policy = RemotePolicy { max_age: day, stale_if_error: day, ..RemotePolicy::default() }.capped();
        let mut history = fetched_at(0, None);
        assert_eq!(history.at(at(899), &policy), Freshness::Fresh);
        history.attempt(at(890));
        assert!(matches!(history.at(at(900), &policy), Freshness::CoolingDown { .. }));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_everything_old() {
        let policy = RemotePolicy::default();
        let history = fetched_at(1_000_000, None);
        assert_eq!(history.at(at(999_999), &policy), Freshness::MustFetch);
    }

    #[test]
    fn a_set_from_the_future_is_not_fresh_again_when_its_time_comes() {
        let policy = RemotePolicy::default();
        let mut history = fetched_at(1_000_000, None);
        // The clock was a day ahead. It is put right; the next fetch fails; a day goes by.
        history.attempt(at(913_600));
        assert!(matches!(history.at(at(913_601), &policy), Freshness::CoolingDown { .. }));
        assert_eq!(history.at(at(1_000_001), &policy), Freshness::MustFetch);
    }
}
