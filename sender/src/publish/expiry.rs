//! When an event stops being worth delivering, as its publisher says it.

use std::time::Duration;

use waxseal_keys::Timestamp;

/// When an event stops being worth delivering.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expiry {
    /// Then.
    At(Timestamp),
    /// So long after it was accepted.
    After(Duration),
}

impl Expiry {
    /// The moment that is meant, for an event that is accepted now.
    ///
    /// # Errors
    /// What was expected, if the moment is not in the future, or further than [`LONGEST_LIFE`].
    pub fn from(self, now: Timestamp) -> Result<Timestamp, &'static str> {
        let moment = match self {
            Self::At(moment) => moment,
            Self::After(life) => now.saturating_add(life),
        };
        if moment > now && moment <= now.saturating_add(LONGEST_LIFE) {
            Ok(moment)
        } else {
            Err("expected a time in the future, at most 30 days ahead")
        }
    }

    /// The field in which it is given, as the API names it.
    pub fn field(self) -> &'static str {
        match self {
            Self::At(_) => "expires_at",
            Self::After(_) => "ttl_seconds",
        }
    }
}

/// The longest time for which an event can be worth delivering. Nothing is tried for longer either.
pub const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_ahead_and_not_too_far() {
        let now = Timestamp::from_seconds(1_000_000);
        let later = now.saturating_add(LONGEST_LIFE);
        let second = Duration::from_secs(1);
        assert_eq!(Expiry::At(later).from(now), Ok(later));
        assert_eq!(Expiry::After(LONGEST_LIFE).from(now), Ok(later));
        assert_eq!(Expiry::After(second).from(now), Ok(now.saturating_add(second)));
        for bad in [
            Expiry::At(now),
            Expiry::At(Timestamp::from_seconds(0)),
            Expiry::At(later.saturating_add(Duration::from_millis(1))),
            Expiry::After(Duration::ZERO),
            Expiry::After(LONGEST_LIFE + second),
            Expiry::After(Duration::MAX),
        ] {
            assert!(bad.from(now).is_err(), "{bad:?}");
        }
    }
}
