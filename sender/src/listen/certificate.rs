//! The certificate and key that are served, and their renewal while we serve.
//!
//! Guarantees that a pair that does not load leaves the one before it in use, and is tried again until it loads: what
//! was missing may be a permission or the other half, and whoever puts that right need not touch the files again.

use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;

use crate::config::TlsConfig;

/// A pair of files, and what of it is served.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsConfig,
    served: RustlsConfig,
    /// The files as they were when they last loaded.
    loaded: [Option<Stamp>; 2],
    /// Why they do not load, as it was last said.
    failure: Option<String>,
}

/// What came of a look at the files.
#[derive(Debug, Eq, PartialEq)]
enum Looked {
    Unchanged,
    Renewed,
    /// They do not load.
    Failed,
    /// They still do not, for the same reason.
    FailedAgain,
}

impl Certificate {
    /// Loads the pair.
    pub(super) async fn load(files: &TlsConfig) -> io::Result<Self> {
        // rustls' defaults: TLS 1.2 and 1.3 only. The provider is named once, so that no other crate's choice matters.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Before they are read: what changes meanwhile is noticed at the next look.
        let loaded = stamps(files);
        let served = RustlsConfig::from_config(read(files).await?);
        Ok(Self { files: files.clone(), served, loaded, failure: None })
    }

    /// What is served, now and after each renewal.
    pub(super) fn served(&self) -> RustlsConfig {
        self.served.clone()
    }

    /// Looks at the files again and again.
    pub(super) async fn keep_renewed(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look().await;
        }
    }

    async fn look(&mut self) -> Looked {
        let now = stamps(&self.files);
        if now == self.loaded {
            self.failure = None;
            return Looked::Unchanged;
        }
        let cert = self.files.cert.display();
        match read(&self.files).await {
            Ok(config) => {
                self.served.reload_from_config(config);
                self.loaded = now;
                self.failure = None;
                tracing::info!(%cert, "the TLS certificate was read again");
                Looked::Renewed
            }
            Err(error) => {
                let failure = error.to_string();
                if self.failure.as_ref() == Some(&failure) {
                    return Looked::FailedAgain;
                }
                tracing::error!(%cert, %error, "the TLS certificate changed but does not load; the old one stays in use, and it is tried again");
                self.failure = Some(failure);
                Looked::Failed
            }
        }
    }
}

/// The certificate and the key, for the one protocol that is spoken here.
async fn read(files: &TlsConfig) -> io::Result<Arc<ServerConfig>> {
    let read = RustlsConfig::from_pem_file(&files.cert, &files.key).await?;
    let mut config = ServerConfig::clone(&read.get_inner());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What tells one state of a file from another.
type Stamp = (u64, i64, i64);

fn stamps(files: &TlsConfig) -> [Option<Stamp>; 2] {
    [&files.cert, &files.key].map(|path: &std::path::PathBuf| stamp(path))
}

fn stamp(path: &Path) -> Option<Stamp> {
    std::fs::metadata(path).ok().map(|metadata| of(&metadata))
}

/// The time of the last change of anything, which nobody can set: a file with an old date may be moved into place.
#[cfg(unix)]
fn of(metadata: &Metadata) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn of(metadata: &Metadata) -> Stamp {
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let modified = modified.and_then(|at| i64::try_from(at.as_nanos()).ok()).unwrap_or_default();
    (metadata.len(), modified, 0)
}

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    #[tokio::test]
    async fn a_pair_that_does_not_load_is_tried_until_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsConfig { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let write = |(cert, key): &(String, String)| {
            fs::write(&files.cert, cert).unwrap();
            fs::write(&files.key, key).unwrap();
        };
        write(&pair());
        let mut certificate = Certificate::load(&files).await.unwrap();
        let first = certificate.served().get_inner();
        assert_eq!(certificate.look().await, Looked::Unchanged);

        // Half of a renewal: the key is not there yet.
        let renewed = pair();
        fs::write(&files.cert, &renewed.0).unwrap();
        fs::remove_file(&files.key).unwrap();
        assert_eq!(certificate.look().await, Looked::Failed);
        assert_eq!(certificate.look().await, Looked::FailedAgain);
        fs::write(&files.key, "not yet").unwrap();
        assert_eq!(certificate.look().await, Looked::Failed, "another reason is said again");
        let dates = [&files.cert, &files.key].map(|path| fs::metadata(path).unwrap().modified().unwrap());
        assert!(Arc::ptr_eq(&first, &certificate.served().get_inner()));

        // Put right without a new date, as a change of owner or mode would.
        write(&renewed);
        for (path, date) in [&files.cert, &files.key].into_iter().zip(dates) {
            File::options().write(true).open(path).unwrap().set_modified(date).unwrap();
        }
        assert_eq!(certificate.look().await, Looked::Renewed);
        assert!(!Arc::ptr_eq(&first, &certificate.served().get_inner()));
        assert_eq!(certificate.look().await, Looked::Unchanged);
    }
}
