use super::*;
use crate::engine::egress::guard::UrlRefused;

const NOW: Timestamp = Timestamp::from_seconds(1_795_293_600);
/// The middle of the range: no variation.
const EVEN: f64 = 0.5;

fn first() -> History {
    History::default()
}

fn answered(status: u16) -> Result<Answer, PostError> {
    Ok(Answer::of_status(status))
}

fn with_err(err: &str) -> Result<Answer, PostError> {
    Ok(Answer { err: Some(err.to_owned()), ..Answer::of_status(400) })
}

fn judged(report: &Result<Answer, PostError>, history: &History, jitter: f64) -> Verdict {
    judge(report, history, &RetryPolicy::default(), NOW, jitter)
}

fn after(seconds: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(seconds))
}

fn again(reason: Reason) -> Verdict {
    Verdict::Retry { at: after(5), reason }
}

fn paused(reason: PauseReason) -> Verdict {
    Verdict::PauseEndpoint { reason, at: after(5) }
}

#[test]
fn every_row_of_the_table() {
    let broken = || std::io::Error::from(std::io::ErrorKind::ConnectionReset).into();
    let table = [
        (answered(202), Verdict::Delivered, "delivered"),
        (answered(200), Verdict::Delivered, "delivered"),
        (answered(204), Verdict::Delivered, "delivered"),
        (answered(299), Verdict::Delivered, "delivered"),
        (with_err("invalid_request"), again(Reason::InvalidRequest), "answer.invalid_request"),
        (with_err("invalid_key"), again(Reason::InvalidKey), "answer.invalid_key"),
        (with_err("invalid_issuer"), paused(PauseReason::WrongIssuer), "answer.invalid_issuer"),
        (with_err("invalid_audience"), paused(PauseReason::WrongAudience), "answer.invalid_audience"),
        (
            with_err("authentication_failed"),
            again(Reason::AuthenticationFailed),
            "answer.authentication_failed",
        ),
        (with_err("access_denied"), again(Reason::AccessDenied), "answer.access_denied"),
        (with_err("unheard_of"), again(Reason::ClientError), "answer.client_error"),
        (answered(300), again(Reason::Redirect), "answer.redirect"),
        (answered(301), again(Reason::Redirect), "answer.redirect"),
        (answered(308), again(Reason::Redirect), "answer.redirect"),
        (answered(400), again(Reason::ClientError), "answer.client_error"),
        (answered(401), again(Reason::AuthenticationFailed), "answer.authentication_failed"),
        (answered(403), again(Reason::AccessDenied), "answer.access_denied"),
        (answered(404), again(Reason::ClientError), "answer.client_error"),
        (answered(408), again(Reason::RequestTimeout), "answer.request_timeout"),
        (answered(410), paused(PauseReason::Gone), "answer.gone"),
        (answered(413), Verdict::Refused { reason: Reason::TooLarge }, "answer.too_large"),
        (answered(415), again(Reason::ClientError), "answer.client_error"),
        (answered(429), again(Reason::Overloaded), "answer.overloaded"),
        (answered(500), again(Reason::ServerError), "answer.server_error"),
        (answered(503), again(Reason::ServerError), "answer.server_error"),
        (answered(599), again(Reason::ServerError), "answer.server_error"),
        (answered(199), again(Reason::Unexpected), "answer.unexpected"),
        (answered(600), again(Reason::Unexpected), "answer.unexpected"),
        (Err(PostError::Timeout), again(Reason::NoAnswer("post.timeout")), "post.timeout"),
        (Err(PostError::Connect(broken())), again(Reason::NoAnswer("post.connect")), "post.connect"),
        (Err(PostError::Protocol(broken())), again(Reason::NoAnswer("post.protocol")), "post.protocol"),
        (Err(PostError::Resolve(broken())), again(Reason::NoAnswer("post.resolve")), "post.resolve"),
        (Err(UrlRefused::PlainHttp.into()), again(Reason::NoAnswer("post.url")), "post.url"),
    ];
    for (report, verdict, code) in table {
        assert_eq!(judged(&report, &first(), EVEN), verdict, "{report:?}");
        assert_eq!(result_code(&report, Acceptance::AnySuccess), code, "{report:?}");
    }
}

#[test]
fn err_is_matched_before_the_status() {
    let report = Ok(Answer { err: Some("invalid_audience".to_owned()), ..Answer::of_status(413) });
    assert_eq!(judged(&report, &first(), EVEN), paused(PauseReason::WrongAudience));
}

#[test]
fn only_an_invalid_key_asks_for_another_key() {
    let asks = |report| Reason::of(&report, Acceptance::AnySuccess).is_some_and(Reason::asks_for_other_key);
    assert!(asks(with_err("invalid_key")));
    assert!(!asks(with_err("invalid_request")));
    assert!(!asks(answered(400)));
    assert!(!asks(answered(202)));
}

