//! Deliveries of several nodes: everything is delivered, and once, whoever accepted it and whoever owns its endpoint.

use std::time::Duration;

use waxseal_sender::model::pace::{Order, Pace, RateLimit};
use waxseal_sender::publish::Attempting;
use waxseal_sender::store::{NodeRole, Shards};

use crate::fleet::{Fleet, Member, shared_out};
use crate::node::until;
use crate::receiver::Receiver;

const CONSUMERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

async fn with_endpoints(member: &Member, receiver: &Receiver) {
    member.declare(&CONSUMERS).await;
    for name in CONSUMERS {
        member.endpoint(name, receiver.url(name), Pace::default(), Shards::NONE).await;
    }
    member.sender.directory().everywhere().await;
}

#[tokio::test]
async fn what_is_accepted_on_any_node_is_delivered_once() {
    let (mut fleet, receiver) = (Fleet::new(), Receiver::start(Duration::from_millis(2)).await);
    let members = [fleet.join().await, fleet.join().await, fleet.join_as(NodeRole::Api).await];
    shared_out(&[&members[0], &members[1]]).await;
    assert!(members[2].shards().is_empty(), "a node that serves the API makes no deliveries");
    with_endpoints(&members[0], &receiver).await;
    for n in 0..120 {
        members[n % 3].publish(CONSUMERS[n / 3 % 6]).await;
    }
    until("everything is delivered", || receiver.distinct() == 120).await;
    for member in members {
        member.stop().await;
    }
    assert_eq!(receiver.repeated(), 0);
}

#[tokio::test]
async fn what_no_hint_tells_of_is_found_all_the_same() {
    let (mut fleet, receiver) = (Fleet::new(), Receiver::start(Duration::ZERO).await);
    let (one, other) = (fleet.join().await, fleet.join().await);
    shared_out(&[&one, &other]).await;
    with_endpoints(&one, &receiver).await;
    one.model.lose_hints(true);
    for n in 0..60 {
        one.publish(CONSUMERS[n % 6]).await;
    }
    until("everything is found", || receiver.distinct() == 60).await;
    one.stop().await;
    other.stop().await;
    assert_eq!(receiver.repeated(), 0);
}

#[tokio::test]
async fn an_endpoint_that_its_owner_does_not_know_yet_is_not_taken_for_gone() {
    let (mut fleet, receiver) = (Fleet::new(), Receiver::start(Duration::ZERO).await);
    let (one, other) = (fleet.join().await, fleet.join().await);
    shared_out(&[&one, &other]).await;
    one.declare(&CONSUMERS).await;
    one.model.lose_hints(true);
    for name in CONSUMERS {
        one.endpoint(name, receiver.url(name), Pace::default(), one.shards()).await;
        one.publish(name).await;
    }
    until("everything is delivered", || receiver.distinct() == CONSUMERS.len()).await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_strict_order_is_kept_on_the_node_that_accepts_and_delivers() {
    let (mut fleet, receiver) = (Fleet::new(), Receiver::start(Duration::ZERO).await);
    let (one, other) = (fleet.join().await, fleet.join().await);
    shared_out(&[&one, &other]).await;
    one.declare(&["a"]).await;
    let strict = Pace { order: Order::Fifo, ..Pace::default() };
    one.endpoint("a", receiver.url("a"), strict, other.shards()).await;
    let mut published = Vec::new();
    for _ in 0..80 {
        published.push(one.publish("a").await.event.to_string());
    }
    until("everything is delivered", || receiver.total() >= 80).await;
    assert_eq!(receiver.order("a"), published);
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn what_another_node_cancels_is_not_delivered() {
    cancel_on_another_node(Hints::Heard).await;
}

/// As of a node that is gone before it has said it.
#[tokio::test]
async fn what_another_node_cancels_without_a_word_is_not_delivered_either() {
    cancel_on_another_node(Hints::Lost).await;
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hints {
    Heard,
    Lost,
}

async fn cancel_on_another_node(hints: Hints) {
    let (mut fleet, receiver) = (Fleet::new(), Receiver::start(Duration::ZERO).await);
    let (one, other) = (fleet.join().await, fleet.join().await);
    shared_out(&[&one, &other]).await;
    one.declare(&["a"]).await;
    let slow = Pace { rate_limit: Some(RateLimit::new(1.0, Some(1)).unwrap()), ..Pace::default() };
    one.endpoint("a", receiver.url("a"), slow, one.shards()).await;
    one.sender.directory().everywhere().await;
    let mut published = Vec::new();
    for _ in 0..6 {
        published.push(one.publish("a").await);
    }
    until("the first is delivered", || receiver.total() > 0).await;
    until("the others wait", || other.engine().stats().waiting >= 4).await;
    one.model.lose_hints(hints == Hints::Lost);
    for cancelled in &published[2..5] {
        let attempting = one.sender.publisher().cancel(cancelled.deliveries[0].id).await.unwrap();
        assert_eq!(attempting, Attempting::Now, "as far as this node knows the other may be at it");
    }
    let last = published[5].event.to_string();
    until("the last is delivered", || receiver.order("a").contains(&last)).await;
    assert_eq!(receiver.total(), 3, "and none of those that were cancelled");
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn any_node_can_say_how_an_endpoint_does() {
    let mut fleet = Fleet::new();
    let (one, other) = (fleet.join().await, fleet.join().await);
    shared_out(&[&one, &other]).await;
    one.declare(&["a"]).await;
    let receiver = Receiver::start(Duration::ZERO).await;
    let made = one.endpoint("a", receiver.url("a"), Pace::default(), one.shards()).await;
    let paused = waxseal_sender::model::endpoint::EndpointStatus::Paused {
        reason: waxseal_sender::model::endpoint::PauseReason::Operator,
        since: waxseal_keys::Timestamp::from_seconds(1),
    };
    let pause = |endpoint: &mut waxseal_sender::model::endpoint::Endpoint| {
        endpoint.status = paused;
        Ok(())
    };
    one.sender.directory().update_endpoint(made, pause).await.unwrap();
    one.publish("a").await;
    for member in [&one, &other] {
        let held = async || {
            let states = member.engine().states(&[made]).await.unwrap();
            states.get(&made).and_then(|state| state.hold).is_some()
        };
        let waiting = async {
            while !held().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(crate::node::LIMIT, waiting).await.expect("the hold is told");
    }
    one.stop().await;
    other.stop().await;
}
