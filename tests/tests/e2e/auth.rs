//! Who we are to an endpoint, and who it is to us: against a real nginx and an authorization server that enforce it.

mod combined;
mod fixed;
mod oauth2;

use std::time::Duration;

use openssl::x509::X509;
use serde_json::{Value, json};
use waxseal_keys::{Clock, SystemClock};
use waxseal_tests::api::Api;
use waxseal_tests::nginx::Nginx;
use waxseal_tests::pki::Pki;
use waxseal_tests::sender::SenderFolder;
use waxseal_tests::sink::Sink;
use waxseal_tests::token_server::{Proof, TokenServer};

use crate::program::waxseal;
use crate::support::{TYPE, publish, register};

/// Creates an endpoint of `acme` with these members beside the usual ones; returns its path.
async fn create(api: &Api, url: &str, more: Value) -> String {
    let mut body = json!({
        "consumer": "acme", "url": url, "event_types": [TYPE], "protection": "signed", "trusted": true,
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    format!("/v1/endpoints/{}", api.post("/v1/endpoints", body).await["id"].as_str().unwrap())
}

async fn patch(api: &Api, path: &str, body: Value) -> Value {
    api.expect(reqwest::Method::PATCH, path, Some(body)).await
}

/// Publishes, and says what the first attempt came to.
async fn first_attempt(api: &Api) -> String {
    let event = publish(api, "acme", json!(1)).await;
    let deliveries = api.get(&format!("/v1/deliveries?event={event}")).await;
    let id = deliveries["data"][0]["id"].as_str().unwrap().to_owned();
    let made = |answer: &Value| answer["data"][0]["result"].is_string();
    let attempts = api.until(&format!("/v1/deliveries/{id}/attempts"), made).await;
    attempts["data"][0]["result"].as_str().unwrap().to_owned()
}

/// Waits until the endpoint is held; says why.
async fn hold(api: &Api, path: &str) -> String {
    api.until(path, |answer| answer["hold"].is_string()).await["hold"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_with_nginx() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let api = &sender.api;
    register(api, "acme").await;
    let mut sink = Sink::start().await;
    let (pki, theirs) = (Pki::new(), Pki::named("Clients of Acme"));
    let ours = waxseal(&folder, "", &["keys", "client-ca"]);
    let to_sink = format!(
        "ssl_client_certificate @folder@/clients.pem; ssl_verify_client on; \
         location / {{ proxy_set_header X-Client-Cert $ssl_client_escaped_cert; proxy_pass http://{}; }}",
        sink.address
    );
    let nginx = Nginx::start(&pki, &[("clients.pem", format!("{ours}{}", theirs.root()))], &[&to_sink]);
    let trusted = json!({ "server_authentication": { "ca_certificates": pki.root() } });
    let path = create(api, &nginx.url(0), trusted).await;

    // nginx answers 400 to whoever shows none, or one that it does not know.
    assert_eq!(first_attempt(api).await, "answer.client_error");
    let certificate = |pem: &waxseal_tests::pki::ServerPem| {
        json!({ "authentication": { "client_certificate": {
            "source": "uploaded", "certificate": pem.cert, "private_key": pem.key,
        } } })
    };
    let stranger = Pki::named("Clients of somebody else").client("stranger");
    patch(api, &path, certificate(&stranger)).await;
    assert_eq!(first_attempt(api).await, "answer.client_error");
    assert!(sink.waiting().is_none(), "nothing got past nginx");

    let shown = patch(api, &path, certificate(&theirs.client("waxseal at acme"))).await;
    assert_eq!(shown["authentication"]["client_certificate"]["subject"], "waxseal at acme");
    assert_eq!(first_attempt(api).await, "delivered");
    assert_eq!(subject_seen(&mut sink).await.0, "waxseal at acme");

    patch(api, &path, json!({ "authentication": { "client_certificate": { "source": "own" } } })).await;
    assert_eq!(first_attempt(api).await, "delivered");
    let (subject, name) = subject_seen(&mut sink).await;
    assert_eq!(subject, "127.0.0.1");
    assert_eq!(name, Some(format!("{}/consumers/acme", folder.origin)));
    assert!(!sender.process.log().contains("PRIVATE KEY"));
}

/// Common name and URI of the certificate in which the delivery came.
async fn subject_seen(sink: &mut Sink) -> (String, Option<String>) {
    let headers = sink.next().await.0;
    // nginx escapes everything that form encoding would, but a plus sign stays one.
    let escaped = headers["x-client-cert"].to_str().unwrap().replace('+', "%2B");
    let pem = url::form_urlencoded::parse(escaped.as_bytes()).next().unwrap();
    let pem = if pem.1.is_empty() { pem.0.into_owned() } else { format!("{}={}", pem.0, pem.1) };
    let certificate = X509::from_pem(pem.as_bytes()).unwrap();
    let common = certificate.subject_name().entries_by_nid(openssl::nid::Nid::COMMONNAME).next().unwrap();
    let names = certificate.subject_alt_names();
    let uri = names.and_then(|names| names.iter().find_map(|name| name.uri().map(str::to_owned)));
    (common.data().to_string().unwrap(), uri)
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_and_an_api_key_with_nginx() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let api = &sender.api;
    register(api, "acme").await;
    let mut sink = Sink::start().await;
    let pki = Pki::new();
    let guarded = format!(
        "auth_basic hooks; auth_basic_user_file @folder@/users; \
         location / {{ if ($http_x_api_key != \"key: with spaces\") {{ return 403; }} proxy_pass http://{}; }}",
        sink.address
    );
    let nginx = Nginx::start(&pki, &[("users", "waxseal:{PLAIN}s3cret\n".to_owned())], &[&guarded]);
    std::fs::write(folder.file("ca.pem"), pki.root()).unwrap();
    std::fs::write(folder.file("key"), "key: with spaces\n").unwrap();
    let endpoint = ["endpoint", "create", "--consumer", "acme", "--to", &nginx.url(0), "--type", TYPE];
    let flags = [
        "--protection",
        "signed",
        "--trusted",
        "--ca",
        "ca.pem",
        "--api-key-header",
        "X-Api-Key",
        "--api-key-file",
        "key",
        "--json",
    ];
    let made: Value = serde_json::from_str(&waxseal(&folder, "", &[&endpoint[..], &flags].concat())).unwrap();
    let id = made["id"].as_str().unwrap();
    let user = ["endpoint", "update", id, "--basic-user", "waxseal", "--basic-password-file", "-"];

    assert_eq!(first_attempt(api).await, "answer.authentication_failed");
    waxseal(&folder, "wrong\n", &user);
    assert_eq!(first_attempt(api).await, "answer.authentication_failed");
    waxseal(&folder, "s3cret\n", &user);
    assert_eq!(first_attempt(api).await, "delivered");
    let (headers, _) = sink.next().await;
    assert_eq!(headers["content-type"], "application/secevent+jwt");
    std::fs::write(folder.file("key"), "another").unwrap();
    waxseal(
        &folder,
        "",
        &["endpoint", "update", id, "--api-key-header", "X-Api-Key", "--api-key-file", "key"],
    );
    assert_eq!(first_attempt(api).await, "answer.access_denied");
    let shown = waxseal(&folder, "", &["endpoint", "show", id, "--json"]);
    assert!(
        shown.contains("x-api-key") && !shown.contains("s3cret") && !shown.contains("another"),
        "{shown}"
    );
    assert!(sink.waiting().is_none());
    let log = sender.process.log();
    assert!(!log.contains("s3cret") && !log.contains("with spaces"), "{log}");
}

/// The pin of a certificate's key.
fn pin_of(pem: &str) -> String {
    let key = X509::from_pem(pem.as_bytes()).unwrap().public_key().unwrap();
    let digest = openssl::sha::sha256(&key.public_key_to_der().unwrap());
    format!("sha256/{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest))
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_and_the_floor_of_tls_with_nginx() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let api = &sender.api;
    register(api, "acme").await;
    let pki = Pki::new();
    let takes = "location / { return 202; }";
    let old = format!("ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0; {takes}");
    let twelve = format!("ssl_protocols TLSv1.2; {takes}");
    let nginx = Nginx::start(&pki, &[], &[takes, &twelve, &old]);
    let pin = pin_of(&pki.root());
    let backup = format!("sha256/{}=", "A".repeat(43));
    let other = format!("sha256/{}=", "B".repeat(42) + "A");
    let asked =
        |pins: [&str; 2]| json!({ "server_authentication": { "ca_certificates": pki.root(), "pins": pins } });
    let path = create(api, &nginx.url(0), asked([&pin, &backup])).await;
    assert_eq!(first_attempt(api).await, "delivered");
    patch(api, &path, asked([&other, &backup])).await;
    assert_eq!(first_attempt(api).await, "post.tls_pin");
    patch(
        api,
        &path,
        json!({ "server_authentication": { "ca_certificates": Pki::named("another").root(), "pins": null } }),
    )
    .await;
    assert_eq!(first_attempt(api).await, "post.tls_unknown_issuer");
    patch(api, &path, json!({ "server_authentication": null })).await;
    assert_eq!(first_attempt(api).await, "post.tls_unknown_issuer", "not a root of the system");
    let trusted = json!({ "ca_certificates": pki.root() });
    let mut moved = json!({ "url": nginx.url(1), "protection": "signed", "trusted": true });
    moved["server_authentication"] = trusted;
    patch(api, &path, moved).await;
    assert_eq!(first_attempt(api).await, "delivered");
    patch(api, &path, json!({ "url": nginx.url(2), "protection": "signed", "trusted": true })).await;
    assert_eq!(first_attempt(api).await, "post.tls_version");
}

fn client(server: &TokenServer, method: &str, secret: Option<&str>) -> Value {
    let mut oauth2 = json!({
        "token_url": server.token_url(), "client_id": "waxseal", "client_authentication": method, "scope": "hooks",
    });
    if let Some(secret) = secret {
        oauth2["client_secret"] = secret.into();
    }
    json!({ "authentication": { "oauth2": oauth2 } })
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread")]
async fn oauth2_by_secret_right_and_wrong() {
    for (method, proof) in [
        ("client_secret_basic", Proof::SecretBasic("s3cret & more".to_owned())),
        ("client_secret_post", Proof::SecretPost("s3cret & more".to_owned())),
    ] {
        let folder = SenderFolder::init("", None);
        let sender = folder.start().await;
        let api = &sender.api;
        register(api, "acme").await;
        let server = TokenServer::start(proof, HOUR).await;
        let path = create(api, &server.resource_url(), client(&server, method, Some("wrong"))).await;
        let event = publish(api, "acme", json!(1)).await;
        assert_eq!(hold(api, &path).await, "hold.token_refused");
        let delivery = api.get(&format!("/v1/deliveries?event={event}")).await;
        assert_eq!(
            (&delivery["data"][0]["state"], &delivery["data"][0]["attempts_made"]),
            (&json!("pending"), &json!(0))
        );
        patch(api, &path, client(&server, method, Some("s3cret & more"))).await;
        let delivered = |answer: &Value| answer["data"][0]["state"] == "delivered";
        api.until(&format!("/v1/deliveries?event={event}"), delivered).await;
        for _ in 0..5 {
            assert_eq!(first_attempt(api).await, "delivered");
        }
        assert_eq!(server.taken(), ["token-2"; 6], "one token for all of them");
        assert_eq!(server.fetches(), [401, 200]);
        let log = sender.process.log();
        assert!(!log.contains("s3cret") && !log.contains("token-2"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth2_by_an_assertion_that_verifies_under_the_published_keys() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let api = &sender.api;
    register(api, "acme").await;
    let proof = Proof::PrivateKeyJwt(format!("{}/.well-known/jwks.json", folder.origin));
    let server = TokenServer::start(proof, HOUR).await;
    let path = create(api, &server.resource_url(), client(&server, "private_key_jwt", None)).await;
    assert_eq!(first_attempt(api).await, "delivered");
    assert_eq!((server.fetches(), server.taken()), (vec![200], vec!["token-1".to_owned()]));

    // A server that knows another sender does not believe this one.
    let stranger = SenderFolder::init("", None);
    let _stranger = stranger.start().await;
    let proof = Proof::PrivateKeyJwt(format!("{}/.well-known/jwks.json", stranger.origin));
    let other = TokenServer::start(proof, HOUR).await;
    patch(api, &path, client(&other, "private_key_jwt", None)).await;
    publish(api, "acme", json!(2)).await;
    assert_eq!(hold(api, &path).await, "hold.token_refused");
    assert_eq!(other.fetches(), [401]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_server_under_a_private_root_is_trusted_if_it_is_named() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let api = &sender.api;
    register(api, "acme").await;
    let server = TokenServer::start(Proof::SecretPost("s".to_owned()), HOUR).await;
    let pki = Pki::new();
    let proxy = format!("location = /hooks {{ proxy_pass {}; }}", server.token_url());
    let nginx = Nginx::start(&pki, &[], &[&proxy]);
    let mut behind = client(&server, "client_secret_post", Some("s"));
    behind["authentication"]["oauth2"]["token_url"] = nginx.url(0).into();
    let path = create(api, &server.resource_url(), behind.clone()).await;
    publish(api, "acme", json!(1)).await;
    assert_eq!(hold(api, &path).await, "hold.token_unavailable");
    assert!(server.fetches().is_empty());
    behind["authentication"]["oauth2"]["ca_certificates"] = pki.root().into();
    patch(api, &path, behind).await;
    assert_eq!(first_attempt(api).await, "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth2_tokens_are_renewed_before_their_end_and_once_when_they_are_refused() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let api = &sender.api;
    register(api, "acme").await;
    let server = TokenServer::start(Proof::SecretPost("s".to_owned()), Duration::from_secs(4)).await;
    create(api, &server.resource_url(), client(&server, "client_secret_post", Some("s"))).await;
    // Over three lives of a token none is refused: each is replaced before its end.
    let end = SystemClock.now().saturating_add(Duration::from_secs(10));
    while SystemClock.now() < end {
        assert_eq!(first_attempt(api).await, "delivered");
    }
    assert!(server.refused().is_empty(), "{:?}", server.refused());
    let fetched = server.fetches().len();
    assert!((3..=5).contains(&fetched), "{fetched} tokens in ten seconds that last four each");

    // From now on they last; the one in use is taken back.
    server.set_lifetime(HOUR);
    let renewed = async || {
        assert_eq!(first_attempt(api).await, "delivered");
        (server.fetches().len() > fetched).then_some(())
    };
    while renewed().await.is_none() {}
    let fetched = server.fetches().len();
    server.revoke_all();
    let event = publish(api, "acme", json!(1)).await;
    let delivered = |answer: &Value| answer["data"][0]["state"] == "delivered";
    let delivery = api.until(&format!("/v1/deliveries?event={event}"), delivered).await;
    assert_eq!(delivery["data"][0]["attempts_made"], 2, "refused once, and taken at once with a new token");
    assert_eq!((server.fetches().len(), server.refused().len()), (fetched + 1, 1));

    // Taken back again within the minute: no second renewal, however many deliveries are refused.
    server.revoke_all();
    for _ in 0..10 {
        assert_eq!(first_attempt(api).await, "answer.authentication_failed");
    }
    assert_eq!(server.fetches().len(), fetched + 1);
}
