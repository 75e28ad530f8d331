//! What an operator sets: a TOML file, overridden by the environment, overridden by flags.
//!
//! Unknown fields are refused: a misspelt setting that is silently ignored is found out on the worst day.
//! Every value is checked when it is read, and the error names the field and what was expected.

mod breaker;
mod cluster;
mod consumer_tokens;
mod delivery;
mod operations;
mod signing;
mod store;
mod verification;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use waxseal_envelope::Issuer;

pub use self::breaker::BreakerConfig;
pub use self::cluster::{ClusterConfig, check_node_name, parse_role};
pub use self::consumer_tokens::ConsumerTokensConfig;
pub use self::delivery::DeliveryConfig;
pub use self::operations::OperationsConfig;
pub use self::signing::{SigningConfig, parse_signature_algorithm};
pub use self::store::StoreLocation;
pub use self::verification::VerificationConfig;
use crate::listen::ConnectionLimits;

use crate::upkeep::Retention;

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who the tokens come from; receivers fetch `<issuer>/.well-known/jwks.json`.
    #[serde(deserialize_with = "issuer")]
    pub issuer: Issuer,
    /// Where the API and the JWKS are served.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Connections to it that may be open at once; more are closed as they come.
    #[serde(default = "default_max_connections")]
    pub max_connections: usize,
    /// The embedded store's file, or the URL of a PostgreSQL database. A relative path is relative to the configuration
    /// file.
    #[serde(default = "default_store")]
    pub store: StoreLocation,
    /// The file with the database's password, if that is not in the URL.
    #[serde(default)]
    pub store_password_file: Option<PathBuf>,
    /// The file with the key-encryption key, mode 0600. `WAXSEAL_KEK` in the environment takes its place.
    #[serde(default = "default_kek_file")]
    pub key_encryption_key_file: PathBuf,
    /// The file with the key-encryption key from before, if the store may still be under it: `serve` then wraps the
    /// store's keys anew as it starts. `WAXSEAL_PREVIOUS_KEK` in the environment takes its place.
    #[serde(default)]
    pub previous_key_encryption_key_file: Option<PathBuf>,
    /// Serve over TLS.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// The signing keys and their life.
    #[serde(default)]
    pub signing: SigningConfig,
    /// How deliveries are made.
    #[serde(default)]
    pub delivery: DeliveryConfig,
    /// How endpoints are asked whether they want events.
    #[serde(default)]
    pub verification: VerificationConfig,
    /// How much a consumer may ask for with tokens of its own.
    #[serde(default)]
    pub consumer_tokens: ConsumerTokensConfig,
    /// Where connections may go.
    #[serde(default)]
    pub egress: EgressConfig,
    /// How long things are kept.
    #[serde(default)]
    pub retention: Retention,
    /// What the operator is told.
    #[serde(default)]
    pub operations: OperationsConfig,
    /// What this node is among several that share a store.
    #[serde(default)]
    pub cluster: ClusterConfig,
    /// What is logged.
    #[serde(default)]
    pub log: LogConfig,
}

/// A certificate and its key; both files are read again when they change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM, the leaf first.
    pub cert: PathBuf,
    /// PEM, PKCS#8.
    pub key: PathBuf,
}

/// Where connections may go.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressConfig {
    /// Private, loopback and other special ranges that are allowed all the same.
    pub allow: Vec<IpNet>,
    /// Whether `http:` is allowed to addresses in `allow`.
    pub allow_http: bool,
    /// PEM files with further root certificates.
    pub root_certificates: Vec<PathBuf>,
}

/// What is logged.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// A filter such as `info` or `waxseal_sender=debug`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no file.
    #[error("there is no configuration file {}: run `waxseal init` to make one, or name one with --config", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what was expected.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// The field at fault, where it stands, and what was expected.
        reason: String,
    },
}

