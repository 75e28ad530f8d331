//! Properties of what several nodes need of one store: leases, arrivals, conditions; versions are in
//! [`configuration`](super::configuration), words and turns in [`words`](super::words).
//!
//! A property is given a [`Shared`]: one store as two nodes have it. `cluster_suite!` makes tests of them.

use std::time::Duration;

use async_trait::async_trait;
use waxseal_sender::id::{EndpointId, NodeId};
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::store::{
    Cluster, DataKeyRecord, Node, NodeRole, Outcome, Settlement, Shard, Shards, Store, ToldCondition,
    ToldConditions,
};

use super::configuration::put;
use super::fixture::{at, consumer, delivery_id, endpoint_id, live, new_delivery, new_event, settlement};

/// One store, as two nodes have it.
#[async_trait]
pub trait Shared: Send + Sync {
    /// The store as each of the nodes has it.
    fn stores(&self) -> [&dyn Store; 2];

    /// Lets so much time pass for the store that every lease is over which is not renewed.
    async fn let_leases_run_out(&self);
}

/// Makes one test of each property: `cluster_suite!(subject)` where `subject()` is a future of a new [`Shared`].
#[macro_export]
macro_rules! cluster_suite {
    ($subject:path) => {
        $crate::cluster_suite!(@ $subject: cluster {
            shards_are_shared_and_never_owned_twice
            a_lease_that_ran_out_is_taken_over_and_the_epoch_counts_up
            a_node_that_serves_the_api_alone_takes_nothing
            a_node_that_leaves_is_forgotten
            arrivals_are_found_by_asking
            what_another_node_cancels_is_found_by_looking
            conditions_are_told_by_those_who_own_the_shard
            a_data_key_that_was_made_anew_is_not_destroyed_for_the_old_one
        });
        $crate::cluster_suite!(@ $subject: configuration {
            what_is_superseded_writes_nothing
            changes_are_followed_by_version_and_removals_too
            changes_of_two_nodes_at_once_are_seen_in_order
            removals_are_forgotten_when_every_node_knows_of_them
            how_endpoints_do_has_no_version
        });
        $crate::cluster_suite!(@ $subject: words {
            words_reach_the_other_node
            a_turn_keeps_others_waiting_until_it_is_given_back
        });
    };
    (@ $subject:path: $module:ident { $($property:ident)* }) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $property() {
                    $crate::store_suite::$module::$property($subject().await).await;
                }
            )*
        }
    };
}

/// The first takes all; the second what the first gives back; whoever comes, nothing is owned by both.
pub async fn shards_are_shared_and_never_owned_twice(shared: impl Shared) {
    let [one, two] = clusters(&shared);
    let (first, second) = (node(1, NodeRole::All), node(2, NodeRole::Engine));
    let tenure = one.tend(&first).await.unwrap();
    assert_eq!((tenure.owned(), tenure.excess), (Shards::ALL, 0));
    let none = two.tend(&second).await.unwrap();
    assert_eq!((none.owned(), none.excess), (Shards::NONE, 0));
    let tenure = one.tend(&first).await.unwrap();
    assert_eq!((tenure.shards.len(), tenure.excess), (256, 128));

    let excess: Shards = tenure.owned().iter().skip(128).collect();
    two.give_back(second.id, excess).await.unwrap();
    assert_eq!(one.tend(&first).await.unwrap().shards.len(), 256, "nobody gives back what is another's");
    one.give_back(first.id, excess).await.unwrap();
    for _ in 0..10 {
        let (a, b) = tokio::join!(one.tend(&first), two.tend(&second));
        let (a, b) = (a.unwrap().owned(), b.unwrap().owned());
        assert_eq!(a.and(b), Shards::NONE);
        one.give_back(first.id, a.iter().take(9).collect()).await.unwrap();
        two.give_back(second.id, b.iter().take(9).collect()).await.unwrap();
    }
    let (a, b) = (one.tend(&first).await.unwrap().owned(), two.tend(&second).await.unwrap().owned());
    assert_eq!((a.or(b), a.len(), b.len()), (Shards::ALL, 128, 128));
}

