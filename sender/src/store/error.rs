//! Why a store did not do what it was asked to.

/// Why the store did not do what it was asked to. Nothing was half done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the store open.
    #[error(
        "the store {path} is in use by another process; stop that one first, or give this one its own store"
    )]
    Locked {
        /// The store's file.
        path: String,
    },
    /// The store was written by a newer version of this program.
    #[error(
        "the store has schema version {found}, this program knows versions up to {known}; use a newer program"
    )]
    NewerSchema {
        /// What was found.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// A record cannot be read back as what it was written.
    #[error("the store has a record that cannot be read: {what}")]
    Corrupt {
        /// Which kind of record.
        what: &'static str,
    },
    /// The disk is full.
    #[error("the disk of the store is full; make room there, and it goes on by itself")]
    Full,
    /// The files cannot be written.
    #[error(
        "the store cannot be written, its file system is read-only; see why (the system's log), make it writable again"
    )]
    ReadOnly,
    /// Another node has changed what is configured in the meantime.
    #[error("another node has changed the configuration at the same moment; try again")]
    Superseded,
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// Something that must be there is not.
    #[error("there is no such {what}")]
    NotFound {
        /// What is missing.
        what: &'static str,
    },
    /// The backend could not do it now.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// A stable code for logs, metrics and problem details.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "store.locked",
            Self::NewerSchema { .. } => "store.newer_schema",
            Self::Corrupt { .. } => "store.corrupt",
            Self::Full => "store.full",
            Self::ReadOnly => "store.read_only",
            Self::Superseded => "store.superseded",
            Self::Closed => "store.closed",
            Self::NotFound { .. } => "store.not_found",
            Self::Unavailable(_) => "store.unavailable",
        }
    }
}