impl Config {
    /// The configuration with nothing set but the issuer.
    pub fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            listen: default_listen(),
            max_connections: default_max_connections(),
            store: default_store(),
            store_password_file: None,
            key_encryption_key_file: default_kek_file(),
            previous_key_encryption_key_file: None,
            tls: None,
            signing: SigningConfig::default(),
            delivery: DeliveryConfig::default(),
            verification: VerificationConfig::default(),
            consumer_tokens: ConsumerTokensConfig::default(),
            egress: EgressConfig::default(),
            retention: Retention::default(),
            operations: OperationsConfig::default(),
            cluster: ClusterConfig::default(),
            log: LogConfig::default(),
        }
    }

    /// Reads a file. Relative paths in it become relative to its folder.
    ///
    /// # Errors
    /// If there is none, or a field is unknown or has a value that it cannot have.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ConfigError::Missing { path: path.to_owned() },
            _ => ConfigError::Unreadable { path: path.to_owned(), source },
        })?;
        let invalid = |reason: String| ConfigError::Invalid { path: path.to_owned(), reason };
        let mut config: Self = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        config.check().map_err(invalid)?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        config.store = config.store.within(folder);
        if let Some(password) = &mut config.store_password_file {
            *password = folder.join(&*password);
        }
        config.key_encryption_key_file = folder.join(&config.key_encryption_key_file);
        if let Some(previous) = &mut config.previous_key_encryption_key_file {
            *previous = folder.join(&*previous);
        }
        if let Some(tls) = &mut config.tls {
            tls.cert = folder.join(&tls.cert);
            tls.key = folder.join(&tls.key);
        }
        for certificate in &mut config.egress.root_certificates {
            *certificate = folder.join(&*certificate);
        }
        Ok(config)
    }

    /// What no single field can say.
    fn check(&self) -> Result<(), String> {
        self.signing.check()?;
        self.delivery.breaker.check()?;
        self.retention.check()?;
        self.verification.check()?;
        self.consumer_tokens.check()?;
        self.cluster.check()?;
        let counts = [
            ("max_connections", self.max_connections),
            ("delivery.max_in_flight", self.delivery.max_in_flight),
            ("delivery.max_in_flight_per_endpoint", self.delivery.max_in_flight_per_endpoint),
        ];
        match counts.into_iter().find(|(_, count)| !(1..=10_000).contains(count)) {
            Some((field, _)) => Err(format!("{field}: expected a number from 1 to 10000")),
            None => Ok(()),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn default_max_connections() -> usize {
    ConnectionLimits::default().open
}

fn default_store() -> StoreLocation {
    StoreLocation::File(PathBuf::from(STORE_FILE))
}

fn default_kek_file() -> PathBuf {
    PathBuf::from("waxseal.key")
}

fn issuer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Issuer, D::Error> {
    let text = String::deserialize(deserializer)?;
    Issuer::parse(&text).map_err(serde::de::Error::custom)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(serde::de::Error::custom)
}

fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse_duration(text).map_err(serde::de::Error::custom)).collect()
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > LONGEST => {
            let longest = humantime::format_duration(LONGEST);
            Err(format!("`{text}` is too long; expected at most {longest}"))
        }
        Ok(duration) if duration > Duration::ZERO => Ok(duration),
        Ok(_) => Err(format!("`{text}` is no time at all; expected a duration such as \"30s\" or \"24h\"")),
        Err(_) => Err(format!("`{text}` is not a duration; expected one such as \"30s\", \"5m\" or \"24h\"")),
    }
}

/// `"never"`, or a duration.
fn unless_never<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "never" {
        return Ok(None);
    }
    parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

/// The embedded store's file, where nothing else is said.
pub(crate) const STORE_FILE: &str = "waxseal.db";

