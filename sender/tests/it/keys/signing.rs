//! The ring of signing keys: kept, published, rotated, revoked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use waxseal_jwks::publish::PublishedKeys;
use waxseal_keys::{Clock, KeyState, RingPolicy, SignatureAlgorithm, SystemClock};
use waxseal_sender::signing_keys::{SigningKeys, SigningKeysError};
use waxseal_sender::store::KeyRecords;

use crate::keys::support::{HOUR, World};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn open(world: &World) -> Arc<SigningKeys> {
    open_with(world, RingPolicy::default(), world.clock.clone()).await
}

async fn open_with(world: &World, policy: RingPolicy, clock: Arc<dyn Clock>) -> Arc<SigningKeys> {
    let (store, data_keys) = (world.store.clone(), world.data_keys.clone());
    SigningKeys::open(store, data_keys, policy, SignatureAlgorithm::Es256, clock).await.unwrap()
}

fn active(keys: &SigningKeys) -> Option<String> {
    keys.active().map(|key| key.kid().to_owned())
}

fn states(keys: &SigningKeys) -> Vec<KeyState> {
    keys.entries().iter().map(|entry| entry.state()).collect()
}

fn published(keys: &SigningKeys) -> Vec<String> {
    keys.published().keys().iter().map(|jwk| jwk.kid().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_first_key_signs_at_once_and_a_standby_is_published() {
    let world = World::new().await;
    let keys = open(&world).await;
    assert_eq!(states(&keys), [KeyState::Active, KeyState::Pending]);
    assert_eq!(published(&keys).len(), 2);
    assert_eq!(keys.entries()[1].published_since(), Some(world.clock.now()));

    let record = world.store.ring().await.unwrap().unwrap();
    let kid = active(&keys).unwrap();
    assert!(
        !record.sealed.windows(kid.len()).any(|window| window == kid.as_bytes()),
        "it is kept as ciphertext"
    );

    let again = open(&world).await;
    assert_eq!(active(&again), Some(kid));
    assert_eq!(published(&again), published(&keys));
}

#[tokio::test]
async fn a_standby_signs_only_after_it_was_published_for_long_enough() {
    let world = World::new().await;
    let keys = open(&world).await;
    let [first, standby] = <[String; 2]>::try_from(published(&keys)).unwrap();
    let mut changes = keys.subscribe();

    world.clock.advance(DAY - HOUR);
    let refused = keys.rotate().await.unwrap_err();
    assert!(matches!(refused, SigningKeysError::Rotate(_)), "{refused:?}");
    assert_eq!(refused.code(), "ring.not_ready");
    assert_eq!(active(&keys), Some(first.clone()));
    assert!(!changes.has_changed().unwrap());

    world.clock.advance(HOUR);
    keys.rotate().await.unwrap();
    assert_eq!(active(&keys), Some(standby.clone()));
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(states(&keys), [KeyState::Retiring, KeyState::Active, KeyState::Pending]);
    assert_eq!(published(&keys)[..2], [first.clone(), standby.clone()]);

    world.clock.advance(DAY);
    keys.advance().await.unwrap();
    assert_eq!(states(&keys), [KeyState::Retired, KeyState::Active, KeyState::Pending]);
    assert!(!published(&keys).contains(&first));
    assert!(!changes.has_changed().unwrap(), "the same key signs");
}

#[tokio::test]
async fn a_revoked_key_is_gone_at_once_and_nothing_signs_until_the_standby_is_ready() {
    let world = World::new().await;
    let keys = open(&world).await;
    let [first, standby] = <[String; 2]>::try_from(published(&keys)).unwrap();
    let mut changes = keys.subscribe();

    assert!(matches!(keys.revoke("unknown").await, Err(SigningKeysError::Revoke(_))));
    keys.revoke(&first).await.unwrap();
    assert_eq!(active(&keys), None);
    assert_eq!(published(&keys).as_slice(), std::slice::from_ref(&standby));
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();

    world.clock.advance(DAY);
    keys.advance().await.unwrap();
    assert_eq!(active(&keys), Some(standby));
    assert_eq!(states(&keys), [KeyState::Revoked, KeyState::Active, KeyState::Pending]);
    assert!(changes.has_changed().unwrap());
}

#[tokio::test]
async fn a_change_on_top_of_an_old_ring_is_made_again_on_the_new_one() {
    let world = World::new().await;
    let (one, other) = (open(&world).await, open(&world).await);
    world.clock.advance(DAY);
    one.rotate().await.unwrap();
    assert_ne!(active(&one), active(&other), "the other has not looked yet");

    let refused = other.rotate().await;
    assert!(matches!(refused, Err(SigningKeysError::Rotate(_))), "the new standby is not ready: {refused:?}");
    assert_eq!(active(&other), active(&one));
    assert_eq!(published(&other), published(&one));
}

#[tokio::test]
async fn two_that_make_the_first_ring_end_up_with_the_same() {
    let world = World::new().await;
    let (one, other) = tokio::join!(open(&world), open(&world));
    assert_eq!(active(&one), active(&other));
}

#[tokio::test]
async fn maintenance_rotates_by_itself_and_stops_when_told() {
    let world = World::new().await;
    let policy = RingPolicy {
        pending_for: Duration::ZERO,
        retiring_for: Duration::ZERO,
        rotate_every: Some(Duration::from_millis(20)),
    };
    let keys = open_with(&world, policy, Arc::new(SystemClock)).await;
    let first = active(&keys);
    let mut changes = keys.subscribe();
    let (stop, stopped) = watch::channel(false);
    let maintained = tokio::spawn(keys.clone().maintain(stopped));
    changes.changed().await.unwrap();
    assert_ne!(active(&keys), first);
    stop.send(true).unwrap();
    maintained.await.unwrap();
}
