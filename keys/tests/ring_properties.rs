//! What a ring promises, for any clock, any order of calls and any restart. The judge keeps books of its
//! own and knows nothing of the ring's fields but `entries()`.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use support::{DAY, HOUR, key, published, restart};
use waxseal_keys::{KeyRing, KeyState, RingPolicy, Timestamp};

#[derive(Clone, Copy, Debug)]
enum Call {
    Roll,
    Rotate,
    RotateTo(usize),
    Import(u8),
    Revoke(usize),
    MarkPublished(usize),
    Restart,
    Look,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => Just(Call::Roll),
        2 => Just(Call::Rotate),
        1 => (0_usize..8).prop_map(Call::RotateTo),
        1 => (100_u8..104).prop_map(Call::Import),
        1 => (0_usize..8).prop_map(Call::Revoke),
        3 => (0_usize..8).prop_map(Call::MarkPublished),
        1 => Just(Call::Restart),
        3 => Just(Call::Look),
    ]
}

fn policy() -> impl Strategy<Value = RingPolicy> {
    prop_oneof![Just(None), Just(Some(3 * DAY))]
        .prop_map(|rotate_every| RingPolicy { rotate_every, ..RingPolicy::default() })
}

/// Makes a call at `now`; tells the `kid` that it was about and whether it took effect.
fn make(ring: &mut KeyRing, call: Call, now: Timestamp, made: &mut u8) -> Option<String> {
    let kid = |index: usize| ring.entries().get(index).map(|entry| entry.kid().to_owned());
    match call {
        Call::Roll => {
            let mut generate = || {
                *made += 1;
                Ok::<_, ()>(key(*made))
            };
            ring.roll(now, &mut generate).unwrap();
            let standby = |entry: &waxseal_keys::RingEntry| entry.state() == KeyState::Pending;
            assert!(ring.entries().iter().any(standby), "no standby after a roll");
            None
        }
        Call::Rotate => ring.rotate(now).ok().map(|_| String::new()),
        Call::RotateTo(index) => ring.rotate_to(&kid(index)?, now).ok().map(|_| String::new()),
        Call::Import(number) => {
            // A refused key is looked at and nothing more.
            let before = ring.to_record().to_json();
            let imported = ring.import(key(number), now).ok().map(|change| change.kid);
            assert!(imported.is_some() || ring.to_record().to_json() == before);
            imported
        }
        Call::Revoke(index) => {
            let kid = kid(index)?;
            ring.revoke(&kid, now).unwrap();
            Some(kid)
        }
        Call::MarkPublished(index) => kid(index).filter(|kid| ring.mark_published(kid, now)),
        Call::Restart => {
            *ring = restart(ring);
            None
        }
        Call::Look => None,
    }
}

fn signing(ring: &KeyRing) -> Option<String> {
    let active = ring.entries().iter().find(|entry| entry.state() == KeyState::Active);
    active.map(|entry| entry.kid().to_owned())
}