/// Not before; and the owner can tell afterwards that others may have worked on it.
pub async fn a_lease_that_ran_out_is_taken_over_and_the_epoch_counts_up(shared: impl Shared) {
    let [one, two] = clusters(&shared);
    let (first, second) = (node(1, NodeRole::All), node(2, NodeRole::All));
    let before = one.tend(&first).await.unwrap();
    two.tend(&second).await.unwrap();
    shared.let_leases_run_out().await;
    let taken = two.tend(&second).await.unwrap();
    assert_eq!(taken.owned(), Shards::ALL);
    for ((shard, old), (taken, new)) in before.shards.iter().zip(&taken.shards) {
        assert_eq!((shard, old + 1), (taken, *new));
    }
    assert_eq!(one.tend(&first).await.unwrap().owned(), Shards::NONE);

    // Nobody has taken it meanwhile: it is as it was.
    let before = two.tend(&second).await.unwrap();
    shared.let_leases_run_out().await;
    assert_eq!(two.tend(&second).await.unwrap().shards, before.shards);
}

/// It counts for nobody's share either.
pub async fn a_node_that_serves_the_api_alone_takes_nothing(shared: impl Shared) {
    let [one, two] = clusters(&shared);
    let api = one.tend(&node(1, NodeRole::Api)).await.unwrap();
    assert_eq!((api.owned(), api.excess), (Shards::NONE, 0));
    let all = two.tend(&node(2, NodeRole::Engine)).await.unwrap();
    assert_eq!((all.owned(), all.excess), (Shards::ALL, 0));
}

/// What it owned is free at once.
pub async fn a_node_that_leaves_is_forgotten(shared: impl Shared) {
    let [one, two] = clusters(&shared);
    let (first, second) = (node(1, NodeRole::All), node(2, NodeRole::Api));
    one.tend(&first).await.unwrap();
    two.tend(&second).await.unwrap();
    two.works_by(second.id, 7).await.unwrap();
    let overview = one.overview().await.unwrap();
    let seen: Vec<_> = overview.nodes.iter().map(|seen| (&seen.node, seen.shards, seen.works_by)).collect();
    assert_eq!(seen, [(&first, Shards::ALL, 0), (&second, Shards::NONE, 7)]);
    assert!(overview.nodes.iter().all(|seen| seen.lease_left > Duration::ZERO));
    assert_eq!(overview.unowned, Shards::NONE);

    one.leave(first.id).await.unwrap();
    let overview = two.overview().await.unwrap();
    assert_eq!(overview.nodes.iter().map(|seen| seen.node.id).collect::<Vec<_>>(), [second.id]);
    assert_eq!(overview.unowned, Shards::ALL);
    assert_eq!(two.tend(&node(3, NodeRole::All)).await.unwrap().owned(), Shards::ALL);
}

/// Of each shard from its own place on, and no more than was asked for.
pub async fn arrivals_are_found_by_asking(shared: impl Shared) {
    let [store, other] = shared.stores();
    for number in 1..=6 {
        let deliveries = vec![new_delivery(number, 1, at(5)), new_delivery(100 + number, 2, at(7))];
        store.accept(new_event(number, at(0), deliveries)).await.unwrap();
    }
    let delivered = Outcome::Final(DeliveryState::Delivered);
    store.settle(settlement(live(4, 4, 1, at(5), 0), delivered, at(9))).await.unwrap();
    let cluster = other.cluster().unwrap();
    let found = async |after: Vec<(u8, u32)>, limit| {
        let after = after.into_iter().map(|(shard, id)| (Shard::new(shard), delivery_id(id))).collect();
        let found = cluster.arrivals(after, limit).await.unwrap();
        found.iter().map(|found| (found.id, found.work.endpoint)).collect::<Vec<_>>()
    };
    let expected = |all: &[(u32, u32)]| {
        all.iter().map(|(id, endpoint)| (delivery_id(*id), endpoint_id(*endpoint))).collect::<Vec<_>>()
    };
    assert_eq!(found(vec![(1, 2)], 99).await, expected(&[(3, 1), (5, 1), (6, 1)]));
    assert_eq!(found(vec![(1, 2), (2, 0)], 2).await, expected(&[(3, 1), (5, 1), (101, 2), (102, 2)]));
    assert_eq!(found(vec![(1, 6), (3, 0)], 99).await, []);
    assert_eq!(found(vec![], 99).await, []);
}

