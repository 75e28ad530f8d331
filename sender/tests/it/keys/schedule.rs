//! Rotation by schedule, with nobody there: days pass in milliseconds.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use waxseal_envelope::Issuer;
use waxseal_jwks::publish::PublishedKeys;
use waxseal_keys::{Clock, KeyState, RingPolicy, SignatureAlgorithm, Timestamp};
use waxseal_sender::signing_keys::{Certification, SigningKeys, X5c};

use crate::keys::support::{HOUR, World};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const POLICY: RingPolicy =
    RingPolicy { pending_for: DAY, retiring_for: DAY, rotate_every: Some(DAY.saturating_mul(3)) };

async fn open(world: &World) -> Arc<SigningKeys> {
    let (store, data_keys, clock) = (world.store.clone(), world.data_keys.clone(), world.clock.clone());
    let keys = SigningKeys::open(store, data_keys, POLICY, SignatureAlgorithm::EdDsa, clock).await.unwrap();
    let issuer = Issuer::parse("https://hooks.example.com").unwrap();
    keys.certify(Certification::of(&issuer, X5c::Published)).await.unwrap();
    keys
}

/// What somebody who looked at every moment has seen.
#[derive(Default)]
struct Watched {
    signing: Vec<(String, Timestamp)>,
    published_since: HashMap<String, Timestamp>,
    certificates: HashMap<String, HashSet<String>>,
}

impl Watched {
    fn look(&mut self, keys: &SigningKeys, now: Timestamp) {
        let published = keys.published();
        for jwk in published.keys() {
            let kid = jwk.kid().unwrap().to_owned();
            let certificate = keys.certificate(&kid).expect("every published key has a certificate");
            assert!(certificate.not_before() < now && now < certificate.not_after());
            self.certificates.entry(kid.clone()).or_default().insert(certificate.thumbprint());
            self.published_since.entry(kid).or_insert(now);
        }
        let active = keys.active().expect("something signs at every moment").kid().to_owned();
        assert!(published.find(&active).is_some());
        if self.signing.last().is_none_or(|(kid, _)| *kid != active) {
            self.signing.push((active, now));
        }
        // Whoever read the set within the last day knows every key that still matters.
        for (kid, left) in self.signing.windows(2).map(|pair| (&pair[0].0, pair[1].1)) {
            let over = now.duration_since(left) >= DAY;
            assert!(over || published.find(kid).is_some(), "unpublished too early");
        }
    }
}

/// Lets `maintain` run by itself until this much simulated time has passed.
async fn run(world: &World, keys: &Arc<SigningKeys>, watched: &Arc<Mutex<Watched>>, time: Duration) {
    let until = world.clock.now().saturating_add(time);
    let (stop, stopped) = watch::channel(false);
    let sleep = {
        let (clock, keys, watched) = (world.clock.clone(), Arc::clone(keys), Arc::clone(watched));
        move |pause: Duration| {
            assert!(pause <= Duration::from_secs(60), "a clock that is put forward is noticed");
            watched.lock().unwrap().look(&keys, clock.now());
            // Ten times as long: a busy machine sleeps longer than it was asked to.
            clock.advance(pause * 10);
            if clock.now() >= until {
                stop.send_replace(true);
            }
            tokio::task::yield_now()
        }
    };
    Arc::clone(keys).maintain_by(stopped, sleep).await;
}

#[tokio::test]
async fn keys_change_on_schedule_and_across_restarts_with_nobody_there() {
    let world = World::new().await;
    let watched = Arc::new(Mutex::new(Watched::default()));
    let keys = open(&world).await;
    run(&world, &keys, &watched, DAY * 7).await;
    drop(keys);

    // The process is away for a whole turn; what was due meanwhile is done when it comes back.
    world.clock.advance(DAY * 4);
    let keys = open(&world).await;
    let turns = watched.lock().unwrap().signing.len();
    watched.lock().unwrap().look(&keys, world.clock.now());
    assert_eq!(watched.lock().unwrap().signing.len(), turns + 1, "rotated at the start");
    run(&world, &keys, &watched, DAY * 7).await;

    let watched = watched.lock().unwrap();
    assert_eq!(watched.signing.len(), 6, "{:?}", watched.signing);
    for pair in watched.signing.windows(2) {
        let signed_for = pair[1].1.duration_since(pair[0].1);
        assert!(signed_for >= DAY * 3 && signed_for < DAY * 6, "{signed_for:?}");
        let known_for = pair[1].1.duration_since(watched.published_since[&pair[1].0]);
        assert!(known_for >= DAY, "signed {known_for:?} after it was first seen");
    }
    let kids: HashSet<_> = watched.signing.iter().map(|(kid, _)| kid).collect();
    assert_eq!(kids.len(), watched.signing.len(), "no key comes back");
    for (turn, (kid, _)) in watched.signing.iter().enumerate() {
        // Those whose life the absence has made longer than planned were certified once more.
        let late = matches!(turn, 2 | 3);
        assert!(watched.certificates[kid].len() <= if late { 2 } else { 1 }, "key {turn}");
    }
    let states: Vec<_> = keys.entries().iter().map(|entry| entry.state()).collect();
    assert_eq!(states.iter().filter(|state| **state == KeyState::Active).count(), 1);
    assert_eq!(states.iter().filter(|state| **state == KeyState::Retired).count(), 5 - retiring(&states));
}

fn retiring(states: &[KeyState]) -> usize {
    states.iter().filter(|state| **state == KeyState::Retiring).count()
}

#[tokio::test]
async fn a_missed_turn_does_not_cut_the_wait_of_the_standby_short() {
    let world = World::new().await;
    let keys = open(&world).await;
    let first = keys.active().unwrap().kid().to_owned();
    // The standby is revoked just before its turn: the new one must be known for a day first.
    world.clock.advance(DAY * 3 - HOUR);
    let standby = keys.entries().into_iter().find(|entry| entry.state() == KeyState::Pending).unwrap();
    keys.revoke(standby.kid()).await.unwrap();
    world.clock.advance(HOUR * 2);
    keys.advance().await.unwrap();
    assert_eq!(keys.active().unwrap().kid(), first, "late is better than unknown");
    world.clock.advance(DAY);
    keys.advance().await.unwrap();
    assert_ne!(keys.active().unwrap().kid(), first);
}
