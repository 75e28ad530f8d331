//! Another process of the same program, which begins events at the same guard as this one.

use std::{env, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
    sync::Barrier,
};
use waxseal_keys::{Clock, SystemClock};
use waxseal_receiver::{Begin, RedisGuard, ReplayGuard, SqliteGuard};

use crate::suite::{LEASE, key};

/// Runs two processes that begin the same events at the guard that `kind` and `place` name, and checks that each
/// event went to exactly one of them. What they committed must be done for `guard`.
pub(crate) async fn two_processes_share(kind: &str, place: &str, guard: &dyn ReplayGuard) {
    let both = Arc::new(Barrier::new(2));
    let (first, second) = tokio::join!(run(kind, place, both.clone()), run(kind, place, both.clone()));
    assert!(!first.is_empty() && !second.is_empty(), "they did not run at the same time: nothing is shown");
    let mut begun = [first, second].concat();
    begun.sort();
    let mut all: Vec<_> = (0..EVENTS).map(event).collect();
    all.sort();
    assert_eq!(begun, all);
    for id in all {
        let known = guard.begin(&key(&id), SystemClock.now(), LEASE).await.unwrap();
        assert_eq!(known, Begin::Done, "{id}");
    }
}

/// The ids of the events that a process got.
async fn run(kind: &str, place: &str, both: Arc<Barrier>) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["child::a_process_of_its_own", "--exact", "--nocapture", "--test-threads=1"])
        .env(KIND, kind)
        .env(PLACE, place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut stdin = child.stdin.take().unwrap();
    let mut begun = Vec::new();
    let reading = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            // The harness may have written its own words before ours.
            if line.ends_with("ready") {
                both.wait().await;
                stdin.write_all(b"go\n").await.unwrap();
            }
            begun.extend(line.rsplit_once("begun ").map(|(_, id)| id.to_owned()));
        }
        child.wait().await.unwrap()
    };
    let status = tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap();
    assert!(status.success(), "{status}");
    begun
}

/// Nothing by itself; what the two processes run.
#[tokio::test]
async fn a_process_of_its_own() {
    let (Ok(kind), Ok(place)) = (env::var(KIND), env::var(PLACE)) else { return };
    let guard: Arc<dyn ReplayGuard> = match kind.as_str() {
        "sqlite" => Arc::new(SqliteGuard::open(place).unwrap()),
        "redis" => Arc::new(RedisGuard::connect(&place, "shared").await.unwrap()),
        other => panic!("{other}"),
    };
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    for number in 0..EVENTS {
        let key = key(&event(number));
        if let Begin::New(fence) = guard.begin(&key, SystemClock.now(), LEASE).await.unwrap() {
            println!("begun {}", key.id);
            guard.commit(&key, fence, SystemClock.now()).await.unwrap();
        }
        // Lets the other in: a writer of SQLite that never pauses may keep everybody else waiting.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn event(number: usize) -> String {
    format!("evt_{number}")
}

const EVENTS: usize = 400;

const KIND: &str = "WAXSEAL_TEST_GUARD";
const PLACE: &str = "WAXSEAL_TEST_GUARD_AT";
