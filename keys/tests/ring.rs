//! The life of a key ring, day by day.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::{DAY, HOUR, generator, key, kids, published, restart};
use waxseal_keys::{
    ImportError, KeyRing, KeyState, RevokeError, RingPolicy, RingRecord, RingRecordError, RotateError,
    SigningKey, Timestamp,
};

const START: Timestamp = Timestamp::from_seconds(1_795_293_600);

fn ring(rotate_every: Option<Duration>) -> KeyRing {
    KeyRing::new(RingPolicy { rotate_every, ..RingPolicy::default() }, key(0), START)
}

/// A ring whose standby (key 1) is ready a day after `START`.
fn ring_with_standby(rotate_every: Option<Duration>) -> KeyRing {
    let mut ring = ring(rotate_every);
    ring.roll(START, &mut generator(1)).unwrap();
    assert!(ring.mark_published(key(1).kid(), START));
    ring
}

fn active(ring: &KeyRing, now: Timestamp) -> Option<String> {
    ring.active_at(now).map(|key| key.kid().to_owned())
}

#[test]
fn first_key_signs_at_once_and_a_standby_follows() {
    let mut ring = ring(None);
    assert_eq!(active(&ring, START), Some(kids(0)));
    assert_eq!(ring.next_change_at(), Some(START), "a standby is missing");
    let changes = ring.roll(START, &mut generator(1)).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].kid.as_str(), changes[0].state), (kids(1).as_str(), KeyState::Pending));
    assert_eq!(published(&ring, START), [kids(0), kids(1)]);
    assert_eq!(ring.roll(START, &mut generator(2)).unwrap(), [], "one standby is enough");
    assert_eq!(ring.next_change_at(), None);
}

#[test]
fn rotation_waits_for_every_node() {
    let mut ring = ring(None);
    ring.roll(START, &mut generator(1)).unwrap();
    let year = START.saturating_add(365 * DAY);
    assert_eq!(
        ring.rotate(year),
        Err(RotateError::NotReady { ready_at: None }),
        "not every node publishes it"
    );
    assert!(ring.mark_published(&kids(1), year));
    assert!(!ring.mark_published(&kids(1), START), "the first report counts");
    let ready_at = year.saturating_add(DAY);
    let early = Timestamp::from_millis(ready_at.as_millis() - 1);
    assert_eq!(ring.rotate(early), Err(RotateError::NotReady { ready_at: Some(ready_at) }));
    let changes = ring.rotate(ready_at).unwrap();
    let states: Vec<_> = changes.iter().map(|change| (change.kid.clone(), change.state)).collect();
    assert_eq!(states, [(kids(0), KeyState::Retiring), (kids(1), KeyState::Active)]);
    assert_eq!(active(&ring, ready_at), Some(kids(1)));
}

#[test]
fn a_retiring_key_stays_published_for_a_day_and_then_loses_its_private_half() {
    let mut ring = ring_with_standby(None);
    let rotated = START.saturating_add(DAY);
    ring.rotate(rotated).unwrap();
    ring.roll(rotated, &mut generator(2)).unwrap();
    let over = rotated.saturating_add(DAY);
    let before = Timestamp::from_millis(over.as_millis() - 1);
    assert_eq!(ring.roll(before, &mut generator(3)).unwrap(), []);
    assert_eq!(published(&ring, before), [kids(0), kids(1), kids(2)]);
    assert_eq!(ring.next_change_at(), Some(over));
    assert_eq!(published(&ring, over), [kids(1), kids(2)], "also before the roll");
    let changes = ring.roll(over, &mut generator(3)).unwrap();
    assert_eq!((changes[0].kid.as_str(), changes[0].state), (kids(0).as_str(), KeyState::Retired));
    let record = ring.to_record().to_json();
    let text = std::str::from_utf8(&record).unwrap();
    let secret = |n: u8| {
        let jwk: serde_json::Value = serde_json::from_str(&key(n).to_jwk().to_json()).unwrap();
        jwk["d"].as_str().unwrap().to_owned()
    };
    assert!(!text.contains(&secret(0)) && text.contains(&secret(1)));
    assert!(!format!("{ring:?} {:?}", ring.to_record()).contains(&secret(1)));
    assert_eq!(ring.entries()[0].retired(), Some(over));
}

