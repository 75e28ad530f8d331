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
    /// The store was written by an older version of this program, and is only to be read.
    #[error("the store has schema version {found}, this program reads {known}: run `waxseal migrate` first")]
    OlderSchema {
        /// What was found.
        found: u32,
        /// What is needed.
        known: u32,
    },
    /// The store was moved, and is not to be used any more.
    #[error("the store was moved to {to}: set `store` to that; what is here is only left of it")]
    Moved {
        /// Where it is now.
        to: String,
    },
    /// A store is being moved to here, and not all of it is here yet.
    #[error(
        "the store {from} is being moved into this database: run the same `waxseal move` again to finish it"
    )]
    Moving {
        /// Where it comes from.
        from: String,
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
            Self::OlderSchema { .. } => "store.older_schema",
            Self::Moved { .. } => "store.moved",
            Self::Moving { .. } => "store.moving",
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
