//! A whole store as rows of plain values: what one backend hands to another when a store is moved.
//!
//! Nothing is decrypted, and nothing is understood beyond what its columns are. The order and the kinds of columns that
//! are written down here are all that the two sides share. Guarantees that [`Summary`] is the same for the same rows, in
//! whatever order and by whichever side it was counted.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What rows are of, in the order in which they are moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// What is configured.
    Records,
    /// The signing ring.
    Ring,
    /// The data keys.
    DataKeys,
    /// Whose each endpoint is.
    Routes,
    /// Events, with their content as far as it is kept.
    Events,
    /// The keys of contents, wrapped for each consumer.
    EventKeys,
    /// Every delivery that ever was.
    Deliveries,
    /// Those that are not over.
    Live,
    /// Attempts, and ends without one.
    Attempts,
    /// Requests that would be repetitions.
    Idempotency,
    /// The audit trail.
    Audit,
}

/// What a column has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Column {
    /// A number or a time.
    Integer,
    /// Text.
    Text,
    /// A generated id, 16 bytes.
    Id,
    /// Bytes, compared one by one.
    Bytes,
    /// Bytes that may be many: their length is compared.
    Large,
}

/// A value.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Id([u8; 16]),
    Bytes(Vec<u8>),
}

/// Some rows of one kind.
#[derive(Debug)]
pub(crate) struct Page {
    /// Of what.
    pub(crate) kind: Kind,
    /// Each as [`Kind::columns`] says.
    pub(crate) rows: Vec<Vec<Value>>,
    /// Where the next page begins; `None`: this was the last.
    pub(crate) next: Option<Position>,
}

/// A place among the rows of one kind: the key of the last row before it.
pub(crate) type Position = Vec<Value>;

/// How much there is of one kind, and a number that depends on all of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// How many rows.
    pub rows: u64,
    /// Their values, in bytes. Only a guide: it is not compared.
    pub bytes: u64,
    /// The sum of a fingerprint of each row.
    pub sum: u128,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Records,
        Self::Ring,
        Self::DataKeys,
        Self::Routes,
        Self::Events,
        Self::EventKeys,
        Self::Deliveries,
        Self::Live,
        Self::Attempts,
        Self::Idempotency,
        Self::Audit,
    ];

    /// Its name: for people, and in what a target keeps of a move.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Ring => "signing ring",
            Self::DataKeys => "data keys",
            Self::Routes => "routes",
            Self::Events => "events",
            Self::EventKeys => "event keys",
            Self::Deliveries => "deliveries",
            Self::Live => "live deliveries",
            Self::Attempts => "attempts",
            Self::Idempotency => "idempotency keys",
            Self::Audit => "audit entries",
        }
    }

    /// Its columns.
    pub(crate) fn columns(self) -> &'static [Column] {
        use Column::{Bytes, Id, Integer, Large, Text};
        match self {
            // kind, id, consumer, sealed
            Self::Records => &[Text, Text, Text, Bytes],
            // version, sealed
            Self::Ring => &[Integer, Bytes],
            // consumer ('': no one consumer's), kek_id, wrapped
            Self::DataKeys => &[Text, Text, Bytes],
            // endpoint, consumer
            Self::Routes => &[Id, Text],
            // id, accepted_at, expires_at, event_type, consumers (in their order, parted by spaces), sealed (null: not kept)
            Self::Events => &[Id, Integer, Integer, Text, Text, Large],
            // event, consumer, wrapped; of contents that are kept
            Self::EventKeys => &[Id, Text, Bytes],
            // id, event, endpoint
            Self::Deliveries => &[Id, Id, Id],
            // endpoint, id, event, due_at, attempts_made, expires_at
            Self::Live => &[Id, Id, Id, Integer, Integer, Integer],
            // delivery, number, endpoint, state, recorded_at, started_at, duration_ms, status, result, signing_kid,
            // encryption_kid, excerpt, next_at, clock_skew
            Self::Attempts => &[
                Id, Integer, Id, Integer, Integer, Integer, Integer, Integer, Text, Text, Text, Large,
                Integer, Integer,
            ],
            // key, content, event, expires_at
            Self::Idempotency => &[Bytes, Bytes, Id, Integer],
            // id, actor, action, object, consumer, sealed
            Self::Audit => &[Id, Text, Text, Text, Text, Bytes],
        }
    }
}

impl Summary {
    /// Counts a row, of which large values are given as their lengths.
    pub(crate) fn add(&mut self, row: &[Value], columns: &[Column]) {
        let mut text = String::new();
        for (place, (value, column)) in row.iter().zip(columns).enumerate() {
            if place > 0 {
                text.push(PARTED_BY);
            }
            match value {
                Value::Null => text.push(NOTHING),
                Value::Integer(number) => text.push_str(&number.to_string()),
                Value::Text(part) => text.push_str(part),
                Value::Id(id) => text.push_str(&Uuid::from_bytes(*id).to_string()),
                Value::Bytes(bytes) => text.push_str(&hex(bytes)),
            }
            self.bytes += match (value, column) {
                (Value::Null, _) => 0,
                (Value::Integer(length), Column::Large) => u64::try_from(*length).unwrap_or(0),
                (Value::Integer(_), _) => 8,
                (Value::Text(text), _) => length(text.as_bytes()),
                (Value::Id(_), _) => 16,
                (Value::Bytes(bytes), _) => length(bytes),
            };
        }
        self.rows += 1;
        self.sum += fingerprint(text.as_bytes());
    }

    /// Whether the rows are the same.
    pub fn matches(&self, other: &Self) -> bool {
        (self.rows, self.sum) == (other.rows, other.sum)
    }
}

/// The state of a whole store as a short text: of another store, or of this one when something has changed, it is another.
pub(crate) fn state(summaries: &[(Kind, Summary)]) -> String {
    let said = summaries.iter().map(|(kind, all)| format!("{} {} {}\n", kind.name(), all.rows, all.sum));
    hex(digest(&SHA256, said.collect::<String>().as_bytes()).as_ref())
}

/// The first seven bytes of SHA-256, so that a database can add them up, too.
fn fingerprint(text: &[u8]) -> u128 {
    let hash = digest(&SHA256, text);
    hash.as_ref().iter().take(7).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// What stands between two values.
pub(crate) const PARTED_BY: char = '\u{1f}';

/// What stands for no value.
pub(crate) const NOTHING: char = '~';
