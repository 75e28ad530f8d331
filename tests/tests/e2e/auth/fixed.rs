//! What is shown as it was given, and whom the system trusts: right and wrong, against nginx.

use std::process::Command;

use serde_json::{Value, json};
use waxseal_tests::nginx::Nginx;
use waxseal_tests::pki::Pki;
use waxseal_tests::process::program;
use waxseal_tests::sender::{Sender, SenderFolder};
use waxseal_tests::sink::Sink;

use super::{create, first_attempt, patch, pin_of};
use crate::support::register;

/// A sender, and its endpoint at a server that lets nothing past but what it asks for.
struct Guarded {
    sender: Sender,
    /// Of the endpoint.
    path: String,
    /// Behind the server.
    sink: Sink,
    folder: SenderFolder,
    nginx: Nginx,
}

async fn guarded(checks: &str) -> Guarded {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    register(&sender.api, "acme").await;
    let (pki, sink) = (Pki::new(), Sink::start().await);
    let location = format!("location / {{ {checks} proxy_pass http://{}; }}", sink.address);
    let nginx = Nginx::start(&pki, &[], &[&location]);
    let trusted = json!({ "server_authentication": { "ca_certificates": pki.root() } });
    let path = create(&sender.api, &nginx.url(0), trusted).await;
    Guarded { sender, path, sink, folder, nginx }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_bearer_token_with_nginx() {
    let checks = "if ($http_authorization != \"Bearer s3cret.t0ken/+==\") { return 401; }";
    let Guarded { sender, path, mut sink, folder: _folder, nginx: _nginx } = guarded(checks).await;
    let api = &sender.api;
    let bearer = |token: &str| json!({ "authentication": { "bearer": { "token": token } } });

    assert_eq!(first_attempt(api).await, "answer.authentication_failed", "none");
    patch(api, &path, bearer("s3cret.t0ken/+=")).await;
    assert_eq!(first_attempt(api).await, "answer.authentication_failed", "another");
    assert!(sink.waiting().is_none(), "nothing got past nginx");
    let shown = patch(api, &path, bearer("s3cret.t0ken/+==")).await;
    assert_eq!(first_attempt(api).await, "delivered");
    sink.next().await;
    assert!(!shown.to_string().contains("s3cret") && !sender.process.log().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_ones_own_with_nginx() {
    let checks = "if ($http_x_tenant != \"acme: eu\") { return 403; } \
                  if ($http_x_partner_key != \"s3cret;q=1\") { return 401; }";
    let Guarded { sender, path, mut sink, folder: _folder, nginx: _nginx } = guarded(checks).await;
    let api = &sender.api;
    let headers = |tenant: &str, key: &str| json!({ "authentication": { "headers": { "X-Tenant": tenant, "X-Partner-Key": key } } });

    assert_eq!(first_attempt(api).await, "answer.access_denied", "none");
    patch(api, &path, json!({ "authentication": { "headers": { "X-Tenant": "acme: eu" } } })).await;
    assert_eq!(first_attempt(api).await, "answer.authentication_failed", "one of two");
    patch(api, &path, headers("acme: us", "s3cret;q=1")).await;
    assert_eq!(first_attempt(api).await, "answer.access_denied", "another value");
    assert!(sink.waiting().is_none(), "nothing got past nginx");
    let shown = patch(api, &path, headers("acme: eu", "s3cret;q=1")).await;
    assert_eq!(first_attempt(api).await, "delivered");
    assert_eq!(sink.next().await.0["content-type"], "application/secevent+jwt");
    assert!(!shown.to_string().contains("s3cret") && !sender.process.log().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_of_the_system_are_trusted_where_an_endpoint_has_none_of_its_own() {
    let (system, private) = (Pki::named("A root of the system"), Pki::named("A private root"));
    let folder = SenderFolder::init("", None);
    std::fs::write(folder.file("system.pem"), system.root()).unwrap();
    let mut serve = Command::new(program("waxseal"));
    serve.args(["serve", "--config"]).arg(folder.file("waxseal.toml"));
    serve.env("SSL_CERT_FILE", folder.file("system.pem")).env_remove("SSL_CERT_DIR");
    let sender = folder.start_by(serve).await;
    let api = &sender.api;
    register(api, "acme").await;
    let takes = "location / { return 202; }";
    let known = Nginx::start(&system, &[], &[takes]);
    let unknown = Nginx::start(&private, &[], &[takes]);

    let path = create(api, &known.url(0), json!({})).await;
    assert_eq!(first_attempt(api).await, "delivered");
    // So are they where the endpoint asks for something else, and has a TLS session of its own therefore.
    let pins = |pins: Value| json!({ "server_authentication": { "pins": pins } });
    patch(api, &path, pins(json!([pin_of(&system.root()), format!("sha256/{}=", "A".repeat(43))]))).await;
    assert_eq!(first_attempt(api).await, "delivered");
    patch(api, &path, pins(json!(null))).await;
    // Roots of the endpoint's own stand in place of the system's.
    let own = json!({ "server_authentication": { "ca_certificates": private.root() } });
    patch(api, &path, own.clone()).await;
    assert_eq!(first_attempt(api).await, "post.tls_unknown_issuer");
    let mut moved = json!({ "url": unknown.url(0), "protection": "signed", "trusted": true });
    moved["server_authentication"] = own["server_authentication"].clone();
    patch(api, &path, moved).await;
    assert_eq!(first_attempt(api).await, "delivered");
    patch(api, &path, json!({ "server_authentication": null })).await;
    assert_eq!(first_attempt(api).await, "post.tls_unknown_issuer", "not a root of the system");
}
