//! `waxseal dev`: the whole thing on one machine, with nothing set up.
//!
//! A real sender on a temporary store, and a demo consumer with its own decryption key, its own HTTP server and its
//! own JWKS cache. They share nothing but the wire. The key ring goes through the states of production, in seconds
//! instead of days.

mod consumer;
mod show;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use waxseal_envelope::{Audience, Data, Issuer};
use waxseal_keys::KeyEncryptionKey;
use waxseal_keys::RingPolicy;
use waxseal_keys::{Clock, SystemClock};

use self::consumer::{DemoConsumer, Seen};
use self::show::Show;
use super::client::Api;
use super::error::CliError;
use crate::api::auth::{Grant, NewToken};
use crate::config::{Config, EgressConfig, LogConfig, LogFormat};
use crate::listen::{self, ConnectionLimits, Listener};
use crate::model::token::Scope;
use crate::sender::{Sender, Settings};
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::{descriptors, telemetry};

/// Show it working on this machine: a sender, a consumer, a rotation of keys
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  waxseal dev           until Ctrl-C\n  waxseal dev --once    one full round with a rotation; status 0 only if all of it was right"
)]
pub struct DevArgs {
    /// End after one full round, with a rotation
    #[arg(long)]
    once: bool,
    /// Also show the sender's log
    #[arg(long)]
    verbose: bool,
}

/// The running demonstration.
struct Dev {
    api: Api,
    consumer: DemoConsumer,
    show: Show,
    published: u32,
}

impl DevArgs {
    /// Runs the demonstration.
    ///
    /// # Errors
    /// If anything of it does not come out as it must.
    pub async fn run(self) -> Result<(), CliError> {
        descriptors::raise_limit();
        if self.verbose {
            let log = LogConfig { format: LogFormat::Text, filter: "waxseal_sender=debug".to_owned() };
            telemetry::start_logs(&log).map_err(|error| CliError::usage(error.to_string()))?;
        }
        let folder =
            tempfile::tempdir().map_err(|error| CliError::failed("cannot make a temporary folder", error))?;
        let sqlite = SqliteStore::open(folder.path().join("waxseal.db")).map_err(plain)?;
        let sqlite = Arc::new(sqlite);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(address, None, ConnectionLimits::default()).await.map_err(plain)?;
        let origin = format!("http://{}", listener.address());
        let issuer = Issuer::parse(&origin).map_err(plain)?;
        let store: Arc<dyn Store> = Arc::<SqliteStore>::clone(&sqlite);
        let sender =
            Sender::start(settings(&issuer)?, store, KeyEncryptionKey::generate(), Arc::new(SystemClock))
                .await
                .map_err(plain)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving: JoinHandle<std::io::Result<()>> =
            tokio::spawn(listener.serve(sender.router(String::new), async {
                let _ = stopped.await;
            }));
        let outcome = self.demonstrate(&sender, &issuer, &origin).await;
        let _ = stop.send(());
        let _ = serving.await;
        sender.stop().await;
        sqlite.close().await;
        outcome
    }

    async fn demonstrate(&self, sender: &Sender, issuer: &Issuer, origin: &str) -> Result<(), CliError> {
        let grant = Grant { scopes: [Scope::Admin].into(), ..Grant::default() };
        let token = NewToken::generate(grant, SystemClock.now());
        sender.directory().create_token(token.record.clone()).await.map_err(plain)?;
        let api = Api::local(origin, &token.secret)?;
        let consumer = DemoConsumer::start(issuer.clone(), Audience::parse(CONSUMER).map_err(plain)?).await?;
        let show = Show::new();
        show.introduction(origin, &consumer)?;
        let mut dev = Dev { api, consumer, show, published: 0 };
        dev.register().await?;
        match self.once {
            true => dev.once().await,
            false => {
                tokio::select! {
                    ended = dev.forever() => ended,
                    () = listen::stop_signal() => dev.show.line("stopping"),
                }
            }
        }
    }
}

impl Dev {
    async fn register(&self) -> Result<(), CliError> {
        self.api.post(&["consumers"], Some(json!({ "id": CONSUMER }))).await?;
        self.api.post(&["event-types"], Some(json!({ "name": EVENT_TYPE }))).await?;
        let endpoint = json!({
            "consumer": CONSUMER,
            "url": self.consumer.url(),
            "event_types": [EVENT_TYPE],
            "protection": "sealed",
            "encryption_keys": { "jwks": { "keys": [self.consumer.public_jwk()] } },
        });
        self.api.post(&["endpoints"], Some(endpoint)).await.map(drop)
    }

    /// One round: an event, a rotation, an event signed by the new key, the old key gone.
    async fn once(&mut self) -> Result<(), CliError> {
        let first = self.round().await?;
        let second = self.rotate().await?;
        if first == second {
            return Err(CliError::plain("the event after the rotation was signed by the old key"));
        }
        self.wait_for("the old key is retired", async |dev: &Self| {
            Ok(dev.state_of(&first).await?.is_none_or(|state| state == "retired"))
        })
        .await?;
        self.show.keys(&self.signing_keys().await?)?;
        self.round().await?;
        self.show.line("all content arrived verified, decrypted and equal")
    }

