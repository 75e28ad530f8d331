//! What is configured on one node, on the others.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use waxseal_envelope::EventType;
use waxseal_keys::{Clock, SystemClock, Timestamp};
use waxseal_sender::directory::{ChangeError, DirectoryEvent};
use waxseal_sender::id::{EndpointId, TokenId};
use waxseal_sender::model::client_ca::ClientCa;
use waxseal_sender::model::consumer::{DeclaredType, Visibility};
use waxseal_sender::model::encryption_keys::{EncryptionKeySet, KeyOwner, KeySource};
use waxseal_sender::model::endpoint::{Endpoint, EndpointStatus, PauseReason, Protection};
use waxseal_sender::model::health::EndpointHealth;
use waxseal_sender::model::secret::Secret;
use waxseal_sender::model::token::ApiToken;
use waxseal_sender::store::{Catalog, LEASE, Shard, Shards, StoreError};
use waxseal_sender::upkeep::{Retention, Upkeep};

use crate::node::{LIMIT, Node, Site, endpoint, id, registered, until};

#[tokio::test]
async fn whatever_one_node_changes_the_others_work_by_when_that_is_answered() {
    let site = Site::new();
    let (a, b, c) = (site.node().await, site.node().await, site.node().await);
    a.create_consumer("acme").await.unwrap();
    a.create_group("gold").await.unwrap();
    let (now, name) = (SystemClock.now(), EventType::parse("order.created").unwrap());
    let declared =
        DeclaredType { name: name.clone(), description: None, visible_to: Visibility::All, created_at: now };
    b.directory.catch_up().await.unwrap();
    b.directory.create_event_type(declared).await.unwrap();
    let made = endpoint("acme", "https://acme.example".parse().unwrap());
    let owner = KeyOwner::Endpoint(id("acme"), made.id);
    let set = EncryptionKeySet { owner: owner.clone(), source: KeySource::Pinned, keys: Vec::new() };
    let made = c.directory.create_endpoint(made, Some(set)).await.unwrap();
    let token = ApiToken {
        id: TokenId::generate(now),
        sha256: "a1".repeat(32),
        label: None,
        scopes: Default::default(),
        consumer: Some(id("acme")),
        created_at: now,
        expires_at: None,
    };
    a.directory.create_token(token.clone()).await.unwrap();
    a.directory.everywhere().await;
    for node in [&a, &b, &c] {
        assert!(node.directory.consumer(&id("acme")).is_some());
        assert_eq!(node.directory.groups().len(), 1);
        assert!(node.directory.event_type(&name).is_some());
        assert_eq!(node.directory.endpoint(made.id).as_deref(), Some(&*made));
        assert!(node.directory.key_set(&owner).is_some());
        assert_eq!(node.directory.token_by_hash(&token.sha256).as_deref(), Some(&token));
    }
    b.directory.delete_token(token.id).await.unwrap();
    b.directory.delete_endpoint(made.id).await.unwrap();
    c.directory.delete_event_type(&name).await.unwrap();
    b.directory.everywhere().await;
    c.directory.everywhere().await;
    for node in [&a, &b, &c] {
        assert!(node.directory.token_by_hash(&token.sha256).is_none());
        assert!(node.directory.endpoint(made.id).is_none() && node.directory.key_set(&owner).is_none());
        assert!(node.directory.endpoints(Some(&id("acme")), None, 9).is_empty());
        assert!(node.directory.event_type(&name).is_none());
    }
    let late = site.deaf_node().await;
    assert_eq!(late.directory.version(), a.directory.version(), "it has read what the others work by");
    assert!(late.directory.consumer(&id("acme")).is_some() && late.directory.endpoint(made.id).is_none());
    for node in [a, b, c] {
        node.stop().await;
    }
}

