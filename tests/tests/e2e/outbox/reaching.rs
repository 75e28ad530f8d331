//! A relay that cannot reach its database or its sender says why, and loses nothing.

use std::net::TcpListener;
use std::process::Command;

use waxseal_sender::relay::INSTALL;
use waxseal_tests::pki::Pki;
use waxseal_tests::postgres::{Postgres, PostgresSetup};
use waxseal_tests::process::{Process, program};
use waxseal_tests::sender::{SenderFolder, free_port};

use super::{Shop, run};
use crate::support::{TYPE, register};

fn once(database: &str, url: &str, token: &str, more: &[&str]) -> (i32, String) {
    let mut command = Command::new(program("waxseal"));
    command.args(["relay", "--once", "--database", database, "--url", url]).args(more);
    run(command.env("WAXSEAL_TOKEN", token))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_does_not_take_an_event_leaves_it_in_the_outbox() {
    let shop = Shop::open("reaching");
    shop.sql(&format!("SELECT waxseal_outbox.publish('{TYPE}', '{{}}', consumer => 'acme')"));
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    register(&sender.api, "acme").await;
    // It takes connections, and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let nobody = format!("http://127.0.0.1:{}", free_port());
    for (url, token, expected) in [
        (folder.origin.as_str(), "wxs_wrong", "the sender: refused the API token with status 401"),
        (&silent, &folder.token, "the sender: no answer in time"),
        (&nobody, &folder.token, "the sender: no answer: Connection refused"),
        // Something that is no sender, or another part of it.
        (&format!("{}/else", folder.origin), &folder.token, "the sender: answered with status 404"),
    ] {
        let (status, said) = once(&shop.url("relay"), url, token, &[]);
        assert!(status == 1 && said.contains(expected), "{url}: {status} {said}");
        assert!(!said.contains(token), "{said}");
        assert_eq!((shop.rows("outbox"), shop.rows("refused")), (1, 0));
    }
    let (status, said) = once(&shop.url("relay"), &folder.origin, &folder.token, &[]);
    assert!(status == 0 && said.contains("published: 1"), "{status} {said}");
    assert_eq!(shop.rows("outbox"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_an_outbox_or_a_grant_is_told_apart_and_numbers_are_served() {
    let shop = Shop::open("knowing");
    let (url, token) = ("http://127.0.0.1:9", "wxs_none");
    let (status, said) = once(&shop.server.dsn("postgres"), url, token, &[]);
    assert!(status == 1 && said.contains("`waxseal outbox sql` prints what to run there"), "{said}");
    let (status, said) = once(&shop.url("app"), url, token, &[]);
    assert!(status == 1 && said.contains("GRANT waxseal_outbox_relay TO it"), "{said}");
    let nowhere = format!("postgres://nobody@127.0.0.1:{}/nowhere", free_port());
    let (status, said) = once(&nowhere, url, token, &[]);
    assert!(status == 1 && said.contains("Connection refused"), "{said}");

    // Two refusals that were not looked at yet, and one event that nobody takes.
    shop.sql("SELECT waxseal_outbox.publish('t', '{}', consumer => 'a')");
    let port = free_port().to_string();
    let mut command = Command::new(program("waxseal"));
    let address = format!("127.0.0.1:{port}");
    command.args(["relay", "--database", &shop.url("relay"), "--url", url, "--metrics", &address]);
    let mut relay = Process::start("waxseal relay", command.env("WAXSEAL_TOKEN", token));
    let mut text = String::new();
    for _ in 0..400 {
        let answer = reqwest::get(format!("http://{address}/metrics")).await;
        text = match answer {
            Ok(answer) => answer.text().await.unwrap(),
            Err(_) => String::new(),
        };
        if text.contains("waxseal_relay_failures_total{code=\"relay.sender_unreachable\"}") {
            break;
        }
        assert!(relay.ended().is_none(), "{}", relay.log());
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert!(text.contains("waxseal_relay_failures_total{code=\"relay.sender_unreachable\"}"), "{text}");
    assert!(
        text.contains("waxseal_relay_oldest_seconds") && text.contains("waxseal_relay_refused 0"),
        "{text}"
    );
    assert!(relay.end().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_reached_over_verified_tls_with_a_password_from_a_file() {
    let (pki, other) = (Pki::named("Database CA"), Pki::named("Another CA"));
    let pem = pki.server();
    let server = Postgres::start_with(&PostgresSetup {
        settings: &[("ssl", "on"), ("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")],
        access: &["hostnossl all relay all reject", "hostssl all relay all scram-sha-256"],
        files: &[("server.crt", &pem.cert), ("server.key", &pem.key)],
    });
    let database = server.create_database("shop");
    server.execute(&database, INSTALL);
    server
        .execute(&database, "CREATE ROLE relay LOGIN PASSWORD 's3cret'; GRANT waxseal_outbox_relay TO relay");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (root, wrong_root) = (file("root.pem", &pki.root()), file("other.pem", &other.root()));
    let (password, wrong) = (file("password", "s3cret\n"), file("wrong", "another\n"));
    // The first host is nobody: the next one is asked.
    let url = |root: &str| {
        let ports = [free_port(), server.port()];
        format!(
            "postgres://relay@localhost:{},localhost:{}/{database}?sslmode=verify-full&sslrootcert={root}&target_session_attrs=read-write",
            ports[0], ports[1]
        )
    };
    let plain = format!("postgres://relay@localhost:{}/{database}", server.port());
    for (url, password, status, expected) in [
        (url(&root), &password, 0, "published: 0"),
        (url(&wrong_root), &password, 1, "UnknownIssuer"),
        (url(&root), &wrong, 1, "password authentication failed"),
        (plain, &password, 1, "rejects connection"),
    ] {
        let more = ["--database-password-file", password];
        let (found, said) = once(&url, "http://127.0.0.1:9", "wxs_none", &more);
        assert!(found == status && said.contains(expected), "{url}: {found} {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}