    async fn forever(&mut self) -> Result<(), CliError> {
        loop {
            for _ in 0..EVENTS_PER_ROTATION {
                self.round().await?;
                sleep(PAUSE).await;
            }
            self.rotate().await?;
        }
    }

    /// Publishes an event and waits until the consumer has read it; returns the key that signed it.
    async fn round(&mut self) -> Result<String, CliError> {
        self.published += 1;
        let data = format!(r#"{{"order":"{}","total":"12.50"}}"#, 990 + self.published);
        self.show.publish(EVENT_TYPE, &data)?;
        let request = format!(r#"{{"type":"{EVENT_TYPE}","data":{data}}}"#);
        self.api.post_text(&["events"], request, None).await?;
        let seen = timeout(PATIENCE, self.consumer.next())
            .await
            .map_err(|_| CliError::plain("the consumer did not get the event in time"))??;
        self.show.wire(&seen)?;
        let Seen { opened, .. } = seen;
        equal(&opened.event.data, &data)?;
        self.show.read(&opened)?;
        Ok(opened.signer_kid)
    }

    /// Rotates the signing key, once its standby has been published long enough; returns the key that signs now.
    async fn rotate(&mut self) -> Result<String, CliError> {
        self.show.line("rotating the signing key: the standby must have been published long enough")?;
        self.show.keys(&self.signing_keys().await?)?;
        self.wait_for("the standby key signs", async |dev: &Self| {
            Ok(dev.api.post(&["signing-keys", "rotate"], None).await.is_ok())
        })
        .await?;
        self.show.keys(&self.signing_keys().await?)?;
        self.round().await
    }

    async fn signing_keys(&self) -> Result<Value, CliError> {
        self.api.get(&["signing-keys"], &[]).await
    }

    async fn state_of(&self, kid: &str) -> Result<Option<String>, CliError> {
        let keys = self.signing_keys().await?;
        let all = keys.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let found = all.iter().find(|key| key.get("kid").and_then(Value::as_str) == Some(kid));
        Ok(found.and_then(|key| key.get("state")).and_then(Value::as_str).map(str::to_owned))
    }

    async fn wait_for(
        &self,
        what: &str,
        holds: impl AsyncFn(&Self) -> Result<bool, CliError>,
    ) -> Result<(), CliError> {
        let waiting = async {
            while !holds(self).await? {
                sleep(LOOK).await;
            }
            Ok(())
        };
        timeout(PATIENCE, waiting)
            .await
            .map_err(|_| CliError::plain(format!("waited in vain until {what}")))?
    }
}

/// # Errors
/// If what the consumer read is not what was published, byte for byte.
fn equal(read: &Data, published: &str) -> Result<(), CliError> {
    match read {
        Data::Json(read) if read.get() == published => Ok(()),
        Data::Json(_) | Data::Binary { .. } => {
            Err(CliError::plain("what the consumer read is not what was published"))
        }
    }
}

/// The settings of production, but for times in seconds and permission to reach this machine.
fn settings(issuer: &Issuer) -> Result<Settings, CliError> {
    let mut config = Config::new(issuer.clone());
    let loopback = "127.0.0.0/8".parse().map_err(plain)?;
    config.egress = EgressConfig { allow: vec![loopback], allow_http: true, root_certificates: Vec::new() };
    config.signing.jwks_max_age = Duration::from_secs(1);
    let mut settings = Settings::from_config(&config).map_err(CliError::usage)?;
    settings.ring = RingPolicy { pending_for: KEY_TIME, retiring_for: KEY_TIME, ..settings.ring };
    Ok(settings)
}

fn plain(error: impl std::error::Error + 'static) -> CliError {
    CliError::failed("cannot show it", error)
}

const CONSUMER: &str = "acme";
const EVENT_TYPE: &str = "order.created";
const EVENTS_PER_ROTATION: u32 = 5;

/// Between two events.
const PAUSE: Duration = Duration::from_secs(3);

/// How long a key is pending, and how long it is retiring: a day in production.
const KEY_TIME: Duration = Duration::from_secs(3);

/// Between two looks at something that takes a while.
const LOOK: Duration = Duration::from_millis(200);

/// After which something that takes a while will not happen.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_is_right_if_it_is_equal_byte_for_byte() {
        let published = r#"{"order":"991","total":"12.50"}"#;
        assert!(equal(&Data::json(published.as_bytes()).unwrap(), published).is_ok());
        for other in [
            Data::json(br#"{"order":"991","total":"12.51"}"#).unwrap(),
            Data::json(br#"{"total":"12.50","order":"991"}"#).unwrap(),
            Data::json(br#"{"order": "991","total":"12.50"}"#).unwrap(),
            Data::binary("application/json", published.into()).unwrap(),
        ] {
            let wrong = equal(&other, published).unwrap_err();
            assert_eq!((wrong.status(), wrong.to_string().contains("not what was published")), (1, true));
        }
    }
}
