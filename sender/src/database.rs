//! Which PostgreSQL is meant, and how to connect to it: read from a URL, checked before anything is connected.
//!
//! Relies on tokio-postgres for the parameters that it knows. Guarantees that a connection to another machine is either
//! verified TLS or was asked for without TLS in so many words; that a host which does not answer is given up within
//! seconds, where the system would wait for minutes; and that no password is in an error, a log or `Debug`.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::form_urlencoded;
use zeroize::Zeroizing;

/// A database that can be connected to.
#[derive(Clone)]
pub struct Database {
    /// Hosts, names, limits.
    pub config: Config,
    /// What a connection over TLS is made with; not used where `config` asks for none.
    pub tls: MakeRustlsConnect,
}

/// Why a URL does not name a database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// Something else altogether.
    #[error("expected postgres://user@host/database?parameter=value")]
    NotAUrl,
    /// A parameter says something that it cannot say.
    #[error("{name}: {detail}")]
    Parameter {
        /// Which one.
        name: &'static str,
        /// What is wrong and what was expected.
        detail: String,
    },
    /// A parameter that there is not, or whose value is not one; its name is in the source.
    #[error("{0}")]
    Refused(String),
    /// A file that a parameter names cannot be used.
    #[error("{name}: cannot read {}: {source}", path.display())]
    Unreadable {
        /// The parameter.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DatabaseError {
    /// A stable code for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAUrl => "database.not_a_url",
            Self::Parameter { .. } => "database.parameter",
            Self::Refused(_) => "database.refused",
            Self::Unreadable { .. } => "database.unreadable",
        }
    }
}

impl Database {
    /// Whether a text is meant for [`Database::parse`], and is not the name of a file.
    pub fn is_url(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| text.starts_with(scheme))
    }

    /// The hosts and the database that a URL names, for people and logs: no user, no password, no file is read.
    pub fn place(text: &str) -> String {
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let config = Own::split(query).and_then(|(_, others)| read(place, &others));
        config.map_or_else(|_| "postgres://".to_owned(), |config| place_of(&config))
    }

    /// Reads a URL such as `postgres://user@host1,host2/database?sslmode=verify-full&sslrootcert=ca.pem`.
    ///
    /// Relative names of files are relative to `folder`. The password can stand in a file instead of the URL.
    ///
    /// # Errors
    /// Which parameter says what it cannot say, and what was expected.
    pub fn parse(text: &str, folder: &Path, password_file: Option<&Path>) -> Result<Self, DatabaseError> {
        if !Self::is_url(text) {
            return Err(DatabaseError::NotAUrl);
        }
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let (own, others) = Own::split(query)?;
        let mut config = read(place, &others)?;
        if let Some(path) = password_file {
            if config.get_password().is_some() {
                return Err(parameter("password", "expected in the URL or in a file, not in both"));
            }
            config.password(password(&folder.join(path))?.as_bytes());
        }
        fill(&mut config, &others);
        let tls = own.tls(&mut config, folder)?;
        Ok(Self { config, tls: MakeRustlsConnect::new(tls) })
    }
}

/// The hosts and the database: for people and logs.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&place_of(&self.config))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("hosts", &self.config.get_hosts())
            .field("database", &self.config.get_dbname())
            .finish_non_exhaustive()
    }
}

