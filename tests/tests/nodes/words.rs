//! What nodes tell each other by way of the database, as the database has logged it.
//!
//! Whoever notifies holds a lock of the whole database until its commit: an event that was accepted in the same transaction
//! would wait for every other one.

use std::collections::BTreeMap;
use std::time::Duration;

use waxseal_tests::postgres::Postgres;

use crate::fleet::{Fleet, Start, event, server, shared_out, until, with_endpoints};
use crate::receiver::Receiver;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_tells_others_of_events_writes_nothing_on_that_connection() {
    let server = server(&[("log_statement", "all"), ("log_line_prefix", "%p|")]);
    let database = server.create_database("words");
    let fleet = Fleet::init(&server.dsn(&database), "");
    let api = fleet.start_with("api", Start { role: Some("api"), ..Start::default() }).await;
    let engine = fleet.start_with("engine", Start { role: Some("engine"), ..Start::default() }).await;
    let receiver = Receiver::start(Duration::ZERO).await;
    receiver.trust(&fleet, &api.origin).await;
    with_endpoints(&api.api, &receiver, 2).await;
    shared_out(&[&engine]).await;
    for n in 0..20 {
        let accepted = api.api.try_publish(&event(&format!("c{}", n % 2))).await.unwrap();
        until("it is delivered", async || receiver.events().contains(&accepted)).await;
    }

    let said = by_connection(&server);
    let has = |statements: &[String], word: &str| statements.iter().any(|said| said.contains(word));
    let telling: Vec<_> = said.values().filter(|said| has(said, "pg_notify(")).collect();
    let writing = said.values().filter(|said| has(said, "INSERT INTO events"));
    assert!(!telling.is_empty() && writing.count() > 0, "the log has both: {} connections", said.len());
    for statements in telling {
        for word in ["BEGIN", "INSERT", "UPDATE", "DELETE"] {
            assert!(!has(statements, word), "{word} beside a NOTIFY: {statements:#?}");
        }
    }
    // Nor is anything told by the database itself.
    let triggers = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal";
    let functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
    assert_eq!([triggers, functions].map(|sql| server.execute(&database, sql)), ["0", "0"]);
}

/// The statements of each connection, by the process that served it.
fn by_connection(server: &Postgres) -> BTreeMap<String, Vec<String>> {
    let mut said = BTreeMap::<String, Vec<String>>::new();
    let mut last = String::new();
    for line in server.log().lines() {
        match line.split_once('|') {
            Some((process, text)) if process.bytes().all(|byte| byte.is_ascii_digit()) => {
                process.clone_into(&mut last);
                said.entry(last.clone()).or_default().push(text.to_owned());
            }
            // A statement of several lines goes on.
            _ => said.entry(last.clone()).or_default().push(line.to_owned()),
        }
    }
    said
}
