//! The sender of the week: a store on disk, and everything that runs over it until it is stopped.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use waxseal_envelope::Issuer;
use waxseal_keys::{Clock, KeyEncryptionKey, RingPolicy, SignatureAlgorithm};
use waxseal_receiver::jwks::publish::{self, PublishedKeys};
use waxseal_receiver::jwks::{JwkSet, WELL_KNOWN};
use waxseal_sender::consumer_keys::ConsumerKeys;
use waxseal_sender::credentials::Credentials;
use waxseal_sender::credentials::authority::ClientAuthority;
use waxseal_sender::data_keys::DataKeys;
use waxseal_sender::directory::Directory;
use waxseal_sender::engine::breaker::BreakerPolicy;
use waxseal_sender::engine::egress::guard::PlainHttp;
use waxseal_sender::engine::egress::{Egress, EgressPolicy};
use waxseal_sender::engine::{Engine, EngineHandle, EngineParts, EnginePolicy};
use waxseal_sender::publish::Publisher;
use waxseal_sender::signing_keys::SigningKeys;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{Node, NodeRole, Store, StoreError};
use waxseal_sender::upkeep::{Age, Retention, Upkeep};

use super::time::SimulatedTime;
use super::{DAY, ISSUER};

pub const RING: RingPolicy =
    RingPolicy { pending_for: DAY, retiring_for: DAY, rotate_every: Some(DAY.saturating_mul(2)) };

/// How long partners may keep the key set.
pub const MAX_AGE: Duration = Duration::from_secs(300);

pub const KEPT: Retention = Retention {
    payloads: Age::UpTo(CONTENTS),
    attempts: Age::UpTo(RECORDS),
    audit: Age::UpTo(RECORDS),
    check_every: Duration::from_secs(3_600),
};
pub const CONTENTS: Duration = DAY.saturating_mul(2);
pub const RECORDS: Duration = DAY.saturating_mul(4);

/// What outlives a process.
pub struct House {
    path: PathBuf,
    kek: KeyEncryptionKey,
    time: Arc<SimulatedTime>,
    front: Arc<Front>,
    pub jwks: String,
}

/// A process.
pub struct Running {
    pub store: Arc<dyn Store>,
    pub directory: Arc<Directory>,
    pub signing_keys: Arc<SigningKeys>,
    pub engine: EngineHandle,
    pub publisher: Publisher,
    pub upkeep: Upkeep,
    stop: watch::Sender<bool>,
    maintenance: JoinHandle<()>,
}

impl House {
    pub async fn new(folder: &Path, time: &Arc<SimulatedTime>) -> Self {
        let front = Arc::new(Front::default());
        let router = publish::router(front.clone(), MAX_AGE);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let jwks = format!("http://{}{WELL_KNOWN}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (path, time) = (folder.join("waxseal.db"), Arc::clone(time));
        Self { path, kek: KeyEncryptionKey::generate(), time, front, jwks }
    }

    /// Starts a process on what the one before has left.
    pub async fn start(&self, breaker: BreakerPolicy) -> Running {
        let clock: Arc<dyn Clock> = self.time.clone();
        let store: Arc<dyn Store> = Arc::new(open(&self.path).await);
        let kek = KeyEncryptionKey::from_text(&self.kek.to_text()).unwrap();
        let data_keys = Arc::new(DataKeys::open(store.clone(), kek).await.unwrap());
        let directory = Directory::load(store.clone(), data_keys.clone()).await.unwrap();
        let alg = SignatureAlgorithm::Es256;
        let signing_keys = SigningKeys::open(store.clone(), data_keys.clone(), RING, alg, clock.clone());
        let signing_keys = signing_keys.await.unwrap();
        *self.front.0.write().unwrap() = Some(signing_keys.clone());
        let egress = EgressPolicy {
            allow: vec!["127.0.0.1/32".parse().unwrap()],
            http: PlainHttp::AllowedRanges,
            ..EgressPolicy::default()
        };
        let egress = Arc::new(Egress::new(egress).unwrap());
        let consumer_keys = ConsumerKeys::new(directory.clone(), egress.clone(), clock.clone());
        let issuer = Issuer::parse(ISSUER).unwrap();
        let authority = ClientAuthority::new(directory.clone(), issuer.clone(), clock.clone());
        let authority = Arc::new(authority);
        let credentials = Credentials::new(egress.clone(), signing_keys.clone(), authority, clock.clone());
        // What expires is looked for by the time that really passes, and here a week of it takes a minute.
        let policy =
            EnginePolicy { breaker, discover_every: Duration::from_millis(10), ..EnginePolicy::default() };
        let node = Node::begin("alone", NodeRole::All, clock.now());
        let engine = Engine::start(EngineParts {
            store: store.clone(),
            directory: directory.clone(),
            data_keys: data_keys.clone(),
            signing_keys: signing_keys.clone(),
            // What fails is known at once: a week takes a minute.
            consumer_keys: Arc::new(consumer_keys.failing_after(Duration::ZERO)),
            credentials: Arc::new(credentials.failing_after(Duration::ZERO)),
            egress,
            clock: clock.clone(),
            issuer,
            node,
            policy,
        });
        let announced = Arc::new(engine.clone());
        let publisher = Publisher::new(store.clone(), directory.clone(), data_keys, announced, clock.clone());
        let upkeep = Upkeep::new(store.clone(), clock, KEPT);
        let (stop, stopped) = watch::channel(false);
        let time = self.time.clone();
        let maintenance = signing_keys.clone().maintain_by(stopped, move |pause| time.sleep(pause));
        let maintenance = tokio::spawn(maintenance);
        self.time.asleep().await;
        Running { store, directory, signing_keys, engine, publisher, upkeep, stop, maintenance }
    }

    /// Stops a process.
    pub async fn stop(&self, running: Running) {
        *self.front.0.write().unwrap() = None;
        running.engine.stop().await;
        running.stop.send_replace(true);
        running.maintenance.await.unwrap();
    }
}

/// Opens the store as soon as the process before has let go of the last handle of its files.
async fn open(path: &Path) -> SqliteStore {
    let opened = async {
        loop {
            match SqliteStore::open(path) {
                Err(StoreError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                opened => return opened.unwrap(),
            }
        }
    };
    tokio::time::timeout(super::PATIENCE, opened).await.expect("nobody holds the store any more")
}

/// Where partners find the keys, whatever process is there just now.
#[derive(Default)]
struct Front(RwLock<Option<Arc<SigningKeys>>>);

impl PublishedKeys for Front {
    fn published(&self) -> JwkSet {
        match &*self.0.read().unwrap() {
            Some(keys) => keys.published(),
            None => JwkSet::new(Vec::new()),
        }
    }
}
