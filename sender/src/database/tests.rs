use std::error::Error;

use rcgen::generate_simple_self_signed;

use super::*;

fn parse(text: &str) -> Result<Database, DatabaseError> {
    Database::parse(text, Path::new(""), None)
}

#[test]
fn tls_is_verified_unless_nobody_is_on_the_way_or_it_is_refused_in_words() {
    for (text, mode) in [
        ("postgres://u@db.example/d", SslMode::Require),
        ("postgresql://u@db.example/d?sslmode=verify-full", SslMode::Require),
        ("postgres://u@db.example/d?sslmode=verify-full&sslrootcert=system", SslMode::Require),
        ("postgres://u@localhost,db.example/d", SslMode::Require),
        ("postgres://u@localhost/d?hostaddr=192.0.2.1", SslMode::Require),
        ("postgres://u@localhost/d?sslmode=verify-full", SslMode::Require),
        ("postgres://u@localhost/d", SslMode::Disable),
        ("postgres://u@127.0.0.1,[::1]:5433/d", SslMode::Disable),
        ("postgres://u@%2Frun%2Fpostgresql/d", SslMode::Disable),
        ("postgres://u@db.example/d?sslmode=disable", SslMode::Disable),
    ] {
        assert_eq!(parse(text).expect(text).config.get_ssl_mode(), mode, "{text}");
    }
}

#[test]
fn every_parameter_that_is_wrong_is_named_and_no_value_of_it_is_shown() {
    for (text, expected) in [
        ("waxseal.db", "expected postgres://user@host/database?parameter=value"),
        ("mysql://u@h/d", "expected postgres://"),
        ("postgres://u:s3cret@/d", "host: required"),
        ("postgres://u:s3cret@localhost", "dbname: required"),
        ("postgres://u:s3cret@localhost:s3cret/d", "invalid value for option `port`"),
        ("postgres://localhost/d?sslmode=require", "sslmode: expected verify-full, or disable"),
        ("postgres://localhost/d?sslmode=s3cret", "sslmode: expected verify-full, or disable"),
        ("postgres://localhost/d?sslmode=disable&sslmode=verify-full", "sslmode: expected once"),
        ("postgres://%2Frun/d?sslmode=verify-full", "sslmode: verify-full needs the host by its name"),
        ("postgres://localhost/d?sslrootcert=no-such.pem", "sslrootcert: cannot read no-such.pem"),
        (
            "postgres://h/d?sslmode=disable&sslrootcert=a.pem",
            "sslrootcert: expected none, as sslmode is disable",
        ),
        ("postgres://localhost/d?sslcert=a.pem", "sslkey: required beside sslcert"),
        ("postgres://localhost/d?sslkey=a.pem", "sslcert: required beside sslkey"),
        ("postgres://localhost/d?connect_timeout=s3cret", "invalid value for option `connect_timeout`"),
        ("postgres://localhost/d?port=1&port=2", "port: expected once"),
        ("postgres://localhost/d?sslcrl=a.pem", "unknown option `sslcrl`"),
        ("postgres://localhost/d?target_session_attrs=s3cret", "option `target_session_attrs`"),
    ] {
        let error = parse(text).expect_err(text);
        let shown = format!("{error} {error:?} {:?}", error.source().map(ToString::to_string));
        assert!(shown.contains(expected), "{text}: {shown}");
        assert!(!shown.contains("s3cret") && error.code().starts_with("database."), "{text}: {shown}");
    }
}

#[test]
fn waiting_is_bounded_and_what_is_given_wins() {
    let config = parse("postgres://localhost/d").unwrap().config;
    assert_eq!(config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
    assert_eq!(config.get_tcp_user_timeout(), Some(&UNACKNOWLEDGED));
    assert_eq!(config.get_keepalives_idle(), IDLE);
    assert_eq!(config.get_application_name(), Some("waxseal"));
    let text = "postgres://localhost/d?connect_timeout=1&keepalives_idle=7&application_name=a%20b+c";
    let config = parse(text).unwrap().config;
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(1)));
    assert_eq!(config.get_keepalives_idle(), Duration::from_secs(7));
    assert_eq!(config.get_application_name(), Some("a b+c"));
}

#[test]
fn passwords_and_certificates_come_from_files_and_are_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let made = generate_simple_self_signed(["db.example".to_owned()]).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("password", "s3cret\n");
    write("empty", "");
    write("cert.pem", &made.cert.pem());
    write("key.pem", &made.signing_key.serialize_pem());
    let parse = |text: &str, file: Option<&str>| Database::parse(text, folder.path(), file.map(Path::new));

    let whole = "postgres://db.example/d?sslrootcert=cert.pem&sslcert=cert.pem&sslkey=key.pem";
    let database = parse(whole, Some("password")).unwrap();
    assert_eq!(database.config.get_password(), Some(b"s3cret".as_slice()));
    assert_eq!(database.to_string(), "postgres://db.example/d");
    assert_eq!(Database::place(whole), database.to_string());
    assert_eq!(Database::place("postgres://u:s3cret@/?x"), "postgres://");
    let shown = format!("{database:?} {database} {:?}", database.config);
    assert!(shown.contains("db.example") && !shown.contains("s3cret"), "{shown}");

    for (text, file, expected) in [
        ("postgres://u:other@localhost/d", Some("password"), "password: expected in the URL or in a file"),
        ("postgres://localhost/d", Some("empty"), "password file: "),
        ("postgres://localhost/d", Some("missing"), "password file: cannot read"),
        ("postgres://localhost/d?sslrootcert=key.pem", None, "holds no PEM certificate"),
        ("postgres://localhost/d?sslcert=cert.pem&sslkey=cert.pem", None, "holds no PEM private key"),
    ] {
        let error = parse(text, file).unwrap_err();
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
}