/// Longer is a slip of the pen, and what is computed with it could overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("waxseal.toml");
        fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    fn refusal(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn the_issuer_alone_is_enough() {
        let config = read("issuer = \"https://hooks.example.com\"").unwrap();
        assert_eq!(config.signing.pending_for, Duration::from_secs(24 * 60 * 60));
        assert_eq!(config.signing.rotate_every, Some(Duration::from_secs(90 * 24 * 60 * 60)));
        let StoreLocation::File(store) = config.store else { panic!("no file") };
        assert!(store.is_absolute(), "a relative path is relative to the file");
    }

    #[test]
    fn keys_can_be_rotated_by_hand_alone() {
        let config =
            read("issuer = \"https://hooks.example.com\"\n[signing]\nrotate_every = \"never\"").unwrap();
        assert_eq!(config.signing.rotate_every, None);
    }

    #[test]
    fn an_endpoint_can_be_kept_for_ever() {
        let issuer = "issuer = \"https://hooks.example.com\"\n";
        let config =
            read(&format!("{issuer}[delivery.breaker]\nfailures = 3\ndisable_after = \"never\"")).unwrap();
        let policy = config.delivery.breaker.policy();
        assert_eq!((policy.failures, policy.disable_after), (3, None));
        assert_eq!(policy.first_pause, Duration::from_secs(10));
    }

    #[test]
    fn each_refusal_names_the_field_and_what_was_expected() {
        let issuer = "issuer = \"https://hooks.example.com\"\n";
        for (extra, field, expected) in [
            ("lisen = \"127.0.0.1:1\"", "lisen", "expected one of"),
            ("listen = \"everywhere\"", "listen", "socket address"),
            ("[signing]\nalgorithm = \"RS256\"", "RS256", "expected ES256"),
            ("[signing]\npending_for = \"soon\"", "soon", "expected one such as"),
            ("[signing]\npending_for = \"1m\"", "signing.pending_for", "at least twice"),
            ("[signing]\nrotate_every = \"sometimes\"", "sometimes", "expected one such as"),
            (
                "[signing]\npending_for = \"1h\"\nrotate_every = \"1h\"\nretiring_for = \"30h\"",
                "signing.rotate_every",
                "at most 22",
            ),
            ("[delivery]\nmax_in_flight = 0", "delivery.max_in_flight", "1 to 10000"),
            ("max_connections = 0", "max_connections", "1 to 10000"),
            ("[delivery]\nretry = [\"0s\"]", "0s", "expected a duration"),
            ("[delivery]\nretry = [\"5s\", \"5000y\"]", "5000y", "expected at most"),
            ("[signing]\nretiring_for = \"2years\"", "2years", "expected at most"),
            ("[delivery.breaker]\nfailures = 0", "delivery.breaker.failures", "from 1 on"),
            ("[delivery.breaker]\nfirst_pause = \"1h\"", "delivery.breaker.longest_pause", "at least"),
            ("[delivery.breaker]\ndisable_after = \"soon\"", "soon", "expected one such as"),
            ("[verification]\npauses = [\"1s\"]", "verification.pauses", "at least"),
            ("[verification]\nhost_an_hour = 0", "verification.host_an_hour", "1 to 10000"),
            ("[consumer_tokens]\ntests_an_hour = 0", "consumer_tokens.tests_an_hour", "1 to 1000000"),
            ("[egress]\nallow = [\"10.0.0.0/99\"]", "allow", "invalid"),
            ("[retention]\npayloads = \"long\"", "long", "or \"forever\""),
            ("[retention]\nattempts = \"7d\"", "retention.attempts", "at least retention.payloads"),
            ("[retention]\naudit = \"soon\"", "soon", "or \"forever\""),
            ("[cluster]\nrole = \"boss\"", "boss", "`api` or `engine`"),
            ("[cluster]\nnode_name = \"a b\"", "cluster.node_name", "1 to 64"),
            ("[operations]\nconsumer = \"a b\"", "consumer", "1 to 64 characters"),
            ("[operations]\nheld_after = \"0s\"", "0s", "expected a duration"),
            ("[tls]\ncert = \"a.pem\"", "tls", "key"),
        ] {
            let message = refusal(&format!("{issuer}{extra}"));
            assert!(message.contains(field) && message.contains(expected), "{extra}: {message}");
        }
    }

    #[test]
    fn without_a_file_it_says_how_to_make_one() {
        let message = Config::read(Path::new("/nowhere/waxseal.toml")).unwrap_err().to_string();
        assert!(message.contains("waxseal init"), "{message}");
    }
}
