//! What a scripted endpoint does, and what must be on record of it.

use std::ops::RangeInclusive;
use std::time::Duration;

use waxseal_sender::model::endpoint::PauseReason;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) host: &'static str,
    pub(crate) over: Over,
    pub(crate) pins: Pins,
    pub(crate) script: Vec<Step>,
    pub(crate) expected: Expected,
    /// How many connections there are to be.
    pub(crate) connections: usize,
}

/// What is done on a connection. After the last step it is closed.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads the request to its end.
    Request,
    /// Reads the first few bytes of it.
    Beginning,
    /// Says this.
    Say(Vec<u8>),
    /// Says this, a byte a second.
    Drip(Vec<u8>),
    /// Says this again and again, as fast as it is taken.
    Flood(Vec<u8>),
    /// Breaks the connection off (TCP reset).
    Reset,
    /// Says nothing until the other side has given up.
    Silence,
}

/// What the endpoint's URL promises, and what is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Over {
    /// `http:`, and it is.
    Plain,
    /// `https:`, and it is, with this certificate.
    Tls(Shown),
    /// `https:`, and the script plays where the handshake should be.
    BareTls,
    /// `http:`, and nobody listens.
    Nobody,
    /// `http:`, and it listens at an address that must not be connected to.
    Forbidden,
}

/// The certificate that a server shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shown {
    Right,
    OtherName,
    Expired,
    NotYetValid,
    SelfSigned,
    OtherAuthority,
    /// The right one, and it wants one of ours.
    AsksForOurs,
}

/// What the endpoint is configured to find in the chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pins {
    None,
    Right,
    Wrong,
}

/// What must be on record.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Delivered {
        status: u16,
    },
    Again {
        /// One of these.
        results: Vec<&'static str>,
        status: Option<u16>,
        /// After so many seconds.
        after: RangeInclusive<u64>,
    },
    Paused {
        result: &'static str,
        status: u16,
        reason: PauseReason,
    },
    Refused {
        result: &'static str,
        status: u16,
    },
}

/// The first pause of the schedule, in seconds.
pub(crate) const SCHEDULED: u64 = 3_600;
/// The longest wish to wait that is granted, in seconds.
pub(crate) const LONGEST: u64 = 24 * 3_600;

impl Row {
    pub(crate) fn new(name: impl Into<String>, script: Vec<Step>, expected: Expected) -> Self {
        Self {
            name: name.into(),
            host: "127.0.0.1",
            over: Over::Plain,
            pins: Pins::None,
            script,
            expected,
            connections: 1,
        }
    }

    /// With this in place of the plain HTTP that it else has.
    pub(crate) fn over(self, over: Over) -> Self {
        let host = if let Over::Tls(_) | Over::BareTls = over { "scripted.example" } else { self.host };
        let connections = if let Over::Nobody | Over::Forbidden = over { 0 } else { 1 };
        Self { over, host, connections, ..self }
    }

    pub(crate) fn pins(self, pins: Pins) -> Self {
        Self { pins, ..self }
    }

    /// At this host; nothing is to arrive at it.
    pub(crate) fn unreached_at(self, host: &'static str) -> Self {
        Self { host, connections: 0, ..self }
    }
}

pub(crate) fn delivered(status: u16) -> Expected {
    Expected::Delivered { status }
}

/// Again when the schedule says.
pub(crate) fn again(result: &'static str, status: u16) -> Expected {
    again_after(result, status, SCHEDULED..=SCHEDULED)
}

/// Again when the endpoint says.
pub(crate) fn again_after(result: &'static str, status: u16, after: RangeInclusive<u64>) -> Expected {
    Expected::Again { results: vec![result], status: Some(status), after }
}

/// There was no answer; one of these codes says why.
pub(crate) fn no_answer(results: &[&'static str]) -> Expected {
    Expected::Again { results: results.to_vec(), status: None, after: SCHEDULED..=SCHEDULED }
}

pub(crate) fn paused(result: &'static str, status: u16, reason: PauseReason) -> Expected {
    Expected::Paused { result, status, reason }
}

pub(crate) fn refused(result: &'static str, status: u16) -> Expected {
    Expected::Refused { result, status }
}

/// Reads the request and answers with this status and these header lines.
pub(crate) fn answer(status: u16, headers: &[&str], body: &str) -> Vec<Step> {
    let length = format!("Content-Length: {}", body.len());
    let lines: String =
        headers.iter().copied().chain([length.as_str()]).map(|line| format!("{line}\r\n")).collect();
    say(format!("HTTP/1.1 {status} Whatever\r\n{lines}\r\n{body}"))
}

/// Reads the request and says this.
pub(crate) fn say(bytes: impl Into<Vec<u8>>) -> Vec<Step> {
    vec![Step::Request, Step::Say(bytes.into())]
}

/// Reads the request, says this, and goes on as told.
pub(crate) fn say_then(bytes: impl Into<Vec<u8>>, step: Step) -> Vec<Step> {
    vec![Step::Request, Step::Say(bytes.into()), step]
}

/// A step's beginning of a gzip stream, and what makes it grow: each byte of that becomes 158.
pub(crate) fn bomb() -> (Vec<u8>, Vec<u8>) {
    // RFC 1951 section 3.2.6: a block of fixed codes, the letter `a`, then "the same 258 bytes more" without an end.
    const MORE: [u8; 13] = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
    let begin = [0, 1, 0].into_iter().chain([1, 0, 0, 1, 0, 0, 0, 1]).chain(MORE);
    let mut head = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    head.extend(packed(begin));
    (head, packed((0..800).flat_map(|_| MORE)))
}

/// Bits in the order of RFC 1951 section 3.1.1, a whole number of bytes.
fn packed(bits: impl Iterator<Item = u8>) -> Vec<u8> {
    let bits: Vec<u8> = bits.collect();
    assert_eq!(bits.len() % 8, 0);
    bits.chunks(8).map(|byte| (0..8).map(|at| byte[at] << at).sum()).collect()
}

/// How long one exchange may take in these tests, and a connection in its beginning.
pub(crate) const EXCHANGE: Duration = Duration::from_secs(4);
pub(crate) const CONNECT: Duration = Duration::from_secs(1);
