//! The rows of an outbox: taken, and settled, within one transaction.
//!
//! Relies on the schema of `outbox.sql`. Guarantees that a row which is not settled is there again once the transaction
//! or the connection has ended; that rows which other relays have are not waited for; and that a batch takes bounded
//! memory. Statements have no name, so that a pooler may stand in between.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Transaction};

use super::verdict::Fate;
use super::{Carried, RelayError};
use crate::database::Database;

/// Connects, and looks whether there is an outbox.
pub(super) async fn connect(database: &Database) -> Result<Client, RelayError> {
    let connected = database.config.connect(database.tls.clone()).await;
    let (client, connection) = connected.map_err(|error| refused(&error))?;
    // It ends with the client, and whoever uses the client hears of its errors.
    tokio::spawn(connection);
    let row = client.query_typed("SELECT waxseal_outbox.version()", &[]).await;
    let row = row.map_err(|error| refused(&error))?;
    match row.first().map(|row| get::<i32>(row, 0)).transpose()? {
        Some(VERSION) => Ok(client),
        found => Err(RelayError::NotInstalled(format!(
            "the outbox in this database has version {}, expected {VERSION}: run `waxseal outbox sql` of this program there",
            found.unwrap_or_default()
        ))),
    }
}

/// How an outbox does.
pub(super) struct Backlog {
    /// For how long the first row, from where it was looked for, has been there.
    pub(super) oldest_seconds: f64,
    /// How many were refused, counted up to ten thousand.
    pub(super) refused: i64,
}

impl Backlog {
    /// Looks for the first row from this position on.
    pub(super) async fn measure(client: &mut Client, from: i64) -> Result<Self, RelayError> {
        let transaction = client.transaction().await.map_err(|error| failed(&error))?;
        transaction.batch_execute(MEASURE_LIMITS).await.map_err(|error| failed(&error))?;
        let rows = transaction.query_typed(MEASURE, &[(&from, Type::INT8)]).await;
        let rows = rows.map_err(|error| failed(&error))?;
        transaction.rollback().await.map_err(|error| failed(&error))?;
        let row = rows.first().ok_or_else(|| RelayError::Database("no row".to_owned()))?;
        Ok(Self { oldest_seconds: get(row, 0)?, refused: get(row, 1)? })
    }
}

/// Rows that nobody else can take meanwhile.
pub(super) struct Batch<'a> {
    transaction: Transaction<'a>,
    seqs: Vec<i64>,
    requests: Vec<String>,
}

impl<'a> Batch<'a> {
    /// Takes rows from this position on, in the order in which they were published as far as that can be said.
    pub(super) async fn take(client: &'a mut Client, from: i64, most: u32) -> Result<Self, RelayError> {
        let transaction = client.transaction().await.map_err(|error| failed(&error))?;
        transaction.batch_execute(LIMITS).await.map_err(|error| failed(&error))?;
        let most = i64::from(most);
        let values: [(&(dyn ToSql + Sync), Type); 3] =
            [(&from, Type::INT8), (&most, Type::INT8), (&BYTES, Type::INT8)];
        let rows = transaction.query_typed(TAKE, &values).await.map_err(|error| failed(&error))?;
        let seqs = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
        let requests = rows.iter().map(request).collect::<Result<_, _>>()?;
        Ok(Self { transaction, seqs, requests })
    }

    /// Whether nothing was there.
    pub(super) fn is_empty(&self) -> bool {
        self.seqs.is_empty()
    }

    /// How many rows they are.
    pub(super) fn len(&self) -> usize {
        self.seqs.len()
    }

    /// The position of the first.
    pub(super) fn first(&self) -> Option<i64> {
        self.seqs.first().copied()
    }

    /// What the sender is asked for each.
    pub(super) fn requests(&self) -> &[String] {
        &self.requests
    }

    /// Leaves them all as they were.
    pub(super) async fn give_back(self) -> Result<(), RelayError> {
        self.transaction.rollback().await.map_err(|error| failed(&error))
    }