fn millis(hours: i64) -> i64 {
    hours * 3_600_000
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// The clock does whatever it likes. Time is what the judge has seen of it: the latest time of any
    /// changing call.
    #[test]
    fn no_wait_is_shortened_by_any_clock(
        policy in policy(),
        steps in prop::collection::vec((call(), -40_i64..40), 1..70),
    ) {
        let start = Timestamp::from_seconds(1_795_293_600);
        let (mut ring, mut made) = (KeyRing::new(policy, key(0), start), 0);
        let first = key(0).kid().to_owned();
        let (mut clock, mut seen) = (start.as_millis(), start);
        let mut published_since: HashMap<String, Timestamp> = HashMap::new();
        let mut left: HashMap<String, Timestamp> = HashMap::new();
        let mut revoked = HashSet::new();
        for (call, hours) in steps {
            clock += millis(hours);
            let now = Timestamp::from_millis(clock);
            if !matches!(call, Call::Look | Call::Restart) {
                // A call about a key that does not exist is not made.
                let about_nothing = match call {
                    Call::Revoke(index) | Call::MarkPublished(index) | Call::RotateTo(index) => {
                        index >= ring.entries().len()
                    }
                    Call::Import(number) => ring.clone().import(key(number), now).is_err(),
                    Call::Roll | Call::Rotate | Call::Restart | Call::Look => false,
                };
                seen = if about_nothing { seen } else { seen.max(now) };
            }
            let before = signing(&ring);
            let took_effect = make(&mut ring, call, now, &mut made);
            match (call, took_effect) {
                (Call::MarkPublished(_), Some(kid)) => { published_since.insert(kid, seen); }
                (Call::Revoke(_), Some(kid)) => { revoked.insert(kid); }
                _ => {}
            }
            if let Some(kid) = before.filter(|kid| signing(&ring).as_ref() != Some(kid)) {
                left.insert(kid, seen);
            }
            let judged = now.max(seen);
            let public = published(&ring, now);
            if let Some(active) = ring.active_at(now).map(|key| key.kid().to_owned()) {
                prop_assert!(public.contains(&active), "signs with an unpublished key");
                if active != first {
                    let since = published_since.get(&active).expect("signs with a key that was never published");
                    prop_assert!(judged.duration_since(*since) >= policy.pending_for);
                }
            }
            for kid in &public {
                prop_assert!(!revoked.contains(kid), "publishes a revoked key");
            }
            for (kid, since) in left.iter().filter(|(kid, _)| !revoked.contains(*kid)) {
                let over = judged.duration_since(*since) >= policy.retiring_for;
                prop_assert!(over || public.contains(kid), "unpublished too early");
            }
            let unused = ring.entries().iter().filter(|entry| entry.state() == KeyState::Pending);
            for entry in unused {
                prop_assert!(public.iter().any(|kid| kid == entry.kid()), "a standby is not published");
            }
        }
    }

    /// Real time passes; the clock follows it, but is put back now and then. Measured in real time, every
    /// signature is made with a key long published, and every signature's key stays published long enough.
    #[test]
    fn waits_last_in_real_time_when_the_clock_is_put_back(
        policy in policy(),
        steps in prop::collection::vec((call(), 0_i64..30, prop_oneof![4 => Just(0_i64), 1 => 0_i64..50]), 1..70),
    ) {
        let start = Timestamp::from_seconds(1_795_293_600);
        let (mut ring, mut made) = (KeyRing::new(policy, key(0), start), 0);
        let first = key(0).kid().to_owned();
        let (mut real, mut lag) = (start, 0);
        let mut published_since: HashMap<String, Timestamp> = HashMap::new();
        let mut last_signature: HashMap<String, Timestamp> = HashMap::new();
        let mut revoked = HashSet::new();
        for (call, passed, put_back) in steps {
            real = real.saturating_add(HOUR * u32::try_from(passed).unwrap());
            lag += millis(put_back);
            let now = Timestamp::from_millis(real.as_millis() - lag);
            match (call, make(&mut ring, call, now, &mut made)) {
                (Call::MarkPublished(_), Some(kid)) => { published_since.insert(kid, real); }
                (Call::Revoke(_), Some(kid)) => { revoked.insert(kid); }
                _ => {}
            }
            let public = published(&ring, now);
            for (kid, at) in last_signature.iter().filter(|(kid, _)| !revoked.contains(*kid)) {
                let over = real.duration_since(*at) >= policy.retiring_for;
                prop_assert!(over || public.contains(kid), "unpublished too early");
            }
            if let Some(active) = ring.active_at(now).map(|key| key.kid().to_owned()) {
                prop_assert!(!revoked.contains(&active));
                if active != first {
                    prop_assert!(real.duration_since(published_since[&active]) >= policy.pending_for);
                }
                last_signature.insert(active, real);
            }
        }
    }

    /// A ring that restarts between any two calls is the same ring.
    #[test]
    fn a_restart_changes_nothing(
        policy in policy(),
        steps in prop::collection::vec((call(), -10_i64..40), 1..40),
    ) {
        let start = Timestamp::from_seconds(1_795_293_600);
        let (mut steady, mut made) = (KeyRing::new(policy, key(0), start), 0);
        let (mut restarted, mut made_again) = (steady.clone(), 0);
        let mut clock = start.as_millis();
        for (call, hours) in steps {
            clock += millis(hours);
            let now = Timestamp::from_millis(clock);
            restarted = restart(&restarted);
            prop_assert_eq!(make(&mut steady, call, now, &mut made), make(&mut restarted, call, now, &mut made_again));
            prop_assert_eq!(steady.to_record().to_json(), restarted.to_record().to_json());
            prop_assert_eq!(published(&steady, now), published(&restarted, now));
            prop_assert_eq!(steady.next_change_at(), restarted.next_change_at());
        }
    }
}
