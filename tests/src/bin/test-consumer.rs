//! A consumer's service in a process of its own, built on the receiver crate as a partner would build it.
//!
//! It reads its configuration from the file that is its one argument, says `listening <address>`, and appends one line
//! to its log for each event that a handler took: `<scope> <id> <type> <data>`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use serde::Deserialize;
use serde_json::Value;
use waxseal_receiver::axum::{encryption_keys, webhook};
use waxseal_receiver::jwks::{RemotePolicy, ReqwestGet};
use waxseal_receiver::{DecryptionKey, MemoryGuard, PrivateJwk, Protection, Received, Receiver};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    issuer: String,
    audience: String,
    scopes: Vec<String>,
    protection: String,
    keys: Vec<Value>,
    log: PathBuf,
    fail_first: u32,
    delay_ms: u64,
    root: Option<String>,
    tls: Option<(String, String)>,
}

/// What the handlers do, shared by all of them.
struct Behaviour {
    log: File,
    failures: AtomicU32,
    delay: Duration,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: test-consumer CONFIG")?;
    let config: Config = serde_json::from_slice(&std::fs::read(path)?)?;
    let behaviour = Arc::new(Behaviour {
        log: OpenOptions::new().create(true).append(true).open(&config.log)?,
        failures: AtomicU32::new(config.fail_first),
        delay: Duration::from_millis(config.delay_ms),
    });
    let guard = Arc::new(MemoryGuard::new(1_000_000, Duration::from_secs(86_400)));
    let mut app = Router::new();
    for scope in &config.scopes {
        let receiver = receiver(&config, scope, Arc::clone(&guard))?;
        if app.has_routes() {
            app = app.route(&format!("/{scope}"), hook(receiver, scope, &behaviour));
        } else {
            let keys = encryption_keys(&receiver);
            app = app.merge(keys).route(&format!("/{scope}"), hook(receiver, scope, &behaviour));
        }
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("listening {}", listener.local_addr()?);
    match config.tls {
        None => axum_server::from_tcp(listener)?.serve(app.into_make_service()).await?,
        Some((cert, key)) => {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            let tls = RustlsConfig::from_pem(cert.into_bytes(), key.into_bytes()).await?;
            axum_server::from_tcp_rustls(listener, tls)?.serve(app.into_make_service()).await?;
        }
    }
    Ok(())
}

fn receiver(
    config: &Config,
    scope: &str,
    guard: Arc<MemoryGuard>,
) -> Result<Receiver, Box<dyn std::error::Error>> {
    let protection = match config.protection.as_str() {
        "signed" => Protection::Signed,
        "sealed" => Protection::Sealed,
        "either" => Protection::Either,
        other => return Err(format!("protection: {other}").into()),
    };
    let mut client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    if let Some(root) = &config.root {
        client = client.add_root_certificate(reqwest::Certificate::from_pem(root.as_bytes())?);
    }
    // The tests' key rings live for seconds, so the cache must be younger still.
    let policy = RemotePolicy {
        max_age: Duration::from_secs(1),
        cooldown: Duration::from_millis(500),
        ..RemotePolicy::default()
    };
    let mut builder = Receiver::builder()
        .audience(&config.audience)
        .scope(scope)
        .issuer(&config.issuer, protection)
        .replay_guard(guard)
        .jwks_policy(policy)
        .http(Arc::new(ReqwestGet::from_client(client.build()?)));
    for key in &config.keys {
        let jwk = PrivateJwk::parse(key.to_string().as_bytes())?;
        builder = builder.decryption_key(DecryptionKey::from_jwk(&jwk)?);
    }
    Ok(builder.build()?)
}

fn hook(receiver: Receiver, scope: &str, behaviour: &Arc<Behaviour>) -> axum::routing::MethodRouter {
    let (scope, behaviour) = (scope.to_owned(), Arc::clone(behaviour));
    webhook(receiver, move |Received { event, data, .. }: Received<Value>| {
        let (scope, behaviour) = (scope.clone(), Arc::clone(&behaviour));
        async move {
            tokio::time::sleep(behaviour.delay).await;
            let fewer = |left: u32| left.checked_sub(1);
            if behaviour.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok() {
                return Err("told to fail".to_owned());
            }
            let line = format!("{scope} {} {} {data}\n", event.id, event.event_type);
            (&behaviour.log).write_all(line.as_bytes()).map_err(|error| error.to_string())
        }
    })
}
