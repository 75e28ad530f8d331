//! A sender without an engine: the API, a directory and a store, with a clock that stands still.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use waxseal_envelope::Issuer;
use waxseal_keys::{
    Clock, EncryptionKeyType, KeyEncryptionKey, ManualClock, RingPolicy, SignatureAlgorithm, Timestamp,
    generate_decryption_key,
};
use waxseal_sender::api::auth::{Grant, NewToken};
use waxseal_sender::api::budget::ByHandLimits;
use waxseal_sender::api::{ApiParts, Holds, router};
use waxseal_sender::consumer_keys::ConsumerKeys;
use waxseal_sender::credentials::authority::ClientAuthority;
use waxseal_sender::data_keys::DataKeys;
use waxseal_sender::directory::Directory;
use waxseal_sender::engine::Arrival;
use waxseal_sender::engine::condition::{Condition, EndpointState};
use waxseal_sender::engine::egress::{Egress, EgressPolicy};
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::id::{ConsumerId, DeliveryId, EndpointId};
use waxseal_sender::model::delivery::Delivery;
use waxseal_sender::model::token::Scope;
use waxseal_sender::publish::{Arrivals, Publisher};
use waxseal_sender::signing_keys::{Certification, SigningKeys, X5c};
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{
    Catalog, DeliveryFilter, KeyRecords, Outbox, Record, RingRecord, Store, StoreError,
};

/// An engine that only listens.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    pub(crate) arrived: Mutex<Vec<Arrival>>,
    pub(crate) holds: Mutex<Vec<(EndpointId, Hold)>>,
    pub(crate) conditions: Mutex<HashMap<EndpointId, Condition>>,
    /// What it says is under way.
    pub(crate) in_flight: Mutex<Vec<DeliveryId>>,
    pub(crate) withdrawn: Mutex<Vec<DeliveryId>>,
    /// What it says that every endpoint waits for before it can be asked.
    pub(crate) waits_for: Mutex<Option<&'static str>>,
}

impl Arrivals for Listener {
    fn arrived(&self, arrivals: Vec<Arrival>) {
        self.arrived.lock().unwrap().extend(arrivals);
    }

    fn withdrawn(&self, _: EndpointId, ids: &[DeliveryId]) -> Vec<DeliveryId> {
        self.withdrawn.lock().unwrap().extend(ids);
        let in_flight = self.in_flight.lock().unwrap();
        ids.iter().copied().filter(|id| in_flight.contains(id)).collect()
    }
}

#[async_trait]
impl Holds for Listener {
    async fn holds(&self) -> Result<Vec<(EndpointId, Hold)>, StoreError> {
        Ok(self.holds.lock().unwrap().clone())
    }

    async fn states(
        &self,
        endpoints: &[EndpointId],
    ) -> Result<HashMap<EndpointId, EndpointState>, StoreError> {
        let holds: HashMap<_, _> = self.holds.lock().unwrap().iter().copied().collect();
        let conditions = self.conditions.lock().unwrap();
        let state = |id: &EndpointId| EndpointState {
            hold: holds.get(id).copied(),
            condition: conditions.get(id).cloned().unwrap_or_default(),
            verification_waits_for: *self.waits_for.lock().unwrap(),
        };
        Ok(endpoints.iter().map(|id| (*id, state(id))).collect())
    }
}

pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) directory: Arc<Directory>,
    pub(crate) data_keys: Arc<DataKeys>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) publisher: Publisher,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) engine: Arc<Listener>,
    /// A token with the scope `admin`.
    pub(crate) admin: String,
    _folder: TempDir,
}

