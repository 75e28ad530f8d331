//! Files that hold secrets, and files that are made together or not at all.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::CliError;

/// Writes a new file that only its owner can read. An existing file is never overwritten.
///
/// # Errors
/// If it exists or cannot be written.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), CliError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CliError::plain(format!("{} exists; it is not overwritten", path.display()))
        }
        _ => CliError::file(path, error),
    })?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a key is none.
        let _ = fs::remove_file(path);
        CliError::file(path, error)
    })
}

/// What a command has made so far. Dropped, it removes all of it; kept, nothing.
#[derive(Debug, Default)]
pub struct Unfinished {
    made: Vec<PathBuf>,
}

impl Unfinished {
    /// Makes a folder with those that it lies in.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn folder(&mut self, path: &Path) -> Result<(), CliError> {
        let missing =
            path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let mut missing: Vec<_> = missing.map(Path::to_owned).collect();
        missing.reverse();
        self.made.append(&mut missing);
        fs::create_dir_all(path).map_err(|error| CliError::file(path, error))
    }

    /// Notes a file that is about to be made; one that is there already is not ours.
    pub fn file(&mut self, path: PathBuf) {
        if !path.exists() {
            self.made.push(path);
        }
    }

    /// Notes a file that has just been made.
    pub fn made(&mut self, path: PathBuf) {
        self.made.push(path);
    }

    /// All went well.
    pub fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // A folder only if it is empty: others may have put something there meanwhile.
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        }
    }
}
