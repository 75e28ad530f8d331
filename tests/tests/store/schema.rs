//! The tables of the shared store: made once, used by programs of different ages, and divided into days.

use std::time::Duration;

use tokio_postgres::NoTls;
use waxseal_keys::{Clock, SystemClock, Timestamp};
use waxseal_sender::id::{DeliveryId, EventId};
use waxseal_sender::model::delivery::{DeliveryState, LiveDelivery};
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::{
    Catalog, Kept, NewDelivery, NewEvent, NodeRole, Outbox, Outcome, Record, RecordChange, RecordKind, Shard,
    Store, StoreError,
};
use waxseal_tests::postgres::Postgres;
use waxseal_tests::store_suite::aging::prune_all;
use waxseal_tests::store_suite::cluster::node;
use waxseal_tests::store_suite::fixture::{endpoint_id, new_event, owner_of, settlement};

use crate::subject;

#[tokio::test]
async fn nodes_that_start_together_make_the_tables_once() {
    let server = Postgres::shared();
    let settings = subject::settings(&server.dsn(&server.create_database("together")));
    let open = || PostgresStore::open(&settings);
    let (one, two, three, four) = tokio::join!(open(), open(), open(), open());
    for store in [one, two, three, four] {
        store.unwrap().backlog().await.unwrap();
    }
}

#[tokio::test]
async fn tables_of_a_newer_program_are_used_if_they_say_so() {
    let server = Postgres::shared();
    let database = server.create_database("newer");
    let settings = subject::settings(&server.dsn(&database));
    PostgresStore::migrate(&settings).await.unwrap();
    server.execute(&database, "UPDATE schema_version SET version = 9");
    PostgresStore::open(&settings).await.unwrap();
    server.execute(&database, "UPDATE schema_version SET usable_from = 9");
    let refused = PostgresStore::open(&settings).await;
    assert!(matches!(refused, Err(StoreError::NewerSchema { found: 9, known: 6 })), "{refused:?}");
}

#[tokio::test]
async fn the_paths_of_what_is_live_are_made_anew_where_they_are_older() {
    let server = Postgres::shared();
    let database = server.create_database("older");
    let settings = subject::settings(&server.dsn(&database));
    PostgresStore::migrate(&settings).await.unwrap();
    server.execute(&database, TO_STEP_FIVE);
    PostgresStore::open(&settings).await.unwrap();
    let conditions =
        "SELECT count(*) FROM pg_indexes WHERE tablename = 'delivery_live' AND indexdef LIKE '%>= 0)'";
    assert_eq!(server.execute(&database, conditions), "2");
    assert_eq!(server.execute(&database, "SELECT version, usable_from FROM schema_version"), "6|6");
}

/// As a dump holds them, for hours. A lock that somebody waits for keeps waiting all who come after.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_somebody_is_in_the_way_of_stops_nobody_else_and_is_taken_afterwards() {
    let subject = subject::postgres().await;
    let (server, database) = (Postgres::shared(), database(&subject));
    server.execute(&database, TO_STEP_FIVE);
    let (reader, connection) = tokio_postgres::connect(&server.dsn(&database), NoTls).await.unwrap();
    tokio::spawn(connection);
    reader.batch_execute("BEGIN; LOCK TABLE delivery_live IN ACCESS SHARE MODE").await.unwrap();

    let settings = subject.settings.clone();
    let newer = tokio::spawn(async move { PostgresStore::open(&settings).await });
    let waits = format!(
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
             WHERE datname = '{database}' AND mode = 'AccessExclusiveLock' AND NOT granted"
    );
    for round in 0..2 {
        let seen = tokio::task::block_in_place(|| server.wait_for(&database, &waits, "1"));
        assert_eq!(seen, "1", "it waits for the table");
        accept(&subject.store, SystemClock.now(), round).await;
    }
    assert!(!newer.is_finished());
    reader.batch_execute("COMMIT").await.unwrap();
    newer.await.unwrap().unwrap();
    assert_eq!(server.execute(&database, "SELECT version, usable_from FROM schema_version"), "6|6");
}

