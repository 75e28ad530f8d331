//! One event at which a sender stumbles holds up no other: against a sender that the test scripts.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use waxseal_tests::process::program;

use super::{Shop, run, scripted};

/// What the scripted sender accepted, by the events' data.
type Accepted = Arc<Mutex<Vec<Value>>>;

/// Refuses a batch with `poison` in it as a whole; cannot take `later` now; accepts everything else.
async fn answer(State(accepted): State<Accepted>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    let events = body["events"].as_array().unwrap();
    if events.iter().any(|event| event["data"] == "poison") {
        let problem = json!({ "status": 400, "code": "api.malformed_json", "detail": "no" });
        return (StatusCode::BAD_REQUEST, Json(problem));
    }
    let results = events.iter().map(|event| {
        if event["data"] == "later" {
            return json!({ "status": 503, "code": "api.unavailable", "detail": "not now" });
        }
        accepted.lock().unwrap().push(event["data"].clone());
        json!({ "id": "evt_1", "deliveries": [], "replayed": false })
    });
    (StatusCode::ACCEPTED, Json(json!({ "results": results.collect::<Vec<_>>() })))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_at_which_the_sender_stumbles_holds_up_no_other() {
    let shop = Shop::open("isolating");
    let accepted = Accepted::default();
    let router = Router::new().route("/v1/events/batch", post(answer)).with_state(Arc::clone(&accepted));
    let url = scripted(router).await;
    let once = || {
        let mut command = std::process::Command::new(program("waxseal"));
        command.args(["relay", "--once", "--url", &url, "--database", &shop.url("relay")]);
        run(command.env("WAXSEAL_TOKEN", "wxs_scripted"))
    };
    // Those that are put off come first, and are more than the first batch has room for.
    let publish =
        |data: &str| format!("SELECT waxseal_outbox.publish('t', to_jsonb({data}), consumer => 'a')");
    shop.sql(&format!("{} FROM generate_series(1, 30)", publish("'later'::text")));
    shop.sql(&format!("{} FROM generate_series(1, 150) AS n", publish("n")));
    shop.sql(&publish("'poison'::text"));
    shop.sql(&format!("{} FROM generate_series(151, 160) AS n", publish("n")));

    // The first batch is only of such that are put off: with `--once` that is where it ends, and is said.
    let (status, said) = once();
    assert!(
        status == 1 && said.contains("events could not be accepted now, and wait in the outbox"),
        "{said}"
    );
    let (mut tries, mut left) = (1, shop.rows("outbox"));
    while left > 30 {
        assert!(tries < 10, "{left} rows are left: {said}");
        // They are not due again.
        shop.sql("UPDATE waxseal_outbox.outbox SET retry_at = 'infinity' WHERE retry_at IS NOT NULL");
        once();
        (tries, left) = (tries + 1, shop.rows("outbox"));
    }
    let mut numbers: Vec<_> = accepted.lock().unwrap().iter().filter_map(Value::as_u64).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=160).collect::<Vec<_>>());
    assert_eq!(
        shop.sql("SELECT data, status, code FROM waxseal_outbox.refused"),
        "\"poison\"|400|api.malformed_json"
    );
    let put_off = "SELECT DISTINCT data, tries, retry_code, retry_at > now() FROM waxseal_outbox.outbox";
    assert_eq!(shop.sql(put_off), "\"later\"|1|api.unavailable|t");
}
