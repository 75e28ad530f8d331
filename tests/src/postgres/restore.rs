//! Backups: a copy of the cluster and an archive of the log after it, and the cluster as it comes back from them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Postgres, settings};

impl Postgres {
    /// Archives every finished part of the log from now on, beside the cluster.
    pub fn archive(&mut self) {
        let archive = self.archived();
        fs::create_dir(&archive).unwrap();
        self.installed.give(&archive);
        let command = format!("test ! -f {0}/%f && cp %p {0}/.%f && mv {0}/.%f {0}/%f", archive.display());
        self.append("postgresql.conf", &settings(&[("archive_mode", "on"), ("archive_command", &command)]));
        self.restart();
    }

    /// Copies the whole cluster while it works, beside it.
    pub fn back_up(&self) {
        self.run_tool(
            self.installed
                .command("pg_basebackup")
                .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"])
                .args(["--wal-method=none", "--checkpoint=fast", "--no-sync", "-D"])
                .arg(self.copy()),
        );
    }

    /// Ends the part of the log that is being written, and waits until it is archived: what was committed before is kept
    /// from now on, whatever becomes of the cluster.
    ///
    /// # Panics
    /// If it is not archived within 20 seconds.
    pub fn archive_all(&self) {
        let part = self.execute("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
        let query = format!("SELECT last_archived_wal >= '{part}' FROM pg_stat_archiver");
        assert_eq!(self.wait_for("postgres", &query, "t"), "t", "{part} is not archived");
    }

    /// Kills it, and removes everything that it has written but the backup and the archive.
    pub fn destroy(&mut self) {
        self.kill();
        fs::remove_dir_all(self.data()).unwrap();
    }

    /// Brings it back from the backup and all of the archive, where it was, and waits until it takes writes.
    ///
    /// # Panics
    /// If it does not.
    pub fn restore(&mut self) {
        self.restore_with(&[]);
    }

    /// As [`Postgres::restore`], with what was committed by this moment of its own clock, and nothing after it.
    ///
    /// # Panics
    /// If the archive does not reach beyond that moment.
    pub fn restore_as_of(&mut self, moment: &str) {
        self.restore_with(&[("recovery_target_time", moment), ("recovery_target_action", "promote")]);
    }

    fn restore_with(&mut self, target: &[(&str, &str)]) {
        let status = Command::new("cp").arg("-a").arg(self.copy()).arg(self.data()).status().unwrap();
        assert!(status.success(), "the backup cannot be copied");
        let command = format!("cp {}/%f %p", self.archived().display());
        self.append("postgresql.conf", &settings(&[("restore_command", &command)]));
        self.append("postgresql.conf", &settings(target));
        self.write("recovery.signal", "");
        self.restart();
        let over = self.wait_for("postgres", "SELECT pg_is_in_recovery()", "f");
        assert_eq!(over, "f", "the recovery does not end");
    }

    fn archived(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    fn copy(&self) -> PathBuf {
        self.folder.path().join("backup")
    }
}