/// Whose name has to be quoted.
#[tokio::test]
async fn days_are_made_in_a_schema_of_any_name() {
    let server = Postgres::shared();
    let database = server.create_database("named");
    let schema = "CREATE SCHEMA \"Web hooks\"; ALTER DATABASE \"{}\" SET search_path = \"Web hooks\"";
    server.execute(&database, &schema.replace("{}", &database));
    let store = PostgresStore::open(&subject::settings(&server.dsn(&database))).await.unwrap();
    accept(&store, SystemClock.now(), 1).await;
    let days = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass";
    assert_eq!(server.execute(&database, days), "5", "four days and the rest");
    assert_eq!(server.execute(&database, "SELECT count(*) FROM events_rest"), "0");
}

/// Whose statements do not fit the tables any more does not go on until somebody ends it.
#[tokio::test]
async fn a_node_at_work_has_no_lease_any_more_when_the_tables_are_for_newer_programs() {
    let subject = subject::postgres().await;
    let (cluster, node) = (subject.store.cluster().unwrap(), node(1, NodeRole::All));
    assert_eq!(cluster.tend(&node).await.unwrap().shards.len(), Shard::COUNT);
    let newer = "UPDATE schema_version SET version = 99, usable_from = 99";
    Postgres::shared().execute(&database(&subject), newer);
    let refused = cluster.tend(&node).await;
    assert!(matches!(refused, Err(StoreError::NewerSchema { found: 99, .. })), "{refused:?}");
    Postgres::shared().execute(&database(&subject), "UPDATE schema_version SET usable_from = 1");
    assert_eq!(cluster.tend(&node).await.unwrap().shards.len(), Shard::COUNT);
}

/// What was kept by a program that knew the first step alone is there after the others.
#[tokio::test]
async fn tables_of_an_older_program_are_brought_up_to_date_with_what_is_in_them() {
    let subject = subject::postgres().await;
    let (store, now) = (&subject.store, SystemClock.now());
    let (waits, done) = (accept(store, now, 1).await, accept(store, now, 2).await);
    deliver(store, &done, now).await;
    let record = Record { kind: RecordKind::Endpoint, id: "ep".into(), consumer: None, sealed: vec![7; 9] };
    store.change(vec![RecordChange::Put(record.clone())]).await.unwrap();
    store.close().await;
    let (server, new) = (Postgres::shared(), database(&subject));
    let old = server.create_database("first");
    as_by_the_first_step(&old, &new);

    let store = PostgresStore::open(&subject::settings(&server.dsn(&old))).await.unwrap();
    assert_eq!(columns(&old), columns(&new), "as if it had been made today");
    assert_eq!(store.records().await.unwrap(), [record]);
    assert_eq!(store.delivery(done.id).await.unwrap().unwrap().state, DeliveryState::Delivered);
    assert_eq!(store.attempts(done.id).await.unwrap().len(), 1);
    let due = store.due(waits.endpoint, None, now, 10).await.unwrap();
    assert_eq!(due.iter().map(|live| live.id).collect::<Vec<_>>(), [waits.id]);
    deliver(&store, &waits, now).await;
    assert_eq!(store.delivery(waits.id).await.unwrap().unwrap().state, DeliveryState::Delivered);
    let later = accept(&store, now.saturating_add(Duration::from_millis(1)), 3).await;
    assert!(store.delivery(later.id).await.unwrap().is_some());
}

/// Makes the tables of the first step, with all that the other database has and they have room for.
fn as_by_the_first_step(old: &str, new: &str) {
    let server = Postgres::shared();
    server.execute(old, include_str!("../../../sender/src/store/postgres/schema/0001_init.sql"));
    let tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
                      AND relkind IN ('r', 'p') AND NOT relispartition";
    for table in server.execute(old, tables).lines() {
        let rows = server.execute(new, &format!("SELECT coalesce(json_agg(t), '[]') FROM {table} t"));
        let filled = format!(
            "TRUNCATE {table};
             INSERT INTO {table} OVERRIDING SYSTEM VALUE
                 SELECT * FROM json_populate_recordset(NULL::{table}, $rows${rows}$rows$)"
        );
        server.execute(old, &filled);
    }
    server.execute(
        old,
        "CREATE TABLE schema_version (
             singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
             version     integer NOT NULL,
             usable_from integer NOT NULL);
         INSERT INTO schema_version (version, usable_from) VALUES (1, 1)",
    );
}

