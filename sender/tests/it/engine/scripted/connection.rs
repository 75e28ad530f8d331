//! Connections that break, stall, never end or do not come about, and what becomes of the delivery.

use super::script::Step::{self, Beginning, Drip, Flood, Request, Reset, Say, Silence};
use super::script::{Over, Pins, Row, Shown, again, answer, bomb, delivered, no_answer, say, say_then};

/// Connections that end too early, or never.
pub(crate) fn endings() -> Vec<Row> {
    let broken = |name, script| Row::new(name, script, no_answer(&["post.protocol"]));
    let late = |name, script| Row::new(name, script, no_answer(&["post.timeout"]));
    let head = |length| format!("HTTP/1.1 202 Accepted\r\nContent-Length: {length}\r\n\r\n");
    let chunks = "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let error = "HTTP/1.1 400 No\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\n{\"err\":\"invalid_aud";
    let connect = no_answer(&["post.connect"]);
    vec![
        Row::new("nobody listens", vec![], connect).over(Over::Nobody),
        // Whether the connection or the exchange on it is broken depends on who is faster.
        Row::new("reset at once", vec![Reset], no_answer(&["post.protocol", "post.connect"])),
        broken("reset in the middle of the request", vec![Beginning, Reset]),
        broken("reset after the request", vec![Request, Reset]),
        broken("reset in the status line", say_then("HTTP/1.1 202 Acc", Reset)),
        broken("reset after the status line", say_then("HTTP/1.1 202 Accepted\r\n", Reset)),
        broken("closed after the request", vec![Request]),
        broken("closed in the status line", say("HTTP/1.1 2")),
        broken("closed in the head", say("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n")),
        // Once a status is there, it counts.
        Row::new("closed in the body", say(head(10) + "hello"), delivered(202)),
        Row::new("reset in the body", say_then(head(10) + "hello", Reset), delivered(202)),
        Row::new("closed in a chunk", say(chunks), delivered(202)),
        Row::new("closed in an error", say(error), again("answer.client_error", 400)),
        late("tarpit", vec![Request, Silence]),
        late("tarpit that does not read", vec![Silence]),
        late("silence in the head", say_then("HTTP/1.1 202 Accepted\r\nContent-", Silence)),
        late(
            "a byte a second",
            vec![Request, Drip(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_vec())],
        ),
        Row::new("silence in the body", say_then(head(10) + "hello", Silence), delivered(202)),
        Row::new("silence in an error", say_then(error, Silence), again("answer.client_error", 400)),
        Row::new("a body of a byte a second", say_then(head(100), Drip(vec![b'a'; 100])), delivered(202)),
    ]
}

/// As much as the connection takes.
pub(crate) fn floods() -> Vec<Row> {
    let (packed, more) = bomb();
    let bomb = |status: u16, head: &str| {
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n{head}\r\n"
        );
        let begun = [head.as_bytes(), &packed].concat();
        vec![Request, Say(begun), Flood(more.clone())]
    };
    let flood = |head: &str, more: &str| vec![Request, Say(head.into()), Flood(more.into())];
    let endless = |name, head, more| Row::new(name, flood(head, more), no_answer(&["post.protocol"]));
    let body = "a".repeat(10_000);
    let chunk = format!("2710\r\n{body}\r\n");
    let field = format!("X-A: {}\r\n", "a".repeat(1_000));
    vec![
        endless("endless header lines", "HTTP/1.1 202 Accepted\r\n", &field),
        endless("endless short header lines", "HTTP/1.1 202 Accepted\r\n", "a:\r\n"),
        endless("endless header line", "HTTP/1.1 202 Accepted\r\nX-A: ", &body),
        endless("endless header name", "HTTP/1.1 202 Accepted\r\n", &body),
        endless("endless reason", "HTTP/1.1 202 ", &body),
        Row::new("endless body", flood("HTTP/1.1 202 Yes\r\n\r\n", &body), delivered(202)),
        Row::new("endless error", flood("HTTP/1.1 500 No\r\n\r\n", &body), again("answer.server_error", 500)),
        Row::new(
            "a body of 9 exabytes",
            flood("HTTP/1.1 500 No\r\nContent-Length: 9223372036854775807\r\n\r\n", &body),
            again("answer.server_error", 500),
        ),
        Row::new(
            "endless chunks",
            flood("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n", &chunk),
            again("answer.server_error", 503),
        ),
        Row::new(
            "endless chunks of one byte",
            flood("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"),
            again("answer.server_error", 503),
        ),
        Row::new(
            "endless chunk extension",
            flood("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n5;", &body),
            again("answer.server_error", 503),
        ),
        Row::new(
            "endless trailers",
            flood("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", &field),
            again("answer.server_error", 503),
        ),
        Row::new("gzip bomb", bomb(202, ""), delivered(202)),
        Row::new("gzip bomb in an error", bomb(400, ""), again("answer.client_error", 400)),
        Row::new(
            "endless 100 Continue",
            flood("", "HTTP/1.1 100 Continue\r\n\r\n"),
            no_answer(&["post.timeout"]),
        ),
        Row::new(
            "endless 103 Early Hints",
            flood("", &format!("HTTP/1.1 103 Early Hints\r\n{field}\r\n")),
            no_answer(&["post.timeout"]),
        ),
    ]
}

