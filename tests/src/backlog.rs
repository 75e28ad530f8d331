//! Long backlogs for a sender, published straight into its store while it does not run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use waxseal_envelope::{Data, EventType};
use waxseal_keys::{KeyEncryptionKey, SystemClock};
use waxseal_sender::data_keys::DataKeys;
use waxseal_sender::database::Database;
use waxseal_sender::directory::{Directory, To};
use waxseal_sender::engine::Arrival;
use waxseal_sender::id::{ConsumerId, DeliveryId, EndpointId};
use waxseal_sender::publish::{Arrivals, Publication, Publisher};
use waxseal_sender::store::Store;
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::sqlite::SqliteStore;

/// Publishes so many events of this type to each of these consumers into the store in `folder`; each has a string of
/// `text` bytes.
pub async fn publish(folder: &Path, event_type: &'static str, text: usize, consumers: &[(&str, usize)]) {
    let store = Arc::new(SqliteStore::open(folder.join("waxseal.db")).unwrap());
    publish_into(Arc::<SqliteStore>::clone(&store), folder, event_type, text, consumers).await;
    store.close().await;
}

/// As [`publish`], into a database, by the key in `folder`.
pub async fn publish_shared(
    url: &str,
    folder: &Path,
    event_type: &'static str,
    text: usize,
    consumers: &[(&str, usize)],
) {
    let settings = Database::parse(url, Path::new(""), None).unwrap();
    let store = Arc::new(PostgresStore::open(&settings).await.unwrap());
    publish_into(Arc::<PostgresStore>::clone(&store), folder, event_type, text, consumers).await;
    store.close().await;
}

async fn publish_into(
    store: Arc<dyn Store>,
    folder: &Path,
    event_type: &'static str,
    text: usize,
    consumers: &[(&str, usize)],
) {
    let kek = KeyEncryptionKey::from_file(&folder.join("waxseal.key")).unwrap();
    let data_keys = Arc::new(DataKeys::open(Arc::clone(&store), kek).await.unwrap());
    let directory = Directory::load(Arc::clone(&store), Arc::clone(&data_keys)).await.unwrap();
    let publisher = Publisher::new(store, directory, data_keys, Arc::new(Nobody), Arc::new(SystemClock));
    for (consumer, events) in consumers {
        let left = Arc::new(AtomicUsize::new(*events));
        let publish = || {
            let (publisher, left) = (publisher.clone(), Arc::clone(&left));
            let publication = publication(event_type, text, consumer);
            tokio::spawn(async move {
                let one_less = |left: usize| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
                    publisher.publish(publication.clone()).await.unwrap();
                }
            })
        };
        // As many as share one commit.
        for publisher in (0..256).map(|_| publish()).collect::<Vec<_>>() {
            publisher.await.unwrap();
        }
    }
}

fn publication(event_type: &str, text: usize, consumer: &str) -> Publication {
    Publication {
        event_type: EventType::parse(event_type).unwrap(),
        data: Data::json(format!("\"{}\"", "x".repeat(text)).as_bytes()).unwrap(),
        to: To::Consumers(vec![ConsumerId::parse(consumer).unwrap()]),
        id: None,
        occurred_at: None,
        idempotency_key: None,
        publisher: None,
        expiry: None,
    }
}

/// A publisher's engine, where there is none.
#[derive(Debug)]
struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: Vec<Arrival>) {}

    fn withdrawn(&self, _: EndpointId, _: &[DeliveryId]) -> Vec<DeliveryId> {
        Vec::new()
    }
}
