//! The time of day beside the time that passes: whether the clock was set.

use std::time::Duration;

use tokio::time::Instant;
use waxseal_keys::Timestamp;

/// What was seen last.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    last: Option<(Timestamp, Instant)>,
}

/// How the clock went since it was looked at last, beyond the time that has passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Moved {
    /// By so much too far.
    Ahead(Duration),
    /// By so much too little.
    Back(Duration),
}

impl ClockWatch {
    /// Looks at the clock: what it says now, and the instant at which it was read. Not the one at which a timer was due:
    /// a timer that fires late would look like a clock that was set.
    pub(crate) fn look(&mut self, now: Timestamp, at: Instant) -> Moved {
        let Some((then, before)) = self.last.replace((now, at)) else {
            return Moved::Ahead(Duration::ZERO);
        };
        let expected = then.saturating_add(at.saturating_duration_since(before));
        if now >= expected {
            Moved::Ahead(now.duration_since(expected))
        } else {
            Moved::Back(expected.duration_since(now))
        }
    }
}

/// This instant.
#[expect(clippy::disallowed_methods, reason = "how much time passes is what the clock is compared with")]
pub(crate) fn this_instant() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made of nothing")]
    fn what_passes_is_not_what_was_set() {
        let origin = Instant::now();
        let mut watch = ClockWatch::default();
        let mut look = |clock: i64, passed: u64| {
            watch.look(Timestamp::from_seconds(clock), origin + Duration::from_secs(passed))
        };
        assert_eq!(look(1_000, 0), Moved::Ahead(Duration::ZERO));
        assert_eq!(look(1_030, 30), Moved::Ahead(Duration::ZERO));
        assert_eq!(look(5_060, 60), Moved::Ahead(Duration::from_secs(4_000)));
        assert_eq!(look(1_080, 90), Moved::Back(Duration::from_secs(4_010)));
    }
}
