use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::*;

#[test]
fn what_was_committed_survives_a_kill_and_a_stop() {
    let mut server = Postgres::start();
    let name = server.create_database("kept");
    server.execute(&name, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)");
    server.kill();
    assert!(server.processes().is_empty());
    server.restart();
    server.execute(&name, "INSERT INTO kept VALUES (2)");
    server.restart();
    assert_eq!(server.execute(&name, "SELECT n FROM kept ORDER BY n"), "1\n2");
    assert_eq!(server.execute(&name, "SHOW fsync"), "on");
    let refused = server.try_execute(&name, "SELECT nothing").unwrap_err();
    assert!(refused.contains("does not exist"), "{refused}");
}

#[test]
fn a_standby_follows_is_held_up_and_takes_over() {
    let mut primary = Postgres::start();
    let standby = primary.standby("s1");
    primary.acknowledge_with("s1");
    primary.execute("postgres", "CREATE TABLE kept (n int)");
    let paused = standby.pause_walreceiver();
    thread::scope(|scope| {
        let written = scope.spawn(|| primary.execute("postgres", "INSERT INTO kept VALUES (1)"));
        // Not acknowledged: nobody has it but the primary.
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        assert_eq!(primary.wait_for("postgres", waits, "1"), "1");
        assert!(!written.is_finished());
        standby.resume_walreceiver(paused);
        written.join().unwrap();
    });
    primary.execute("postgres", "INSERT INTO kept VALUES (2)");
    primary.kill();
    standby.promote();
    let kept = standby.execute("postgres", "SELECT n FROM kept ORDER BY n");
    assert_eq!(kept, "1\n2");
    standby.execute("postgres", "INSERT INTO kept VALUES (3)");
}

#[test]
fn the_cpu_time_of_connections_that_have_ended_counts() {
    let server = Postgres::start();
    let before = server.cpu_seconds();
    server.execute("postgres", "SELECT count(*) FROM generate_series(1, 3000000)");
    // The postmaster waits for its children when it gets to it.
    let one_left = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
    assert_eq!(server.wait_for("postgres", one_left, "1"), "1");
    let used = server.cpu_seconds() - before;
    assert!(used >= 0.1, "{used}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "processes of another tell nobody when they end")]
fn no_server_outlives_the_process_of_its_tests() {
    if std::env::var_os(HOLDER).is_some() {
        let server = Postgres::shared();
        println!("HELD {}", server.folder.path().display());
        loop {
            thread::park();
        }
    }
    let mut holder = Process::start(
        "holder",
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "postgres::tests::no_server_outlives_the_process_of_its_tests", "--nocapture"])
            .env(HOLDER, "1")
            .stdin(Stdio::null())
            .process_group(0),
    );
    let folder = PathBuf::from(holder.line_after("HELD "));
    let data = folder.join("data").canonicalize().unwrap();
    let running = || {
        let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        all.filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data)).count()
    };
    assert!(running() > 1, "the server runs");
    holder.kill();
    let mut tries = 0;
    while running() > 0 || folder.exists() {
        tries += 1;
        assert!(tries < 600, "{} processes are left, the folder too: {}", running(), folder.exists());
        thread::sleep(Duration::from_millis(50));
    }
}

const HOLDER: &str = "WAXSEAL_TEST_HOLDS_POSTGRES";
