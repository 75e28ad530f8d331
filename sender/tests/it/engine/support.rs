//! A sender in one process: a store on disk, an engine, and an endpoint on the loopback interface.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;
use waxseal_envelope::{Data, EventType, Expected, Issuer, Limits as TokenLimits, Opened, Token};
use waxseal_keys::{
    Clock, DecryptionKey, EncryptionKeyType, KeyEncryptionKey, RingPolicy, SignatureAlgorithm, SystemClock,
    Timestamp, generate_decryption_key,
};
use waxseal_sender::consumer_keys::ConsumerKeys;
use waxseal_sender::credentials::Credentials;
use waxseal_sender::credentials::authority::ClientAuthority;
use waxseal_sender::data_keys::DataKeys;
use waxseal_sender::directory::{Directory, To};
use waxseal_sender::engine::egress::guard::PlainHttp;
use waxseal_sender::engine::egress::{Egress, EgressPolicy};
use waxseal_sender::engine::verdict::RetryPolicy;
use waxseal_sender::engine::{Arrival, Engine, EngineHandle, EngineParts, EnginePolicy};
use waxseal_sender::id::{ConsumerId, DeliveryId, EndpointId};
use waxseal_sender::model::consumer::{Consumer, DeclaredType, Visibility};
use waxseal_sender::model::delivery::{Delivery, DeliveryState};
use waxseal_sender::model::encryption_keys::{EncryptionKeySet, KeyOwner, KeySource, KnownKey};
use waxseal_sender::model::endpoint::{Endpoint, EndpointStatus, Protection, Subscription};
use waxseal_sender::publish::{Arrivals, Publication, Published, Publisher};
use waxseal_sender::signing_keys::SigningKeys;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{Node, NodeRole, Store};

/// Long enough for any step of a test, short enough to fail in.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const ISSUER: &str = "https://hooks.example.com";

/// Everything but the engine, which a test starts and stops.
pub(crate) struct Sender {
    pub(crate) parts: EngineParts,
    pub(crate) dir: TempDir,
}

/// A publisher whose announcements nobody hears.
#[derive(Debug)]
struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: Vec<Arrival>) {}

    fn withdrawn(&self, _: EndpointId, _: &[DeliveryId]) -> Vec<DeliveryId> {
        Vec::new()
    }
}

impl Sender {
    pub(crate) async fn new() -> Self {
        Self::with(Arc::new(SystemClock), |store| store).await
    }

