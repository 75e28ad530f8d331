//! Signing by one ring on several nodes, whatever they do and whenever they do it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use waxseal_keys::{
    Clock, KeyEncryptionKey, KeyState, ManualClock, RingPolicy, SignatureAlgorithm, SystemClock, Timestamp,
};
use waxseal_receiver::jwks::publish::PublishedKeys;
use waxseal_sender::data_keys::DataKeys;
use waxseal_sender::rewrap::{Rewrapped, rewrap};
use waxseal_sender::signing_keys::SigningKeys;
use waxseal_sender::signing_keys::sharing::{Passing, SPREAD, SystemPassing};
use waxseal_sender::store::{Catalog, KeyRecords, LEASE, Node as Registered, NodeRole, Store, TRUSTED_FOR};
use waxseal_tests::store_model::StoreModel;

use crate::node::Site as Shared;

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn whatever_signs_on_one_node_is_published_on_all(deeds in prop::collection::vec(deed(), 1..200)) {
        run(async {
            let mut site = Site::new().await;
            for deed in &deeds {
                site.does(deed).await;
                site.check(deed);
            }
        });
    }
}

#[test]
fn whoever_read_the_ring_just_before_a_standby_was_made_is_not_believed_any_more_when_that_signs() {
    run(async {
        let mut site = Site::new().await;
        let (first, hurries) =
            (site.nodes[0].signs(), [Deed::Reloads(0), Deed::Advances(0), Deed::Rotates(0)]);
        let other_reads = [Deed::Reloads(1), Deed::Reloads(2)];
        // With its rotation the next standby is made.
        while site.nodes[0].signs() == first {
            for deed in other_reads.iter().chain([&Deed::Passes(250)]).chain(&hurries) {
                site.does(deed).await;
                site.check(deed);
            }
        }
        let second = site.nodes[0].signs();
        while site.nodes[0].signs() == second {
            for deed in [Deed::Passes(250)].iter().chain(&hurries) {
                site.does(deed).await;
                site.check(deed);
            }
        }
        assert!(site.nodes[0].signs().is_some());
    });
}

#[test]
fn the_key_that_wraps_all_others_is_not_changed_under_nodes_that_run() {
    run(async {
        let site = Shared::new();
        let one = site.deaf_node().await;
        let cluster = one.model.cluster().unwrap();
        let running = Registered::begin("one-of-three", NodeRole::All, SystemClock.now());
        cluster.tend(&running).await.unwrap();
        let (old, new) = (site.kek(), KeyEncryptionKey::generate());
        let refused = rewrap(&one.model, &old, &new, &SystemClock).await.unwrap_err();
        assert_eq!(refused.code(), "rewrap.nodes_run");
        assert!(refused.to_string().contains("one-of-three"), "{refused}");
        assert!(DataKeys::open(Arc::new(one.model.clone()), site.kek()).await.is_ok(), "nothing was changed");
        site.leases.advance(LEASE);
        assert!(
            matches!(rewrap(&one.model, &old, &new, &SystemClock).await, Ok(Rewrapped::Done { .. })),
            "it was killed"
        );
        cluster.tend(&running).await.unwrap();
        let again = rewrap(&one.model, &old, &new, &SystemClock).await;
        assert!(matches!(again, Ok(Rewrapped::Already)), "nodes that have the new one may run: {again:?}");
    });
}

#[test]
fn a_standby_signs_only_when_it_has_been_on_disk_for_so_long_that_everybody_has_it() {
    run(async {
        let site = Site::new().await;
        let [one, other, _] = &site.nodes;
        let standby = one.standby();
        assert!(one.keys.rotate().await.is_err(), "nobody else has seen it");
        site.passes(SPREAD - Duration::from_millis(1));
        one.keys.reload().await.unwrap();
        one.keys.advance().await.unwrap();
        assert!(one.keys.rotate().await.is_err());
        site.passes(Duration::from_millis(1));
        one.keys.reload().await.unwrap();
        one.keys.advance().await.unwrap();
        site.passes(POLICY.pending_for);
        one.keys.reload().await.unwrap();
        one.keys.rotate().await.unwrap();
        assert_eq!(one.signs().as_deref(), Some(standby.as_str()));
        other.keys.reload().await.unwrap();
        assert_eq!(other.signs().as_deref(), Some(standby.as_str()), "it has read what was made of the ring");
    });
}

