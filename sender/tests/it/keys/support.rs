//! A store in a temporary directory, a clock by hand, and a JWK Set behind a URL.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use waxseal_jwks::{FetchError, HttpGet, HttpGetFuture, HttpResponse, Url};
use waxseal_keys::{
    Clock, EncryptionKeyType, KeyEncryptionKey, ManualClock, Timestamp, generate_decryption_key,
};
use waxseal_sender::consumer_keys::ConsumerKeys;
use waxseal_sender::data_keys::DataKeys;
use waxseal_sender::directory::Directory;
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::id::{ConsumerId, EndpointId};
use waxseal_sender::model::consumer::Consumer;
use waxseal_sender::model::encryption_keys::{Admission, EncryptionKeySet, KeyOwner, KeySource, KnownKey};
use waxseal_sender::model::endpoint::{Endpoint, EndpointStatus, Protection, Subscription};
use waxseal_sender::store::sqlite::SqliteStore;

pub(crate) const START: Timestamp = Timestamp::from_seconds(1_795_293_600);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);

pub(crate) struct World {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) data_keys: Arc<DataKeys>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) web: Arc<Web>,
    pub(crate) keys: ConsumerKeys,
    _files: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let files = TempDir::new().unwrap();
        let store = Arc::new(SqliteStore::open(files.path().join("waxseal.db")).unwrap());
        let data_keys = Arc::new(DataKeys::open(store.clone(), KeyEncryptionKey::generate()).await.unwrap());
        let directory = Directory::load(store.clone(), data_keys.clone()).await.unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let web = Arc::new(Web::default());
        let keys = ConsumerKeys::new(directory.clone(), web.clone(), clock.clone());
        let keys = keys.failing_after(Duration::ZERO);
        Self { store, data_keys, directory, clock, web, keys, _files: files }
    }

    /// A consumer with one endpoint that requires sealing.
    pub(crate) async fn endpoint(&self, consumer: &str) -> Arc<Endpoint> {
        let consumer = ConsumerId::parse(consumer).unwrap();
        if self.directory.consumer(&consumer).is_none() {
            let groups = Default::default();
            let new = Consumer { id: consumer.clone(), description: None, groups, created_at: START };
            self.directory.create_consumer(new).await.unwrap();
        }
        let endpoint = Endpoint {
            id: EndpointId::generate(START),
            consumer,
            url: Url::parse("https://hooks.example.com/").unwrap(),
            event_types: Subscription::All,
            audience: None,
            protection: Protection::Sealed,
            retry: None,
            description: None,
            status: EndpointStatus::Active,
            pace: Default::default(),
            created_at: START,
            authentication: None,
            server_authentication: None,
            verification: Default::default(),
        };
        self.directory.create_endpoint(endpoint, None).await.unwrap()
    }

    pub(crate) async fn put(&self, owner: KeyOwner, source: KeySource, keys: Vec<KnownKey>) {
        self.directory.put_key_set(EncryptionKeySet { owner, source, keys }).await.unwrap();
    }

    pub(crate) async fn put_uri(&self, owner: KeyOwner, admission: Admission) {
        let jwks_uri = Url::parse("https://keys.example.com/jwks.json").unwrap();
        self.put(owner, KeySource::Uri { jwks_uri, admission }, Vec::new()).await;
    }

    pub(crate) async fn admit(&self, owner: &KeyOwner, kid: &str) {
        let now = self.clock.now();
        let admit = |set: &mut EncryptionKeySet| {
            let key = set.keys.iter_mut().find(|key| key.jwk["kid"] == kid).unwrap();
            key.admitted_at = Some(now);
            Ok(())
        };
        self.directory.update_key_set(owner, admit).await.unwrap();
    }

    /// The `kid` of the key that is chosen.
    pub(crate) async fn chosen(&self, endpoint: &Endpoint) -> Result<String, Hold> {
        self.keys.key_for(endpoint).await.map(|key| key.kid().to_owned())
    }

    /// All `kid`s that are known of this owner, in document order.
    pub(crate) fn known(&self, owner: &KeyOwner) -> Vec<String> {
        let set = self.directory.key_set(owner).unwrap();
        set.keys.iter().map(|key| key.jwk["kid"].as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn consumer_of(endpoint: &Endpoint) -> KeyOwner {
    KeyOwner::Consumer(endpoint.consumer.clone())
}

/// A new public key for encryption.
pub(crate) fn jwk(kid: &str) -> Value {
    let key = generate_decryption_key(EncryptionKeyType::P256).unwrap();
    key.public_jwk().with_kid(kid).unwrap().to_json()
}

pub(crate) fn known(jwk: &Value, first_seen: Timestamp, admitted_at: Option<Timestamp>) -> KnownKey {
    let thumbprint = waxseal_keys::Jwk::from_value(jwk).unwrap().thumbprint().to_string();
    KnownKey { thumbprint, jwk: jwk.clone(), first_seen, admitted_at, certificate_not_after: None }
}

/// What a `jwks_uri` answers, as a test has it.
#[derive(Debug, Default)]
pub(crate) struct Web {
    answer: Mutex<Answer>,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[derive(Clone, Debug, Default)]
enum Answer {
    #[default]
    Nothing,
    Document {
        body: Value,
        status: u16,
        content_type: &'static str,
        max_age: Option<Duration>,
    },
}

impl Web {
    pub(crate) fn publishes(&self, keys: &[&Value], max_age: Option<Duration>) {
        self.answers(200, "application/jwk-set+json", json!({ "keys": keys }), max_age);
    }

    pub(crate) fn answers(
        &self,
        status: u16,
        content_type: &'static str,
        body: Value,
        max_age: Option<Duration>,
    ) {
        *self.answer.lock().unwrap() = Answer::Document { body, status, content_type, max_age };
    }

    pub(crate) fn is_down(&self) {
        *self.answer.lock().unwrap() = Answer::Nothing;
    }

    /// The most requests that were under way at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl HttpGet for Web {
    fn get<'a>(&'a self, _: &'a Url, max_bytes: usize, _: Duration) -> HttpGetFuture<'a> {
        assert_eq!(max_bytes, 64 * 1024);
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
            // Others get their turn while this one waits for the network.
            tokio::task::yield_now().await;
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            match self.answer.lock().unwrap().clone() {
                Answer::Nothing => Err(FetchError::Timeout),
                Answer::Document { body, status, content_type, max_age } => Ok(HttpResponse {
                    status,
                    content_type: Some(content_type.to_owned()),
                    max_age,
                    body: body.to_string().into(),
                }),
            }
        })
    }
}