/// The parameters that are not tokio-postgres's own.
#[derive(Default)]
struct Own {
    mode: Option<String>,
    root_certificates: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Own {
    /// Takes them out of a query; returns the rest, decoded.
    fn split(query: &str) -> Result<(Self, Vec<(String, String)>), DatabaseError> {
        let (mut own, mut others) = (Self::default(), Vec::<(String, String)>::new());
        // A form would read `+` as a space; libpq does not.
        for (name, value) in form_urlencoded::parse(query.replace('+', "%2B").as_bytes()).into_owned() {
            let place = match name.as_str() {
                "sslmode" => &mut own.mode,
                "sslrootcert" => &mut own.root_certificates,
                "sslcert" => &mut own.certificate,
                "sslkey" => &mut own.key,
                _ if others.iter().any(|(known, _)| *known == name) => {
                    return Err(DatabaseError::Refused(format!("{name}: expected once")));
                }
                _ => {
                    others.push((name, value));
                    continue;
                }
            };
            if place.replace(value).is_some() {
                return Err(DatabaseError::Refused(format!("{name}: expected once")));
            }
        }
        Ok((own, others))
    }

    /// Decides between TLS and none, and makes what is needed for it.
    fn tls(self, config: &mut Config, folder: &Path) -> Result<ClientConfig, DatabaseError> {
        let verify = match self.mode.as_deref() {
            Some("verify-full") => true,
            Some("disable") => false,
            // Nobody is between us and a server on this machine.
            None => !stays_here(config) || self.root_certificates.is_some(),
            Some(_) => return Err(parameter("sslmode", MODES)),
        };
        if !verify && self.root_certificates.is_some() {
            return Err(parameter("sslrootcert", "expected none, as sslmode is disable"));
        }
        config.ssl_mode(if verify { SslMode::Require } else { SslMode::Disable });
        let unix = config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)));
        if verify && (unix || config.get_hosts().is_empty()) {
            return Err(parameter("sslmode", "verify-full needs the host by its name"));
        }
        let provider = Arc::new(default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = versions.map_err(|error| parameter("sslmode", error.to_string()))?;
        let roots = if verify { self.roots(folder)? } else { RootCertStore::empty() };
        let builder = builder.with_root_certificates(roots);
        match (self.certificate, self.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                let chain = certificates("sslcert", &folder.join(certificate))?;
                let key = private_key(&folder.join(key))?;
                let shown = builder.with_client_auth_cert(chain, key);
                shown.map_err(|error| parameter("sslcert", format!("not usable with sslkey: {error}")))
            }
            (Some(_), None) => Err(parameter("sslkey", "required beside sslcert")),
            (None, Some(_)) => Err(parameter("sslcert", "required beside sslkey")),
        }
    }

    /// Whose certificates are believed: those of a file, or the operating system's.
    fn roots(&self, folder: &Path) -> Result<RootCertStore, DatabaseError> {
        let mut roots = RootCertStore::empty();
        let file = self.root_certificates.as_deref().filter(|name| *name != "system");
        let Some(file) = file else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(parameter("sslrootcert", "required, as this system trusts no authority"));
            }
            return Ok(roots);
        };
        for certificate in certificates("sslrootcert", &folder.join(file))? {
            roots.add(certificate).map_err(|error| parameter("sslrootcert", error.to_string()))?;
        }
        Ok(roots)
    }
}

fn place_of(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.display().to_string(),
    });
    let hosts: Vec<_> = hosts.collect();
    format!("postgres://{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

/// What tokio-postgres understands of a URL; it says of what it does not understand the name, and never the value.
fn read(place: &str, others: &[(String, String)]) -> Result<Config, DatabaseError> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(others);
    // A form writes a space as `+`.
    let text = format!("{place}?{}", query.finish().replace('+', "%20"));
    let config: Config = text.parse().map_err(|error: tokio_postgres::Error| {
        let why = std::error::Error::source(&error).map(ToString::to_string);
        DatabaseError::Refused(why.unwrap_or_else(|| error.to_string()))
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(parameter("host", "required"));
    }
    match config.get_dbname() {
        None | Some("") => Err(parameter("dbname", "required, as the path of the URL")),
        Some(_) => Ok(config),
    }
}

/// Sets what was not given. A host that has gone answers nothing, and the system would wait for it for hours.
fn fill(config: &mut Config, given: &[(String, String)]) {
    let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
    if !is_given("connect_timeout") {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if !is_given("tcp_user_timeout") {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    if !is_given("keepalives_idle") {
        config.keepalives_idle(IDLE);
    }
    if !is_given("keepalives_interval") {
        config.keepalives_interval(INTERVAL);
    }
    if !is_given("keepalives_retries") {
        config.keepalives_retries(RETRIES);
    }
    if !is_given("application_name") {
        config.application_name("waxseal");
    }
}

/// Whether every host, and every address that is given for one, is this machine.
fn stays_here(config: &Config) -> bool {
    let is_here = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
    };
    config.get_hosts().iter().all(is_here) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

/// The first line of a file.
fn password(path: &Path) -> Result<Zeroizing<String>, DatabaseError> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|source| unreadable("password file", path, source))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Zeroizing::new(line.to_owned())),
        _ => Err(parameter("password file", format!("{} is empty", path.display()))),
    }
}

fn certificates(name: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, DatabaseError> {
    let pem = fs::read(path).map_err(|source| unreadable(name, path, source))?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(parameter(name, format!("{} holds no PEM certificate", path.display()))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, DatabaseError> {
    let pem = fs::read(path).map(Zeroizing::new);
    let pem = pem.map_err(|source| unreadable("sslkey", path, source))?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| parameter("sslkey", format!("{} holds no PEM private key", path.display())))
}

fn parameter(name: &'static str, detail: impl Into<String>) -> DatabaseError {
    DatabaseError::Parameter { name, detail: detail.into() }
}

fn unreadable(name: &'static str, path: &Path, source: io::Error) -> DatabaseError {
    DatabaseError::Unreadable { name, path: path.to_owned(), source }
}

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// libpq's other modes encrypt without knowing for whom.
const MODES: &str = "expected verify-full, or disable where nobody else is on the way; the default is verify-full for other machines";

/// For each address of each host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What was sent and not acknowledged for so long means that the host has gone. It is less than a lease is trusted.
const UNACKNOWLEDGED: Duration = Duration::from_secs(8);

/// After so long without a word a connection is probed, so often and so many times.
const IDLE: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_secs(2);
const RETRIES: u32 = 3;