#[tokio::test]
async fn without_any_hint_a_change_is_found_by_looking() {
    let site = Site::new();
    let (a, b) = (site.node().await, site.node().await);
    site.model.lose_hints(true);
    for name in ["acme", "beta", "gamma"] {
        a.create_consumer(name).await.unwrap();
        until(name, || b.directory.consumer(&id(name)).is_some()).await;
    }
    site.model.lose_hints(false);
    a.create_consumer("delta").await.unwrap();
    until("delta", || b.directory.consumer(&id("delta")).is_some()).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn what_others_changed_is_told_to_subscribers_like_a_change_of_ones_own() {
    let site = Site::new();
    let (a, b) = (site.deaf_node().await, site.deaf_node().await);
    a.create_consumer("acme").await.unwrap();
    let made = a.create_endpoint("acme").await.unwrap();
    b.directory.catch_up().await.unwrap();
    let mut news = b.directory.subscribe();
    a.directory.update_endpoint(made, |endpoint| pause(endpoint, PauseReason::Operator)).await.unwrap();
    let owner = KeyOwner::Consumer(id("acme"));
    let set = EncryptionKeySet { owner: owner.clone(), source: KeySource::Pinned, keys: Vec::new() };
    a.directory.put_key_set(set).await.unwrap();
    b.directory.catch_up().await.unwrap();
    a.directory.delete_consumer(&id("acme")).await.unwrap();
    b.directory.catch_up().await.unwrap();
    b.directory.catch_up().await.unwrap();
    let mut heard = Vec::new();
    while let Ok(event) = news.try_recv() {
        heard.push(event);
    }
    for told in [
        DirectoryEvent::EndpointChanged(made),
        DirectoryEvent::KeysChanged(owner),
        DirectoryEvent::EndpointRemoved(made),
    ] {
        assert!(heard.contains(&told), "{told:?} in {heard:?}");
    }
    assert_eq!(heard.len(), 4, "keys come and go, and nothing is told twice: {heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_made_at_once_none_is_lost_without_a_word() {
    const ROUNDS: usize = 60;
    let site = Site::new();
    site.model.lose_turns(true);
    let nodes = [site.deaf_node().await, site.deaf_node().await, site.deaf_node().await];
    nodes[0].create_consumer("acme").await.unwrap();
    let count = |node: &Node| {
        let directory = Arc::clone(&node.directory);
        tokio::spawn(async move {
            let (mut made, mut superseded) = (0, 0);
            while made < ROUNDS {
                let acme = id("acme");
                let counted = directory.update_consumer(&acme, |consumer| {
                    let before = consumer.description.as_deref().unwrap_or("0");
                    consumer.description = Some((before.parse::<usize>().unwrap() + 1).to_string());
                    Ok(())
                });
                match counted.await {
                    Ok(_) => made += 1,
                    Err(ChangeError::Store(StoreError::Superseded)) => superseded += 1,
                    Err(error) => panic!("{error}"),
                }
                tokio::task::yield_now().await;
            }
            superseded
        })
    };
    let counting = nodes.each_ref().map(count);
    for one in counting {
        one.await.unwrap();
    }
    for node in &nodes {
        node.directory.catch_up().await.unwrap();
        let shown = node.directory.consumer(&id("acme")).unwrap().description.clone();
        assert_eq!(shown, Some((nodes.len() * ROUNDS).to_string()));
    }
}

#[tokio::test]
async fn a_change_made_on_top_of_an_older_state_is_refused_and_nothing_of_it_shown() {
    let site = Site::new();
    let (a, b) = (site.deaf_node().await, site.deaf_node().await);
    site.model.interrupt(1);
    let refused = a.create_group("gold").await.unwrap_err();
    assert!(matches!(refused, ChangeError::Store(StoreError::Superseded)), "{refused}");
    assert!(a.directory.groups().is_empty());
    b.create_group("gold").await.unwrap();
    let refused = a.create_group("gold").await.unwrap_err();
    assert!(matches!(refused, ChangeError::Exists { .. }), "it has caught up: {refused}");
}

#[tokio::test]
async fn no_node_works_by_an_old_protection_once_the_new_one_is_answered() {
    let site = Site::new();
    let (a, b, c) = (site.node().await, site.node().await, site.node().await);
    a.create_consumer("acme").await.unwrap();
    let made = a.create_endpoint("acme").await.unwrap();
    for round in 0..100 {
        site.model.lose_hints(round % 50 == 49);
        let by = [&a, &b, &c][round % 3];
        let protection = if round % 2 == 0 { Protection::Sealed } else { Protection::Signed };
        let edit = |endpoint: &mut Endpoint| {
            endpoint.protect_as(protection);
            Ok(())
        };
        by.directory.update_endpoint(made, edit).await.unwrap();
        by.directory.everywhere().await;
        for node in [&a, &b, &c] {
            assert_eq!(node.protection(made), Some(protection), "round {round}");
        }
    }
    for node in [a, b, c] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_is_waited_for_until_its_lease_is_over() {
    let site = Site::new();
    let (a, b) = (site.node().await, site.node().await);
    b.model.set_reachable(false);
    a.create_consumer("acme").await.unwrap();
    let directory = Arc::clone(&a.directory);
    let waiting = tokio::spawn(async move { directory.everywhere().await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "the other node may be at work");
    site.leases.advance(LEASE);
    tokio::time::timeout(LIMIT, waiting).await.unwrap().unwrap();
    assert!(b.directory.consumer(&id("acme")).is_none());
    b.model.set_reachable(true);
    until("it goes on", || b.directory.consumer(&id("acme")).is_some()).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn of_two_nodes_that_make_the_client_authority_at_once_both_have_one() {
    let site = Site::new();
    let (a, b) = (site.deaf_node().await, site.deaf_node().await);
    let made = |name: &str| ClientCa {
        name: name.to_owned(),
        private_key: Secret::new(name),
        certificate: name.to_owned(),
        not_after: SystemClock.now(),
    };
    let first = a.directory.put_client_ca(made("one"), None).await.unwrap();
    let second = b.directory.put_client_ca(made("two"), None).await.unwrap();
    assert_eq!((first.name.as_str(), second.name.as_str()), ("one", "one"));
}

#[tokio::test]
async fn what_is_kept_of_endpoints_that_fail_is_read_when_their_shards_are_taken_over() {
    let site = Site::new();
    let (a, b) = (site.deaf_node().await, site.deaf_node().await);
    a.create_consumer("acme").await.unwrap();
    let (one, other) = (a.create_endpoint("acme").await.unwrap(), a.create_endpoint("acme").await.unwrap());
    b.directory.catch_up().await.unwrap();
    let version = a.directory.version();
    for id in [one, other] {
        keep_health(&a, id, Some(failing(id))).await;
    }
    let mut found = b.directory.failing_of(Shards::ALL).await.unwrap();
    found.sort_by_key(|health| health.endpoint);
    let mut both = [failing(one), failing(other)];
    both.sort_by_key(|health| health.endpoint);
    assert_eq!(found, both);
    let shard: Shards = [Shard::of(one)].into_iter().collect();
    assert!(b.directory.failing_of(shard).await.unwrap().contains(&failing(one)));
    keep_health(&a, one, None).await;
    assert!(b.directory.failing_of(Shards::ALL).await.unwrap() == [failing(other)]);
    assert_eq!(b.directory.failing(), [failing(other)], "it is not remembered either");
    b.directory.catch_up().await.unwrap();
    assert_eq!(b.directory.version(), version, "it is no change of what is configured");
}

#[tokio::test]
async fn what_the_store_has_lost_is_not_shown_any_more() {
    let site = Site::new();
    let a = site.deaf_node().await;
    a.create_consumer("acme").await.unwrap();
    let snapshot = a.model.snapshot();
    a.create_consumer("beta").await.unwrap();
    a.create_endpoint("beta").await.unwrap();
    a.model.go_back_to(snapshot);
    a.directory.catch_up().await.unwrap();
    assert!(a.directory.consumer(&id("acme")).is_some());
    assert!(a.directory.consumer(&id("beta")).is_none(), "a standby took over that did not have it");
    assert!(a.directory.endpoints(None, None, 9).is_empty());
    a.create_group("gold").await.unwrap();
}

/// It was away for so long that the others have forgotten what they have removed.
#[tokio::test]
async fn a_node_that_was_away_for_long_forgets_what_was_removed_meanwhile() {
    let site = Site::new();
    let (away, a) = (site.deaf_node().await, site.deaf_node().await);
    let cluster = a.model.cluster().unwrap();
    for node in [&away, &a] {
        cluster.tend(&registered(node.id)).await.unwrap();
    }
    for name in ["acme", "beta"] {
        a.create_consumer(name).await.unwrap();
        a.create_endpoint(name).await.unwrap();
    }
    a.create_group("gold").await.unwrap();
    away.directory.catch_up().await.unwrap();
    away.directory.report_as(away.id, away.directory.version()).await.unwrap();
    let gone = away.directory.endpoints(Some(&id("acme")), None, 1)[0].id;
    a.directory.delete_consumer(&id("acme")).await.unwrap();
    a.directory.report_as(a.id, a.directory.version()).await.unwrap();
    assert_eq!(keep_up(&a).await, 0, "the other may not know of it yet");
    site.leases.advance(LEASE);
    assert_eq!(keep_up(&a).await, 0, "nor if it comes back soon");
    site.leases.advance(Duration::from_secs(2 * 60 * 60));
    cluster.tend(&registered(a.id)).await.unwrap();
    assert!(keep_up(&a).await > 0);

    let mut news = away.directory.subscribe();
    away.directory.catch_up().await.unwrap();
    assert_eq!(away.directory.version(), a.directory.version());
    assert!(away.directory.consumer(&id("acme")).is_none() && away.directory.endpoint(gone).is_none());
    assert!(away.keys.of(&id("acme")).is_none(), "nor is its key remembered");
    assert!(away.directory.consumer(&id("beta")).is_some() && away.directory.groups().len() == 1);
    assert_eq!(away.directory.endpoints(None, None, 9).len(), 1);
    let heard = std::iter::from_fn(|| news.try_recv().ok()).collect::<Vec<_>>();
    assert!(heard.contains(&DirectoryEvent::EndpointRemoved(gone)), "{heard:?}");
}

/// A version that everybody had before a standby took over without it says nothing of what has its number since.
#[tokio::test]
async fn what_was_everywhere_before_the_store_lost_it_is_not_everywhere_afterwards() {
    let site = Site::new();
    let (a, silent) = (site.deaf_node().await, site.deaf_node().await);
    a.create_consumer("acme").await.unwrap();
    let snapshot = a.model.snapshot();
    a.create_group("lost").await.unwrap();
    a.directory.everywhere().await;
    a.model.go_back_to(snapshot);
    let cluster = silent.model.cluster().unwrap();
    cluster.tend(&registered(silent.id)).await.unwrap();
    a.create_group("other").await.unwrap();
    let answered = timeout(Duration::from_millis(500), a.directory.everywhere()).await;
    assert!(answered.is_err(), "a node that is at work does not work by it yet");
    cluster.works_by(silent.id, a.directory.version()).await.unwrap();
    timeout(Duration::from_secs(60), a.directory.everywhere()).await.expect("now it does");
}

/// How many removals are forgotten when this node does what its leader does from time to time.
async fn keep_up(node: &Node) -> usize {
    let before = node.model.removals();
    let upkeep = Upkeep::new(Arc::new(node.model.clone()), Arc::new(SystemClock), Retention::default());
    upkeep.pass().await.unwrap();
    before - node.model.removals()
}

async fn keep_health(node: &Node, id: EndpointId, health: Option<EndpointHealth>) {
    let edit = node.directory.begin_health(id, health).unwrap();
    node.model.change(vec![edit.change()]).await.unwrap();
    edit.adopt();
}

fn failing(endpoint: EndpointId) -> EndpointHealth {
    let failing_since = Timestamp::from_seconds(1_000);
    EndpointHealth { endpoint, consumer: id("acme"), failing_since, attempts: 3, open: None }
}

fn pause(endpoint: &mut Endpoint, reason: PauseReason) -> Result<(), ChangeError> {
    endpoint.status = EndpointStatus::Paused { reason, since: SystemClock.now() };
    Ok(())
}