/// What an answer was.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// All that is kept: a refused request leaves it as it was. Every write encrypts anew, so any write shows.
#[derive(Debug, PartialEq)]
pub(crate) struct Kept {
    records: Vec<Record>,
    deliveries: Vec<Delivery>,
    ring: Option<RingRecord>,
    data_keys: usize,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path().join("store.db")).unwrap());
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let clock = Arc::new(ManualClock::new(NOW));
        let time: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let data_keys =
            Arc::new(DataKeys::open(Arc::clone(&shared), KeyEncryptionKey::generate()).await.unwrap());
        let directory =
            Directory::load_with_clock(Arc::clone(&shared), Arc::clone(&data_keys), Arc::clone(&time))
                .await
                .unwrap();
        let engine = Arc::new(Listener::default());
        let publisher = Publisher::new(
            Arc::clone(&shared),
            Arc::clone(&directory),
            Arc::clone(&data_keys),
            Arc::clone(&engine) as _,
            Arc::clone(&time),
        );
        let signing_keys = SigningKeys::open(
            Arc::<SqliteStore>::clone(&store),
            Arc::clone(&data_keys),
            RingPolicy::default(),
            SignatureAlgorithm::Es256,
            Arc::clone(&time),
        );
        let egress = Arc::new(Egress::new(EgressPolicy::default()).unwrap());
        let issuer = Issuer::parse("https://hooks.example.com").unwrap();
        let signing_keys = signing_keys.await.unwrap();
        signing_keys.certify(Certification::of(&issuer, X5c::Published)).await.unwrap();
        let client_authority =
            Arc::new(ClientAuthority::new(Arc::clone(&directory), issuer, Arc::clone(&time)));
        let router = router(ApiParts {
            client_authority,
            directory: Arc::clone(&directory),
            store: shared,
            data_keys: Arc::clone(&data_keys),
            publisher: publisher.clone(),
            signing_keys,
            consumer_keys: Arc::new(ConsumerKeys::new(
                Arc::clone(&directory),
                Arc::<Egress>::clone(&egress),
                Arc::clone(&time),
            )),
            egress,
            engine: Arc::clone(&engine) as _,
            clock: time,
            metrics: Arc::new(|| "up 1\n".to_owned()),
            jwks_max_age: Duration::from_secs(300),
            issuer: Issuer::parse("https://hooks.example.com").unwrap(),
            by_hand: ByHandLimits::default(),
        });
        let admin = NewToken::generate(Grant { scopes: [Scope::Admin].into(), ..Grant::default() }, NOW);
        directory.create_token(admin.record).await.unwrap();
        let admin = admin.secret.to_string();
        Self { router, directory, data_keys, store, publisher, clock, engine, admin, _folder: folder }
    }

    /// With consumers `acme` (in group `gold`) and `beta`, types `order.created` (for all) and `gold.only`, and an
    /// endpoint for each consumer that takes every type.
    pub(crate) async fn furnished() -> (Self, Furniture) {
        let world = Self::new().await;
        world.post("/v1/groups", json!({ "name": "gold" })).await.expect(201);
        world.post("/v1/consumers", json!({ "id": "acme", "groups": ["gold"] })).await.expect(201);
        world.post("/v1/consumers", json!({ "id": "beta" })).await.expect(201);
        world.post("/v1/event-types", json!({ "name": "order.created" })).await.expect(201);
        world.post("/v1/event-types", json!({ "name": "gold.only", "groups": ["gold"] })).await.expect(201);
        let acme = world.endpoint("acme").await;
        let beta = world.endpoint("beta").await;
        (world, Furniture { acme, beta })
    }

    pub(crate) async fn endpoint(&self, consumer: &str) -> String {
        let body = json!({
            "consumer": consumer,
            "url": format!("https://{consumer}.example/hook?token=s3cret"),
            "event_types": ["*"],
            "protection": "signed",
            "trusted": true,
        });
        self.post("/v1/endpoints", body).await.expect(201)["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn token(&self, scopes: &[Scope], consumer: Option<&str>) -> String {
        let grant = Grant {
            scopes: scopes.iter().copied().collect(),
            consumer: consumer.map(|id| ConsumerId::parse(id).unwrap()),
            ..Grant::default()
        };
        let token = NewToken::generate(grant, self.clock.now());
        self.directory.create_token(token.record).await.unwrap();
        token.secret.to_string()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, &self.admin, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.call(Method::POST, path, &self.admin, Some(body)).await
    }

    /// A POST of a route that takes no body.
    pub(crate) async fn act(&self, path: &str) -> Reply {
        self.call(Method::POST, path, &self.admin, None).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Reply {
        self.call(Method::PUT, path, &self.admin, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.call(Method::PATCH, path, &self.admin, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.call(Method::DELETE, path, &self.admin, None).await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> Reply {
        let request =
            Request::builder().method(method).uri(path).header(AUTHORIZATION, format!("Bearer {token}"));
        let request = match body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.to_string().into()),
            None => request.body(Body::empty()),
        };
        self.send(request.unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        Reply { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn kept(&self) -> Kept {
        let mut records = self.store.records().await.unwrap();
        records.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
        Kept {
            records,
            deliveries: self
                .store
                .deliveries(DeliveryFilter { limit: 1_000, ..Default::default() })
                .await
                .unwrap()
                .deliveries,
            ring: self.store.ring().await.unwrap(),
            data_keys: self.store.data_keys().await.unwrap().len(),
        }
    }
}

/// The endpoints of a furnished world.
pub(crate) struct Furniture {
    pub(crate) acme: String,
    pub(crate) beta: String,
}

impl Reply {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }

    pub(crate) fn json(&self) -> Value {
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).unwrap() }
    }

    /// A problem with this status and code. Its members are what RFC 9457 says.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(body["type"], "about:blank");
        assert_eq!(body["status"], status);
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        body
    }

    /// A problem that names exactly these fields, in any order.
    #[track_caller]
    pub(crate) fn names(&self, fields: &[&str]) -> Value {
        let body = self.refused(400, "api.validation");
        let mut named: Vec<_> = body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["field"].as_str().unwrap().to_owned())
            .collect();
        named.sort_unstable();
        let mut expected = fields.to_vec();
        expected.sort_unstable();
        assert_eq!(named, expected, "{body}");
        body
    }
}

/// A public P-256 key to encrypt to.
pub(crate) fn encryption_jwk() -> Value {
    generate_decryption_key(EncryptionKeyType::P256).unwrap().public_jwk().to_json()
}

/// 2026-11-21T20:39:58Z.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_795_293_598);
