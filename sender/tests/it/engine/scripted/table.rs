//! What servers answer, and what becomes of the delivery: section 4 of the wire format, and everything else that
//! happens on a network.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use waxseal_keys::Timestamp;
use waxseal_sender::model::endpoint::PauseReason::{Gone, WrongAudience, WrongIssuer};

use super::connection::{endings, floods, names, tls};
use super::script::{
    LONGEST, Row, SCHEDULED, again, again_after, answer, delivered, no_answer, paused, refused, say,
};

/// The whole table. `forbidden` is a server that must not be connected to.
pub(crate) fn rows(now: Timestamp, forbidden: SocketAddr) -> Vec<Row> {
    let parts = [
        statuses(),
        errors(),
        waits(now),
        redirects(forbidden),
        endings(),
        floods(),
        not_http(),
        tls(),
        names(),
    ];
    parts.into_iter().flatten().collect()
}

fn statuses() -> Vec<Row> {
    let status = |status, expected| Row::new(format!("{status}"), answer(status, &[], ""), expected);
    vec![
        status(200, delivered(200)),
        status(201, delivered(201)),
        status(202, delivered(202)),
        status(299, delivered(299)),
        Row::new("204, which has no body", say("HTTP/1.1 204 No Content\r\n\r\n"), delivered(204)),
        Row::new(
            "202 with a body",
            answer(202, &["Content-Type: text/html"], "<p>Thanks</p>"),
            delivered(202),
        ),
        Row::new("202 by HTTP/1.0", say("HTTP/1.0 202 Accepted\r\n\r\n"), delivered(202)),
        Row::new(
            "100, then 202",
            say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Yes\r\n\r\n"),
            delivered(202),
        ),
        status(300, again("answer.redirect", 300)),
        status(304, again("answer.redirect", 304)),
        status(400, again("answer.client_error", 400)),
        status(401, again("answer.authentication_failed", 401)),
        status(402, again("answer.client_error", 402)),
        status(403, again("answer.access_denied", 403)),
        status(404, again("answer.client_error", 404)),
        status(405, again("answer.client_error", 405)),
        status(406, again("answer.client_error", 406)),
        status(407, again("answer.client_error", 407)),
        status(408, again("answer.request_timeout", 408)),
        status(409, again("answer.client_error", 409)),
        status(410, paused("answer.gone", 410, Gone)),
        status(411, again("answer.client_error", 411)),
        status(413, refused("answer.too_large", 413)),
        status(414, again("answer.client_error", 414)),
        status(415, again("answer.client_error", 415)),
        status(421, again("answer.client_error", 421)),
        status(422, again("answer.client_error", 422)),
        status(429, again("answer.overloaded", 429)),
        status(431, again("answer.client_error", 431)),
        status(451, again("answer.client_error", 451)),
        status(499, again("answer.client_error", 499)),
        status(500, again("answer.server_error", 500)),
        status(501, again("answer.server_error", 501)),
        status(502, again("answer.server_error", 502)),
        status(503, again("answer.server_error", 503)),
        status(504, again("answer.server_error", 504)),
        status(507, again("answer.server_error", 507)),
        status(511, again("answer.server_error", 511)),
        status(599, again("answer.server_error", 599)),
        status(600, again("answer.unexpected", 600)),
        status(999, again("answer.unexpected", 999)),
    ]
}

