//! Properties of what nodes say to each other through their store, and of how they take turns.
//!
//! A property is given what those of [`cluster`](super::cluster) are given, and `cluster_suite!` makes tests of both.

use std::time::Duration;

use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::timeout;
use waxseal_sender::store::{Cluster, Hint, Shard, Shards};

use super::cluster::{PATIENCE, Shared, clusters};
use super::fixture::endpoint_id;

/// All that it says together, and the sender does not hear itself.
pub async fn words_reach_the_other_node(shared: impl Shared) {
    let [one, two] = clusters(&shared);
    let (mut own, mut others) = (one.hints(), two.hints());
    let shards: Shards = [Shard::new(1), Shard::new(255)].into_iter().collect();
    // Words of before somebody listened are nobody's: they are repeated until the first is heard.
    heard_again(&*one, &mut others, Hint::Configured).await;
    for hint in [Hint::Arrived(shards), Hint::RingChanged, Hint::Withdrawn(endpoint_id(5))] {
        one.hint(hint.clone());
        until_heard(&mut others, &hint).await;
    }
    two.hint(Hint::RingChanged);
    loop {
        match timeout(PATIENCE, own.recv()).await.expect("the other's word is heard").unwrap() {
            Hint::RingChanged => break,
            Hint::Lost => {}
            other => panic!("{other:?} is its own"),
        }
    }
}

/// And not longer; the one who waits gets it then.
pub async fn a_turn_keeps_others_waiting_until_it_is_given_back(shared: impl Shared) {
    let [one, two] = clusters(&shared);
    for _ in 0..3 {
        let held = one.turn().await.unwrap();
        let mut waiting = Box::pin(two.turn());
        assert!(timeout(Duration::from_millis(150), &mut waiting).await.is_err(), "there is one turn");
        drop(held);
        drop(timeout(PATIENCE, waiting).await.expect("it is given back").unwrap());
    }
}

async fn heard_again(from: &dyn Cluster, by: &mut Receiver<Hint>, hint: Hint) {
    for _ in 0..300 {
        from.hint(hint.clone());
        match timeout(Duration::from_millis(100), by.recv()).await {
            Ok(Ok(heard)) if heard == hint => return,
            _ => {}
        }
    }
    panic!("{hint:?} is never heard");
}

async fn until_heard(by: &mut Receiver<Hint>, hint: &Hint) {
    let heard = async {
        loop {
            match by.recv().await {
                Ok(heard) if heard == *hint => return,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => panic!("nobody speaks any more"),
            }
        }
    };
    timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("{hint:?} is not heard"));
}
