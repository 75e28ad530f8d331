//! Where the store is: a file, or a database that several nodes share.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::database::Database;

/// Where the store is.
#[derive(Clone)]
pub enum StoreLocation {
    /// The embedded store's file.
    File(PathBuf),
    /// A PostgreSQL database.
    Postgres {
        /// Its URL; it may have a password in it.
        url: String,
        /// What relative names of files in the URL are relative to.
        folder: PathBuf,
    },
}

impl StoreLocation {
    /// Reads what an operator writes: the URL of a database, or else a path.
    pub fn parse(text: &str) -> Self {
        match Database::is_url(text) {
            true => Self::Postgres { url: text.to_owned(), folder: PathBuf::new() },
            false => Self::File(text.into()),
        }
    }

    /// The same, where a relative path lies in this folder.
    #[must_use]
    pub(super) fn within(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            Self::Postgres { url, .. } => Self::Postgres { url, folder: folder.to_owned() },
        }
    }
}

/// For people and logs, without what may be a password.
impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres { url, .. } => Database::place(url).fmt(f),
        }
    }
}

impl fmt::Debug for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreLocation({self})")
    }
}

impl<'de> Deserialize<'de> for StoreLocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_database_is_no_file_and_shows_no_password() {
        let url = "postgres://waxseal:hunter2@one,two/waxseal?sslmode=disable";
        let location = StoreLocation::parse(url).within(Path::new("/etc"));
        assert!(
            matches!(&location, StoreLocation::Postgres { url: kept, folder } if kept == url && folder == Path::new("/etc"))
        );
        let shown = format!("{location} {location:?}");
        assert!(!shown.contains("hunter2") && shown.contains("one"), "{shown}");
        let file = StoreLocation::parse("store.db").within(Path::new("/etc"));
        assert_eq!(file.to_string(), "/etc/store.db");
    }
}
