//! The two stores, and what they run on: a file, or servers of the benchmark's own.
//!
//! Sender and limit have a PostgreSQL server each, so that the CPU time of one is not the other's: also not that of
//! checkpoints and of vacuum. Guarantees that the servers are durable, and end with the benchmark.

use clap::ValueEnum;
use serde::Serialize;
use waxseal_tests::postgres::{Postgres, PostgresSetup};

/// Where events are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// The servers, if one is needed.
pub(crate) struct Servers(Option<[Postgres; 2]>);

impl Servers {
    /// Those for these stores.
    pub(crate) fn start(stores: &[Kind]) -> Self {
        let server =
            || Postgres::start_with(&PostgresSetup { settings: SETTINGS, ..PostgresSetup::default() });
        Self(stores.contains(&Kind::Postgres).then(|| [server(), server()]))
    }

    /// A place for the sender to keep events in, and one for the limit; both are empty.
    pub(crate) fn places(&self, store: Kind) -> [Place<'_>; 2] {
        match (store, &self.0) {
            (Kind::Postgres, Some(servers)) => servers.each_ref().map(Place::on),
            (Kind::Postgres, None) => panic!("no server was started for it"),
            (Kind::Sqlite, _) => [Place(None), Place(None)],
        }
    }
}

/// A new database, dropped with this; or nothing, where a file in a folder does it.
pub(crate) struct Place<'s>(Option<(&'s Postgres, String)>);

impl<'s> Place<'s> {
    fn on(server: &'s Postgres) -> Self {
        let name = server.create_database("bench");
        Self(Some((server, name)))
    }

    /// How the database is reached, if there is one.
    pub(crate) fn url(&self) -> Option<String> {
        self.0.as_ref().map(|(server, name)| server.dsn(name))
    }

    /// Has the server do what it would do in the minutes after so much was written: else it did it while something is
    /// measured, at its cost. Each page that is changed after a checkpoint is written to the log as a whole, once.
    pub(crate) fn put_in_order(&self) {
        if let Some((server, name)) = &self.0 {
            server.execute(name, "VACUUM (ANALYZE)");
            server.execute(name, "CHECKPOINT");
        }
    }

    /// CPU seconds of the server so far; none, where the store is part of the program.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.0.as_ref().map_or(0.0, |(server, _)| server.cpu_seconds())
    }

    /// Whether there is a server.
    pub(crate) fn is_apart(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some((server, name)) = &self.0 {
            // Whoever is still connected has lost its purpose; the server goes with everything in it anyway.
            let _ = server.try_execute("postgres", &format!("DROP DATABASE \"{name}\" WITH (FORCE)"));
        }
    }
}

/// As much memory as an operator would give it, in proportion to these amounts.
const SETTINGS: &[(&str, &str)] = &[("shared_buffers", "256MB")];
