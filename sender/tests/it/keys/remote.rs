//! Sets behind a `jwks_uri`.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use waxseal_keys::{EncryptionKeyType, SignatureAlgorithm, generate_decryption_key, generate_signing_key};
use waxseal_sender::directory::KeysGivenBy;
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::model::encryption_keys::{Admission, KeyOwner, KeySource};

use crate::keys::support::{HOUR, MINUTE, START, World, consumer_of, jwk, known};

#[tokio::test]
async fn a_fetched_key_waits_for_its_admission() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let owner = consumer_of(&endpoint);
    let (one, two) = (jwk("one"), jwk("two"));
    world.web.publishes(&[&one], None);
    world.put_uri(owner.clone(), Admission::Approve).await;
    assert_eq!(world.chosen(&endpoint).await, Err(Hold::KeyNotAdmitted));
    world.admit(&owner, "one").await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));

    // The consumer rotates: the new key is noticed and not used, whatever its receiver says.
    world.web.publishes(&[&two, &one], None);
    world.clock.advance(HOUR);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
    assert_eq!(world.known(&owner), ["two", "one"]);
    assert!(!world.keys.refresh_after_invalid_key(&endpoint, "one").await);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
    world.admit(&owner, "two").await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("two"));
}

#[tokio::test]
async fn automatic_admission_uses_the_newest_at_once() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let (one, two) = (jwk("one"), jwk("two"));
    world.web.publishes(&[&one], None);
    world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
    world.web.publishes(&[&one, &two], None);
    world.clock.advance(HOUR);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("two"));
}

#[tokio::test]
async fn a_key_that_vanished_is_not_used_and_comes_back_as_a_stranger() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let owner = consumer_of(&endpoint);
    let (one, two) = (jwk("one"), jwk("two"));
    world.web.publishes(&[&one, &two], None);
    world.put_uri(owner.clone(), Admission::Approve).await;
    assert_eq!(world.chosen(&endpoint).await, Err(Hold::KeyNotAdmitted));
    world.admit(&owner, "one").await;
    world.admit(&owner, "two").await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));

    world.web.publishes(&[&two], None);
    world.clock.advance(HOUR);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("two"));
    world.web.publishes(&[], None);
    world.clock.advance(HOUR);
    assert_eq!(world.chosen(&endpoint).await, Err(Hold::NoUsableKey), "an empty set takes all keys back");
    world.web.publishes(&[&one], None);
    world.clock.advance(HOUR);
    assert_eq!(world.chosen(&endpoint).await, Err(Hold::KeyNotAdmitted));
}

#[tokio::test]
async fn a_set_is_kept_for_as_long_as_it_says_within_bounds() {
    let day = 24 * HOUR;
    for (said, kept) in [
        (Some(2 * MINUTE), 2 * MINUTE),
        (Some(Duration::ZERO), MINUTE),
        (Some(day), HOUR),
        (None, 10 * MINUTE),
    ] {
        let world = World::new().await;
        let endpoint = world.endpoint("acme").await;
        world.web.publishes(&[&jwk("one")], said);
        world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
        world.chosen(&endpoint).await.unwrap();
        world.clock.advance(kept - Duration::from_millis(1));
        world.chosen(&endpoint).await.unwrap();
        assert_eq!(world.web.asked(), 1, "{said:?}");
        world.clock.advance(Duration::from_millis(1));
        world.chosen(&endpoint).await.unwrap();
        assert_eq!(world.web.asked(), 2, "{said:?}");
    }
}

#[tokio::test]
async fn known_keys_outlast_their_source_by_a_day() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    world.web.publishes(&[&jwk("one")], Some(HOUR));
    world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
    world.chosen(&endpoint).await.unwrap();

    world.web.is_down();
    world.clock.advance(24 * HOUR - MINUTE);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
    assert_eq!(world.web.asked(), 2);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
    assert_eq!(world.web.asked(), 2, "it is left alone for a minute");
    world.clock.advance(MINUTE);
    assert_eq!(world.chosen(&endpoint).await, Err(Hold::KeySetUnreachable));

    world.web.publishes(&[&jwk("two")], None);
    world.clock.advance(MINUTE);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("two"));
}

