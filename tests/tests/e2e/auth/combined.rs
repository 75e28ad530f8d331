//! A client certificate together with another form: one does not stand in for the other.

use serde_json::{Value, json};
use waxseal_tests::nginx::Nginx;
use waxseal_tests::pki::{Pki, ServerPem};
use waxseal_tests::sender::SenderFolder;
use waxseal_tests::sink::Sink;
use waxseal_tests::token_server::{Proof, TokenServer};

use super::{HOUR, client, create, first_attempt, hold, patch, subject_seen};
use crate::support::{publish, register};

/// An nginx that takes clients of `theirs` alone, and then does what `location` says.
fn guarded(pki: &Pki, theirs: &Pki, files: &[(&str, String)], location: &str) -> Nginx {
    let server = format!(
        "ssl_client_certificate @folder@/clients.pem; ssl_verify_client on; \
         location / {{ proxy_set_header X-Client-Cert $ssl_client_escaped_cert; {location} }}"
    );
    let files = [&[("clients.pem", theirs.root())], files].concat();
    Nginx::start(pki, &files, &[&server])
}

/// The certificate, and these forms beside it.
fn showing(certificate: &ServerPem, mut beside: Value) -> Value {
    beside["client_certificate"] =
        json!({ "source": "uploaded", "certificate": certificate.cert, "private_key": certificate.key });
    json!({ "authentication": beside })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_and_basic_with_nginx() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let api = &sender.api;
    register(api, "acme").await;
    let mut sink = Sink::start().await;
    let (pki, theirs) = (Pki::new(), Pki::named("Clients of Acme"));
    let users = ("users", "waxseal:{PLAIN}s3cret\n".to_owned());
    let location =
        format!("auth_basic hooks; auth_basic_user_file @folder@/users; proxy_pass http://{};", sink.address);
    let nginx = guarded(&pki, &theirs, &[users], &location);
    let trusted = json!({ "server_authentication": { "ca_certificates": pki.root() } });
    let path = create(api, &nginx.url(0), trusted).await;
    let (known, stranger) = (theirs.client("waxseal"), Pki::named("Somebody else").client("stranger"));
    let basic = |password: &str| json!({ "basic": { "username": "waxseal", "password": password } });

    patch(api, &path, json!({ "authentication": basic("s3cret") })).await;
    assert_eq!(first_attempt(api).await, "answer.client_error", "the password alone");
    patch(api, &path, showing(&stranger, basic("s3cret"))).await;
    assert_eq!(first_attempt(api).await, "answer.client_error", "the password, and a stranger's certificate");
    patch(api, &path, showing(&known, json!({ "basic": null }))).await;
    assert_eq!(first_attempt(api).await, "answer.authentication_failed", "the certificate alone");
    patch(api, &path, showing(&known, basic("wrong"))).await;
    assert_eq!(first_attempt(api).await, "answer.authentication_failed", "another password");
    assert!(sink.waiting().is_none(), "nothing got past nginx");
    patch(api, &path, showing(&known, basic("s3cret"))).await;
    assert_eq!(first_attempt(api).await, "delivered");
    assert_eq!(subject_seen(&mut sink).await.0, "waxseal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_and_oauth2_with_nginx() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let api = &sender.api;
    register(api, "acme").await;
    let server = TokenServer::start(Proof::SecretBasic("s3cret".to_owned()), HOUR).await;
    let (pki, theirs) = (Pki::new(), Pki::named("Clients of Acme"));
    let resource = server.resource_url();
    let nginx = guarded(&pki, &theirs, &[], &format!("proxy_pass {};", resource.trim_end_matches("/hooks")));
    let trusted = json!({ "server_authentication": { "ca_certificates": pki.root() } });
    let path = create(api, &nginx.url(0), trusted).await;
    let known = theirs.client("waxseal");
    let oauth2 =
        |secret: &str| client(&server, "client_secret_basic", Some(secret))["authentication"].clone();

    patch(api, &path, json!({ "authentication": oauth2("s3cret") })).await;
    assert_eq!(first_attempt(api).await, "answer.client_error", "the token alone");
    assert!(server.taken().is_empty() && server.refused().is_empty(), "it did not get past nginx");
    patch(api, &path, showing(&known, json!({ "oauth2": null }))).await;
    assert_eq!(first_attempt(api).await, "answer.authentication_failed", "the certificate alone");
    patch(api, &path, showing(&known, oauth2("s3cret"))).await;
    assert_eq!(first_attempt(api).await, "delivered");
    let taken = server.taken().last().cloned();

    // Its token is taken back: renewed once, and posted again at once, with the certificate.
    server.revoke_all();
    let event = publish(api, "acme", json!(2)).await;
    let delivered = |answer: &Value| answer["data"][0]["state"] == "delivered";
    let delivery = api.until(&format!("/v1/deliveries?event={event}"), delivered).await;
    assert_eq!(delivery["data"][0]["attempts_made"], 2);
    assert_ne!(server.taken().last().cloned(), taken);
    patch(api, &path, showing(&known, oauth2("wrong"))).await;
    publish(api, "acme", json!(3)).await;
    assert_eq!(hold(api, &path).await, "hold.token_refused");
}