/// Of every table and index but those of days.
fn columns(database: &str) -> String {
    let sql = "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'i', 'I') AND a.attnum > 0
             AND c.relname !~ '_[0-9]{8}'
         ORDER BY 1, 2";
    let version = "SELECT version, usable_from FROM schema_version";
    [sql, version].map(|sql| Postgres::shared().execute(database, sql)).join("\n")
}

#[tokio::test]
async fn what_comes_now_has_partitions_and_the_days_ahead_too() {
    let subject = subject::postgres().await;
    let database = database(&subject);
    let now = SystemClock.now();
    accept(&subject.store, now, 1).await;
    for table in ["events", "contents", "event_keys", "deliveries"] {
        let server = Postgres::shared();
        assert_eq!(server.execute(&database, &format!("SELECT count(*) FROM {table}")), "1", "{table}");
        assert_eq!(server.execute(&database, &format!("SELECT count(*) FROM {table}_rest")), "0", "{table}");
        let days = format!("SELECT count(*) FROM pg_inherits WHERE inhparent = '{table}'::regclass");
        assert_eq!(server.execute(&database, &days), "5", "four days and the rest");
    }
}

/// What is changed and removed row by row is cleaned up by its own measure: by that of the server, a table would be a fifth
/// dead rows before. What is kept in days is dropped with them.
#[tokio::test]
async fn tables_whose_rows_come_and_go_say_how_often_they_are_cleaned_up() {
    let database = database(&subject::postgres().await);
    let settings = "SELECT c.relname, split_part(o, '=', 1), split_part(o, '=', 2)
         FROM pg_class c, unnest(c.reloptions) AS o
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND o LIKE 'autovacuum_vacuum_scale%'
             AND c.relname !~ '_[0-9]{8}'
         ORDER BY 1";
    let told = Postgres::shared().execute(&database, settings);
    let name = "autovacuum_vacuum_scale_factor";
    let wanted = [("delivery_live", "0.01"), ("idempotency", "0.05"), ("nodes", "0"), ("shards", "0")];
    assert_eq!(told, wanted.map(|(table, factor)| format!("{table}|{name}|{factor}")).join("\n"));
}

/// As by the clock of a node that was far ahead: what came then is found where it is, and other days go on.
#[tokio::test]
async fn a_day_of_which_something_came_before_it_was_made_is_in_nobodys_way() {
    let subject = subject::postgres().await;
    let (database, now) = (database(&subject), SystemClock.now());
    let in_days = |days: u32| now.saturating_add(Duration::from_secs(86_400) * days);
    for day in [2, 3] {
        for table in ["events", "contents", "event_keys", "deliveries", "attempts"] {
            Postgres::shared().execute(&database, &format!("DROP TABLE {table}_{}", name(in_days(day))));
        }
    }
    let early = accept(&subject.store, in_days(2), 1).await;
    let again = PostgresStore::open(&subject.settings).await.expect("the store opens all the same");
    assert!(exists(&database, "attempts", in_days(3)), "days after that one are made");
    assert!(again.delivery(early.id).await.unwrap().is_some());
    deliver(&again, &early, now).await;
    assert_eq!(again.delivery(early.id).await.unwrap().unwrap().state, DeliveryState::Delivered);
}

