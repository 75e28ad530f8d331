//! Nodes that come, go, die and lose the store: who works on what, and what is posted twice at most.

use std::time::Duration;

use tokio::time::timeout;
use waxseal_keys::{Clock, SystemClock};
use waxseal_sender::model::endpoint::PauseReason;
use waxseal_sender::model::pace::Pace;
use waxseal_sender::store::{Shards, TRUSTED_FOR};

use crate::fleet::{Fleet, MOST_AT_ONCE, Member, shared_out};
use crate::node::until;
use crate::receiver::Receiver;

const CONSUMERS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

async fn with_endpoints(member: &Member, receiver: &Receiver) {
    member.declare(&CONSUMERS).await;
    for name in CONSUMERS {
        member.endpoint(name, receiver.url(name), Pace::default(), Shards::NONE).await;
    }
    member.sender.directory().everywhere().await;
}

#[tokio::test]
async fn shards_move_to_nodes_that_join_and_back_when_they_stop_and_nothing_is_made_twice() {
    let (mut fleet, receiver) = (Fleet::new(), Receiver::start(Duration::from_millis(10)).await);
    let first = fleet.join().await;
    shared_out(&[&first]).await;
    with_endpoints(&first, &receiver).await;
    let mut published = 0;
    let publish = async |member: &Member, count: usize| {
        for n in 0..count {
            member.publish(CONSUMERS[n % CONSUMERS.len()]).await;
        }
        count
    };
    published += publish(&first, 80).await;
    let second = fleet.join().await;
    published += publish(&first, 80).await;
    shared_out(&[&first, &second]).await;
    let third = fleet.join().await;
    published += publish(&second, 80).await;
    shared_out(&[&first, &second, &third]).await;
    published += publish(&third, 80).await;
    second.stop().await;
    third.stop().await;
    shared_out(&[&first]).await;
    published += publish(&first, 40).await;
    until("everything is delivered", || receiver.distinct() == published).await;
    first.stop().await;
    assert_eq!(receiver.repeated(), 0);
    assert!(receiver.most_at_once() <= MOST_AT_ONCE, "{} at once", receiver.most_at_once());
}

#[tokio::test]
async fn the_shards_of_a_node_that_dies_are_taken_over_when_its_lease_is_over() {
    let (mut fleet, receiver) = (Fleet::new(), Receiver::start(Duration::from_millis(100)).await);
    let (one, other) = (fleet.join().await, fleet.join().await);
    shared_out(&[&one, &other]).await;
    with_endpoints(&one, &receiver).await;
    for n in 0..160 {
        one.publish(CONSUMERS[n % CONSUMERS.len()]).await;
    }
    until("some are being delivered", || receiver.in_flight() > 3).await;
    let in_flight = one.engine().stats().in_flight;
    one.die();
    // Between the two, some may have ended and others begun.
    let most = in_flight + CONSUMERS.len() * MOST_AT_ONCE;
    other.publish("a").await;
    assert!(other.shards() != Shards::ALL);
    fleet.let_leases_run_out();
    shared_out(&[&other]).await;
    until("everything is delivered", || receiver.distinct() == 161).await;
    other.stop().await;
    assert!(receiver.repeated() <= most, "{} came again, {most} were in flight", receiver.repeated());
}

#[tokio::test]
async fn a_node_that_cannot_renew_its_lease_stops_posting_and_goes_on_afterwards() {
    let (mut fleet, receiver) = (Fleet::new(), Receiver::start(Duration::from_millis(20)).await);
    let (one, other) = (fleet.join().await, fleet.join().await);
    shared_out(&[&one, &other]).await;
    with_endpoints(&one, &receiver).await;
    let shards = one.shards();
    one.model.set_reachable(false);
    until("the trust has ended", || !one.is_trusted()).await;
    until("nothing is worked on", || one.shards().is_empty()).await;
    assert!(!one.engine().leadership().leads());
    // What is accepted for its endpoints waits: its lease is not over yet.
    for n in 0..80 {
        other.publish(CONSUMERS[n % CONSUMERS.len()]).await;
    }
    assert_eq!(one.engine().stats().waiting, 0);
    one.model.set_reachable(true);
    until("it works again", || one.shards() == shards).await;
    until("everything is delivered", || receiver.distinct() == 80).await;
    one.stop().await;
    other.stop().await;
    assert_eq!(receiver.repeated(), 0);
}

/// It comes to have shards just when somebody changes something, and that takes long.
#[tokio::test]
async fn a_node_goes_on_renewing_its_lease_while_it_cannot_catch_up_for_what_it_takes_over() {
    let (mut fleet, receiver) = (Fleet::new(), Receiver::start(Duration::from_millis(20)).await);
    let (one, other) = (fleet.join().await, fleet.join().await);
    shared_out(&[&one, &other]).await;
    with_endpoints(&one, &receiver).await;
    let (before, most) = (one.shards(), TRUSTED_FOR + Duration::from_secs(3));
    let directory = one.sender.directory();
    let endpoint = directory.endpoints(None, None, 1).into_iter().next().unwrap();
    let turn = directory.begin_pause(&endpoint, PauseReason::Failing, SystemClock.now()).await.unwrap();
    assert!(turn.is_some(), "it is held");
    other.stop().await;
    let lost = until("it has lost what it had", || one.shards().and(before) != before);
    assert!(timeout(most, lost).await.is_err(), "what it has stays its own");
    drop(turn);
    shared_out(&[&one]).await;
    one.stop().await;
}

#[tokio::test]
async fn a_node_whose_shards_were_taken_meanwhile_posts_nothing_of_them() {
    let (mut fleet, receiver) = (Fleet::new(), Receiver::start(Duration::from_millis(20)).await);
    let (one, other) = (fleet.join().await, fleet.join().await);
    shared_out(&[&one, &other]).await;
    with_endpoints(&one, &receiver).await;
    one.model.set_reachable(false);
    until("the trust has ended", || !one.is_trusted()).await;
    fleet.let_leases_run_out();
    shared_out(&[&other]).await;
    assert!(other.engine().leadership().leads());
    for n in 0..80 {
        other.publish(CONSUMERS[n % CONSUMERS.len()]).await;
    }
    until("everything is delivered", || receiver.distinct() == 80).await;
    one.model.set_reachable(true);
    shared_out(&[&one, &other]).await;
    assert!(one.engine().leadership().leads() != other.engine().leadership().leads());
    one.stop().await;
    shared_out(&[&other]).await;
    other.stop().await;
    assert_eq!(receiver.repeated(), 0);
}
