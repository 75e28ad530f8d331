use super::*;

const AFTER: Duration = Duration::from_secs(300);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_795_293_600 + seconds)
}

fn endpoint(number: u8) -> EndpointId {
    EndpointId::from_bytes([number; 16])
}

fn held(number: u8, consumer: &str, hold: Hold) -> Held {
    Held { endpoint: endpoint(number), consumer: ConsumerId::parse(consumer).unwrap(), hold }
}

/// What the operator knows after this.
fn apply(told: &mut Vec<Arc<Told>>, news: &News) {
    told.retain(|told| !news.over.contains(&told.id()));
    for new in &news.told {
        told.retain(|told| told.id() != new.id());
        told.push(Arc::new(new.clone()));
    }
}

fn types(news: &News) -> Vec<&str> {
    news.notices.iter().map(|notice| notice.event_type.as_str()).collect()
}

#[test]
fn a_hold_is_told_once_when_it_has_lasted_and_so_is_its_end() {
    let (mut holds, mut told) = (Holds::new(AFTER), Vec::new());
    let now_held = || vec![held(1, "acme", Hold::NoUsableKey)];
    for seconds in [0, 30, 299] {
        assert!(holds.look(now_held(), &told, |_| true, at(seconds)).is_empty(), "{seconds}");
    }
    let news = holds.look(now_held(), &told, |_| true, at(300));
    assert_eq!(types(&news), [notices::DELIVERIES_HELD]);
    let data = &news.notices[0].data;
    assert_eq!((&data["code"], &data["total"]), (&"hold.no_usable_key".into(), &1.into()));
    assert_eq!(data["endpoints"][0]["since"], "2026-11-21T20:40:00.000Z");
    assert_eq!(news.notices[0].about, Some(ConsumerId::parse("acme").unwrap()));
    apply(&mut told, &news);
    assert!(holds.look(now_held(), &told, |_| true, at(900)).is_empty());

    assert!(holds.look(vec![], &told, |_| true, at(910)).is_empty());
    assert!(holds.look(vec![], &told, |_| true, at(969)).is_empty(), "a blink is no release");
    let news = holds.look(vec![], &told, |_| true, at(970));
    assert_eq!(types(&news), [notices::DELIVERIES_RELEASED]);
    assert_eq!(news.notices[0].data["code"], "hold.no_usable_key");
    apply(&mut told, &news);
    assert!(told.is_empty());
}

#[test]
fn a_blink_a_pause_and_an_endpoint_that_is_gone_are_no_news() {
    let (mut holds, mut told) = (Holds::new(AFTER), Vec::new());
    for seconds in 0..20 {
        let now_held = match seconds % 2 {
            0 => vec![held(1, "acme", Hold::TokenUnavailable), held(2, "acme", Hold::EndpointPaused)],
            _ => vec![held(2, "acme", Hold::EndpointPaused)],
        };
        assert!(holds.look(now_held, &told, |_| true, at(seconds * 200)).is_empty());
    }
    let now_held = || vec![held(3, "acme", Hold::NoKeySet)];
    holds.look(now_held(), &told, |_| true, at(5_000));
    let news = holds.look(now_held(), &told, |_| true, at(5_300));
    apply(&mut told, &news);
    let news = holds.look(vec![], &told, |_| false, at(5_400));
    assert_eq!((news.notices.len(), news.over.len()), (0, 1), "it is forgotten without a word");
}

#[test]
fn many_endpoints_are_one_event_for_each_reason() {
    let mut holds = Holds::new(AFTER);
    let now_held = || -> Vec<_> {
        (0..200).map(|n| held(n, if n % 2 == 0 { "acme" } else { "bolt" }, Hold::NoSigningKey)).collect()
    };
    holds.look(now_held(), &[], |_| true, at(0));
    let news = holds.look(now_held(), &[], |_| true, at(300));
    let [notice] = &news.notices[..] else { panic!("{news:?}") };
    assert_eq!(notice.data["total"], 200);
    assert_eq!(notice.data["endpoints"].as_array().unwrap().len(), notices::LISTED);
    assert_eq!((news.told.len(), &notice.about), (200, &None));
}

#[test]
fn a_restart_tells_nothing_again_and_nothing_too_early() {
    let (mut holds, mut told) = (Holds::new(AFTER), Vec::new());
    let now_held = || vec![held(1, "acme", Hold::NoUsableKey)];
    holds.look(now_held(), &told, |_| true, at(0));
    let news = holds.look(now_held(), &told, |_| true, at(300));
    apply(&mut told, &news);

    let mut anew = Holds::new(AFTER);
    assert!(anew.look(vec![], &told, |_| true, at(400)).is_empty(), "nothing was looked at yet");
    for seconds in [401, 700, 2_000] {
        assert!(anew.look(now_held(), &told, |_| true, at(seconds)).is_empty());
    }
}

#[test]
fn another_reason_is_told_anew_and_a_clock_set_back_does_no_harm() {
    let (mut holds, mut told) = (Holds::new(AFTER), Vec::new());
    holds.look(vec![held(1, "acme", Hold::KeySetUnreachable)], &told, |_| true, at(0));
    let news = holds.look(vec![held(1, "acme", Hold::KeySetUnreachable)], &told, |_| true, at(300));
    apply(&mut told, &news);
    let other = || vec![held(1, "acme", Hold::NoUsableKey)];
    assert!(holds.look(other(), &told, |_| true, at(310)).is_empty());
    assert!(holds.look(other(), &told, |_| true, at(-1_000)).is_empty());
    let news = holds.look(other(), &told, |_| true, at(-700));
    assert_eq!(news.notices[0].data["code"], "hold.no_usable_key");
    apply(&mut told, &news);
    assert_eq!(told.len(), 1);
}
