//! A whole sender, put together: what `waxseal serve` runs and what a Rust service embeds.
//!
//! The parts know each other only through what they need; this is the one place that knows them all. It starts them
//! in an order in which each finds what it depends on, and stops them in the reverse.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use waxseal_envelope::Issuer;
use waxseal_keys::Clock;
use waxseal_keys::KeyEncryptionKey;
use waxseal_keys::RingPolicy;
use waxseal_keys::SignatureAlgorithm;

use crate::api::budget::ByHandLimits;
use crate::api::{self, ApiParts};
use crate::config::Config;
use crate::consumer_keys::ConsumerKeys;
use crate::credentials::Credentials;
use crate::credentials::authority::ClientAuthority;
use crate::data_keys::{DataKeyError, DataKeys};
use crate::directory::{ChangeError, Directory};
use crate::engine::egress::guard::PlainHttp;
use crate::engine::egress::{Egress, EgressError, EgressPolicy};
use crate::engine::{Engine, EngineHandle, EngineParts, EnginePolicy};
use crate::following::Following;
use crate::id::NodeId;
use crate::operations::{Operations, OperationsParts, OperationsPolicy};
use crate::publish::Publisher;
use crate::recover::Recoveries;
use crate::signing_keys::sharing::{Passing, SystemPassing};
use crate::signing_keys::{Certification, SigningKeys, SigningKeysError, X5c};
use crate::store::{KeyRecords, Node, NodeRole, Store, StoreError};
use crate::upkeep::{Retention, Upkeep};

/// What a sender needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who the tokens come from.
    pub issuer: Issuer,
    /// What new signing keys are made for.
    pub algorithm: SignatureAlgorithm,
    /// The life of signing keys.
    pub ring: RingPolicy,
    /// How long receivers may cache the JWKS.
    pub jwks_max_age: Duration,
    /// Whether the JWKS has certificates.
    pub x5c: X5c,
    /// Where connections may go.
    pub egress: EgressPolicy,
    /// How deliveries are made.
    pub engine: EnginePolicy,
    /// How long things are kept.
    pub retention: Retention,
    /// What the operator is told.
    pub operations: OperationsPolicy,
    /// How much consumers may ask for by hand with tokens of their own.
    pub by_hand: ByHandLimits,
    /// What this node does, where several share the store.
    pub role: NodeRole,
    /// What people call this node.
    pub node_name: String,
}

/// A running sender.
#[derive(Debug)]
pub struct Sender {
    store: Arc<dyn Store>,
    directory: Arc<Directory>,
    data_keys: Arc<DataKeys>,
    consumer_keys: Arc<ConsumerKeys>,
    client_authority: Arc<ClientAuthority>,
    signing_keys: Arc<SigningKeys>,
    egress: Arc<Egress>,
    engine: EngineHandle,
    publisher: Publisher,
    clock: Arc<dyn Clock>,
    jwks_max_age: Duration,
    issuer: Issuer,
    by_hand: ByHandLimits,
    node: NodeId,
    role: NodeRole,
    stop: watch::Sender<bool>,
    /// Of what other nodes change, and of the signing keys.
    stop_following: watch::Sender<bool>,
    following: Option<JoinHandle<()>>,
    maintenance: JoinHandle<()>,
    recoveries: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    operations: JoinHandle<()>,
}