#[tokio::test]
async fn answers_that_are_no_usable_set_count_as_none() {
    let secret = generate_decryption_key(EncryptionKeyType::P256).unwrap().to_jwk();
    let secret: serde_json::Value = serde_json::from_str(&secret.to_json()).unwrap();
    let good = json!({ "keys": [jwk("one")] });
    for (status, content_type, body) in [
        (404, "application/json", good.clone()),
        (302, "application/json", good.clone()),
        (200, "text/html", good.clone()),
        (200, "application/json", json!([])),
        (200, "application/json", json!({ "keys": [jwk("one"), secret] })),
    ] {
        let world = World::new().await;
        let endpoint = world.endpoint("acme").await;
        world.web.answers(status, content_type, body.clone(), None);
        world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
        assert_eq!(world.chosen(&endpoint).await, Err(Hold::KeySetUnreachable), "{status} {content_type}");
    }
}

#[tokio::test]
async fn signing_keys_in_the_set_are_passed_over() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let signing = generate_signing_key(SignatureAlgorithm::Es256).unwrap().public_jwk().to_json();
    world.web.publishes(&[&signing, &jwk("one")], None);
    world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
    assert_eq!(world.known(&consumer_of(&endpoint)), ["one"]);
}

#[tokio::test]
async fn those_who_wait_for_one_set_share_one_request() {
    let world = World::new().await;
    let (endpoint, other) = (world.endpoint("acme").await, world.endpoint("acme").await);
    world.web.publishes(&[&jwk("one")], None);
    world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
    let (one, two, three) =
        tokio::join!(world.chosen(&endpoint), world.chosen(&other), world.chosen(&endpoint));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(world.web.asked(), 1);
}

#[tokio::test]
async fn however_many_wait_for_one_set_they_use_up_one_question() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    world.web.publishes(&[&jwk("one")], None);
    world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
    let chosen = join_all((0..150).map(|_| world.chosen(&endpoint))).await;
    assert!(chosen.iter().all(Result::is_ok));
    // Of a hundred within an hour, the second.
    let jwks_uri = "https://keys.example.com/corrected.json".parse().unwrap();
    let source = KeySource::Uri { jwks_uri, admission: Admission::Automatic };
    world.put(consumer_of(&endpoint), source, Vec::new()).await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
    assert_eq!(world.web.asked(), 2);
}

#[tokio::test]
async fn an_invalid_key_asks_again_at_most_once_a_minute_for_each_host() {
    let world = World::new().await;
    let (endpoint, stranger) = (world.endpoint("acme").await, world.endpoint("other").await);
    let (one, two) = (jwk("one"), jwk("two"));
    world.web.publishes(&[&one], None);
    world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
    world.put_uri(consumer_of(&stranger), Admission::Automatic).await;
    world.chosen(&endpoint).await.unwrap();
    world.chosen(&stranger).await.unwrap();
    assert_eq!(world.web.asked(), 2);

    world.web.publishes(&[&two], None);
    world.clock.advance(Duration::from_secs(1));
    assert!(world.keys.refresh_after_invalid_key(&endpoint, "one").await);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("two"));
    assert_eq!(world.web.asked(), 3);

    assert!(!world.keys.refresh_after_invalid_key(&stranger, "one").await, "the same host, a moment later");
    assert_eq!(world.web.asked(), 3);
    world.clock.advance(MINUTE);
    assert!(world.keys.refresh_after_invalid_key(&stranger, "one").await);
    assert_eq!(world.web.asked(), 4);
}

#[tokio::test]
async fn a_new_key_under_an_old_kid_is_another_key() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    world.web.publishes(&[&jwk("constant")], None);
    world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
    let before = world.keys.key_for(&endpoint).await.unwrap();
    world.web.publishes(&[&jwk("constant")], None);
    assert!(world.keys.refresh_after_invalid_key(&endpoint, "constant").await);
    let after = world.keys.key_for(&endpoint).await.unwrap();
    assert_ne!(before.jwk().thumbprint(), after.jwk().thumbprint());
}

#[tokio::test]
async fn another_source_is_asked_at_once() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let owner = consumer_of(&endpoint);
    world.web.publishes(&[&jwk("one")], Some(HOUR));
    world.put_uri(owner.clone(), Admission::Automatic).await;
    world.chosen(&endpoint).await.unwrap();
    let jwks_uri = "https://elsewhere.example.com/jwks.json".parse().unwrap();
    world.put(owner, KeySource::Uri { jwks_uri, admission: Admission::Automatic }, Vec::new()).await;
    world.web.publishes(&[&jwk("two")], None);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("two"));
}

