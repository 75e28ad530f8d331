//! The primary dies while its standby is behind: with a synchronous standby nothing that was acknowledged is lost.
//!
//! The same with a standby that nobody waits for loses some, so this is known to be able to fail.

use std::collections::BTreeSet;
use std::time::Duration;

use waxseal_tests::measured::measured;
use waxseal_tests::postgres::Postgres;

use crate::fleet::{Fleet, now, server, until, with_endpoints};
use crate::load::Load;
use crate::receiver::Receiver;

const CONSUMERS: usize = 4;

/// Whether a commit waits for the standby.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standby {
    Synchronous,
    Asynchronous,
}

/// What became of what was acknowledged.
struct Fate {
    acknowledged: BTreeSet<String>,
    lost: BTreeSet<String>,
    delivered: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_with_a_primary_that_has_a_synchronous_standby() {
    let Fate { acknowledged, lost, delivered } = lose_primary(Standby::Synchronous).await;
    assert!(lost.is_empty(), "{} of {} are lost", lost.len(), acknowledged.len());
    assert!(delivered.is_superset(&acknowledged));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_lost_with_a_primary_that_waits_for_no_standby() {
    let Fate { acknowledged, lost, .. } = lose_primary(Standby::Asynchronous).await;
    assert!(!lost.is_empty(), "all {} are there: this cannot tell one from the other", acknowledged.len());
}

async fn lose_primary(kind: Standby) -> Fate {
    let mut primary = server(&[]);
    let database = primary.create_database("replaced");
    let standby = primary.standby("s1");
    if kind == Standby::Synchronous {
        primary.acknowledge_with("s1");
    }
    let dsn = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{database}?target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let fleet = Fleet::init(&dsn, "");
    let node = fleet.start("a").await;
    let receiver = Receiver::start(Duration::from_millis(20)).await;
    receiver.trust(&fleet, &node.origin).await;
    with_endpoints(&node.api, &receiver, CONSUMERS).await;
    let mut load = Load::start(&fleet, &[node.origin.as_str(); 4], CONSUMERS, Duration::from_millis(20));
    load.more(60).await;

    let paused = standby.pause_walreceiver();
    match kind {
        Standby::Asynchronous => load.more(60).await,
        Standby::Synchronous => {
            let waiting = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            assert_eq!(primary.wait_for("postgres", waiting, "t"), "t");
            // What is committed now and not acknowledged is the point of it.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    let since = now();
    tokio::task::block_in_place(|| {
        primary.kill();
        standby.kill_walreceiver(paused);
        standby.promote();
    });
    let promoted = since.elapsed();
    load.more(1).await;
    measured(&format!(
        "primary killed, standby ({}) promoted after {promoted:.1?}, events accepted again after {:.1?}",
        format!("{kind:?}").to_lowercase(),
        since.elapsed()
    ));
    load.more(60).await;

    let acknowledged = load.stop().await;
    let kept = kept(&standby, &database);
    let lost: BTreeSet<_> = acknowledged.difference(&kept).cloned().collect();
    let wanted: BTreeSet<_> = acknowledged.difference(&lost).cloned().collect();
    until("what is kept is delivered", async || receiver.events().is_superset(&wanted)).await;
    println!("{kind:?}: {} of {} acknowledged events are lost", lost.len(), acknowledged.len());
    // It is still the same process, and ends as it should.
    assert!(node.process.stop().success());
    Fate { acknowledged, lost, delivered: receiver.events() }
}

/// The events that a database has.
pub fn kept(server: &Postgres, database: &str) -> BTreeSet<String> {
    let rows = server.execute(database, "SELECT 'evt_' || replace(id::text, '-', '') FROM events");
    rows.lines().map(str::to_owned).collect()
}
