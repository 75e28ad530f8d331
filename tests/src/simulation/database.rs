//! The database: cores that execute batches, and a disk that flushes them.
//!
//! A batch costs so much for itself and so much for each command; that is what was measured at batches of 1, 32 and 256,
//! and two numbers fit all three. Whatever is executed while a flush runs shares the next one. With a standby, a commit
//! is acknowledged a round trip later.

use super::constants::Constants;
use super::{Cores, Micros, Random};

/// A primary.
#[derive(Clone, Debug)]
pub struct Database {
    cores: Cores,
    random: Random,
    flush_ends: Micros,
    next_ends: Micros,
    usual_flush: Micros,
    slow_flush: Micros,
    round_trip: Micros,
    costs: [(f64, f64); 2],
    /// How many transactions were committed.
    pub commits: u64,
    /// How many flushes that took.
    pub flushes: u64,
}

/// The commands of a batch.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// Events accepted.
    pub accepts: usize,
    /// Attempts settled.
    pub settles: usize,
}

impl Database {
    /// One with these many cores.
    pub fn new(cores: usize, constants: &Constants, random: Random) -> Self {
        Self {
            cores: Cores::new(cores),
            random,
            flush_ends: 0,
            next_ends: 0,
            usual_flush: constants.pg_flush_us as Micros,
            slow_flush: constants.pg_flush_p99_us as Micros,
            round_trip: constants.standby_round_trip_us as Micros,
            costs: [
                (constants.pg_accept_transaction_us, constants.pg_accept_row_us),
                (constants.pg_settle_transaction_us, constants.pg_settle_row_us),
            ],
            commits: 0,
            flushes: 0,
        }
    }

    /// Executes a batch; returns when it waits for the disk.
    pub fn execute(&mut self, now: Micros, batch: Batch) -> Micros {
        self.commits += 1;
        let cost = |(transaction, row): (f64, f64), rows: usize| match rows {
            0 => 0.0,
            rows => transaction + row * rows as f64,
        };
        let [accept, settle] = self.costs;
        self.cores.work(now, (cost(accept, batch.accepts) + cost(settle, batch.settles)) as Micros)
    }

    /// Flushes what was executed by now; returns when that is acknowledged. To be called in the order of time.
    pub fn flush(&mut self, now: Micros) -> Micros {
        if now >= self.flush_ends {
            self.flush_ends = self.next_ends;
        }
        if now >= self.flush_ends {
            self.flush_ends = now + self.one_flush();
            self.next_ends = self.flush_ends;
        } else if self.next_ends == self.flush_ends {
            self.next_ends = self.flush_ends + self.one_flush();
        }
        self.next_ends + self.round_trip
    }

    /// Its cores.
    pub fn cores(&self) -> &Cores {
        &self.cores
    }

    fn one_flush(&mut self) -> Micros {
        self.flushes += 1;
        if self.random.below(100) == 0 { self.slow_flush } else { self.usual_flush }
    }
}
