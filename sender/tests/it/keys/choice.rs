//! Which key of the known ones is sealed to.

use waxseal_keys::{SignatureAlgorithm, generate_signing_key};
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::model::encryption_keys::{Admission, KeyOwner, KeySource};

use crate::keys::support::{HOUR, MINUTE, START, World, consumer_of, jwk, known};

#[tokio::test]
async fn the_admitted_key_seen_first_most_recently_is_used() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let (old, new) = (START, START.saturating_add(HOUR));
    let set = vec![
        known(&jwk("old"), old, Some(old)),
        known(&jwk("new-first"), new, Some(new)),
        known(&jwk("new-second"), new, Some(new)),
        known(&jwk("newest-not-admitted"), new.saturating_add(HOUR), None),
    ];
    world.put(consumer_of(&endpoint), KeySource::Pinned, set).await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("new-first"));
    assert_eq!(world.web.asked(), 0);
}

#[tokio::test]
async fn an_endpoints_own_set_is_the_only_one_used_for_it() {
    let world = World::new().await;
    let (one, other) = (world.endpoint("acme").await, world.endpoint("acme").await);
    assert_eq!(world.chosen(&one).await, Err(Hold::NoKeySet));

    world.put(consumer_of(&one), KeySource::Pinned, vec![known(&jwk("shared"), START, Some(START))]).await;
    let own = KeyOwner::Endpoint(one.consumer.clone(), one.id);
    world.put(own.clone(), KeySource::Pinned, vec![known(&jwk("own"), START, Some(START))]).await;
    assert_eq!(world.chosen(&one).await.as_deref(), Ok("own"));
    assert_eq!(world.chosen(&other).await.as_deref(), Ok("shared"));

    world.put(own, KeySource::Pinned, Vec::new()).await;
    assert_eq!(world.chosen(&one).await, Err(Hold::NoUsableKey), "no falling back to the shared set");
}

#[tokio::test]
async fn a_key_that_cannot_be_sealed_to_is_passed_over() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let signing = generate_signing_key(SignatureAlgorithm::Es256).unwrap().public_jwk().to_json();
    let keys = vec![known(&signing, START, Some(START))];
    world.put(consumer_of(&endpoint), KeySource::Pinned, keys.clone()).await;
    assert_eq!(world.chosen(&endpoint).await, Err(Hold::NoUsableKey));

    let keys = [keys, vec![known(&jwk("fit"), START, None)]].concat();
    world.put(consumer_of(&endpoint), KeySource::Pinned, keys).await;
    assert_eq!(world.chosen(&endpoint).await, Err(Hold::KeyNotAdmitted));
    world.admit(&consumer_of(&endpoint), "fit").await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("fit"));
}

#[tokio::test]
async fn an_invalid_key_is_answered_with_the_next_admitted_one_once() {
    let world = World::new().await;
    let (endpoint, other) = (world.endpoint("acme").await, world.endpoint("acme").await);
    let set = ["first", "second"].map(|kid| known(&jwk(kid), START, Some(START)));
    let unadmitted = known(&jwk("third"), START, None);
    world.put(consumer_of(&endpoint), KeySource::Pinned, [set.to_vec(), vec![unadmitted]].concat()).await;

    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("first"));
    assert!(world.keys.refresh_after_invalid_key(&endpoint, "first").await);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("second"));
    assert_eq!(world.chosen(&other).await.as_deref(), Ok("first"), "another endpoint may hold another key");

    // A delivery that was sealed before the change learns of it; one that failed after it gets no third try.
    assert!(world.keys.refresh_after_invalid_key(&endpoint, "first").await);
    assert!(!world.keys.refresh_after_invalid_key(&endpoint, "second").await);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("second"));

    world.clock.advance(MINUTE);
    assert!(world.keys.refresh_after_invalid_key(&endpoint, "second").await);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("first"), "the third was never admitted");
}

#[tokio::test]
async fn a_detour_ends() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let set = ["first", "second"].map(|kid| known(&jwk(kid), START, Some(START)));
    world.put(consumer_of(&endpoint), KeySource::Pinned, set.to_vec()).await;
    assert!(world.keys.refresh_after_invalid_key(&endpoint, "first").await);
    world.clock.advance(HOUR - MINUTE);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("second"));
    world.clock.advance(MINUTE);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("first"));
}

#[tokio::test]
async fn with_one_key_there_is_no_other() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    assert!(!world.keys.refresh_after_invalid_key(&endpoint, "gone").await);
    world.put(consumer_of(&endpoint), KeySource::Pinned, vec![known(&jwk("only"), START, Some(START))]).await;
    assert!(!world.keys.refresh_after_invalid_key(&endpoint, "only").await);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("only"));
}

#[tokio::test]
async fn a_detour_ends_with_a_clock_that_was_set_back() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let set = ["first", "second"].map(|kid| known(&jwk(kid), START, Some(START)));
    world.put(consumer_of(&endpoint), KeySource::Pinned, set.to_vec()).await;
    world.clock.advance(24 * HOUR);
    assert!(world.keys.refresh_after_invalid_key(&endpoint, "first").await);
    world.clock.set(START);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("first"));
    assert!(world.keys.refresh_after_invalid_key(&endpoint, "first").await, "nor is the next one held off");
}

#[tokio::test]
async fn a_key_that_has_expired_is_not_used_any_more() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let expiring = |kid: &str, hours: i64| {
        let mut jwk = jwk(kid);
        jwk["exp"] = (START.as_seconds() + hours * 3_600).into();
        jwk
    };
    // The set is fetched: `exp` survives the way through the parser.
    let (long, short) = (expiring("long", 3), expiring("short", 1));
    world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
    world.web.publishes(&[&short, &long], Some(HOUR * 24));
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("short"));
    world.clock.set(START.saturating_add(HOUR));
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("long"));
    world.clock.set(START.saturating_add(HOUR * 3));
    assert_eq!(world.chosen(&endpoint).await, Err(Hold::NoUsableKey));
}