pub(crate) fn tls() -> Vec<Row> {
    let takes = || answer(202, &[], "");
    let shown =
        |name: &str, shown, result| Row::new(name, takes(), no_answer(&[result])).over(Over::Tls(shown));
    let handshake = |name: &str, script: Vec<Step>, results: &[&'static str]| {
        Row::new(name, script, no_answer(results)).over(Over::BareTls)
    };
    let right = |name: &str, script, expected| Row::new(name, script, expected).over(Over::Tls(Shown::Right));
    vec![
        right("TLS", takes(), delivered(202)),
        right("TLS and a right pin", takes(), delivered(202)).pins(Pins::Right),
        right("TLS and a wrong pin", takes(), no_answer(&["post.tls_pin"])).pins(Pins::Wrong),
        shown("a certificate for another name", Shown::OtherName, "post.tls_name"),
        shown("a certificate for another name, pinned", Shown::OtherName, "post.tls_name").pins(Pins::Right),
        shown("an expired certificate", Shown::Expired, "post.tls_expired"),
        shown("an expired certificate, pinned", Shown::Expired, "post.tls_expired").pins(Pins::Right),
        shown("a certificate of tomorrow", Shown::NotYetValid, "post.tls_not_yet_valid"),
        shown("a certificate of its own making", Shown::SelfSigned, "post.tls_unknown_issuer"),
        shown("a certificate of another authority", Shown::OtherAuthority, "post.tls_unknown_issuer"),
        shown("TLS that wants a certificate of ours", Shown::AsksForOurs, "post.tls_client_certificate"),
        right("TLS, reset after the request", vec![Request, Reset], no_answer(&["post.protocol"])),
        right(
            "TLS, closed without an end",
            say("HTTP/1.1 503 No\r\n\r\nhello"),
            again("answer.server_error", 503),
        ),
        right("TLS and a tarpit", vec![Request, Silence], no_answer(&["post.timeout"])),
        right(
            "TLS and an endless body",
            vec![Request, Say(b"HTTP/1.1 202 Yes\r\n\r\n".to_vec()), Flood(vec![b'a'; 10_000])],
            delivered(202),
        ),
        handshake(
            "no TLS",
            vec![Beginning, Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())],
            &["post.tls"],
        ),
        handshake("silence in the handshake", vec![Silence], &["post.timeout"]),
        handshake(
            "a handshake of a byte a second",
            vec![Beginning, Drip(vec![22, 3, 3, 0, 100, 2, 0, 0, 96])],
            &["post.timeout"],
        ),
        handshake("reset in the handshake", vec![Beginning, Reset], &["post.connect"]),
        handshake("closed in the handshake", vec![Beginning], &["post.connect"]),
        handshake("an endless handshake", vec![Beginning, Flood(vec![22, 3, 3, 0, 1, 2])], &["post.tls"]),
    ]
}

/// Names that lead nowhere, or where we do not go.
pub(crate) fn names() -> Vec<Row> {
    let name = |host, results: &[&'static str]| {
        Row::new(host, answer(202, &[], ""), no_answer(results)).unreached_at(host)
    };
    vec![
        Row::new("a private address", answer(202, &[], ""), no_answer(&["post.url"])).over(Over::Forbidden),
        name("private.example", &["post.url"]),
        name("public.example", &["post.url"]), // plain HTTP is for allowed ranges
        name("metadata.example", &["post.url"]),
        name("empty.example", &["post.resolve"]),
        name("unknown.example", &["post.resolve"]),
        name("silent.example", &["post.timeout"]),
        Row {
            host: "mixed.example",
            ..Row::new("a private address among others", answer(202, &[], ""), delivered(202))
        },
    ]
}