    /// Does with each what it deserves, and ends the transaction.
    pub(super) async fn settle(self, fates: &[Fate]) -> Result<Carried, RelayError> {
        let (mut done, mut later, mut codes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut never, mut statuses, mut why, mut reasons) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (seq, fate) in self.seqs.iter().zip(fates) {
            match fate {
                Fate::Published => done.push(*seq),
                Fate::PutOff(code) => {
                    later.push(*seq);
                    codes.push(code.as_str());
                }
                Fate::Refused(refusal) => {
                    tracing::warn!(seq, status = refusal.status, code = refusal.code, "an event was refused");
                    never.push(*seq);
                    statuses.push(i32::from(refusal.status));
                    why.push(refusal.code.as_str());
                    // Text in PostgreSQL has no zero.
                    reasons.push(refusal.reason.replace('\0', ""));
                }
            }
        }
        let carried = Carried { published: many(&done), refused: many(&never), put_off: many(&later) };
        if !done.is_empty() {
            self.change(DELETE, &[(&done, Type::INT8_ARRAY)]).await?;
        }
        if !never.is_empty() {
            let reasons: [(&(dyn ToSql + Sync), Type); 4] = [
                (&never, Type::INT8_ARRAY),
                (&statuses, Type::INT4_ARRAY),
                (&why, Type::TEXT_ARRAY),
                (&reasons, Type::TEXT_ARRAY),
            ];
            self.change(REFUSE, &reasons).await?;
        }
        if !later.is_empty() {
            self.change(PUT_OFF, &[(&later, Type::INT8_ARRAY), (&codes, Type::TEXT_ARRAY)]).await?;
        }
        self.transaction.commit().await.map_err(|error| failed(&error))?;
        Ok(carried)
    }

    async fn change(&self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<(), RelayError> {
        self.transaction.query_typed(sql, values).await.map(drop).map_err(|error| failed(&error))
    }
}

/// What the API is asked to publish. JSON stands in it as it was published.
fn request(row: &Row) -> Result<String, RelayError> {
    let text = |column| get::<Option<&str>>(row, column);
    let mut request = format!("{{\"type\":{},\"id\":{}", json!(text(1)?), json!(text(2)?));
    let mut member = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = write!(request, ",\"{name}\":{value}");
    };
    if let Some(data) = text(3)? {
        member("data", data.to_owned());
    }
    if let Some(bytes) = get::<Option<&[u8]>>(row, 4)? {
        member("data_base64", json!(STANDARD.encode(bytes)).to_string());
        member("datacontenttype", json!(text(5)?).to_string());
    }
    let to = match (get::<Option<Vec<String>>>(row, 6)?, text(7)?) {
        (Some(consumers), _) => json!({ "consumers": consumers }),
        (None, Some(group)) => json!({ "group": group }),
        (None, None) => json!("all"),
    };
    member("to", to.to_string());
    if let Some(at) = text(8)? {
        member("occurred_at", json!(at).to_string());
    }
    if let Some(at) = text(9)? {
        member("expires_at", json!(at).to_string());
    }
    request.push('}');
    Ok(request)
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, RelayError> {
    row.try_get(column).map_err(|error| failed(&error))
}

fn many(rows: &[i64]) -> u64 {
    u64::try_from(rows.len()).unwrap_or(u64::MAX)
}

/// What a database said: neither the values of a statement, nor the row at fault.
fn failed(error: &tokio_postgres::Error) -> RelayError {
    if let Some(said) = error.as_db_error() {
        return RelayError::Database(format!("{} ({})", said.message(), said.code().code()));
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let _ = write!(text, ": {next}");
        cause = next.source();
    }
    RelayError::Database(text)
}

/// As [`failed`], where only an operator can help.
fn refused(error: &tokio_postgres::Error) -> RelayError {
    let RelayError::Database(said) = failed(error) else { return failed(error) };
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some("3F000" | "42883") => RelayError::NotInstalled(
            "there is no outbox in this database: `waxseal outbox sql` prints what to run there".to_owned(),
        ),
        Some("42501") => RelayError::NotInstalled(format!(
            "this user may not empty the outbox: GRANT waxseal_outbox_relay TO it ({said})"
        )),
        // A password or a name that is not right.
        Some("28000" | "28P01" | "3D000") => RelayError::NotInstalled(said),
        Some(_) | None => RelayError::Database(said),
    }
}

