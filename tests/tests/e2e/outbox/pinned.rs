//! While a transaction keeps the database from removing what was carried, exactly what was committed arrives, what is
//! committed late included: real PostgreSQL, against a sender that the test scripts.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_postgres::NoTls;
use waxseal_tests::process::{Process, program};

use super::{Shop, run, scripted};

/// What the scripted sender accepted, by the events' data.
type Accepted = Arc<Mutex<Vec<u64>>>;

const DEAD: u64 = 200_000;

async fn answer(State(accepted): State<Accepted>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    let events = body["events"].as_array().unwrap();
    accepted.lock().unwrap().extend(events.iter().map(|event| event["data"].as_u64().unwrap()));
    let result = json!({ "id": "evt_1", "deliveries": [], "replayed": false });
    (StatusCode::ACCEPTED, Json(json!({ "results": vec![result; events.len()] })))
}

/// Waits until so many were accepted.
async fn until_accepted(accepted: &Accepted, how_many: usize) {
    let waiting = async {
        while accepted.lock().unwrap().len() < how_many {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = timeout(Duration::from_secs(120), waiting).await.is_ok();
    assert!(in_time, "{} of {how_many} were accepted", accepted.lock().unwrap().len());
}

fn publish(first: u64, last: u64) -> String {
    format!(
        "SELECT waxseal_outbox.publish('t', to_jsonb(n), consumer => 'a') FROM generate_series({first}, {last}) AS n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commits_late_arrives_though_nothing_that_was_carried_can_be_removed() {
    let shop = Shop::open("pinned");
    let accepted = Accepted::default();
    let router = Router::new().route("/v1/events/batch", post(answer)).with_state(Arc::clone(&accepted));
    let url = scripted(router).await;
    let relay = |more: &[&str]| {
        let mut command = Command::new(program("waxseal"));
        command.args(["relay", "--url", &url, "--database", &shop.url("relay")]).args(more);
        command.env("WAXSEAL_TOKEN", "wxs_scripted");
        command
    };

    // A dump, say.
    let (dump, connection) = tokio_postgres::connect(&shop.server.dsn(&shop.database), NoTls).await.unwrap();
    tokio::spawn(connection);
    dump.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM orders").await.unwrap();
    // Two have early numbers, one of them until much later.
    let (mut first, mut second) = (shop.connect().await, shop.connect().await);
    let (late, rolled_back) = (first.transaction().await.unwrap(), second.transaction().await.unwrap());
    late.batch_execute(&publish(1, 150)).await.unwrap();
    rolled_back.batch_execute(&publish(900, 999)).await.unwrap();
    shop.sql(&format!(
        "INSERT INTO waxseal_outbox.outbox (id, type, data, consumers, size) \
         SELECT 'dead-' || n, 't', '0', ARRAY['a'], 1 FROM generate_series(1, {DEAD}) AS n"
    ));
    shop.sql("DELETE FROM waxseal_outbox.outbox");
    shop.sql(&publish(151, 450));

    let running = Process::start("waxseal relay", relay(&["--every", "20ms"]).args(["--batch", "50"]));
    until_accepted(&accepted, 300).await;
    // It goes on from where it was.
    shop.sql(&publish(451, 500));
    until_accepted(&accepted, 350).await;
    late.commit().await.unwrap();
    rolled_back.rollback().await.unwrap();
    shop.sql(&publish(501, 600));
    until_accepted(&accepted, 600).await;
    let left = shop.server.wait_for(&shop.database, "SELECT count(*) FROM waxseal_outbox.outbox", "0");
    assert_eq!((left.as_str(), shop.rows("refused")), ("0", 0));
    assert!(running.stop().success(), "a relay that is asked to stop ends well");

    // One that starts among the dead rows.
    shop.sql(&publish(601, 700));
    let (status, said) = run(relay(&[]).arg("--once"));
    assert_eq!(status, 0, "{said}");
    let mut numbers = accepted.lock().unwrap().clone();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=700).collect::<Vec<_>>(), "each of them once");

    // They were in the way all the time.
    shop.sql("VACUUM waxseal_outbox.outbox");
    let dead = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'outbox'";
    let dead: u64 = shop.sql(dead).parse().unwrap();
    assert!(dead >= DEAD, "only {dead} rows are dead");
    dump.batch_execute("COMMIT").await.unwrap();
}