#[test]
fn rotates_by_itself_when_told_to() {
    let mut ring = ring_with_standby(Some(30 * DAY));
    let due = START.saturating_add(30 * DAY);
    assert_eq!(ring.next_change_at(), Some(due));
    assert_eq!(ring.roll(Timestamp::from_millis(due.as_millis() - 1), &mut generator(2)).unwrap(), []);
    let changes = ring.roll(due, &mut generator(2)).unwrap();
    let states: Vec<_> = changes.iter().map(|change| change.state).collect();
    assert_eq!(states, [KeyState::Retiring, KeyState::Active, KeyState::Pending]);
    assert_eq!(active(&ring, due), Some(kids(1)));
}

#[test]
fn revoking_the_active_key_hands_over_at_once_if_the_standby_is_ready() {
    let mut ring = ring_with_standby(None);
    let now = START.saturating_add(DAY);
    let changes = ring.revoke(&kids(0), now).unwrap();
    let states: Vec<_> = changes.iter().map(|change| (change.kid.clone(), change.state)).collect();
    assert_eq!(states, [(kids(0), KeyState::Revoked), (kids(1), KeyState::Active)]);
    assert_eq!(published(&ring, now), [kids(1)]);
    assert_eq!(ring.revoke(&kids(0), now).unwrap(), [], "once is enough");
    assert_eq!(ring.revoke("nobody", now), Err(RevokeError::UnknownKey));
}

#[test]
fn revoking_without_a_ready_standby_holds_until_there_is_one() {
    let mut ring = ring_with_standby(None);
    let now = START.saturating_add(HOUR);
    ring.revoke(&kids(0), now).unwrap();
    assert_eq!((active(&ring, now), published(&ring, now)), (None, vec![kids(1)]));
    let ready = START.saturating_add(DAY);
    assert_eq!(ring.next_change_at(), Some(ready));
    assert_eq!(active(&ring, Timestamp::from_millis(ready.as_millis() - 1)), None);
    assert_eq!(active(&ring, ready), Some(kids(1)), "also before the roll");
    let changes = ring.roll(ready, &mut generator(2)).unwrap();
    assert_eq!((changes[0].kid.as_str(), changes[0].state), (kids(1).as_str(), KeyState::Active));
}

#[test]
fn a_revoked_standby_is_replaced_and_never_comes_back() {
    let mut ring = ring_with_standby(None);
    ring.revoke(&kids(1), START).unwrap();
    assert_eq!(published(&ring, START), [kids(0)]);
    assert_eq!(ring.roll(START, &mut generator(1)).unwrap(), [], "the generator offers the same key again");
    ring.roll(START, &mut generator(2)).unwrap();
    assert_eq!(published(&ring, START), [kids(0), kids(2)]);
}

#[test]
fn a_clock_put_back_lengthens_waits_only() {
    let mut ring = ring_with_standby(None);
    let noon = START.saturating_add(12 * HOUR);
    ring.roll(noon, &mut generator(2)).unwrap();
    ring.revoke(&kids(1), START).unwrap();
    ring.roll(START, &mut generator(2)).unwrap();
    assert_eq!(ring.clock_lag(START), 12 * HOUR);
    // Told at a time that the ring knows to be past: the day begins at noon.
    ring.mark_published(&kids(2), START);
    let mut ring = restart(&ring);
    let ready_at = noon.saturating_add(DAY);
    assert_eq!(
        ring.rotate(START.saturating_add(DAY)),
        Err(RotateError::NotReady { ready_at: Some(ready_at) })
    );
    assert!(ring.rotate(ready_at).is_ok());
}

#[test]
fn a_failed_generator_changes_nothing() {
    let mut ring = ring_with_standby(Some(DAY));
    let now = START.saturating_add(DAY);
    let before = ring.to_record().to_json();
    assert_eq!(ring.roll(now, &mut || Err::<SigningKey, _>("no entropy")), Err("no entropy"));
    assert_eq!(ring.to_record().to_json(), before);
    assert_eq!(ring.roll(now, &mut generator(2)).unwrap().len(), 3);
}