#[test]
fn a_node_that_cannot_read_the_ring_stops_signing_by_it_and_goes_on_when_it_can() {
    run(async {
        let site = Site::new().await;
        let node = &site.nodes[0];
        let mut news = node.keys.subscribe();
        news.mark_unchanged();
        node.model.set_reachable(false);
        assert!(node.keys.reload().await.is_err());
        site.passes(TRUSTED_FOR - Duration::from_millis(1));
        assert!(node.signs().is_some() && node.keys.are_trusted());
        site.passes(Duration::from_millis(1));
        assert!(node.signs().is_none() && !node.keys.are_trusted());
        node.model.set_reachable(true);
        node.keys.reload().await.unwrap();
        assert!(node.signs().is_some() && node.keys.are_trusted());
        assert!(news.has_changed().unwrap(), "whoever waits for a key hears of it");
    });
}

/// A standby that takes over without the last change, and then one that gets the same number.
#[test]
fn a_ring_that_was_lost_is_not_taken_for_the_one_that_has_its_version_since() {
    run(async {
        let site = Site::new().await;
        let [one, other, third] = &site.nodes;
        let (snapshot, standby) = (one.model.snapshot(), one.standby());
        one.keys.revoke(&standby).await.unwrap();
        other.keys.reload().await.unwrap();
        let lost = one.model.ring().await.unwrap().unwrap();
        one.model.go_back_to(snapshot);
        third.keys.revoke(&standby).await.unwrap();
        let kept = one.model.ring().await.unwrap().unwrap();
        assert_eq!(kept.version, lost.version, "they can only be told apart by what they are");

        assert_ne!(other.standby(), third.standby());
        other.keys.reload().await.unwrap();
        assert_eq!((other.standby(), other.publishes()), (third.standby(), third.publishes()));
        let (signs, next) = (one.signs().unwrap(), third.standby());
        one.keys.revoke(&signs).await.unwrap();
        third.keys.reload().await.unwrap();
        assert_eq!(third.signs(), None);
        assert_eq!(third.standby(), next, "what others have done is not written over");
    });
}

#[test]
fn a_revocation_counts_as_a_change_of_what_is_configured() {
    run(async {
        let site = Site::new().await;
        let cluster = site.nodes[0].model.cluster().unwrap();
        let version = async || cluster.configured_after(0).await.unwrap().version;
        let before = version().await;
        let standby = site.nodes[0].standby();
        site.nodes[0].keys.revoke(&standby).await.unwrap();
        assert_eq!(version().await, before + 1);
    });
}

