//! What `publish` refuses, who may call it, and what installing does.

use tokio_postgres::error::SqlState;
use waxseal_sender::relay::{INSTALL, UNINSTALL};

use super::Shop;

/// Arguments of `waxseal_outbox.publish`, the parameter at fault, and a part of what is said.
const REFUSED: &[(&str, &str, &str)] = &[
    ("NULL, '{}', consumer => 'a'", "type", "required"),
    ("'', '{}', consumer => 'a'", "type", "expected a dotted name"),
    ("'order..created', '{}', consumer => 'a'", "type", "expected a dotted name"),
    ("'mailto:a', '{}', consumer => 'a'", "type", "https: or urn: URI"),
    ("repeat('a', 129), '{}', consumer => 'a'", "type", "at most 128"),
    ("'waxseal.endpoint.disabled', '{}', consumer => 'a'", "type", "of the sender itself"),
    ("'t', NULL, consumer => 'a'", "data", "required"),
    ("'t', to_jsonb(repeat('x', 131072)), consumer => 'a'", "data", "at most 131072"),
    ("'t', '{}'", "consumer", "exactly one of"),
    ("'t', '{}', consumer => NULL", "consumer", "exactly one of"),
    ("'t', '{}', consumer => 'a', everybody => true", "consumer", "exactly one of"),
    ("'t', '{}', consumer => 'a', group_name => 'b'", "consumer", "exactly one of"),
    ("'t', '{}', everybody => NULL", "consumer", "exactly one of"),
    ("'t', '{}', consumer => 'a b'", "consumer", "a consumer's id is"),
    ("'t', '{}', consumer => '.a'", "consumer", "a consumer's id is"),
    ("'t', '{}', group_name => repeat('g', 65)", "group_name", "a group's name is"),
    ("'t', '{}', consumers => '{}'", "consumers", "1 to 1000"),
    ("'t', '{}', consumers => array_fill('a'::text, ARRAY[1001])", "consumers", "1 to 1000"),
    ("'t', '{}', consumers => '{{a},{b}}'", "consumers", "in one list"),
    ("'t', '{}', consumers => '{a,NULL}'", "consumers", "a consumer's id is"),
    ("'t', '{}', consumer => 'a', id => ''", "id", "1 to 256 bytes"),
    ("'t', '{}', consumer => 'a', id => repeat('ä', 129)", "id", "1 to 256 bytes"),
    ("'t', '{}', consumer => 'a', id => E'a\\tb'", "id", "without control characters"),
    ("'t', '{}', consumer => 'a', occurred_at => '1969-12-31'", "occurred_at", "from 1970 on"),
    ("'t', '{}', consumer => 'a', occurred_at => now() + '2 days'", "occurred_at", "one day ahead"),
    ("'t', '{}', consumer => 'a', expires_at => now()", "expires_at", "in the future"),
    ("'t', '{}', consumer => 'a', expires_at => 'infinity'", "expires_at", "at most 29 days"),
    ("'t', '{}', consumer => 'a', ttl => '0'", "ttl", "in the future"),
    ("'t', '{}', consumer => 'a', ttl => '30 days'", "ttl", "at most 29 days"),
    ("'t', '{}', consumer => 'a', ttl => '1 h', expires_at => now() + '1 h'", "ttl", "not both"),
];

#[tokio::test]
async fn bad_input_is_refused_in_the_callers_transaction_by_the_name_of_the_parameter() {
    let shop = Shop::open("publishing");
    let client = shop.connect().await;
    let table = REFUSED.iter().map(|case| ("publish", *case)).chain([
        ("publish_text", ("'t', '{', consumer => 'a'", "data", "expected JSON")),
        ("publish_text", ("'t', NULL, consumer => 'a'", "data", "required")),
        ("publish_bytes", ("'t', NULL, 'image/png', consumer => 'a'", "data", "required")),
        ("publish_bytes", ("'t', 'x', 'png', consumer => 'a'", "content_type", "a media type")),
        ("publish_bytes", ("'t', 'x', NULL, consumer => 'a'", "content_type", "a media type")),
        (
            "publish_bytes",
            (
                "'t', decode(repeat('00', 98305), 'hex'), 'image/png', consumer => 'a'",
                "data",
                "at most 98304",
            ),
        ),
    ]);
    for (function, (arguments, field, detail)) in table {
        let sql = format!("SELECT waxseal_outbox.{function}({arguments})");
        let Err(error) = client.simple_query(&sql).await else { panic!("{sql} was accepted") };
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE, "{sql}: {error:?}");
        assert_eq!(error.column(), Some(field), "{sql}: {error:?}");
        let said = error.message();
        assert!(said.starts_with(&format!("{field}: ")) && said.contains(detail), "{sql}: {said}");
    }
    assert_eq!(shop.rows("outbox"), 0);
}

