//! Files that hold secrets.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

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
    file.write_all(content).and_then(|()| file.sync_all()).map_err(|error| CliError::file(path, error))
}
