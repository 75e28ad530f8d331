//! What a server costs.

use super::Postgres;
use crate::process::cpu_seconds;

impl Postgres {
    /// CPU seconds of the whole server so far: of all its processes, and of those that have ended since it was started.
    pub fn cpu_seconds(&self) -> f64 {
        let ended = self.process.as_ref().and_then(|postmaster| cpu_seconds(postmaster.id()));
        let running = self.processes().into_iter().filter_map(cpu_seconds);
        running.map(|process| process.own).sum::<f64>() + ended.map_or(0.0, |postmaster| postmaster.ended)
    }
}
