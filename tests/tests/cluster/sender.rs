//! Whole senders, as the tests of this folder set them up and publish by them.

use std::sync::Arc;
use std::time::Duration;

use waxseal_envelope::{Data, EventType, Issuer};
use waxseal_keys::{Clock, KeyEncryptionKey, RingPolicy, SignatureAlgorithm, SystemClock};
use waxseal_sender::directory::{Directory, To};
use waxseal_sender::engine::EnginePolicy;
use waxseal_sender::engine::egress::EgressPolicy;
use waxseal_sender::engine::egress::guard::PlainHttp;
use waxseal_sender::model::consumer::{DeclaredType, Visibility};
use waxseal_sender::publish::Publication;
use waxseal_sender::sender::{Sender, Settings};
use waxseal_sender::signing_keys::X5c;
use waxseal_sender::store::{NodeRole, Store};
use waxseal_tests::store_model::StoreModel;

use crate::node::consumer;

/// A sender on this store.
pub async fn start(model: StoreModel, kek: KeyEncryptionKey, role: NodeRole, engine: EnginePolicy) -> Sender {
    let store: Arc<dyn Store> = Arc::new(model);
    Sender::start(settings(role, engine), store, kek, Arc::new(SystemClock)).await.unwrap()
}

/// The same key once more: it cannot be copied.
pub fn again(kek: &KeyEncryptionKey) -> KeyEncryptionKey {
    KeyEncryptionKey::from_text(&kek.to_text()).unwrap()
}

/// Declares the type of what is [published](publication), and creates these consumers.
pub async fn declare(directory: &Directory, consumers: &[&str]) {
    let (visible_to, created_at) = (Visibility::All, SystemClock.now());
    let declared = DeclaredType { name: event_type(), description: None, visible_to, created_at };
    directory.create_event_type(declared).await.unwrap();
    for name in consumers {
        directory.create_consumer(consumer(name)).await.unwrap();
    }
}

pub fn publication(to: To) -> Publication {
    Publication {
        event_type: event_type(),
        data: Data::json(b"{}").unwrap(),
        to,
        id: None,
        occurred_at: None,
        idempotency_key: None,
        publisher: None,
        expiry: None,
    }
}

fn event_type() -> EventType {
    EventType::parse("order.created").unwrap()
}

fn settings(role: NodeRole, engine: EnginePolicy) -> Settings {
    Settings {
        issuer: Issuer::parse("https://sender.example").unwrap(),
        algorithm: SignatureAlgorithm::EdDsa,
        ring: RingPolicy::default(),
        jwks_max_age: Duration::from_secs(60),
        x5c: X5c::Omitted,
        egress: EgressPolicy {
            allow: vec!["127.0.0.1/32".parse().unwrap()],
            http: PlainHttp::AllowedRanges,
            ..EgressPolicy::default()
        },
        engine,
        retention: Default::default(),
        operations: Default::default(),
        by_hand: Default::default(),
        role,
        node_name: "one of several".to_owned(),
    }
}
