//! Every answer that a server can give, and every way not to give one: what is on record of it, and that it costs
//! nobody else anything.
//!
//! [`table`] and [`connection`] are the specification, a row for each script; [`host`] plays it over real sockets.

mod connection;
mod host;
mod judge;
mod memory;
mod name;
mod neighbour;
mod script;
mod table;
mod trick;
mod world;

use std::time::Duration;

use waxseal_keys::{Clock, SystemClock};
use waxseal_sender::model::endpoint::Protection;

use self::host::Host;
use self::script::{Row, answer};
use self::world::{Case, Published, World};
use crate::engine::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_verdict_and_costs_no_neighbour_anything() {
    let world = World::new().await;
    let forbidden = Host::start("127.0.0.2:0", None, vec![answer(202, &[], "")]).await;
    let rows = table::rows(SystemClock.now(), forbidden.address);
    let cases = set_up(&world, rows).await;
    world.sender.endpoint("bystander", &world.neighbours.url("bystander"), Protection::Signed).await;

    let mut slowest = Duration::ZERO;
    let published = tokio::select! {
        published = first_round(&world, &cases) => published,
        () = bystand(&world, &mut slowest) => unreachable!("it goes on for ever"),
    };
    println!("{} scripts; the slowest of the bystander's deliveries took {slowest:?}", cases.len());
    assert!(slowest < IN_TIME, "the bystander waited {slowest:?}");

    let mut faults = Vec::new();
    for (case, published) in cases.iter().zip(&published) {
        faults.extend(judge::faults(&world, case, published).await);
        faults.extend(late(&world, case, published));
    }
    // Now that each has failed, waits, rests or is paused: the other endpoint of its consumer is as well as ever.
    for case in &cases {
        let again = world.publish(&case.consumer, Some(case.endpoint)).await;
        until(async || world.took(&case.consumer, &again)).await;
        faults.extend(late(&world, case, &again));
    }
    assert_eq!(forbidden.connections(), 0, "somebody was sent to an address that is not allowed");
    assert_eq!(world.asked.times("followed.example"), 0, "a redirect was followed");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    world.engine.stop().await;
}

async fn set_up(world: &World, rows: Vec<Row>) -> Vec<Case> {
    let mut cases = Vec::with_capacity(rows.len());
    for (number, row) in rows.into_iter().enumerate() {
        cases.push(world.case(row, format!("consumer-{number}")).await);
    }
    cases
}

/// Publishes one event for each case, all at once, and waits until each has an attempt on record, has reached the
/// other endpoint of the consumer, and has let go of the connection.
async fn first_round(world: &World, cases: &[Case]) -> Vec<Published> {
    let mut published = Vec::with_capacity(cases.len());
    for case in cases {
        published.push(world.publish(&case.consumer, Some(case.endpoint)).await);
    }
    for (case, published) in cases.iter().zip(&published) {
        let made = async || {
            let attempts = world.sender.parts.store.attempts(published.scripted.unwrap()).await.unwrap();
            (!attempts.is_empty()).then_some(())
        };
        until(made).await;
        until(async || world.took(&case.consumer, published)).await;
        until(async || (case.host.open() == 0).then_some(())).await;
    }
    published
}

/// Publishes to a consumer that has nothing to do with all this, one event after the other; keeps how long the slowest
/// took.
async fn bystand(world: &World, slowest: &mut Duration) {
    loop {
        let published = world.publish("bystander", None).await;
        let took = until(async || world.took("bystander", &published)).await;
        *slowest = took.max(*slowest);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a consumer's sound endpoint had to wait for.
fn late(world: &World, case: &Case, published: &Published) -> Option<String> {
    let took = world.took(&case.consumer, published).unwrap();
    (took > IN_TIME).then(|| format!("{}: the consumer's other endpoint waited {took:?}", case.row.name))
}

/// Less than a script can hold a delivery up for.
const IN_TIME: Duration = Duration::from_secs(2);
