//! The writer's connection, with what it remembers between commands.
//!
//! Whatever is remembered here follows from committed rows. [`Session::undo`] forgets all that the transaction may
//! have added, so memory never says more than the database.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::failure::Failure;
use crate::id::{ConsumerId, EndpointId};

/// The one connection that writes.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    routes: HashMap<EndpointId, Route>,
    /// By how much this transaction changes the number of live deliveries.
    pub(super) live_change: i64,
    /// Whether this transaction destroyed something that must not stay in the log either.
    pub(super) scrub: Scrub,
    /// Counts idempotency keys, to sweep expired ones now and then.
    pub(super) keys_seen: u32,
}

/// An endpoint in the table `routes`.
#[derive(Clone, Debug)]
struct Route {
    no: i64,
    consumer: ConsumerId,
}

/// When the log is emptied of what a transaction has destroyed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scrub {
    /// It destroyed nothing.
    Nothing,
    /// When the log is written back anyway.
    Soon,
    /// Before the transaction is acknowledged, unless a reader is in the way.
    Now,
}

impl Session {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, routes: HashMap::new(), live_change: 0, scrub: Scrub::Nothing, keys_seen: 0 }
    }

    /// The connection, for what is not a command.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// A statement, prepared once for the life of the connection.
    pub(super) fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, Failure> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Starts a transaction.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        self.live_change = 0;
        self.scrub = Scrub::Nothing;
        self.prepare("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    /// Makes the transaction durable.
    pub(super) fn commit(&self) -> Result<(), Failure> {
        self.prepare("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Undoes the transaction, if SQLite has not done so by itself (it does when the disk is full).
    pub(super) fn undo(&mut self) -> Result<(), Failure> {
        self.routes.clear();
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        Ok(())
    }

    /// The number of an endpoint that was delivered to before.
    pub(super) fn known_route(&mut self, endpoint: EndpointId) -> Result<Option<i64>, Failure> {
        if let Some(route) = self.routes.get(&endpoint) {
            return Ok(Some(route.no));
        }
        let found = self
            .prepare("SELECT no, consumer FROM routes WHERE endpoint = ?1")?
            .query_row([endpoint.as_bytes()], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
            .optional()?;
        let Some((no, consumer)) = found else { return Ok(None) };
        let consumer = ConsumerId::parse(&consumer).map_err(|_| Failure::corrupt("consumer"))?;
        self.remember(endpoint, Route { no, consumer });
        Ok(Some(no))
    }

    /// The number of an endpoint; a new one if this is its first delivery.
    pub(super) fn route(&mut self, endpoint: EndpointId, consumer: &ConsumerId) -> Result<i64, Failure> {
        if self.known_route(endpoint)?.is_none() {
            self.prepare("INSERT INTO routes (endpoint, consumer) VALUES (?1, ?2)")?
                .execute(params![endpoint.as_bytes(), consumer.as_str()])?;
            let no = self.connection.last_insert_rowid();
            self.remember(endpoint, Route { no, consumer: consumer.clone() });
            return Ok(no);
        }
        match self.routes.get(&endpoint) {
            Some(route) if route.consumer == *consumer => Ok(route.no),
            // An endpoint never changes hands; listing one consumer's deliveries to another would be a leak.
            _ => Err(Failure::corrupt("delivery: its endpoint belongs to another consumer")),
        }
    }

    /// Forgets the number of an endpoint whose row is being removed.
    pub(super) fn forget_route(&mut self, endpoint: EndpointId) {
        self.routes.remove(&endpoint);
    }

    fn remember(&mut self, endpoint: EndpointId, route: Route) {
        if self.routes.len() >= ROUTES_REMEMBERED {
            self.routes.clear();
        }
        self.routes.insert(endpoint, route);
    }
}

/// Does `work` with SQLite overwriting what it frees.
pub(super) fn overwriting<T>(
    session: &Session,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    session.connection().pragma_update(None, "secure_delete", "ON")?;
    let done = work();
    session.connection().pragma_update(None, "secure_delete", "OFF")?;
    done
}

/// About 20 MiB at most.
const ROUTES_REMEMBERED: usize = 100_000;