/// Of `waxseal_outbox.version()`.
const VERSION: i32 = 1;

/// Less than the 4 MiB that the API takes, as the last event and the names around the others come on top.
const BYTES: i64 = 3 * 1024 * 1024;

/// A relay that does not move must not hold rows, nor the horizon of the whole database, for long. That rows are gone
/// need not survive a crash of the database: then they are posted again, and known to the sender.
///
/// The way to a row is the key, whatever the planner thinks: what it knows of a table whose rows live for moments is wrong
/// most of the time, and another way goes through all that was deleted.
const LIMITS: &str = "SET LOCAL statement_timeout = '10s'; \
     SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL synchronous_commit = off; \
     SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
     SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// Never by `seq > last`: numbers become visible in another order than they were given out. And never by a plain join: a
/// planner that believes in an empty table reads all of the index for the rows of one batch.
const TAKE: &str = "\
WITH taken AS MATERIALIZED (
    SELECT seq, size FROM waxseal_outbox.outbox
    WHERE seq >= $1 AND (retry_at IS NULL OR retry_at <= clock_timestamp())
    ORDER BY seq LIMIT $2 FOR UPDATE SKIP LOCKED
), sized AS (
    SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before FROM taken
)
SELECT o.seq, o.type, o.id, o.data, o.bytes, o.content_type, o.consumers, o.group_name,
    to_char(o.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),
    to_char(o.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')
FROM sized CROSS JOIN LATERAL (SELECT * FROM waxseal_outbox.outbox o WHERE o.seq = sized.seq OFFSET 0) o
WHERE sized.before < $3 ORDER BY o.seq";

const DELETE: &str = "DELETE FROM waxseal_outbox.outbox WHERE seq = ANY($1)";

const REFUSE: &str = "\
WITH why AS (SELECT * FROM unnest($1, $2, $3, $4) AS w(seq, status, code, reason)), gone AS (
    DELETE FROM waxseal_outbox.outbox o USING why WHERE o.seq = why.seq AND o.seq = ANY($1)
    RETURNING o.*, why.status, why.code, why.reason
)
INSERT INTO waxseal_outbox.refused (seq, id, type, data, bytes, content_type, consumers, group_name, occurred_at,
    expires_at, size, created_at, status, code, reason)
SELECT seq, id, type, data, bytes, content_type, consumers, group_name, occurred_at,
    expires_at, size, created_at, status, code, reason FROM gone";

/// A second, doubled each time, up to a minute.
const PUT_OFF: &str = "\
UPDATE waxseal_outbox.outbox o SET tries = tries + 1, retry_code = later.code,
    retry_at = clock_timestamp() + interval '1 second' * least(60, 2 ^ least(tries, 6))
FROM unnest($1, $2) AS later(seq, code) WHERE o.seq = later.seq AND o.seq = ANY($1)";

/// Rows wait while this is done.
const MEASURE_LIMITS: &str = "SET LOCAL statement_timeout = '1s'; \
     SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off";

const MEASURE: &str = "\
SELECT coalesce(extract(epoch FROM clock_timestamp() -
        (SELECT created_at FROM waxseal_outbox.outbox WHERE seq >= $1 ORDER BY seq LIMIT 1)), 0)::float8,
    (SELECT count(*) FROM (SELECT code FROM waxseal_outbox.refused LIMIT 10000) AS first)";