/// However it is cancelled, once, and nothing that ended otherwise.
pub async fn what_another_node_cancels_is_found_by_looking(shared: impl Shared) {
    let [store, other] = shared.stores();
    let cluster = other.cluster().unwrap();
    for number in 1..=4 {
        store.accept(new_event(number, at(0), vec![new_delivery(number, number, at(0))])).await.unwrap();
    }
    let first = cluster.withdrawn(None).await.unwrap();
    let (mut next, mut known) = (first.next, first.found);
    let mut look = async || {
        let withdrawn = cluster.withdrawn(Some(next)).await.unwrap();
        let new = withdrawn.found.iter().filter(|one| !known.contains(*one));
        let new: Vec<_> = new.map(|one| one.endpoint).collect();
        (next, known) = (withdrawn.next, withdrawn.found);
        new
    };
    assert_eq!(look().await, []);
    let end =
        |number, state| settlement(live(number, number, number, at(0), 0), Outcome::Final(state), at(1));
    store.settle(end(1, DeliveryState::Delivered)).await.unwrap();
    assert_eq!(look().await, []);
    store.settle(end(2, DeliveryState::Cancelled)).await.unwrap();
    assert_eq!(look().await, [endpoint_id(2)]);
    assert_eq!(store.cancel(vec![endpoint_id(3), endpoint_id(9)], 5, at(2)).await.unwrap(), 1);
    assert_eq!(look().await, [endpoint_id(3)]);
    let versioned = Settlement { changes: vec![put("a", 1)], ..end(4, DeliveryState::Cancelled) };
    store.settle(versioned).await.unwrap();
    assert_eq!(look().await, [endpoint_id(4)]);
    assert_eq!(look().await, []);
    // Whoever begins to look has nothing that could be withdrawn.
    let begun = cluster.withdrawn(None).await.unwrap();
    assert_eq!(begun.found, []);
    assert!(begun.next >= first.next);
}

/// And by nobody who has lost it; what is told of an endpoint replaces what was told of it before, and all of it replaces all.
pub async fn conditions_are_told_by_those_who_own_the_shard(shared: impl Shared) {
    let [one, two] = clusters(&shared);
    let first = node(1, NodeRole::All);
    one.tend(&first).await.unwrap();
    let told = |number, text: &str| ToldCondition { endpoint: endpoint_id(number), told: text.to_owned() };
    let all = |told: &[ToldCondition]| ToldConditions::All(told.to_vec());
    one.tell_conditions(first.id, all(&[told(1, "held"), told(2, "open")])).await.unwrap();
    let of = async |endpoint: Option<EndpointId>| {
        let mut told = two.conditions(endpoint).await.unwrap();
        told.sort_by_key(|told| told.endpoint);
        told
    };
    assert_eq!(of(None).await, [told(1, "held"), told(2, "open")]);
    assert_eq!(of(Some(endpoint_id(2))).await, [told(2, "open")]);
    one.tell_conditions(first.id, all(&[told(2, "half-open"), told(3, "held")])).await.unwrap();
    assert_eq!(of(None).await, [told(2, "half-open"), told(3, "held")]);
    assert_eq!(of(Some(endpoint_id(1))).await, []);
    let (otherwise, over) = (vec![told(2, "open"), told(4, "held")], vec![endpoint_id(3), endpoint_id(9)]);
    one.tell_conditions(first.id, ToldConditions::Changed { told: otherwise, over }).await.unwrap();
    assert_eq!(of(None).await, [told(2, "open"), told(4, "held")]);
    one.leave(first.id).await.unwrap();
    assert_eq!(of(None).await, []);
}

/// A node that is far too slow means the key that it has seen, not the one that the next holder of the name has.
pub async fn a_data_key_that_was_made_anew_is_not_destroyed_for_the_old_one(shared: impl Shared) {
    let [store, slow] = shared.stores();
    let key = |content: u8| {
        let (consumer, kek_id) = (Some(consumer(1)), "kek".to_owned());
        DataKeyRecord { consumer, kek_id, wrapped: vec![content; 9] }
    };
    store.keep_data_key(key(1)).await.unwrap();
    store.destroy_data_key(consumer(1)).await.unwrap();
    store.keep_data_key(key(2)).await.unwrap();
    slow.destroy_this_data_key(key(1)).await.unwrap();
    assert_eq!(store.data_keys().await.unwrap(), [key(2)]);
    slow.destroy_this_data_key(key(2)).await.unwrap();
    assert_eq!(store.data_keys().await.unwrap(), []);
    let system = DataKeyRecord { consumer: None, ..key(3) };
    store.keep_data_key(system.clone()).await.unwrap();
    slow.destroy_this_data_key(system.clone()).await.unwrap();
    assert_eq!(store.data_keys().await.unwrap(), [system], "that of no consumer stays");
}

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What they have of it beside the store.
pub(super) fn clusters(shared: &impl Shared) -> [std::sync::Arc<dyn Cluster>; 2] {
    shared.stores().map(|store| store.cluster().expect("it is shared"))
}

/// A node, as it says of itself.
pub fn node(number: u8, role: NodeRole) -> Node {
    Node {
        id: NodeId::from_bytes([number; 16]),
        name: format!("node-{number}"),
        role,
        program: "0.1.0".to_owned(),
        started_at: at(i64::from(number)),
    }
}