/// RFC 8935 section 2.4. Only 400 with JSON carries an `err`; whatever else comes, the status decides.
fn errors() -> Vec<Row> {
    const JSON: &str = "Content-Type: application/json";
    let body = |err| format!(r#"{{"err":"{err}","description":"no"}}"#);
    let err = |err, expected| Row::new(format!("400 {err}"), answer(400, &[JSON], &body(err)), expected);
    let odd = |name, status, headers: &[&str], body: &str, expected| {
        Row::new(format!("{status} {name}"), answer(status, headers, body), expected)
    };
    let gone = body("invalid_audience");
    let deep =
        format!(r#"{{"err":"invalid_audience","description":{}1{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
    let long = format!(r#"{{"err":"invalid_audience","description":"{}"}}"#, "a".repeat(5_000));
    let mut packed = b"HTTP/1.1 400 No\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 49\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x1a\0\xe5\xff{\"err\":\"invalid_audience\"}".to_vec();
    packed.extend(2_957_742_119_u32.to_le_bytes());
    packed.extend(26_u32.to_le_bytes());
    vec![
        err("invalid_request", again("answer.invalid_request", 400)),
        err("invalid_key", again("answer.invalid_key", 400)),
        err("invalid_issuer", paused("answer.invalid_issuer", 400, WrongIssuer)),
        err("invalid_audience", paused("answer.invalid_audience", 400, WrongAudience)),
        err("authentication_failed", again("answer.authentication_failed", 400)),
        err("access_denied", again("answer.access_denied", 400)),
        err("something_new", again("answer.client_error", 400)),
        odd("with an err", 401, &[JSON], &gone, again("answer.authentication_failed", 401)),
        odd("with an err", 413, &[JSON], &gone, refused("answer.too_large", 413)),
        odd("with an err", 500, &[JSON], &gone, again("answer.server_error", 500)),
        odd("with an err", 202, &[JSON], &gone, delivered(202)),
        odd(
            "with an err in HTML",
            400,
            &["Content-Type: text/html"],
            &gone,
            again("answer.client_error", 400),
        ),
        odd("with an err of no type", 400, &[], &gone, again("answer.client_error", 400)),
        odd("with an err in a list", 400, &[JSON], &format!("[{gone}]"), again("answer.client_error", 400)),
        odd(
            "with two errs",
            400,
            &[JSON],
            r#"{"err":"invalid_key","err":"x"}"#,
            again("answer.client_error", 400),
        ),
        odd("with an err and depth", 400, &[JSON], &deep, again("answer.client_error", 400)),
        odd("with an err and length", 400, &[JSON], &long, again("answer.client_error", 400)),
        odd("with half an err", 400, &[JSON], &gone[..20], again("answer.client_error", 400)),
        Row::new("400 with a compressed err", say(packed), again("answer.client_error", 400)),
    ]
}

fn waits(now: Timestamp) -> Vec<Row> {
    let wait = |status, field: &str, after| {
        let result = if status == 429 { "answer.overloaded" } else { "answer.server_error" };
        let header = format!("Retry-After: {field}");
        Row::new(
            format!("{status} {header}"),
            answer(status, &[&header], ""),
            again_after(result, status, after),
        )
    };
    let exactly = |seconds| seconds..=seconds;
    let in_two_hours = http_date(now, 7_200);
    let in_a_year = http_date(now, 365 * 86_400);
    let by_its_clock = ["Date: Sat, 01 Jan 2000 00:00:00 GMT", "Retry-After: Sat, 01 Jan 2000 02:00:00 GMT"];
    let twice = ["Retry-After: 7200", "Retry-After: 10800"];
    vec![
        wait(503, "7200", exactly(7_200)),
        wait(429, "7200", exactly(7_200)),
        wait(500, "7200", exactly(7_200)),
        wait(503, "0", exactly(SCHEDULED)),
        wait(503, "120", exactly(SCHEDULED)),
        wait(503, "0007200", exactly(7_200)),
        wait(503, "86399", exactly(LONGEST - 1)),
        wait(503, "31536000", exactly(LONGEST)),
        wait(503, "18446744073709551615", exactly(LONGEST)),
        wait(503, "99999999999999999999999999", exactly(LONGEST)),
        wait(503, "-7200", exactly(SCHEDULED)),
        wait(503, "+7200", exactly(SCHEDULED)),
        wait(503, "7200.5", exactly(SCHEDULED)),
        wait(503, "7e3", exactly(SCHEDULED)),
        wait(503, "7200 seconds", exactly(SCHEDULED)),
        wait(503, "", exactly(SCHEDULED)),
        wait(503, "soon", exactly(SCHEDULED)),
        wait(503, "\u{1F553}", exactly(SCHEDULED)),
        wait(503, &in_two_hours, 7_170..=7_200),
        wait(503, &in_a_year, exactly(LONGEST)),
        wait(503, "Sun, 06 Nov 1994 08:49:37 GMT", exactly(SCHEDULED)),
        wait(503, "Fri, 31 Dec 9999 23:59:59 GMT", exactly(LONGEST)),
        wait(503, "Thu, 99 Foo 2026 99:99:99 GMT", exactly(SCHEDULED)),
        Row::new(
            "503 Retry-After by a clock that is wrong",
            answer(503, &by_its_clock, ""),
            again_after("answer.server_error", 503, exactly(7_200)),
        ),
        Row::new(
            "503 Retry-After twice",
            answer(503, &twice, ""),
            again_after("answer.server_error", 503, exactly(7_200)),
        ),
        Row::new("202 Retry-After", answer(202, &["Retry-After: 7200"], ""), delivered(202)),
        Row::new(
            "410 Retry-After",
            answer(410, &["Retry-After: 7200"], ""),
            paused("answer.gone", 410, Gone),
        ),
    ]
}

fn redirects(forbidden: SocketAddr) -> Vec<Row> {
    let redirect = |status, to: &str| {
        let header = format!("Location: {to}");
        Row::new(format!("{status} {to}"), answer(status, &[&header], ""), again("answer.redirect", status))
    };
    let private = format!("http://{forbidden}/");
    vec![
        redirect(301, "https://followed.example/"),
        redirect(302, "https://followed.example/"),
        redirect(303, "https://followed.example/"),
        redirect(307, &private),
        redirect(308, &private),
        redirect(302, "http://169.254.169.254/latest/meta-data/"),
        redirect(302, "/"),
        redirect(302, "file:///etc/passwd"),
        redirect(302, ""),
    ]
}

fn not_http() -> Vec<Row> {
    let nonsense = |name: &str, bytes: &[u8]| Row::new(name, say(bytes), no_answer(&["post.protocol"]));
    let framed = |name, head: &str, expected| {
        Row::new(name, say(format!("HTTP/1.1 202 Accepted\r\n{head}\r\n\r\n")), expected)
    };
    let refused = || no_answer(&["post.protocol"]);
    vec![
        nonsense("an SSH server", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        nonsense("an SMTP server", b"220 mail.example ESMTP\r\n"),
        nonsense("a TLS alert", &[21, 3, 3, 0, 2, 2, 40]),
        nonsense("zeros", &[0; 100]),
        nonsense("HTTP/0.9", b"<html>hello</html>"),
        nonsense("HTTP/2", b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"),
        nonsense("HTTP/9.9", b"HTTP/9.9 202 Accepted\r\n\r\n"),
        nonsense("a status of letters", b"HTTP/1.1 2x2 Accepted\r\n\r\n"),
        nonsense("a status of two digits", b"HTTP/1.1 20 Accepted\r\n\r\n"),
        nonsense("a status of four digits", b"HTTP/1.1 2020 Accepted\r\n\r\n"),
        nonsense("status 000", b"HTTP/1.1 000 Nothing\r\n\r\n"),
        nonsense("a header without a colon", b"HTTP/1.1 202 Accepted\r\nhello\r\n\r\n"),
        nonsense("a header with a zero", b"HTTP/1.1 202 Accepted\r\nX: a\0b\r\n\r\n"),
        framed("a negative length", "Content-Length: -1", refused()),
        framed("a length of letters", "Content-Length: none", refused()),
        framed("two lengths", "Content-Length: 1\r\nContent-Length: 2", refused()),
        framed("a length beyond 64 bits", "Content-Length: 99999999999999999999999", refused()),
        framed("a length and chunks", "Content-Length: 3\r\nTransfer-Encoding: chunked", delivered(202)),
        framed("an unknown coding", "Transfer-Encoding: rot13", delivered(202)),
        framed("a chunk of garbage", "Transfer-Encoding: chunked\r\n\r\nzz", delivered(202)),
        framed(
            "a chunk beyond 64 bits",
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffff",
            delivered(202),
        ),
        Row::new(
            "101",
            say("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
            again("answer.unexpected", 101),
        ),
    ]
}

fn http_date(now: Timestamp, seconds: u64) -> String {
    let since_epoch = Duration::from_millis(u64::try_from(now.as_millis()).unwrap());
    httpdate::fmt_http_date(UNIX_EPOCH + since_epoch + Duration::from_secs(seconds))
}