    pub(crate) async fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::with(clock, |store| store).await
    }

    pub(crate) async fn with(
        clock: Arc<dyn Clock>,
        wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Self {
        let egress = EgressPolicy {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            http: PlainHttp::AllowedRanges,
            ..EgressPolicy::default()
        };
        Self::with_egress(clock, wrap, Egress::new(egress).unwrap()).await
    }

    pub(crate) async fn with_egress(
        clock: Arc<dyn Clock>,
        wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
        egress: Egress,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = wrap(Arc::new(SqliteStore::open(dir.path().join("waxseal.db")).unwrap()));
        let data_keys =
            Arc::new(DataKeys::open(Arc::clone(&store), KeyEncryptionKey::generate()).await.unwrap());
        let directory = Directory::load(Arc::clone(&store), Arc::clone(&data_keys)).await.unwrap();
        let (ring, alg) = (RingPolicy::default(), SignatureAlgorithm::Es256);
        let signing_keys =
            SigningKeys::open(store.clone(), Arc::clone(&data_keys), ring, alg, Arc::clone(&clock));
        let signing_keys = signing_keys.await.unwrap();
        let egress = Arc::new(egress);
        let http = Arc::clone(&egress);
        let consumer_keys = ConsumerKeys::new(Arc::clone(&directory), http, Arc::clone(&clock));
        let consumer_keys = Arc::new(consumer_keys.failing_after(Duration::ZERO));
        for name in ["order.created", "order.paid"] {
            let (name, now) = (EventType::parse(name).unwrap(), clock.now());
            let visible_to = Visibility::All;
            directory
                .create_event_type(DeclaredType { name, description: None, visible_to, created_at: now })
                .await
                .unwrap();
        }
        let policy = EnginePolicy {
            retry: RetryPolicy {
                schedule: vec![Duration::from_millis(20); 3],
                jitter: 0.0,
                ..RetryPolicy::default()
            },
            discover_every: Duration::from_millis(200),
            stop_within: Duration::from_millis(300),
            ..EnginePolicy::default()
        };
        let issuer = Issuer::parse(ISSUER).unwrap();
        let authority =
            Arc::new(ClientAuthority::new(Arc::clone(&directory), issuer.clone(), Arc::clone(&clock)));
        let credentials =
            Credentials::new(Arc::clone(&egress), Arc::clone(&signing_keys), authority, Arc::clone(&clock));
        let credentials = Arc::new(credentials.failing_after(Duration::ZERO));
        let node = Node::begin("alone", NodeRole::All, clock.now());
        let parts = EngineParts {
            store,
            directory,
            data_keys,
            signing_keys,
            consumer_keys,
            credentials,
            egress,
            clock,
            issuer,
            node,
            policy,
        };
        Self { parts, dir }
    }

    pub(crate) fn start(&self) -> EngineHandle {
        Engine::start(self.parts.clone())
    }

    /// A consumer with one endpoint.
    pub(crate) async fn endpoint(&self, consumer: &str, url: &str, protection: Protection) -> EndpointId {
        let (id, now) = (ConsumerId::parse(consumer).unwrap(), self.parts.clock.now());
        let groups = Default::default();
        let consumer = Consumer { id: id.clone(), description: None, groups, created_at: now };
        self.parts.directory.create_consumer(consumer).await.unwrap();
        let endpoint = Endpoint {
            id: EndpointId::generate(now),
            consumer: id,
            url: url.parse().unwrap(),
            event_types: Subscription::All,
            audience: None,
            protection,
            retry: None,
            description: None,
            status: EndpointStatus::Active,
            pace: Default::default(),
            created_at: now,
            authentication: None,
            server_authentication: None,
            verification: Default::default(),
        };
        self.parts.directory.create_endpoint(endpoint, None).await.unwrap().id
    }

    pub(crate) fn publisher(&self, engine: Option<&EngineHandle>) -> Publisher {
        let engine: Arc<dyn Arrivals> = match engine {
            Some(engine) => Arc::new(engine.clone()),
            None => Arc::new(Nobody),
        };
        let EngineParts { store, directory, data_keys, clock, .. } = &self.parts;
        Publisher::new(store.clone(), directory.clone(), data_keys.clone(), engine, clock.clone())
    }

    pub(crate) async fn publish(
        &self,
        engine: Option<&EngineHandle>,
        consumer: &str,
        data: &str,
    ) -> Published {
        let publication = Publication {
            event_type: EventType::parse("order.created").unwrap(),
            data: Data::json(data.as_bytes()).unwrap(),
            to: To::Consumers(vec![ConsumerId::parse(consumer).unwrap()]),
            id: None,
            occurred_at: None,
            expiry: None,
            idempotency_key: None,
            publisher: None,
        };
        self.publisher(engine).publish(publication).await.unwrap()
    }

    pub(crate) async fn delivery(&self, id: DeliveryId) -> Delivery {
        self.parts.store.delivery(id).await.unwrap().unwrap()
    }

    /// Waits until the store says so: a settlement is written after its answer has been given.
    pub(crate) async fn until(&self, id: DeliveryId, state: DeliveryState, attempts: u32) -> Delivery {
        until(async || {
            let delivery = self.delivery(id).await;
            (delivery.state == state && delivery.attempts_made == attempts).then_some(delivery)
        })
        .await
    }

    /// Gives a consumer a new encryption key in place of those it had.
    pub(crate) async fn new_key(&self, consumer: &str) -> DecryptionKey {
        let key = generate_decryption_key(EncryptionKeyType::P256).unwrap();
        let public = key.public_jwk();
        let now = self.parts.clock.now();
        let known = KnownKey {
            thumbprint: public.thumbprint().as_str().to_owned(),
            jwk: public.to_json(),
            first_seen: now,
            admitted_at: Some(now),
            certificate_not_after: None,
        };
        let owner = KeyOwner::Consumer(ConsumerId::parse(consumer).unwrap());
        let set = EncryptionKeySet { owner, source: KeySource::Pinned, keys: vec![known] };
        self.parts.directory.put_key_set(set).await.unwrap();
        key
    }

    /// Opens a token as its receiver would.
    pub(crate) fn open(&self, token: &[u8], audience: &str, key: Option<&DecryptionKey>) -> Opened {
        let signed = match (Token::parse(token, &TokenLimits::default()).unwrap(), key) {
            (Token::Signed(signed), None) => signed,
            (Token::Sealed(sealed), Some(key)) => sealed.decrypt(key).unwrap(),
            (Token::Signed(_), Some(_)) => panic!("a readable body where sealing is asked for"),
            (Token::Sealed(_), None) => panic!("sealed without being asked"),
        };
        let (issuer, audience) =
            (Issuer::parse(ISSUER).unwrap(), waxseal_envelope::Audience::parse(audience));
        let verifying = self.parts.signing_keys.active().unwrap().verifying_key();
        signed.verify(&verifying, &Expected::new(issuer, audience.unwrap()), self.parts.clock.now()).unwrap()
    }
}

