//! Killed without warning, a process leaves a store that has everything that it had acknowledged.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use waxseal_sender::id::{DeliveryId, EventId};
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::store::Store;
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::sqlite::backup::back_up;
use waxseal_tests::postgres::Postgres;

use crate::subject;

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut acknowledged = Vec::new();
    // Each round opens what the round before left behind, and is killed after another number of acknowledgements.
    for lines in [1, 150, 700, 1_900, 40] {
        acknowledged.extend(killed_after(lines, path.as_os_str(), || {
            let backup = folder.path().join(format!("backup-{lines}.db"));
            back_up(&path, &backup).unwrap();
        }));
    }
    let store = SqliteStore::open(&path).unwrap();
    all_is_there(&store, &acknowledged).await;
    assert_eq!(store.damage(), None);
    store.close().await;
    all_of_the_live_have_content(&path);
}

/// Its transactions are the server's by then: each is done, or it is not.
#[tokio::test]
async fn what_was_acknowledged_to_a_node_survives_the_node() {
    let server = Postgres::shared();
    let url = server.dsn(&server.create_database("crash"));
    let mut acknowledged = Vec::new();
    for lines in [1, 150, 700, 40] {
        acknowledged.extend(killed_after(lines, OsStr::new(&url), || {}));
    }
    let store = PostgresStore::open(&subject::settings(&url)).await.unwrap();
    all_is_there(&store, &acknowledged).await;
    let live = "SELECT count(*) FROM delivery_live l WHERE NOT EXISTS (SELECT FROM contents c WHERE c.event = l.event)";
    let database = url.rsplit_once('/').unwrap().1;
    assert_eq!(server.execute(database, live), "0", "what is to be delivered is never removed");
}

/// What a process acknowledged until it was killed, after it had said at least so many lines.
fn killed_after(lines: usize, place: &OsStr, before: impl Fn()) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_store-crash-child"))
        .arg(place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..lines {
        acknowledged.push(line(&mut output).expect("the child goes on until it is killed"));
    }
    before();
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had still said before it died counts too.
    while let Some(said) = line(&mut output) {
        acknowledged.push(said);
    }
    acknowledged
}

async fn all_is_there(store: &dyn Store, acknowledged: &[String]) {
    for said in acknowledged {
        let (what, id) = said.split_once(' ').unwrap();
        match what {
            "accepted" => {
                let event = store.event(EventId::parse(id).unwrap()).await.unwrap();
                assert!(event.is_some(), "{said}");
            }
            "settled" => {
                let delivery = store.delivery(DeliveryId::parse(id).unwrap()).await.unwrap().expect(said);
                assert_eq!(delivery.state, DeliveryState::Delivered, "{said}");
            }
            _ => panic!("{said}"),
        }
    }
    assert!(acknowledged.iter().any(|said| said.starts_with("settled")));
}

/// What is to be delivered is never removed; some of the rest was.
fn all_of_the_live_have_content(path: &Path) {
    let database = rusqlite::Connection::open(path).unwrap();
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let live = "SELECT count(*) FROM delivery_live l JOIN events e ON e.id = l.event WHERE e.content = 0";
    assert_eq!(count(live), 0);
    assert!(count("SELECT count(*) FROM events WHERE content = 0") > 0);
}

/// A whole line, if there is one more; the kill may have cut the last.
fn line(output: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.strip_suffix('\n').map(ToOwned::to_owned)
}
