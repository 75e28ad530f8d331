//! A real PostgreSQL that the tests start themselves: its own cluster in a temporary folder, on a loopback port and a
//! Unix socket.
//!
//! Relies on the Debian package `postgresql-15`, or any newer one; a test that cannot run fails and says so. Guarantees
//! that a server writes to disk what it acknowledges unless a test asks for less, and that neither a server nor its
//! folder outlives the test process, however that ends.

mod cpu;
pub(crate) mod guard;
pub(crate) mod install;
mod restore;
mod signals;
mod standby;
#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use self::guard::Guard;
use self::install::Installed;
use crate::process::Process;
use crate::sender::free_port;

/// A server with a cluster of its own. Killed when it is dropped.
pub struct Postgres {
    installed: &'static Installed,
    // Dropped in this order: the server, then whoever would end it, then its folder.
    process: Option<Process>,
    _guard: Guard,
    folder: TempDir,
    port: u16,
}

/// What a new cluster should be like.
#[derive(Default)]
pub struct PostgresSetup<'a> {
    /// Lines of `postgresql.conf`, which win over those that every server here has.
    pub settings: &'a [(&'a str, &'a str)],
    /// Lines of `pg_hba.conf` before the one that trusts everybody on this machine.
    pub access: &'a [&'a str],
    /// Files beside the configuration that only the server can read, such as keys.
    pub files: &'a [(&'a str, &'a str)],
}

impl Postgres {
    /// The server that all tests of one binary share. Ended with the process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A new cluster, and a server on it.
    pub fn start() -> Self {
        Self::start_with(&PostgresSetup::default())
    }

    /// As [`Postgres::start`], set up like this.
    ///
    /// # Panics
    /// If PostgreSQL is not there or does not start: these tests are not skipped.
    pub fn start_with(setup: &PostgresSetup<'_>) -> Self {
        let mut server = Self::without_cluster();
        let data = server.data();
        server.run_tool(
            server
                .installed
                .command("initdb")
                .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"])
                .args(["--no-sync", "--no-instructions", "--wal-segsize=4", "--pgdata"])
                .arg(&data),
        );
        server.append("postgresql.conf", &settings(SETTINGS));
        server.append("postgresql.conf", &settings(setup.settings));
        if !setup.access.is_empty() {
            let trusting = fs::read_to_string(data.join("pg_hba.conf")).unwrap();
            server.write("pg_hba.conf", &format!("{}\n{trusting}", setup.access.join("\n")));
        }
        for (name, content) in setup.files {
            server.write(name, content);
        }
        server.take_address();
        server.restart();
        server
    }

    /// A folder that is to hold a cluster.
    fn without_cluster() -> Self {
        let installed = Installed::find();
        let folder = tempfile::Builder::new().prefix("waxseal-postgres-").tempdir().unwrap();
        installed.give(folder.path());
        let guard = Guard::over(folder.path());
        Self { installed, process: None, _guard: guard, folder, port: 0 }
    }

