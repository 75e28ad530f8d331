//! How endpoints do, in the shared store: told often, of many, and rarely otherwise than a moment ago.

use waxseal_sender::store::{Catalog, NodeRole, ToldCondition, ToldConditions};
use waxseal_tests::postgres::Postgres;
use waxseal_tests::store_suite::cluster::node;
use waxseal_tests::store_suite::fixture::endpoint_id;

use crate::subject;

#[tokio::test]
async fn what_is_told_again_and_is_as_it_was_is_not_written_again() {
    let subject = subject::postgres().await;
    let database = subject.settings.to_string();
    let database = database.rsplit_once('/').unwrap().1.to_owned();
    let cluster = subject.store.cluster().unwrap();
    let one = node(1, NodeRole::All);
    cluster.tend(&one).await.unwrap();
    let told =
        |number: u32, text: &str| ToldCondition { endpoint: endpoint_id(number), told: text.to_owned() };
    let all = |other: &str| {
        ToldConditions::All((0..200).map(|n| told(n, if n == 7 { other } else { "held" })).collect())
    };
    // Where each row lies, who has written it, and who has locked it since.
    let rows = || {
        let sql = "SELECT ctid, xmin, xmax, endpoint FROM conditions ORDER BY endpoint";
        let rows = Postgres::shared().execute(&database, sql);
        rows.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let otherwise = |before: &[String]| {
        let now = rows();
        (now.len(), now.iter().filter(|row| !before.contains(row)).count())
    };
    cluster.tell_conditions(one.id, all("held")).await.unwrap();
    let before = rows();
    cluster.tell_conditions(one.id, all("held")).await.unwrap();
    assert_eq!(otherwise(&before), (200, 0));
    cluster.tell_conditions(one.id, all("open")).await.unwrap();
    assert_eq!(otherwise(&before), (200, 1));
    let before = rows();
    let changed = ToldConditions::Changed { told: vec![told(9, "open")], over: vec![endpoint_id(1)] };
    cluster.tell_conditions(one.id, changed).await.unwrap();
    assert_eq!(otherwise(&before), (199, 1));
    let before = rows();
    cluster.tell_conditions(one.id, all("open")).await.unwrap();
    assert_eq!(otherwise(&before), (200, 2), "the one that is there again, and the one that is held again");
}