#[tokio::test]
async fn whoever_may_publish_can_do_nothing_else_and_others_not_even_that() {
    let shop = Shop::open("granting");
    let client = shop.connect().await;
    let publish = "SELECT waxseal_outbox.publish('t', '{\"a\":1}', everybody => true)";
    client.simple_query(publish).await.unwrap();
    for denied in [
        "SELECT * FROM waxseal_outbox.outbox",
        "INSERT INTO waxseal_outbox.outbox (id, type, size) VALUES ('a', 't', 1)",
        "DELETE FROM waxseal_outbox.outbox",
        "SELECT * FROM waxseal_outbox.refused",
        "SELECT waxseal_outbox.requeue(1)",
        "SELECT waxseal_outbox.keep('t', '{}', NULL, NULL, 'a', NULL, NULL, false, NULL, NULL, NULL, NULL)",
    ] {
        let error = client.simple_query(denied).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{denied}: {error}");
    }
    // A function of the caller's own is not found in the place of one that is meant.
    let trap = "CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT 1/0::text::timestamptz'";
    let _ = client.simple_query(trap).await;
    client.simple_query("SET search_path = pg_temp, public").await.unwrap();
    client.simple_query(publish).await.unwrap();

    let stranger = shop.user("stranger");
    shop.sql(&format!("CREATE ROLE {stranger}"));
    let denied = shop.server.try_execute(&shop.database, &format!("SET ROLE {stranger}; {publish}"));
    assert!(denied.is_err_and(|said| said.contains("permission denied")));
    let relay = format!("SET ROLE {};", shop.user("relay"));
    for denied in
        ["UPDATE waxseal_outbox.outbox SET type = 'x'", publish, "SELECT data FROM waxseal_outbox.refused"]
    {
        let said = shop.server.try_execute(&shop.database, &format!("{relay} {denied}"));
        assert!(said.is_err_and(|said| said.contains("permission denied")), "{denied}");
    }
}

#[tokio::test]
async fn it_can_be_installed_again_and_is_removed_only_when_nothing_waits() {
    let shop = Shop::open("installing");
    let client = shop.connect().await;
    client.simple_query("SELECT waxseal_outbox.publish('t', '{}', consumer => 'a')").await.unwrap();
    shop.sql(INSTALL);
    assert_eq!(shop.rows("outbox"), 1);
    client.simple_query("SELECT waxseal_outbox.publish('t', '{}', consumer => 'a')").await.unwrap();

    let said = shop.server.try_execute(&shop.database, UNINSTALL).unwrap_err();
    assert!(said.contains("2 events are in waxseal_outbox.outbox"), "{said}");
    assert_eq!(shop.rows("outbox"), 2);
    shop.sql("DELETE FROM waxseal_outbox.outbox");
    shop.sql(UNINSTALL);
    assert_eq!(shop.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'waxseal_outbox'"), "0");
    // There is nothing to remove, and that is no error.
    shop.sql(UNINSTALL);
    shop.sql(INSTALL);

    // Somebody else's schema of this name is not taken for ours: its triggers would run with the installer's rights.
    shop.sql(&format!("ALTER SCHEMA waxseal_outbox OWNER TO {}", shop.user("app")));
    let said = shop.server.try_execute(&shop.database, INSTALL).unwrap_err();
    assert!(said.contains("belongs to somebody else"), "{said}");

    // Names that have to be quoted are as good as others.
    let (owner, database) = (shop.user("Svc@shop.iam"), &shop.database);
    shop.sql(&format!(
        "DROP SCHEMA waxseal_outbox CASCADE; CREATE ROLE \"{owner}\"; GRANT CREATE ON DATABASE {database} TO \"{owner}\""
    ));
    for _ in 0..2 {
        shop.sql(&format!("SET ROLE \"{owner}\"; {INSTALL}"));
    }
}