/// A day at once, if nobody waits for anything of it; the rest of the others row by row.
#[tokio::test]
async fn days_are_dropped_when_nothing_of_them_is_needed() {
    let subject = subject::postgres().await;
    let (store, database) = (&subject.store, database(&subject));
    let day = Duration::from_secs(86_400);
    let now = SystemClock.now();
    let ago = |days: u32| now.saturating_sub(day * days);
    for days in [10, 11] {
        make_day(&database, ago(days));
    }
    let mut made = Vec::new();
    for days in [10, 10, 10, 11, 11] {
        made.push(accept(store, ago(days), 1).await);
    }
    // All but one of the younger day is delivered, and all of the older.
    for live in &made[1..] {
        deliver(store, live, ago(9)).await;
    }
    let removed = prune_all(store, Kept::Contents, ago(5), 100).await;
    assert_eq!(removed.events, 4);
    let kept = |kind: &str, days| exists(&database, kind, ago(days));
    assert!(kept("contents", 10) && !kept("contents", 11) && !kept("event_keys", 11) && kept("events", 11));
    let wanted = made.iter().map(|live| (live.event, live.consumer.clone())).collect();
    let payloads = store.payloads(wanted).await.unwrap();
    assert_eq!(payloads.iter().map(|payload| payload.event).collect::<Vec<_>>(), [made[0].event]);

    let removed = prune_all(store, Kept::Records, ago(5), 100).await;
    assert_eq!((removed.events, removed.deliveries), (4, 4));
    assert!(kept("events", 10) && !kept("events", 11) && !kept("deliveries", 11) && !kept("attempts", 11));
    assert_eq!(store.event(made[4].event).await.unwrap(), None);

    // An attempt that is too young keeps its day.
    deliver(store, &made[0], now).await;
    assert_eq!(prune_all(store, Kept::Contents, ago(5), 100).await.events, 1);
    assert_eq!(prune_all(store, Kept::Records, ago(5), 100).await.events, 0);
    assert!(!kept("contents", 10) && kept("events", 10));
    assert_eq!(prune_all(store, Kept::Records, now, 100).await.events, 1);
    assert!(!kept("events", 10));
}

pub async fn accept(store: &dyn Store, moment: Timestamp, endpoint: u32) -> LiveDelivery {
    let (event, id) = (EventId::generate(moment), DeliveryId::generate(moment));
    let (endpoint, consumer) = (endpoint_id(endpoint), owner_of(endpoint));
    let delivery = NewDelivery { id, endpoint, consumer: consumer.clone(), due_at: moment, expires_at: None };
    store.accept(NewEvent { id: event, ..new_event(1, moment, vec![delivery]) }).await.unwrap();
    LiveDelivery { id, event, endpoint, consumer, due_at: moment, attempts_made: 0, expires_at: None }
}

pub async fn deliver(store: &dyn Store, live: &LiveDelivery, moment: Timestamp) {
    store.settle(settlement(live.clone(), Outcome::Final(DeliveryState::Delivered), moment)).await.unwrap();
}

fn database(subject: &subject::Postgres) -> String {
    subject.settings.to_string().rsplit_once('/').unwrap().1.to_owned()
}

/// As it is called in the names of partitions.
pub fn name(moment: Timestamp) -> String {
    let sql = format!(
        "SELECT to_char(to_timestamp({}) AT TIME ZONE 'UTC', 'YYYYMMDD')",
        moment.as_millis() / 1_000
    );
    Postgres::shared().execute("postgres", &sql)
}

pub fn exists(database: &str, table: &str, moment: Timestamp) -> bool {
    let sql = format!("SELECT to_regclass('{table}_{}') IS NOT NULL", name(moment));
    Postgres::shared().execute(database, &sql) == "t"
}

/// What was made when that day was to come.
pub fn make_day(database: &str, moment: Timestamp) {
    let first = moment.as_millis() / 86_400_000 * 86_400_000;
    let bound = |millis| EventId::lower_bound(Timestamp::from_millis(millis)).to_string()[4..].to_owned();
    let (from, until, name) = (bound(first), bound(first + 86_400_000), name(moment));
    for table in ["events", "contents", "event_keys", "deliveries", "attempts"] {
        let sql = format!(
            "CREATE TABLE {table}_{name} PARTITION OF {table} FOR VALUES FROM ('{from}') TO ('{until}')"
        );
        Postgres::shared().execute(database, &sql);
    }
}

/// Takes the sixth step back.
const TO_STEP_FIVE: &str = "DROP INDEX delivery_live_due; DROP INDEX delivery_live_arrived;
    CREATE INDEX delivery_live_due ON delivery_live ((shard::bigint), endpoint, due_at, id);
    CREATE INDEX delivery_live_arrived ON delivery_live ((shard::integer), id);
    UPDATE schema_version SET version = 5, usable_from = 1";
