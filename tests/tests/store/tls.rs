//! The connection to the database of the shared store: who it takes for the server.

use waxseal_sender::store::Outbox;
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_tests::pki::Pki;
use waxseal_tests::postgres::{Postgres, PostgresSetup};

use crate::subject;

#[tokio::test(flavor = "multi_thread")]
async fn only_the_server_that_is_meant_is_spoken_to() {
    let (own, foreign) = (Pki::new(), Pki::named("Somebody else"));
    let pem = own.server();
    let server = tokio::task::block_in_place(|| {
        Postgres::start_with(&PostgresSetup {
            settings: &[("ssl", "on"), ("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key")],
            access: &["hostnossl all all 127.0.0.1/32 reject"],
            files: &[("server.pem", &pem.cert), ("server.key", &pem.key)],
        })
    });
    let folder = tempfile::tempdir().unwrap();
    let root = |name: &str, pki: &Pki| {
        let path = folder.path().join(name);
        std::fs::write(&path, pki.root()).unwrap();
        path.display().to_string()
    };
    let (own, foreign) = (root("own.pem", &own), root("foreign.pem", &foreign));
    // The name that is looked up is another than the one that is connected to: a certificate is for the former.
    let elsewhere =
        format!("postgres://postgres@db.example.com:{}/postgres?hostaddr=127.0.0.1", server.port());
    let here = format!("{}?", server.dsn("postgres"));
    for (url, taken) in [
        (format!("{here}&sslmode=disable"), false),
        (format!("{here}&sslmode=verify-full&sslrootcert={own}"), true),
        (format!("{here}&sslmode=verify-full&sslrootcert={foreign}"), false),
        (format!("{here}&sslrootcert={own}"), true),
        (format!("{elsewhere}&sslmode=verify-full&sslrootcert={own}"), false),
        (format!("{elsewhere}&sslrootcert={own}"), false),
    ] {
        let opened = PostgresStore::open(&subject::settings(&url)).await;
        assert_eq!(opened.is_ok(), taken, "{url}: {:?}", opened.err());
        if let Ok(store) = opened {
            store.backlog().await.unwrap();
        }
    }
}