/// What may happen.
#[derive(Clone, Debug)]
enum Deed {
    Passes(u64),
    Reloads(usize),
    Advances(usize),
    Rotates(usize),
    Revokes(usize, prop::sample::Index),
    IsCutOff(usize),
    IsBack(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    let node = 0..NODES;
    prop_oneof![
        4 => (0_u64..4_000).prop_map(Deed::Passes),
        6 => node.clone().prop_map(Deed::Reloads),
        4 => node.clone().prop_map(Deed::Advances),
        2 => node.clone().prop_map(Deed::Rotates),
        1 => (node.clone(), any::<prop::sample::Index>()).prop_map(|(node, key)| Deed::Revokes(node, key)),
        1 => node.clone().prop_map(Deed::IsCutOff),
        2 => node.prop_map(Deed::IsBack),
    ]
}

/// Time that passes when it is told to.
#[derive(Debug)]
struct Told(Mutex<Instant>);

impl Passing for Told {
    fn instant(&self) -> Instant {
        *self.0.lock().unwrap()
    }
}

struct Site {
    nodes: [SigningNode; NODES],
    clock: Arc<ManualClock>,
    passing: Arc<Told>,
    /// When each key was revoked.
    revoked: HashMap<String, Instant>,
}

struct SigningNode {
    model: StoreModel,
    keys: Arc<SigningKeys>,
}

impl Site {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_000_000)));
        let passing = Arc::new(Told(Mutex::new(SystemPassing.instant())));
        let first = StoreModel::shared(Arc::<ManualClock>::clone(&clock));
        let kek = KeyEncryptionKey::generate();
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let model = first.for_another_node();
            let store: Arc<dyn Store> = Arc::new(model.clone());
            let kek = KeyEncryptionKey::from_text(&kek.to_text()).unwrap();
            let data_keys = Arc::new(DataKeys::open(store, kek).await.unwrap());
            let keys = SigningKeys::open_among(
                Arc::new(model.clone()),
                data_keys,
                POLICY,
                SignatureAlgorithm::EdDsa,
                Arc::<ManualClock>::clone(&clock),
                Some((model.cluster().unwrap(), Arc::<Told>::clone(&passing))),
            );
            nodes.push(SigningNode { keys: keys.await.unwrap(), model });
        }
        let nodes = nodes.try_into().unwrap_or_else(|_| panic!("as many as were made"));
        Self { nodes, clock, passing, revoked: HashMap::new() }
    }

    fn passes(&self, time: Duration) {
        self.clock.advance(time);
        *self.passing.0.lock().unwrap() += time;
    }

    async fn does(&mut self, deed: &Deed) {
        // What cannot be done is not done: there is no standby that may sign, or the store is out of reach.
        match deed {
            Deed::Passes(millis) => self.passes(Duration::from_millis(*millis)),
            Deed::Reloads(node) => drop(self.nodes[*node].keys.reload().await),
            Deed::Advances(node) => drop(self.nodes[*node].keys.advance().await),
            Deed::Rotates(node) => drop(self.nodes[*node].keys.rotate().await),
            Deed::Revokes(node, key) => {
                let keys = &self.nodes[*node].keys;
                let kid = key.get(&keys.entries()).kid().to_owned();
                if keys.revoke(&kid).await.is_ok() {
                    self.revoked.entry(kid).or_insert(self.passing.instant());
                }
            }
            Deed::IsCutOff(node) => self.nodes[*node].model.set_reachable(false),
            Deed::IsBack(node) => self.nodes[*node].model.set_reachable(true),
        }
    }

    fn check(&self, deed: &Deed) {
        for (number, signer) in self.nodes.iter().enumerate() {
            let Some(kid) = signer.signs() else { continue };
            for (other, publisher) in self.nodes.iter().enumerate() {
                if publisher.keys.are_trusted() && !self.was_just_revoked(&kid) {
                    let published = publisher.publishes();
                    assert!(
                        published.contains(&kid),
                        "after {deed:?}: {number} signs with {kid}, {other} has {published:?}"
                    );
                }
            }
        }
        for node in self.nodes.iter().filter(|node| node.keys.are_trusted()) {
            for kid in self.revoked.keys().filter(|kid| !self.was_just_revoked(kid)) {
                assert!(node.signs().as_ref() != Some(kid), "after {deed:?}: {kid} was revoked and signs");
                assert!(
                    !node.publishes().contains(kid),
                    "after {deed:?}: {kid} was revoked and is published"
                );
            }
        }
    }

    /// So lately that a node may not have read it yet and still be believed.
    fn was_just_revoked(&self, kid: &str) -> bool {
        let at = self.revoked.get(kid);
        at.is_some_and(|at| self.passing.instant().saturating_duration_since(*at) < TRUSTED_FOR)
    }
}

impl SigningNode {
    fn signs(&self) -> Option<String> {
        self.keys.active().map(|key| key.kid().to_owned())
    }

    fn publishes(&self) -> Vec<String> {
        self.keys.published().keys().iter().filter_map(|key| key.kid().map(str::to_owned)).collect()
    }

    fn standby(&self) -> String {
        let entries = self.keys.entries();
        entries.iter().find(|entry| entry.state() == KeyState::Pending).unwrap().kid().to_owned()
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

const NODES: usize = 3;

const POLICY: RingPolicy = RingPolicy {
    // Short, so that it makes up for nothing.
    pending_for: Duration::from_millis(500),
    retiring_for: Duration::from_secs(60),
    rotate_every: Some(Duration::from_secs(45)),
};
