//! Where a key-encryption key comes from: a file that nobody else can read, or the environment.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::encoding::{from_base64url, secret_base64url};
use crate::vault::{KEY_LEN, KeyEncryptionKey, Secret, VaultError};

impl KeyEncryptionKey {
    /// Reads a key file: one line, as [`KeyEncryptionKey::to_text`] has it. Refused if anybody but its
    /// owner has any right to it (mode 0600 or stricter).
    pub fn from_file(path: &Path) -> Result<Self, VaultError> {
        let io = |source| VaultError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // Of the open file, not of the path: what was checked is what is read.
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(io(Error::new(ErrorKind::InvalidInput, "not a regular file")));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = metadata.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(VaultError::Permissions { path: path.to_owned(), mode });
            }
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_LEN));
        file.take(MAX_FILE_LEN.try_into().unwrap_or(u64::MAX)).read_to_string(&mut text).map_err(io)?;
        Self::from_text(&text)
    }

    /// Reads a key from text, from an environment variable say. White space around it is ignored.
    ///
    /// ```
    /// use waxseal_keys::KeyEncryptionKey;
    ///
    /// let key = KeyEncryptionKey::generate();
    /// assert_eq!(KeyEncryptionKey::from_text(&key.to_text())?.id(), key.id());
    /// assert!(KeyEncryptionKey::from_text("correct horse battery staple").is_err());
    /// # Ok::<(), waxseal_keys::VaultError>(())
    /// ```
    pub fn from_text(text: &str) -> Result<Self, VaultError> {
        let octets = Zeroizing::new(from_base64url(text.trim_ascii()).ok_or(VaultError::KeyText)?);
        let key: &[u8; KEY_LEN] = octets.as_slice().try_into().map_err(|_| VaultError::KeyText)?;
        Ok(Self(Secret::new(Zeroizing::new(*key))))
    }

    /// The key as text: 43 characters of base64url.
    pub fn to_text(&self) -> Zeroizing<String> {
        secret_base64url(self.0.octets.as_slice())
    }

    /// Writes a new key file that only its owner can read. Never overwrites: what was encrypted under the
    /// old key would be lost.
    pub fn write_new(&self, path: &Path) -> Result<(), VaultError> {
        let io = |source| VaultError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file = options.open(path).map_err(io)?;
        file.write_all(self.to_text().as_bytes()).map_err(io)?;
        file.write_all(b"\n").map_err(io)?;
        file.sync_all().map_err(io)
    }
}

/// Far more than a key needs; a wrong path must not read a disk into memory.
const MAX_FILE_LEN: usize = 1_024;
