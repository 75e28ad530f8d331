//! The breaker by itself.

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_795_293_600);

fn policy() -> BreakerPolicy {
    BreakerPolicy { failures: 3, jitter: 0.0, ..BreakerPolicy::default() }
}

fn after(seconds: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(seconds))
}

fn seen(sign: Sign, kind: Kind, at: Timestamp) -> Observation {
    Observation { sign, took: Duration::from_millis(5), rest_until: None, kind, jitter: 0.5, at }
}

fn status(status: u16) -> Sign {
    Sign::of(&Ok(Answer::of_status(status)), Acceptance::AnySuccess)
}

#[test]
fn what_counts_against_an_endpoint_is_what_concerns_all_of_its_events() {
    for code in [200, 202, 204] {
        assert_eq!(status(code), Sign::Delivered);
    }
    for code in [400, 409, 410, 413, 415, 422] {
        assert_eq!(status(code), Sign::Answered, "{code}");
    }
    for code in [302, 401, 403, 404, 405, 408, 429, 500, 502, 503, 504, 101] {
        assert_eq!(status(code), Sign::Failed, "{code}");
    }
    assert_eq!(Sign::of(&Err(PostError::Timeout), Acceptance::AnySuccess), Sign::Failed);
    let err = |err: &str| {
        Sign::of(&Ok(Answer { err: Some(err.to_owned()), ..Answer::of_status(400) }), Acceptance::AnySuccess)
    };
    assert_eq!(err("invalid_request"), Sign::Answered);
    assert_eq!(err("invalid_key"), Sign::Answered);
    assert_eq!(err("authentication_failed"), Sign::Failed);
    assert_eq!(err("access_denied"), Sign::Failed);
}

#[test]
fn it_opens_after_so_many_failures_in_a_row_and_no_earlier() {
    let mut health = Health::default();
    let mut tell = |sign| {
        health.observe(&seen(sign, Kind::Regular, NOW), &policy(), None);
        health.open.is_some()
    };
    for sign in [Sign::Failed, Sign::Failed, Sign::Answered, Sign::Failed, Sign::Failed, Sign::Delivered] {
        assert!(!tell(sign));
    }
    assert!(!tell(Sign::Failed));
    assert!(!tell(Sign::Failed));
    assert!(tell(Sign::Failed));
}

#[test]
fn each_failed_probe_doubles_the_pause_up_to_the_longest() {
    let (mut health, policy) = (Health::default(), policy());
    for _ in 0..3 {
        health.observe(&seen(Sign::Failed, Kind::Regular, NOW), &policy, None);
    }
    let mut at = NOW;
    for pause in [10, 20, 40, 80, 160, 300, 300] {
        assert_eq!(health.probe_at(), Some(at.saturating_add(Duration::from_secs(pause))));
        // What was in flight when it opened says nothing new.
        health.observe(&seen(Sign::Failed, Kind::Regular, at), &policy, None);
        assert_eq!(health.probe_at(), Some(at.saturating_add(Duration::from_secs(pause))));
        at = health.probe_at().unwrap();
        health.observe(&seen(Sign::Failed, Kind::Probe, at), &policy, None);
    }
    assert_eq!(health.open.unwrap().since, NOW);
    health.open = health.open.map(|open| OpenBreaker { failed_probes: u32::MAX, ..open });
    health.observe(&seen(Sign::Failed, Kind::Probe, at), &policy, None);
    assert_eq!(health.probe_at(), Some(at.saturating_add(policy.longest_pause)));
}

#[test]
fn pauses_vary_by_the_jitter_and_no_more() {
    let policy = BreakerPolicy { failures: 1, jitter: 0.2, ..policy() };
    for (jitter, millis) in [(0.0, 8_000), (0.5, 10_000), (0.99, 11_960)] {
        let mut health = Health::default();
        health.observe(&Observation { jitter, ..seen(Sign::Failed, Kind::Regular, NOW) }, &policy, None);
        assert_eq!(health.probe_at().unwrap().duration_since(NOW).as_millis(), millis);
    }
}