#[test]
fn policy_follows_the_cache() {
    assert_eq!(RingPolicy::for_max_age(Duration::from_secs(300)), RingPolicy::default());
    assert_eq!(RingPolicy::for_max_age(20 * HOUR).pending_for, 40 * HOUR);
    assert_eq!((RingPolicy::default().pending_for, RingPolicy::default().retiring_for), (DAY, DAY));
}

#[test]
fn a_damaged_record_is_refused() {
    let ring = ring_with_standby(None);
    let text = String::from_utf8(ring.to_record().to_json().to_vec()).unwrap();
    let read = |text: &str| {
        RingRecord::from_json(text.as_bytes())
            .and_then(|record| KeyRing::from_record(&record, RingPolicy::default()))
            .map(drop)
    };
    assert_eq!(read(&text), Ok(()));
    let first = RingRecordError::Inconsistent { kid: kids(0) };
    let second = RingRecordError::Inconsistent { kid: kids(1) };
    for (from, to, expected) in [
        ("\"version\":1", "\"version\":2", RingRecordError::Version(2)),
        ("\"state\":\"active\"", "\"state\":\"retired\"", first.clone()),
        ("\"alg\":\"EdDSA\"", "\"alg\":\"HS256\"", first.clone()),
        (kids(0).as_str(), kids(3).as_str(), RingRecordError::Inconsistent { kid: kids(3) }),
        ("\"state\":\"pending\"", "\"state\":\"active\"", second),
        ("\"seen\":", "\"sen\":", RingRecordError::Malformed),
    ] {
        let damaged = text.replacen(from, to, 1);
        assert_ne!(damaged, text, "{from}");
        assert_eq!(read(&damaged), Err(expected), "{from}");
    }
}

#[test]
fn an_imported_key_waits_like_any_other_and_signs_when_it_is_named() {
    let mut ring = ring_with_standby(None);
    let change = ring.import(key(7), START).unwrap();
    assert_eq!((change.kid, change.state), (kids(7), KeyState::Pending));
    assert_eq!(published(&ring, START), [kids(0), kids(1), kids(7)]);
    let ready = START.saturating_add(DAY);
    assert_eq!(ring.rotate_to(&kids(7), START), Err(RotateError::NotReady { ready_at: None }));
    let later = START.saturating_add(HOUR);
    assert!(ring.mark_published(&kids(7), later));
    let ready_at = later.saturating_add(DAY);
    assert_eq!(ring.rotate_to(&kids(7), ready), Err(RotateError::NotReady { ready_at: Some(ready_at) }));
    assert_eq!(active(&ring, ready), Some(kids(0)), "a refusal changes nothing");
    ring.rotate_to(&kids(7), ready_at).unwrap();
    assert_eq!(active(&ring, ready_at), Some(kids(7)));
    assert_eq!(published(&ring, ready_at), [kids(0), kids(1), kids(7)]);
    for (kid, state) in [(0, KeyState::Retiring), (7, KeyState::Active)] {
        assert_eq!(ring.rotate_to(&kids(kid), ready_at), Err(RotateError::NotPending { state }));
    }
    assert_eq!(ring.rotate_to("none", ready_at), Err(RotateError::UnknownKey));
    ring.rotate(ready_at).unwrap();
    assert_eq!(active(&ring, ready_at), Some(kids(1)), "the standby from before is still the next");
}

#[test]
fn a_key_has_one_life() {
    let mut ring = ring_with_standby(None);
    ring.revoke(&kids(1), START).unwrap();
    for (number, state) in [(0, KeyState::Active), (1, KeyState::Revoked)] {
        assert_eq!(ring.import(key(number), START), Err(ImportError::Known { state }));
        assert_eq!(restart(&ring).import(key(number), START), Err(ImportError::Known { state }));
    }
    for number in 10..18 {
        ring.import(key(number), START).unwrap();
    }
    assert_eq!(ring.import(key(18), START), Err(ImportError::TooMany));
}
