//! Where the database is and how it is reached: a URL as other programs take it, with what must not be left to chance.
//!
//! `tokio_postgres` reads the URL; it knows neither `sslrootcert` nor the modes of `sslmode` that verify, so both are
//! taken out here. What an operator left out is set: a machine that is gone is noticed within seconds, not within the
//! hours of a system's defaults, and of several hosts the one that takes writes is used.
//!
//! Nothing here shows a password.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::form_urlencoded;

use super::tls::{self, Verification};

/// Where the database is, and how it is reached.
#[derive(Clone)]
pub struct PostgresSettings {
    pub(super) config: tokio_postgres::Config,
    pub(super) tls: Option<MakeRustlsConnect>,
}

/// Why a URL of a database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It is not such a URL, or a parameter of it is not known.
    #[error("the store's URL: {0}")]
    Url(String),
    /// A parameter has a value that it cannot have.
    #[error("the store's URL: `{parameter}`: expected {expected}")]
    Parameter {
        /// Which one.
        parameter: &'static str,
        /// What it could be.
        expected: &'static str,
    },
    /// A file that is named cannot be used.
    #[error("{what} {path}: {problem}")]
    File {
        /// What it is for.
        what: &'static str,
        /// Which one.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl PostgresSettings {
    /// Whether a text names a database of this kind and not a file.
    pub fn is_url(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| text.starts_with(scheme))
    }

    /// Reads a URL: `postgres://user@host1,host2/database?sslmode=verify-full&sslrootcert=ca.pem`.
    ///
    /// # Errors
    /// [`SettingsError`], which names the parameter at fault and never the password.
    pub fn parse(url: &str) -> Result<Self, SettingsError> {
        if !Self::is_url(url) {
            return Err(SettingsError::Url("expected it to begin with postgres://".to_owned()));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut root) = (None, None);
        let mut left = form_urlencoded::Serializer::new(String::new());
        let mut given = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "sslmode" => mode = Some(Verification::parse(&value)?),
                "sslrootcert" => root = Some(PathBuf::from(&*value)),
                _ => {
                    left.append_pair(&name, &value);
                    given.push(name.into_owned());
                }
            }
        }
        // The parser of the URL takes a plus sign as it is.
        let query = left.finish().replace('+', "%20");
        let mut config: tokio_postgres::Config = format!("{base}?{query}").parse().map_err(refused)?;
        fill(&mut config, &given);
        let unless_told = || if is_local(&config) { Verification::Disable } else { Verification::Full };
        let mode = mode.unwrap_or_else(unless_told);
        config.ssl_mode(if mode == Verification::Disable { SslMode::Disable } else { SslMode::Require });
        let tls = tls::connector(mode, root.as_deref())?;
        Ok(Self { config, tls })
    }

    /// The same, with the password that is in a file; the end of a line is no part of it.
    ///
    /// # Errors
    /// [`SettingsError::File`] if it cannot be read or has none.
    pub fn with_password_file(mut self, path: &Path) -> Result<Self, SettingsError> {
        let problem = |problem: String| SettingsError::File {
            what: "the file of the store's password",
            path: path.display().to_string(),
            problem,
        };
        let text = fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(problem("there is nothing in it".to_owned())),
            password => {
                self.config.password(password);
                Ok(self)
            }
        }
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The hosts and the database: for logs.
impl fmt::Display for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        for (place, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(folder) => write!(f, "{comma}{}", folder.display())?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

/// Sets what was not given.
fn fill(config: &mut tokio_postgres::Config, given: &[String]) {
    let left_out = |name: &str| !given.iter().any(|given| given == name);
    if left_out("target_session_attrs") {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    if left_out("connect_timeout") {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if left_out("tcp_user_timeout") {
        config.tcp_user_timeout(UNANSWERED);
    }
    if left_out("keepalives_idle") {
        config.keepalives_idle(IDLE);
    }
    if left_out("keepalives_interval") {
        config.keepalives_interval(INTERVAL);
    }
    if left_out("keepalives_retries") {
        config.keepalives_retries(RETRIES);
    }
    if left_out("application_name") {
        config.application_name("waxseal");
    }
}

/// Whether nothing of it leaves this machine.
fn is_local(config: &tokio_postgres::Config) -> bool {
    config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
        && config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost"
                    || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        })
}

/// What the parser says, down to the name of the parameter; it quotes no values.
fn refused(error: tokio_postgres::Error) -> SettingsError {
    let reason = std::error::Error::source(&error).map(ToString::to_string);
    SettingsError::Url(reason.unwrap_or_else(|| error.to_string()))
}

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// For each address of each host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long what was sent may stay without an acknowledgement: less than a lease is trusted.
const UNANSWERED: Duration = Duration::from_secs(8);

/// After so long without a word a connection is probed, so often and so many times.
const IDLE: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_secs(2);
const RETRIES: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_set_and_what_is_given_stays() {
        let settings = PostgresSettings::parse(
            "postgres://waxseal:secret@one:5433,two/db?sslmode=require&keepalives_idle=77&application_name=a%20b",
        )
        .unwrap();
        let config = &settings.config;
        assert_eq!(config.get_hosts().len(), 2);
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(77));
        assert_eq!(config.get_application_name(), Some("a b"));
        assert_eq!(config.get_ssl_mode(), SslMode::Require);
        assert_eq!(settings.to_string(), "postgres://one,two/db");
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn what_leaves_the_machine_is_verified_unless_somebody_says_otherwise() {
        let mode = |url: &str| PostgresSettings::parse(url).unwrap().config.get_ssl_mode();
        assert_eq!(mode("postgres://db.example.com/db"), SslMode::Require);
        assert_eq!(mode("postgres://db.example.com/db?sslmode=disable"), SslMode::Disable);
        assert_eq!(mode("postgres://127.0.0.1:5433/db"), SslMode::Disable);
        assert_eq!(mode("postgres:///db?host=/run/postgresql"), SslMode::Disable);
        assert_eq!(mode("postgres://localhost,db.example.com/db"), SslMode::Require);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, named) in [
            ("mysql://host/db", "postgres://"),
            ("postgres://host/db?sslmode=prefer", "sslmode"),
            ("postgres://host/db?sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem"),
            ("postgres://host/db?sslmode=disable&sslrootcert=/nowhere/ca.pem", "sslrootcert"),
            ("postgres://host/db?patience=9", "patience"),
            ("postgres://host/db?connect_timeout=soon", "connect_timeout"),
        ] {
            let error = PostgresSettings::parse(&url.replace("//host", "//me:secret@host")).unwrap_err();
            assert!(error.to_string().contains(named), "{url}: {error}");
            assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn a_password_can_be_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let settings = || PostgresSettings::parse("postgres://localhost/db").unwrap();
        assert!(settings().with_password_file(&path).is_err());
        fs::write(&path, "\n").unwrap();
        assert!(settings().with_password_file(&path).is_err());
        fs::write(&path, "open sesame\n").unwrap();
        let settings = settings().with_password_file(&path).unwrap();
        assert_eq!(settings.config.get_password(), Some(&b"open sesame"[..]));
    }
}
