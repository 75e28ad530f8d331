//! Windows of time, and what failed in them: two events at most for each, however much failed.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use waxseal_keys::Timestamp;

use super::notices::{self, ATTEMPTS_REFUSED, DELIVERIES_ENDED};
use crate::directory::News;
use crate::model::told::Told;
use crate::store::Failures;

/// How it stands with the present window.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Window {
    /// There is none yet; it begins with this note.
    Begins(Told),
    /// It goes on.
    Open,
    /// It is over.
    Over {
        /// Its beginning.
        from: Timestamp,
        /// Its end, where the next one begins.
        until: Timestamp,
    },
}

/// The window that ends at `now` or before. After a pause of the process it is as long as the pause.
pub(super) fn window(told: &[Arc<Told>], every: Duration, now: Timestamp) -> Window {
    let from = told.iter().find_map(|told| match **told {
        Told::Failures { until } => Some(until),
        _ => None,
    });
    // A window ends a moment ago, because what happened just now may not be on disk yet.
    let until = now.saturating_sub(every.min(GRACE));
    match from {
        // A clock that was set back: there is nothing to count until it is where it was, so begin anew.
        Some(from) if from > now => Window::Begins(Told::Failures { until }),
        Some(from) if until.duration_since(from) >= every => Window::Over { from, until },
        Some(_) => Window::Open,
        None => Window::Begins(Told::Failures { until }),
    }
}

/// What to tell of a window.
pub(super) fn news(found: Failures, window: (Timestamp, Timestamp), now: Timestamp) -> News {
    let Failures { mut counts, is_cut } = found;
    counts.sort_by_key(|count| (Reverse(count.count), count.endpoint));
    let (ended, refused): (Vec<_>, Vec<_>) = counts.into_iter().partition(|count| count.state.is_some());
    let told = [(DELIVERIES_ENDED, ended), (ATTEMPTS_REFUSED, refused)];
    let notices = told.iter().filter(|(_, counts)| !counts.is_empty());
    News {
        notices: notices
            .map(|(event_type, counts)| notices::failures(event_type, counts, window, is_cut, now))
            .collect(),
        told: vec![Told::Failures { until: window.1 }],
        over: Vec::new(),
    }
}

/// How long a settlement may take to its commit and still be counted.
const GRACE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(900);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_795_293_600 + seconds)
    }

    fn until(seconds: i64) -> Vec<Arc<Told>> {
        vec![Arc::new(Told::Failures { until: at(seconds) })]
    }

    #[test]
    fn windows_follow_each_other_without_a_gap() {
        let begins = |seconds| Window::Begins(Told::Failures { until: at(seconds) });
        assert_eq!(window(&[], EVERY, at(10)), begins(0));
        assert_eq!(window(&until(0), EVERY, at(909)), Window::Open);
        assert_eq!(window(&until(0), EVERY, at(910)), Window::Over { from: at(0), until: at(900) });
        let after_a_day = Window::Over { from: at(0), until: at(86_390) };
        assert_eq!(
            window(&until(0), EVERY, at(86_400)),
            after_a_day,
            "what a stopped process missed is told"
        );
        assert_eq!(window(&until(5_000), EVERY, at(10)), begins(0), "the clock was set back");
    }
}
