//! A key that was made elsewhere joins the ring.

use crate::ring::{KeyRing, KeyState, RingChange, RingEntry};
use crate::signing::SigningKey;
use crate::time::Timestamp;

/// Why a key was not taken into the ring. All keys are as they were.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The ring has it, or had it: a key that was retired or revoked does not come back.
    #[error("the ring has had this key before; a key is used for one life only")]
    Known {
        /// Where it is.
        state: KeyState,
    },
    /// Enough keys stand by.
    #[error("{MAX_PENDING} keys stand by already; revoke those that are not wanted")]
    TooMany,
}

impl ImportError {
    /// A stable code for logs and problem details.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Known { .. } => "ring.known_key",
            Self::TooMany => "ring.too_many_keys",
        }
    }
}

impl KeyRing {
    /// Takes a key in as a further standby. Like every other it must be published for long enough before it signs,
    /// and those that stood by before it come first, unless [`KeyRing::rotate_to`] names it.
    ///
    /// After it, do as after [`KeyRing::roll`].
    pub fn import(&mut self, key: SigningKey, now: Timestamp) -> Result<RingChange, ImportError> {
        if let Some(known) = self.entries.iter().find(|entry| entry.kid == key.kid()) {
            return Err(ImportError::Known { state: known.state });
        }
        let pending = self.entries.iter().filter(|entry| entry.state == KeyState::Pending);
        if pending.count() >= MAX_PENDING {
            return Err(ImportError::TooMany);
        }
        let now = self.see(now);
        let change = RingChange { kid: key.kid().to_owned(), state: KeyState::Pending };
        self.entries.push(RingEntry::pending(key, now));
        Ok(change)
    }
}

/// Receivers read sets of 32 keys; this leaves room for those that retire.
const MAX_PENDING: usize = 8;