#[test]
fn any_answer_closes_it_and_only_a_delivery_ends_the_failing() {
    let (mut health, policy) = (Health::default(), policy());
    for _ in 0..3 {
        health.observe(&seen(Sign::Failed, Kind::Regular, NOW), &policy, None);
    }
    health.observe(&seen(Sign::Answered, Kind::Probe, after(90)), &policy, None);
    assert_eq!((health.open, health.failures), (None, 0));
    assert_eq!(health.kept().unwrap().0.since, NOW, "a minute of it is worth keeping");
    health.observe(&seen(Sign::Delivered, Kind::Regular, after(91)), &policy, None);
    assert_eq!(health.kept(), None);
    assert!(health.is_trivial(after(91)));
}

#[test]
fn short_trouble_is_not_kept() {
    let (mut health, policy) = (Health::default(), policy());
    health.observe(&seen(Sign::Failed, Kind::Regular, NOW), &policy, None);
    health.observe(&seen(Sign::Failed, Kind::Regular, after(59)), &policy, None);
    assert!(health.is_trivial(after(59)));
    health.observe(&seen(Sign::Answered, Kind::Regular, after(60)), &policy, None);
    assert!(!health.is_trivial(after(60)));
}

#[test]
fn it_is_given_up_after_the_time_and_the_attempts_and_not_before() {
    let policy = BreakerPolicy { disable_attempts: 4, ..policy() };
    let day = Some(Duration::from_secs(86_400));
    let mut health = Health::default();
    let mut tell = |sign, at, after| health.observe(&seen(sign, Kind::Regular, at), &policy, after);
    assert!(!tell(Sign::Failed, NOW, day));
    assert!(!tell(Sign::Failed, after(86_400), day), "the time, but not the attempts");
    assert!(!tell(Sign::Delivered, after(86_401), day));
    for n in 0..4 {
        assert!(!tell(Sign::Failed, after(90_000 + n), day), "the attempts, but not the time");
    }
    assert!(!tell(Sign::Failed, after(90_000 + 86_399), day));
    assert!(tell(Sign::Answered, after(90_000 + 86_400), day), "nothing but refusals is no better");
    assert!(!tell(Sign::Failed, after(900_000_000), None), "never means never");
}

#[test]
fn a_rest_is_granted_up_to_the_longest_and_only_where_it_means_the_endpoint() {
    let report =
        |status, retry_after| Ok(Answer { retry_after: Some(retry_after), ..Answer::of_status(status) });
    let rest = |report: &Result<Answer, PostError>| {
        let mut health = Health::default();
        let seen = Observation::of(report, Acceptance::AnySuccess, Duration::ZERO, Kind::Regular, 0.5, NOW);
        health.observe(&seen, &policy(), None);
        health.rests_until
    };
    let soon = RetryAfter::In(Duration::from_secs(30));
    assert_eq!(rest(&report(429, soon)), Some(after(30)));
    assert_eq!(rest(&report(503, RetryAfter::At(after(45)))), Some(after(45)));
    assert_eq!(rest(&report(429, RetryAfter::In(Duration::from_secs(1 << 40)))), Some(after(3_600)));
    assert_eq!(rest(&report(301, soon)), None);
    assert_eq!(rest(&report(200, soon)), None);
}

#[test]
fn slow_at_once_and_sound_after_some_fast_answers() {
    let (mut health, policy) = (Health::default(), policy());
    let mut tell = |took| {
        let took = Duration::from_secs(took);
        health.observe(&Observation { took, ..seen(Sign::Delivered, Kind::Regular, NOW) }, &policy, None);
        health.struggles()
    };
    assert!(!tell(5));
    assert!(tell(15));
    assert!(tell(0) && tell(0) && tell(0));
    assert!(!tell(0));
}
