//! Nodes that know what is configured and sign, and deliver nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use url::Url;
use waxseal_keys::{
    Clock, KeyEncryptionKey, ManualClock, RingPolicy, SignatureAlgorithm, SystemClock, Timestamp,
};
use waxseal_sender::data_keys::DataKeys;
use waxseal_sender::directory::{ChangeError, Directory};
use waxseal_sender::following::Following;
use waxseal_sender::id::{ConsumerId, EndpointId, GroupName, NodeId};
use waxseal_sender::model::consumer::{Consumer, Group};
use waxseal_sender::model::endpoint::{Endpoint, EndpointStatus, Protection, Subscription};
use waxseal_sender::signing_keys::SigningKeys;
use waxseal_sender::signing_keys::sharing::SystemPassing;
use waxseal_sender::store::{Catalog, Node as Registered, NodeRole, Store};
use waxseal_tests::store_model::StoreModel;

/// What the nodes of one test share.
pub struct Site {
    /// The store, as the site's first node has it.
    pub model: StoreModel,
    kek: KeyEncryptionKey,
    /// Leases run by it.
    pub leases: Arc<ManualClock>,
}

/// One node.
pub struct Node {
    pub model: StoreModel,
    pub keys: Arc<DataKeys>,
    pub directory: Arc<Directory>,
    pub id: NodeId,
    following: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

impl Site {
    pub fn new() -> Self {
        let leases = Arc::new(ManualClock::new(Timestamp::from_seconds(1_000_000)));
        let model = StoreModel::shared(Arc::<ManualClock>::clone(&leases));
        Self { model, kek: KeyEncryptionKey::generate(), leases }
    }

    pub fn kek(&self) -> KeyEncryptionKey {
        KeyEncryptionKey::from_text(&self.kek.to_text()).unwrap()
    }

    /// A node that hears of nothing unless it is told to catch up.
    pub async fn deaf_node(&self) -> Node {
        let model = self.model.for_another_node();
        let store: Arc<dyn Store> = Arc::new(model.clone());
        let keys = Arc::new(DataKeys::open(Arc::clone(&store), self.kek()).await.unwrap());
        let directory = Directory::load(store, Arc::clone(&keys)).await.unwrap();
        Node { model, keys, directory, id: NodeId::generate(SystemClock.now()), following: None }
    }

    /// A node that follows the others and has a lease.
    pub async fn node(&self) -> Node {
        let mut node = self.deaf_node().await;
        let cluster = node.model.cluster().unwrap();
        let others: Option<(_, Arc<dyn waxseal_sender::signing_keys::sharing::Passing>)> =
            Some((Arc::clone(&cluster), Arc::new(SystemPassing)));
        let signing = SigningKeys::open_among(
            Arc::new(node.model.clone()),
            Arc::clone(&node.keys),
            RingPolicy::default(),
            SignatureAlgorithm::EdDsa,
            Arc::new(SystemClock),
            others,
        );
        let (signing, directory) = (signing.await.unwrap(), Arc::clone(&node.directory));
        cluster.tend(&registered(node.id)).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let following = Following::new(cluster, directory, signing, node.id);
        node.following = Some((stop, tokio::spawn(following.run(stopped))));
        node
    }
}

impl Node {
    pub async fn stop(self) {
        if let Some((stop, following)) = self.following {
            stop.send_replace(true);
            timeout(LIMIT, following).await.unwrap().unwrap();
        }
    }

    pub async fn create_consumer(&self, name: &str) -> Result<(), ChangeError> {
        self.directory.create_consumer(consumer(name)).await.map(drop)
    }

    pub async fn create_group(&self, name: &str) -> Result<(), ChangeError> {
        let name = GroupName::parse(name).unwrap();
        let group = Group { name, description: None, created_at: SystemClock.now() };
        self.directory.create_group(group).await.map(drop)
    }

    pub async fn create_endpoint(&self, of: &str) -> Result<EndpointId, ChangeError> {
        let endpoint = endpoint(of, "https://acme.example/hooks".parse().unwrap());
        Ok(self.directory.create_endpoint(endpoint, None).await?.id)
    }

    pub fn protection(&self, id: EndpointId) -> Option<Protection> {
        self.directory.endpoint(id).map(|endpoint| endpoint.protection)
    }
}

pub fn registered(id: NodeId) -> Registered {
    Registered {
        id,
        name: "node".to_owned(),
        role: NodeRole::All,
        program: "0".to_owned(),
        started_at: SystemClock.now(),
    }
}

pub fn id(name: &str) -> ConsumerId {
    ConsumerId::parse(name).unwrap()
}

pub fn consumer(name: &str) -> Consumer {
    Consumer { id: id(name), description: None, groups: Default::default(), created_at: SystemClock.now() }
}

/// An endpoint of this consumer that somebody trusts.
pub fn endpoint(of: &str, url: Url) -> Endpoint {
    let now = SystemClock.now();
    Endpoint {
        id: EndpointId::generate(now),
        consumer: id(of),
        url,
        event_types: Subscription::All,
        audience: None,
        protection: Protection::Signed,
        retry: None,
        description: None,
        status: EndpointStatus::Active,
        pace: Default::default(),
        created_at: now,
        authentication: None,
        server_authentication: None,
        verification: Default::default(),
    }
}

/// Waits until this holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"));
}

pub const LIMIT: Duration = Duration::from_secs(30);
