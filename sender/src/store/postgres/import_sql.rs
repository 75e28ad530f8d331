//! The statements of an import: how a page of each kind is written, and how the database sums a kind up.
//!
//! The parameters, and what is summed up, are the columns of [`Kind::columns`] in their order.

use crate::store::transfer::{Column, Kind, NOTHING, PARTED_BY};

/// Writes rows that are given column by column; those that are there already stay.
pub(super) fn insert(kind: Kind) -> &'static str {
    match kind {
        Kind::Records => RECORDS,
        Kind::Ring => RING,
        Kind::DataKeys => DATA_KEYS,
        Kind::Routes => ROUTES,
        Kind::Events => EVENTS,
        Kind::EventKeys => EVENT_KEYS,
        Kind::Deliveries => DELIVERIES,
        Kind::Live => LIVE,
        Kind::Attempts => ATTEMPTS,
        Kind::Idempotency => IDEMPOTENCY,
        Kind::Audit => AUDIT,
    }
}

/// Counts a kind, and sums the fingerprints of its rows up, as [`Summary::add`] does.
///
/// [`Summary::add`]: crate::store::transfer::Summary::add
pub(super) fn summary(kind: Kind) -> String {
    let (columns, from) = columns(kind);
    let text = columns.iter().zip(kind.columns()).map(|(column, is)| {
        let text = match is {
            Column::Integer | Column::Id => format!("{column}::text"),
            Column::Text => (*column).to_owned(),
            Column::Bytes => format!("encode({column}, 'hex')"),
            Column::Large => format!("octet_length({column})::text"),
        };
        format!("coalesce({text}, '{NOTHING}')")
    });
    let text: Vec<String> = text.collect();
    format!(
        "SELECT count(*), coalesce(sum(('x' || encode(substring(sha256(convert_to(concat_ws(chr({}), {}), 'UTF8'))
                FROM 1 FOR 7), 'hex'))::bit(56)::bigint), 0)::text FROM {from}",
        u32::from(PARTED_BY),
        text.join(", ")
    )
}

fn columns(kind: Kind) -> (&'static [&'static str], &'static str) {
    match kind {
        Kind::Records => (&["kind", "id", "consumer", "sealed"], "records"),
        Kind::Ring => (&["version", "sealed"], "ring"),
        Kind::DataKeys => (&["consumer", "kek_id", "wrapped"], "data_keys"),
        Kind::Routes => (&["endpoint", "consumer"], "routes"),
        Kind::Events => (
            &["e.id", "e.accepted_at", "e.expires_at", "e.event_type", "e.consumers", "c.sealed"],
            "events e LEFT JOIN contents c ON c.event = e.id",
        ),
        Kind::EventKeys => (&["event", "consumer", "wrapped"], "event_keys"),
        Kind::Deliveries => (&["id", "event", "endpoint"], "deliveries"),
        Kind::Live => {
            (&["endpoint", "id", "event", "due_at", "attempts_made", "expires_at"], "delivery_live")
        }
        Kind::Attempts => (
            &[
                "delivery",
                "number",
                "endpoint",
                "state",
                "recorded_at",
                "started_at",
                "duration_ms",
                "status",
                "result",
                "signing_kid",
                "encryption_kid",
                "excerpt",
                "next_at",
                "clock_skew",
            ],
            "attempts",
        ),
        Kind::Idempotency => (&["key", "content", "event", "expires_at"], "idempotency"),
        Kind::Audit => (&["id", "actor", "action", "object", "consumer", "sealed"], "audit"),
    }
}

/// How an endpoint has been doing is no configuration: it has no version.
const RECORDS: &str = "INSERT INTO records (kind, id, consumer, sealed, version)
    SELECT kind, id, consumer, sealed, CASE WHEN kind = 'endpoint_health' THEN 0 ELSE 1 END
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS r (kind, id, consumer, sealed)
    ON CONFLICT DO NOTHING";

const RING: &str = "INSERT INTO ring (singleton, version, sealed)
    SELECT true, version, sealed FROM unnest($1::bigint[], $2::bytea[]) AS r (version, sealed) ON CONFLICT DO NOTHING";

const DATA_KEYS: &str = "INSERT INTO data_keys (consumer, kek_id, wrapped)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[]) ON CONFLICT DO NOTHING";

const ROUTES: &str = "INSERT INTO routes (endpoint, consumer)
    SELECT * FROM unnest($1::uuid[], $2::text[]) ON CONFLICT DO NOTHING";

/// The tie is the second half of the id.
const EVENTS: &str = "WITH e AS (
        SELECT id, accepted_at, ('x' || encode(substring(uuid_send(id) FROM 9 FOR 8), 'hex'))::bit(64)::bigint AS tie,
               expires_at, event_type, consumers, sealed
            FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bytea[])
                AS e (id, accepted_at, expires_at, event_type, consumers, sealed)),
    c AS (
        INSERT INTO contents (event, accepted_at, tie, sealed)
            SELECT id, accepted_at, tie, sealed FROM e WHERE sealed IS NOT NULL ON CONFLICT DO NOTHING)
    INSERT INTO events (id, accepted_at, tie, expires_at, event_type, consumers)
        SELECT id, accepted_at, tie, expires_at, event_type, consumers FROM e ON CONFLICT DO NOTHING";

const EVENT_KEYS: &str = "INSERT INTO event_keys (event, consumer, wrapped)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[]) ON CONFLICT DO NOTHING";

const DELIVERIES: &str = "INSERT INTO deliveries (id, event, endpoint)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) ON CONFLICT DO NOTHING";

/// The shard is the last byte of the endpoint's id.
const LIVE: &str = "INSERT INTO delivery_live (shard, endpoint, id, event, due_at, attempts_made, expires_at)
    SELECT get_byte(uuid_send(endpoint), 15)::smallint, endpoint, id, event, due_at, attempts_made::integer, expires_at
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[])
            AS l (endpoint, id, event, due_at, attempts_made, expires_at)
    ON CONFLICT DO NOTHING";

const ATTEMPTS: &str = "INSERT INTO attempts (delivery, number, endpoint, state, recorded_at, started_at, duration_ms,
        status, result, signing_kid, encryption_kid, excerpt, next_at, clock_skew)
    SELECT delivery, number::integer, endpoint, state::smallint, recorded_at, started_at, duration_ms,
           status::integer, result, signing_kid, encryption_kid, excerpt, next_at, clock_skew::integer
        FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                    $8::bigint[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::bigint[], $14::bigint[])
            AS a (delivery, number, endpoint, state, recorded_at, started_at, duration_ms, status, result, signing_kid,
                  encryption_kid, excerpt, next_at, clock_skew)
    ON CONFLICT DO NOTHING";

/// A key was made when its event was accepted: that is the beginning of the event's id.
const IDEMPOTENCY: &str = "INSERT INTO idempotency (key, content, event, made_at, expires_at)
    SELECT key, content, event, ('x' || encode(substring(uuid_send(event) FROM 1 FOR 6), 'hex'))::bit(48)::bigint,
           expires_at
        FROM unnest($1::bytea[], $2::bytea[], $3::uuid[], $4::bigint[]) AS i (key, content, event, expires_at)
    ON CONFLICT DO NOTHING";

const AUDIT: &str = "INSERT INTO audit (id, actor, action, object, consumer, sealed)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[])
    ON CONFLICT DO NOTHING";