/// An endpoint that shows what it gets and answers as it is told.
pub(crate) struct Receiver {
    pub(crate) url: String,
    got: mpsc::UnboundedReceiver<Bytes>,
}

type Script = Arc<dyn Fn(usize) -> Response + Send + Sync>;

impl Receiver {
    /// `answer` is given the number of the request, from 0.
    pub(crate) async fn answering(answer: impl Fn(usize) -> Response + Send + Sync + 'static) -> Self {
        let (tell, got) = mpsc::unbounded_channel();
        let script: Script = Arc::new(answer);
        Self::serve(Router::new().fallback(receive).with_state((tell, script, Arc::default())), got).await
    }

    pub(crate) async fn accepting() -> Self {
        Self::answering(|_| StatusCode::ACCEPTED.into_response()).await
    }

    /// As [`Self::answering`]; where there is no answer, there never will be.
    pub(crate) async fn answering_or_hanging(
        answer: impl Fn(usize) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        let (tell, got) = mpsc::unbounded_channel();
        let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let receive = async move |body: Bytes| {
            let _ = tell.send(body);
            match answer(count.fetch_add(1, Ordering::SeqCst)) {
                Some(response) => response,
                None => std::future::pending().await,
            }
        };
        Self::serve(Router::new().fallback(receive), got).await
    }

    /// Takes requests and never answers.
    pub(crate) async fn hanging() -> Self {
        let (tell, got) = mpsc::unbounded_channel();
        let hang = async |State(tell): State<mpsc::UnboundedSender<Bytes>>, body: Bytes| {
            let _ = tell.send(body);
            std::future::pending::<StatusCode>().await
        };
        Self::serve(Router::new().fallback(hang).with_state(tell), got).await
    }

    async fn serve(router: Router, got: mpsc::UnboundedReceiver<Bytes>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, got }
    }

    pub(crate) async fn next(&mut self) -> Bytes {
        timeout(PATIENCE, self.got.recv()).await.expect("a delivery in time").unwrap()
    }

    /// What has arrived and was not taken yet.
    pub(crate) fn waiting(&mut self) -> Option<Bytes> {
        self.got.try_recv().ok()
    }

    pub(crate) fn is_idle(&mut self) -> bool {
        self.got.try_recv().is_err()
    }
}

type Receiving = (mpsc::UnboundedSender<Bytes>, Script, Arc<AtomicUsize>);

async fn receive(State((tell, script, count)): State<Receiving>, body: Bytes) -> Response {
    let _ = tell.send(body);
    script(count.fetch_add(1, Ordering::SeqCst))
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, asking).await.expect("it happens in time")
}

/// A status with the JSON error body of RFC 8935.
pub(crate) fn err(code: &str) -> Response {
    let body = format!(r#"{{"err":"{code}","description":"."}}"#);
    (StatusCode::BAD_REQUEST, [("content-type", "application/json")], body).into_response()
}

pub(crate) fn noon() -> Timestamp {
    Timestamp::from_seconds(1_795_293_600)
}
