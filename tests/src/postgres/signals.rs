//! What can befall a server: that it is stopped, killed, or does not move for a while.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::Postgres;

impl Postgres {
    /// Ends it as `pg_ctl stop -m fast` does: connections are cut, everything is written.
    #[expect(clippy::disallowed_methods, reason = "another process tells nobody when it ends")]
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        signal("INT", &[process.id()]);
        for _ in 0..1_200 {
            if process.ended().is_some() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("PostgreSQL did not stop:\n{}", process.log());
    }

    /// `kill -9` of the postmaster, and of all that it started: what is on disk is all that is left.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.kill();
        self.kill_orphans();
    }

    /// Stops every process of this server (SIGSTOP): it is there, and does not answer.
    pub fn pause(&self) {
        signal("STOP", &self.processes());
    }

    /// Lets it go on.
    pub fn resume(&self) {
        signal("CONT", &self.processes());
    }

    /// Its walreceiver, if it is a standby that streams.
    pub fn walreceiver(&self) -> Option<u32> {
        let pid = self.execute("postgres", "SELECT pid FROM pg_stat_wal_receiver").parse().ok()?;
        self.processes().contains(&pid).then_some(pid)
    }

    /// Stops its walreceiver alone: it answers, and learns nothing new. Returns the process.
    ///
    /// # Panics
    /// If it does not stream.
    pub fn pause_walreceiver(&self) -> u32 {
        let pid = self.walreceiver().expect("the standby streams");
        signal("STOP", &[pid]);
        pid
    }

    /// Lets that walreceiver go on, if it is still there.
    pub fn resume_walreceiver(&self, pid: u32) {
        if self.processes().contains(&pid) {
            signal("CONT", &[pid]);
        }
    }

    /// `kill -9` of that walreceiver: what it had not read yet is lost, as with a cable that was cut. The standby ends what
    /// else it runs and begins anew; waits until it answers again.
    ///
    /// # Panics
    /// If it does not.
    pub fn kill_walreceiver(&self, pid: u32) {
        if self.processes().contains(&pid) {
            signal("KILL", &[pid]);
        }
        let back = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'";
        assert_eq!(self.wait_for("postgres", back, "0"), "0", "the standby does not answer again");
    }

    /// All processes that work in its folder.
    pub(super) fn processes(&self) -> Vec<u32> {
        let Ok(data) = self.data().canonicalize() else { return Vec::new() };
        let running = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let path: PathBuf = entry.ok()?.path();
            let pid = path.file_name()?.to_str()?.parse().ok()?;
            (fs::read_link(path.join("cwd")).ok()? == data).then_some(pid)
        });
        running.collect()
    }

    /// Waits until nothing of a killed server is left; without that it could not be started again.
    #[expect(clippy::disallowed_methods, reason = "processes of another tell nobody when they end")]
    fn kill_orphans(&self) {
        for _ in 0..400 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            signal("KILL", &left);
            thread::sleep(Duration::from_millis(25));
        }
        panic!("processes of a killed PostgreSQL do not end");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Those that have ended meanwhile do not matter.
fn signal(name: &str, pids: &[u32]) {
    if !pids.is_empty() {
        let pids = pids.iter().map(u32::to_string);
        Command::new("kill").arg(format!("-{name}")).args(pids).output().expect("kill is part of every Unix");
    }
}