#[tokio::test]
async fn a_few_sets_are_fetched_at_a_time_and_of_one_consumer_fewer() {
    for (consumers, most) in [(1, 4), (20, 16)] {
        let world = World::new().await;
        world.web.publishes(&[&jwk("one")], None);
        let mut endpoints = Vec::new();
        for number in 0..40 {
            let endpoint = world.endpoint(&format!("consumer-{}", number % consumers)).await;
            let owner = KeyOwner::Endpoint(endpoint.consumer.clone(), endpoint.id);
            world.put_uri(owner, Admission::Automatic).await;
            endpoints.push(endpoint);
        }
        let chosen = join_all(endpoints.iter().map(|endpoint| world.chosen(endpoint))).await;
        assert!(chosen.iter().all(Result::is_ok));
        assert_eq!((world.web.asked(), world.web.most_at_once()), (40, most));
    }
}

#[tokio::test]
async fn a_source_that_is_given_again_is_asked_at_once() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let owner = consumer_of(&endpoint);
    world.web.publishes(&[&jwk("one")], Some(HOUR));
    world.put_uri(owner.clone(), Admission::Automatic).await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));

    world.directory.delete_key_set(&owner, KeysGivenBy::Operator).await.unwrap();
    world.put_uri(owner.clone(), Admission::Automatic).await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
    assert_eq!(world.web.asked(), 2);

    let pinned = known(&jwk("pinned"), START, Some(START));
    world.put(owner.clone(), KeySource::Pinned, vec![pinned]).await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("pinned"));
    world.put_uri(owner, Admission::Automatic).await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
    assert_eq!(world.web.asked(), 3);
}

#[tokio::test]
async fn a_set_without_keys_is_asked_for_once_a_minute_whatever_it_says() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    world.web.publishes(&[], Some(HOUR));
    world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
    for _ in 0..3 {
        assert_eq!(world.chosen(&endpoint).await, Err(Hold::NoUsableKey));
    }
    assert_eq!(world.web.asked(), 1);
    world.web.publishes(&[&jwk("one")], Some(HOUR));
    world.clock.advance(MINUTE);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
}

#[tokio::test]
async fn a_clock_that_was_set_back_stops_no_question() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let day = 24 * HOUR;
    world.clock.advance(365 * day);
    world.web.publishes(&[&jwk("one")], Some(HOUR));
    world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
    world.web.publishes(&[&jwk("two")], Some(HOUR));
    assert!(world.keys.refresh_after_invalid_key(&endpoint, "one").await);

    // The clock was a year ahead, and is put right.
    world.clock.set(START);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("two"));
    assert_eq!(world.web.asked(), 3);
    world.web.publishes(&[&jwk("three")], Some(HOUR));
    assert!(world.keys.refresh_after_invalid_key(&endpoint, "two").await);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("three"));
    world.clock.advance(HOUR);
    world.web.publishes(&[&jwk("four")], Some(HOUR));
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("four"));
}

#[tokio::test]
async fn known_keys_outlast_their_source_by_no_more_for_a_clock_that_was_set_back() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    world.clock.advance(365 * 24 * HOUR);
    world.web.publishes(&[&jwk("one")], None);
    world.put_uri(consumer_of(&endpoint), Admission::Automatic).await;
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
    world.web.is_down();
    world.clock.set(START);
    assert_eq!(world.chosen(&endpoint).await.as_deref(), Ok("one"));
    assert_eq!(world.web.asked(), 2);
    world.clock.advance(24 * HOUR);
    assert_eq!(world.chosen(&endpoint).await, Err(Hold::KeySetUnreachable));
}

#[tokio::test]
async fn nobody_floods_a_host_by_naming_one_source_after_the_other() {
    let world = World::new().await;
    let endpoint = world.endpoint("acme").await;
    let name = async |n: usize, host: &str| {
        let jwks_uri = format!("https://{host}/search?q={n}").parse().unwrap();
        let source = KeySource::Uri { jwks_uri, admission: Admission::Automatic };
        world.put(consumer_of(&endpoint), source, Vec::new()).await;
        world.keys.look_up(&consumer_of(&endpoint)).await;
    };
    for n in 0..150 {
        name(n, if n % 2 == 0 { "victim.example" } else { "victim.example." }).await;
    }
    assert_eq!(world.web.asked(), 100);
    for n in 0..150 {
        name(n, &format!("h{n}.example")).await;
    }
    assert_eq!(world.web.asked(), 200, "hosts that may be one");
    assert_eq!(world.chosen(&endpoint).await, Err(Hold::KeySetUnreachable));
    world.clock.advance(HOUR);
    assert_eq!(world.chosen(&endpoint).await, Err(Hold::KeySetUnreachable));
    assert_eq!(world.web.asked(), 201, "the last one, an hour later");
}
