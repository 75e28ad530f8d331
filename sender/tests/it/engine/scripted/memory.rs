//! What servers that never stop talking cost us: measured in a process that does nothing else.

use std::process::Command;

use super::connection::floods;
use super::world::World;
use crate::engine::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_floods_at_once_take_little_memory() {
    if std::env::var_os(ALONE).is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "engine::scripted::memory::a_hundred_floods_at_once_take_little_memory"]);
        let output = alone.arg("--nocapture").env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("1 passed") && said.contains("floods took"), "{said}");
        return;
    }
    let world = World::new().await;
    let mut cases = Vec::new();
    for copy in 0..8 {
        for (number, row) in floods().into_iter().enumerate() {
            cases.push(world.case(row, format!("consumer-{copy}-{number}")).await);
        }
    }
    let before = peak_memory();
    let mut published = Vec::new();
    for case in &cases {
        published.push(world.publish(&case.consumer, Some(case.endpoint)).await.scripted.unwrap());
    }
    for (case, delivery) in cases.iter().zip(published) {
        let made = async || {
            let attempts = world.sender.parts.store.attempts(delivery).await.unwrap();
            (!attempts.is_empty() && case.host.open() == 0).then_some(())
        };
        until(made).await;
    }
    let took = peak_memory() - before;
    println!("{} floods took {took} bytes", cases.len());
    assert!(took < MOST, "{took} bytes");
    world.engine.stop().await;
}

/// The most memory that this process has had resident, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

/// Set in the process that is measured.
const ALONE: &str = "WAXSEAL_TEST_ALONE";

/// Half a megabyte each; the longest head that the HTTP client takes has nearly that.
const MOST: u64 = 64 << 20;