    /// Where its cluster is.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its port of the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its Unix socket is, as a host.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// How to connect to one of its databases, as its superuser.
    pub fn dsn(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A new database whose name begins like this; returns its whole name.
    pub fn create_database(&self, name: &str) -> String {
        static MADE: AtomicU64 = AtomicU64::new(1);
        let name = format!("{name}_{}", MADE.fetch_add(1, Ordering::Relaxed));
        // Nobody can be connected to template 0, who would be in the way.
        self.execute("postgres", &format!("CREATE DATABASE \"{name}\" TEMPLATE template0"));
        name
    }

    /// Runs SQL as its superuser; returns the rows, columns separated by `|`.
    ///
    /// # Panics
    /// With what the server said, if it refuses.
    pub fn execute(&self, database: &str, sql: &str) -> String {
        self.try_execute(database, sql).unwrap_or_else(|said| panic!("{sql}: {said}"))
    }

    /// As [`Postgres::execute`], for what may fail.
    ///
    /// # Errors
    /// What the server said.
    pub fn try_execute(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(self.installed.program("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.dsn(database), "-f", "-"])
            .env("PGCONNECT_TIMEOUT", "20")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Short enough for a pipe, or psql reads it as it comes.
        let _ = psql.stdin.take().unwrap().write_all(sql.as_bytes());
        let output = psql.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Changes a setting of the running server, and waits until it works by it.
    pub fn configure(&self, name: &str, value: &str) {
        let value = value.replace('\'', "''");
        self.execute("postgres", &format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.execute("postgres", "SELECT pg_reload_conf()");
        let shown = self.wait_for("postgres", &format!("SHOW {name}"), &value);
        assert_eq!(shown, value, "{name} cannot be changed while the server runs");
    }

    /// Asks until this query gives this, or 20 seconds are over; returns what it gave last.
    #[expect(clippy::disallowed_methods, reason = "a server does not tell when a row will be there")]
    pub fn wait_for(&self, database: &str, query: &str, wanted: &str) -> String {
        let mut last = String::new();
        for _ in 0..400 {
            last = self.try_execute(database, query).unwrap_or_else(|said| said);
            if last == wanted {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        last
    }

    /// Starts it, again if it was running, on what it left on disk, and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn restart(&mut self) {
        if self.process.is_some() {
            self.stop();
        }
        let mut said = String::new();
        // Somebody else may have been given the port meanwhile, for a moment.
        for _ in 0..5 {
            match self.try_to_start() {
                Ok(process) => return self.process = Some(process),
                Err(log) => said = log,
            }
        }
        panic!("PostgreSQL does not start:\n{said}");
    }

    #[expect(clippy::disallowed_methods, reason = "another process tells nobody when it is ready")]
    fn try_to_start(&self) -> Result<Process, String> {
        let mut command = self.installed.command("postgres");
        let mut process = Process::start("postgres", command.arg("-D").arg(self.data()));
        for _ in 0..2_400 {
            let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
            let lines: Vec<_> = file.lines().map(str::trim).collect();
            // The lines of this file, by `src/include/utils/pidfile.h`: the first is the id, the eighth the state.
            let own = lines.first() == Some(&process.id().to_string().as_str());
            if own && matches!(lines.get(7), Some(&"ready" | &"standby")) {
                return Ok(process);
            }
            if process.ended().is_some() {
                return Err(process.last_words());
            }
            thread::sleep(Duration::from_millis(25));
        }
        Err(format!("not ready after a minute:\n{}", process.log()))
    }

    /// A port that is free now, written into the configuration.
    fn take_address(&mut self) {
        self.port = free_port();
        let (port, folder) = (self.port.to_string(), self.folder.path().display().to_string());
        let address = [("port", port.as_str()), ("unix_socket_directories", &folder)];
        self.append("postgresql.conf", &settings(&address));
    }

    /// Appends to a file of the cluster, as its owner has to be kept.
    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().append(true).open(self.data().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Writes a file of the cluster that only the server can read.
    fn write(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        self.installed.give(&path);
    }

    fn run_tool(&self, command: &mut Command) {
        let output = command.stdin(Stdio::null()).current_dir(self.folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
    }
}

/// Lines of `postgresql.conf`.
fn settings(settings: &[(&str, &str)]) -> String {
    let line = |(name, value): &(&str, &str)| format!("{name} = '{}'\n", value.replace('\'', "''"));
    settings.iter().map(line).collect()
}

/// Small, and as durable as a server in production.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("max_connections", "100"),
    ("shared_buffers", "16MB"),
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("wal_level", "replica"),
    ("max_wal_senders", "8"),
    ("wal_keep_size", "64MB"),
    ("hot_standby", "on"),
    ("dynamic_shared_memory_type", "mmap"), // a killed server leaves nothing outside of its folder
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
    ("log_checkpoints", "off"),
    ("log_min_messages", "warning"),
    ("timezone", "UTC"),
];