#[test]
fn ten_retries_and_then_no_more() {
    let pauses = [5, 30, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    for (attempts_made, seconds) in (0..).zip(pauses) {
        let history = History { attempts_made, ..first() };
        let verdict = judged(&answered(500), &history, EVEN);
        assert_eq!(verdict, Verdict::Retry { at: after(seconds), reason: Reason::ServerError });
    }
    for attempts_made in [10, 11, u32::MAX] {
        let history = History { attempts_made, ..first() };
        let verdict = judged(&answered(500), &history, EVEN);
        assert_eq!(verdict, Verdict::Exhausted { reason: Reason::ServerError });
    }
}

#[test]
fn what_ends_a_delivery_does_so_on_the_last_attempt_too() {
    let last = History { attempts_made: 10, ..first() };
    assert_eq!(judged(&answered(202), &last, EVEN), Verdict::Delivered);
    assert_eq!(judged(&answered(410), &last, EVEN), paused(PauseReason::Gone));
    assert_eq!(judged(&answered(413), &last, EVEN), Verdict::Refused { reason: Reason::TooLarge });
}

#[test]
fn a_pause_varies_by_a_fifth_either_way() {
    let history = History { attempts_made: 2, ..first() };
    let at = |jitter| match judged(&answered(500), &history, jitter) {
        Verdict::Retry { at, .. } => at.duration_since(NOW).as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!(at(0.0), 240);
    assert_eq!(at(0.25), 270);
    assert_eq!(at(0.75), 330);
    assert!((359..=360).contains(&at(0.999_999)));
}

#[test]
fn a_wish_to_wait_is_granted_up_to_a_day() {
    let day = 86_400;
    let table = [
        (RetryAfter::In(Duration::from_secs(120)), 120),
        (RetryAfter::In(Duration::ZERO), 5),
        (RetryAfter::In(Duration::from_secs(3)), 5),
        (RetryAfter::In(Duration::from_secs(u64::MAX)), day),
        (RetryAfter::At(after(600)), 600),
        (RetryAfter::At(Timestamp::from_seconds(0)), 5),
        (RetryAfter::At(after(10 * day)), day),
    ];
    for (wish, seconds) in table {
        for status in [301, 408, 425, 429, 503] {
            let report = Ok(Answer { retry_after: Some(wish), ..Answer::of_status(status) });
            match judged(&report, &first(), EVEN) {
                Verdict::Retry { at, .. } => assert_eq!(at, after(seconds), "{status} {wish:?}"),
                other => panic!("{status} {wish:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn nothing_is_scheduled_beyond_the_events_time() {
    let until = |seconds| History { expires_at: Some(after(seconds)), ..first() };
    assert_eq!(judged(&answered(500), &until(6), EVEN), again(Reason::ServerError));
    assert_eq!(judged(&answered(500), &until(5), EVEN), Verdict::Expired);
    let wish = Some(RetryAfter::In(Duration::from_secs(60)));
    let report = Ok(Answer { retry_after: wish, ..Answer::of_status(429) });
    assert_eq!(judged(&report, &until(30), EVEN), Verdict::Expired);
    assert_eq!(judged(&answered(202), &until(0), EVEN), Verdict::Delivered);
}

#[test]
fn a_policy_of_no_schedule_makes_one_attempt() {
    let policy = RetryPolicy { schedule: Vec::new(), ..RetryPolicy::default() };
    let verdict = judge(&answered(500), &first(), &policy, NOW, EVEN);
    assert_eq!(verdict, Verdict::Exhausted { reason: Reason::ServerError });
    assert_eq!(
        judge(&answered(410), &first(), &policy, NOW, EVEN),
        Verdict::PauseEndpoint { reason: PauseReason::Gone, at: NOW }
    );
}

#[test]
fn an_endpoint_that_proved_itself_must_answer_exactly_202() {
    let strict = |attempts_made| History { attempts_made, acceptance: Acceptance::Exactly202, ..first() };
    assert_eq!(judged(&answered(202), &strict(0), EVEN), Verdict::Delivered);
    for status in [200, 201, 203, 204, 206, 299] {
        let report = answered(status);
        assert_eq!(judged(&report, &strict(0), EVEN), again(Reason::NotTaken), "{status}");
        assert_eq!(judged(&report, &strict(10), EVEN), Verdict::Exhausted { reason: Reason::NotTaken });
        assert_eq!(result_code(&report, Acceptance::Exactly202), "answer.not_taken");
    }
    // What is no success is judged as for anyone.
    assert_eq!(judged(&answered(410), &strict(0), EVEN), paused(PauseReason::Gone));
    assert_eq!(judged(&answered(413), &strict(0), EVEN), Verdict::Refused { reason: Reason::TooLarge });
}

#[test]
fn what_pauses_an_endpoint_does_not_end_its_delivery_whatever_the_schedule_says() {
    let last = History { attempts_made: u32::MAX, expires_at: Some(after(1)), ..first() };
    for report in [answered(410), with_err("invalid_issuer"), with_err("invalid_audience")] {
        assert!(matches!(judged(&report, &last, EVEN), Verdict::PauseEndpoint { .. }), "{report:?}");
    }
}

#[test]
fn no_answer_but_too_large_and_no_wish_to_wait_ends_a_delivery_at_once() {
    for status in 100..=699 {
        for err in [None, Some("invalid_request"), Some("invalid_key"), Some("access_denied")] {
            let report = Ok(Answer {
                err: err.map(str::to_owned),
                retry_after: Some(RetryAfter::In(Duration::from_secs(u64::MAX))),
                ..Answer::of_status(status)
            });
            match judged(&report, &first(), EVEN) {
                Verdict::Refused { reason: Reason::TooLarge } => assert_eq!((status, err), (413, None)),
                Verdict::Delivered => assert!((200..300).contains(&status) && err.is_none()),
                Verdict::Retry { at, .. } => assert!(at <= after(86_400), "{status}"),
                Verdict::PauseEndpoint { .. } => assert_eq!((status, err), (410, None)),
                other => panic!("{status} {err:?}: {other:?}"),
            }
        }
    }
}
