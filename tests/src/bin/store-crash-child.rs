//! Accepts, settles and removes old contents without end, and says what was acknowledged: the victim of the crash test.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use waxseal_keys::{Clock, SystemClock};
use waxseal_sender::database::Database;
use waxseal_sender::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use waxseal_sender::model::delivery::{Attempt, DeliveryState, LiveDelivery};
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{Kept, NewDelivery, NewEvent, Outcome, Settlement, Slice, Store, StoreError};

#[tokio::main]
async fn main() -> ExitCode {
    let place = std::env::args().nth(1).expect("the path or the URL of a store");
    let store = match open(&place).await {
        Ok(store) => store,
        Err(error) => {
            println!("refused {}", error.code());
            return ExitCode::FAILURE;
        }
    };
    let callers: Vec<_> = (0..24).map(|_| tokio::spawn(accept_for_ever(Arc::clone(&store)))).collect();
    tokio::spawn(prune_for_ever(store));
    for caller in callers {
        caller.await.expect("a caller goes on until the process is killed");
    }
    ExitCode::SUCCESS
}

async fn open(place: &str) -> Result<Arc<dyn Store>, StoreError> {
    if Database::is_url(place) {
        let settings = Database::parse(place, Path::new(""), None).expect("the URL of a database");
        return Ok(Arc::new(PostgresStore::open(&settings).await?));
    }
    Ok(Arc::new(SqliteStore::open(place)?))
}

/// Removes the content of whatever has been delivered.
async fn prune_for_ever(store: Arc<dyn Store>) {
    let mut after = None;
    loop {
        let slice = Slice { kept: Kept::Contents, until: SystemClock.now(), after, limit: 20 };
        after = store.prune(slice).await.expect("room on the disk").next;
    }
}

async fn accept_for_ever(store: Arc<dyn Store>) {
    loop {
        let now = SystemClock.now();
        let (event, delivery, endpoint) =
            (EventId::generate(now), DeliveryId::generate(now), EndpointId::generate(now));
        let consumer = ConsumerId::generate(now);
        let accepted = NewEvent {
            id: event,
            accepted_at: now,
            expires_at: None,
            event_type: "order.created".to_owned(),
            sealed: vec![0x5A; 300],
            wrapped_keys: vec![(consumer.clone(), vec![0xA5; 60])],
            deliveries: vec![NewDelivery {
                id: delivery,
                endpoint,
                consumer: consumer.clone(),
                due_at: now,
                expires_at: None,
            }],
            idempotency: None,
            changes: Vec::new(),
        };
        store.accept(accepted).await.expect("room on the disk");
        say("accepted", &event.to_string());
        let attempt = Attempt {
            number: 1,
            started_at: now,
            duration_ms: 1,
            status: Some(202),
            result: "delivered".to_owned(),
            signing_kid: "signer".to_owned(),
            encryption_kid: None,
            excerpt: Vec::new(),
            next_at: None,
            clock_skew_seconds: None,
        };
        let settlement = Settlement {
            delivery: LiveDelivery {
                id: delivery,
                event,
                endpoint,
                consumer,
                due_at: now,
                attempts_made: 0,
                expires_at: None,
            },
            attempt: Some(attempt),
            outcome: Outcome::Final(DeliveryState::Delivered),
            at: now,
            changes: Vec::new(),
        };
        store.settle(settlement).await.expect("room on the disk");
        say("settled", &delivery.to_string());
    }
}

/// One write for one line, so that a kill can cut only the last.
fn say(what: &str, id: &str) {
    let line = format!("{what} {id}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent reads");
}
