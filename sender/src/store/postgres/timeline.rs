//! In which life of the database it was read what is configured.
//!
//! A standby that takes over begins another life of it: it may not have had the last changes, and versions count up from
//! where it was. So a version means something only in the life in which it was read, whoever comes with it later.

use std::sync::{Mutex, PoisonError};

use crate::store::Version;

/// The life of a database: its timeline.
pub(super) type Timeline = String;

/// Where what this node knows was read, if it knows anything.
#[derive(Debug, Default)]
pub(super) struct ReadIn(Mutex<Option<Timeline>>);

impl ReadIn {
    pub(super) fn get(&self) -> Option<Timeline> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was configured after this version was read there. What was read elsewhere before counts until everything was.
    pub(super) fn read(&self, after: Version, timeline: Timeline) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if after == 0 || known.is_none() {
            *known = Some(timeline);
        }
    }
}
