//! Standbys: copies of a server that follow it, and can take its place.

use super::{Postgres, settings};

impl Postgres {
    /// A new standby of this name that streams from this server.
    ///
    /// # Panics
    /// If it does not come to stream.
    pub fn standby(&self, name: &str) -> Self {
        let mut standby = Self::without_cluster();
        let (port, data) = (self.port.to_string(), standby.data());
        standby.run_tool(
            self.installed
                .command("pg_basebackup")
                .args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "--wal-method=stream"])
                .args(["--checkpoint=fast", "--no-sync", "-D"])
                .arg(&data),
        );
        standby.follow(self, name);
        standby.restart();
        self.wait_until_streaming(name);
        standby
    }

    /// Follows `primary` from the next start on: a fresh copy, or a primary that was stopped in good order.
    pub fn follow(&mut self, primary: &Self, name: &str) {
        if self.port == 0 {
            self.take_address();
        }
        let from = format!("host=127.0.0.1 port={} user=postgres application_name={name}", primary.port);
        let follow = [("primary_conninfo", from.as_str()), ("recovery_target_timeline", "latest")];
        self.append("postgresql.conf", &settings(&follow));
        self.write("standby.signal", "");
    }

    /// Waits until the standby of this name streams from this server.
    ///
    /// # Panics
    /// If it does not within 20 seconds.
    pub fn wait_until_streaming(&self, name: &str) {
        let query = format!("SELECT state FROM pg_stat_replication WHERE application_name = '{name}'");
        let state = self.wait_for("postgres", &query, "streaming");
        assert_eq!(state, "streaming", "standby {name} does not stream");
    }

    /// Acknowledges only what these standbys have: `synchronous_standby_names`, such as `s1` or `ANY 1 (s1, s2)`.
    ///
    /// # Panics
    /// If none of them follows synchronously then.
    pub fn acknowledge_with(&self, names: &str) {
        self.configure("synchronous_standby_names", names);
        let query =
            "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')".to_owned();
        let synchronous = self.wait_for("postgres", &query, if names.is_empty() { "f" } else { "t" });
        assert_eq!(synchronous == "t", !names.is_empty(), "`{names}` are not followed by anybody");
    }

    /// Makes a standby the primary, and waits until it is.
    ///
    /// # Panics
    /// If it is not within a minute.
    pub fn promote(&self) {
        let promoted = self.execute("postgres", "SELECT pg_promote(true, 60)");
        assert_eq!(promoted, "t", "the standby is not promoted");
        assert_eq!(self.execute("postgres", "SELECT pg_is_in_recovery()"), "f");
    }
}
