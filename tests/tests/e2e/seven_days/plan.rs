//! What is to happen in the week: who receives how, and what is published when. The same in every run.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use waxseal_keys::Timestamp;
use waxseal_sender::engine::verdict::RetryPolicy;
use waxseal_sender::model::pace::Order;
use waxseal_sender::model::retry::Retry;

use super::partner::{Mood, Moods};
use super::{DAY, HOUR, MINUTE, START};

/// One consumer with its endpoint.
#[derive(Clone, Copy)]
pub struct Role {
    pub name: &'static str,
    pub per_day: u32,
    pub mood: Illness,
    /// When it begins to listen; `None`: never.
    pub opens: Option<Duration>,
    /// Its own pauses in seconds, and how much they vary.
    pub retry: Option<(&'static [u32], f64)>,
    pub order: Order,
    pub sealed: bool,
    /// One of so many events expires, after so long.
    pub life: Option<(u32, Duration)>,
    pub caches_for: Duration,
}

/// What is wrong with it.
#[derive(Clone, Copy)]
pub enum Illness {
    None,
    /// It answers 500 to so many of a hundred; to half of those after it has taken the event.
    Percent(u64),
    /// From then till then it answers 503, and asks to be left alone for so many seconds.
    From(Duration, Duration, Option<u32>),
}

/// An event to publish.
#[derive(Clone, Copy)]
pub struct Planned {
    pub at: Duration,
    pub role: usize,
    pub life: Option<Duration>,
}

pub fn roles() -> Vec<Role> {
    let well = Role {
        name: "well",
        per_day: 60,
        mood: Illness::None,
        opens: Some(Duration::ZERO),
        retry: None,
        order: Order::Any,
        sealed: false,
        life: None,
        caches_for: super::house::MAX_AGE,
    };
    vec![
        Role { name: "proxied", per_day: 30, caches_for: HOUR * 18, ..well },
        Role { name: "nap", per_day: 40, mood: Illness::From(hour(34), hour(37), Some(900)), ..well },
        Role { name: "away", per_day: 20, opens: Some(DAY * 2), ..well },
        Role { name: "gone", per_day: 12, opens: None, life: Some((3, DAY)), ..well },
        Role { name: "moody", per_day: 50, mood: Illness::Percent(30), ..well },
        Role {
            name: "own",
            per_day: 30,
            mood: Illness::Percent(50),
            retry: Some((&[60, 600, 3_600, 7_200], 0.5)),
            ..well
        },
        Role { name: "fifo", per_day: 30, mood: Illness::Percent(30), order: Order::Fifo, ..well },
        Role { name: "sealed", per_day: 40, sealed: true, life: Some((2, HOUR * 4)), ..well },
        Role {
            name: "brief",
            per_day: 40,
            mood: Illness::From(hour(60), hour(65), None),
            retry: Some((&[60, 300, 900, 1_800, 3_600, 3_600, 3_600, 3_600, 3_600], 0.2)),
            life: Some((1, MINUTE * 100)),
            ..well
        },
        well,
    ]
}

impl Role {
    pub fn moods(&self, number: usize) -> Moods {
        let mood = self.mood;
        Arc::new(move |now: Timestamp, post| match mood {
            Illness::Percent(share) if chance(("mood", number, post)) % 100 < share => {
                // The own schedule is short: an event must not end as exhausted that was taken.
                let forgets = share < 50 && chance(("forgets", number, post)).is_multiple_of(2);
                if forgets { Mood::Forgetful } else { Mood::Ill { status: 500, retry_after: None } }
            }
            Illness::From(from, till, retry_after)
                if (START.saturating_add(from)..START.saturating_add(till)).contains(&now) =>
            {
                Mood::Ill { status: 503, retry_after }
            }
            Illness::None | Illness::Percent(_) | Illness::From(..) => Mood::Well,
        })
    }

    pub fn retry(&self) -> Option<Retry> {
        self.retry.map(|(pauses, jitter)| Retry::new(pauses.to_vec(), jitter).unwrap())
    }

    pub fn policy(&self) -> RetryPolicy {
        let default = RetryPolicy::default();
        match self.retry() {
            None => default,
            Some(own) => RetryPolicy { schedule: own.schedule(), jitter: own.jitter(), ..default },
        }
    }
}

/// Seven days of events, in the order of time. Some come in bursts.
pub fn events(roles: &[Role]) -> Vec<Planned> {
    let mut all = Vec::new();
    for (role, Role { per_day, life, .. }) in roles.iter().enumerate() {
        for n in 0..u64::from(*per_day) * 7 {
            let within = |seed: (&str, usize, u64)| {
                Duration::from_millis(chance(seed) % u64::try_from(DAY.as_millis() * 7).unwrap())
            };
            // Every twelfth moment has a burst of six.
            let at = if n % 12 < 6 { within(("burst", role, n / 12)) } else { within(("at", role, n)) };
            let lives = life.filter(|(one_of, _)| n % u64::from(*one_of) == 0).map(|(_, life)| life);
            all.push(Planned { at, role, life: lives });
        }
    }
    all.sort_by_key(|one| one.at);
    all
}

fn chance(of: impl std::hash::Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::new().hash_one(of)
}

const fn hour(n: u64) -> Duration {
    Duration::from_secs(n * 3_600)
}