/// Why a sender cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data keys cannot be had.
    #[error(transparent)]
    DataKeys(#[from] DataKeyError),
    /// The configuration in the store cannot be read.
    #[error(transparent)]
    Directory(#[from] ChangeError),
    /// The signing keys cannot be had.
    #[error(transparent)]
    SigningKeys(#[from] SigningKeysError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no HTTP client.
    #[error(transparent)]
    Egress(#[from] EgressError),
}

impl Settings {
    /// What a configuration says, with the files that it names.
    ///
    /// # Errors
    /// A sentence that names the file that cannot be read.
    pub fn from_config(config: &Config) -> Result<Self, String> {
        let mut roots = Vec::new();
        for path in &config.egress.root_certificates {
            let pem = fs::read(path)
                .map_err(|error| format!("egress.root_certificates: {}: {error}", path.display()))?;
            roots.extend(pem);
            roots.push(b'\n');
        }
        let egress = EgressPolicy {
            allow: config.egress.allow.clone(),
            http: if config.egress.allow_http { PlainHttp::AllowedRanges } else { PlainHttp::Never },
            connect_timeout: config.delivery.connect_timeout,
            total_timeout: config.delivery.timeout,
            extra_roots: (!roots.is_empty()).then_some(roots),
        };
        let mut engine = EnginePolicy::default();
        engine.limits.in_flight = config.delivery.max_in_flight;
        engine.limits.per_endpoint = config.delivery.max_in_flight_per_endpoint;
        engine.retry.schedule.clone_from(&config.delivery.retry);
        engine.breaker = config.delivery.breaker.policy();
        engine.verification = config.verification.policy();
        let mut operations = config.operations.policy();
        operations.server_certificate = config.tls.as_ref().map(|tls| tls.cert.clone());
        Ok(Self {
            issuer: config.issuer.clone(),
            algorithm: config.signing.algorithm,
            ring: RingPolicy {
                pending_for: config.signing.pending_for,
                retiring_for: config.signing.retiring_for,
                rotate_every: config.signing.rotate_every,
            },
            jwks_max_age: config.signing.jwks_max_age,
            x5c: if config.signing.x5c { X5c::Published } else { X5c::Omitted },
            egress,
            engine,
            retention: config.retention,
            operations,
            by_hand: config.consumer_tokens.by_hand(),
            role: config.cluster.role,
            node_name: config.cluster.node_name(),
        })
    }
}

impl Sender {
    /// Starts everything; deliveries that the store holds are made from now on.
    ///
    /// # Errors
    /// If the store cannot be read, or `kek` is not the key that it was made with.
    pub async fn start(
        settings: Settings,
        store: Arc<dyn Store>,
        kek: KeyEncryptionKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let node = Node::begin(settings.node_name, settings.role, clock.now());
        let node_id = node.id;
        let data_keys = Arc::new(DataKeys::open(Arc::clone(&store), kek).await?);
        let directory =
            Directory::load_with_clock(Arc::clone(&store), Arc::clone(&data_keys), Arc::clone(&clock))
                .await?;
        let key_records: Arc<dyn KeyRecords> = Arc::<dyn Store>::clone(&store);
        let cluster = store.cluster();
        let passing: Arc<dyn Passing> = Arc::new(SystemPassing);
        let signing_keys = SigningKeys::open_among(
            key_records,
            Arc::clone(&data_keys),
            settings.ring,
            settings.algorithm,
            Arc::clone(&clock),
            cluster.clone().map(|cluster| (cluster, passing)),
        )
        .await?;
        signing_keys.certify(Certification::of(&settings.issuer, settings.x5c)).await?;
        let egress = Arc::new(Egress::new(settings.egress)?);
        let consumer_keys = Arc::new(ConsumerKeys::new(
            Arc::clone(&directory),
            Arc::<Egress>::clone(&egress),
            Arc::clone(&clock),
        ));
        let client_authority = Arc::new(ClientAuthority::new(
            Arc::clone(&directory),
            settings.issuer.clone(),
            Arc::clone(&clock),
        ));
        let credentials = Arc::new(Credentials::new(
            Arc::clone(&egress),
            Arc::clone(&signing_keys),
            Arc::clone(&client_authority),
            Arc::clone(&clock),
        ));
        let engine = Engine::start(EngineParts {
            credentials,
            store: Arc::clone(&store),
            directory: Arc::clone(&directory),
            data_keys: Arc::clone(&data_keys),
            signing_keys: Arc::clone(&signing_keys),
            consumer_keys: Arc::clone(&consumer_keys),
            egress: Arc::clone(&egress),
            clock: Arc::clone(&clock),
            issuer: settings.issuer.clone(),
            node,
            policy: settings.engine,
        });
        let leadership = engine.leadership();
        let publisher = Publisher::new(
            Arc::clone(&store),
            Arc::clone(&directory),
            Arc::clone(&data_keys),
            Arc::new(engine.clone()),
            Arc::clone(&clock),
        );
        publisher.resume().await?;
        let (stop, stopped) = watch::channel(false);
        let (stop_following, followed) = watch::channel(false);
        let recoveries = Recoveries::new(
            Arc::clone(&store),
            Arc::clone(&directory),
            publisher.clone(),
            Arc::clone(&clock),
        );
        let recoveries = tokio::spawn(recoveries.run(stopped.clone(), leadership.clone()));
        let upkeep = Upkeep::new(Arc::clone(&store), Arc::clone(&clock), settings.retention);
        let upkeep = tokio::spawn(upkeep.run(stopped.clone(), leadership.clone()));
        let operations = Operations::new(
            OperationsParts {
                directory: Arc::clone(&directory),
                store: Arc::clone(&store),
                engine: Arc::new(engine.clone()),
                signing_keys: Arc::clone(&signing_keys),
                publisher: publisher.clone(),
                clock: Arc::clone(&clock),
            },
            settings.operations,
        );
        let operations = tokio::spawn(operations.run(stopped.clone(), leadership));
        let following = cluster
            .map(|cluster| {
                Following::new(cluster, Arc::clone(&directory), Arc::clone(&signing_keys), node_id)
            })
            .map(|following| tokio::spawn(following.run(followed.clone())));
        let maintenance = tokio::spawn(Arc::clone(&signing_keys).maintain(followed));
        let jwks_max_age = settings.jwks_max_age;
        Ok(Self {
            store,
            directory,
            data_keys,
            consumer_keys,
            client_authority,
            signing_keys,
            egress,
            engine,
            publisher,
            clock,
            jwks_max_age,
            issuer: settings.issuer,
            by_hand: settings.by_hand,
            node: node_id,
            role: settings.role,
            stop,
            stop_following,
            following,
            maintenance,
            recoveries,
            upkeep,
            operations,
        })
    }

    /// The whole HTTP API with the JWKS, or what is left of it where this node makes deliveries only; `metrics` renders
    /// what `/metrics` shows.
    pub fn router(&self, metrics: impl Fn() -> String + Send + Sync + 'static) -> Router {
        let router = if self.role.serves_api() { api::router } else { api::router_without_api };
        router(ApiParts {
            directory: Arc::clone(&self.directory),
            store: Arc::clone(&self.store),
            data_keys: Arc::clone(&self.data_keys),
            publisher: self.publisher.clone(),
            consumer_keys: Arc::clone(&self.consumer_keys),
            client_authority: Arc::clone(&self.client_authority),
            signing_keys: Arc::clone(&self.signing_keys),
            egress: Arc::clone(&self.egress),
            engine: Arc::new(self.engine.clone()),
            clock: Arc::clone(&self.clock),
            metrics: Arc::new(metrics),
            jwks_max_age: self.jwks_max_age,
            issuer: self.issuer.clone(),
            by_hand: self.by_hand,
        })
    }

    /// Publishes without HTTP: for a service that embeds the sender.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// What is configured, and how to change it without HTTP.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What makes deliveries: how it does, and what this node works on.
    pub fn engine(&self) -> &EngineHandle {
        &self.engine
    }

    /// Which node it is, where several use the store.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Stops: nothing new is begun, what is under way may finish. What does not is made again after the next start.
    pub async fn stop(self) {
        // An error only says that maintenance has ended by itself.
        let _ = self.stop.send(true);
        let _ = self.upkeep.await;
        let _ = self.recoveries.await;
        let _ = self.operations.await;
        self.engine.stop().await;
        // As long as deliveries are made, by what is configured and with the keys that are; other nodes wait for that.
        let _ = self.stop_following.send(true);
        let _ = self.maintenance.await;
        if let Some(following) = self.following {
            let _ = following.await;
        }
    }
}
