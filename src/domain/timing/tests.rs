//! Timings: missed due times, intervals, bounds, jitter. Changes of clocks have their own page.

use super::*;

mod clocks;

const BERLIN: &str = "Europe/Berlin";
const NEW_YORK: &str = "America/New_York";
const LORD_HOWE: &str = "Australia/Lord_Howe";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect(text)
}

fn cron(pattern: &str, zone: &str) -> CompiledTiming {
    let timing = Timing::Cron { cron: pattern.into() };
    CompiledTiming::compile(&timing, zone, Span::ZERO, "nightly").unwrap_or_else(|error| panic!("{error}"))
}

fn every(span: &str, jitter: &str, name: &str) -> CompiledTiming {
    let timing = Timing::Interval { every: Span::parse(span).unwrap() };
    CompiledTiming::compile(&timing, "UTC", Span::parse(jitter).unwrap(), name).unwrap()
}

#[test]
fn missed_agrees_with_stepping_through() {
    let timings = [
        every("5s", "0s", "a"),
        every("1.5s", "1h", "a"),
        every("3h", "1h", "b"),
        cron("*/7 * * * * *", BERLIN),
        cron("*/20 * * * *", LORD_HOWE),
        cron("0,15,30 1,2,3 * * *", BERLIN),
        cron("0-59 2 * * *", NEW_YORK),
        cron("30 2 29 2 *", BERLIN),
    ];
    for timing in timings {
        for start in
            ["2026-03-28T22:10:03Z", "2026-10-24T23:59:59.5Z", "2026-03-08T00:00:00Z", "1970-01-01T00:00:00Z"]
        {
            for hours in [0, 1, 2, 3, 5, 30] {
                let (after, until) = (at(start), at(start).plus_millis(hours * 3_600_000 + 17));
                let all = timing.due_in(after, until, usize::MAX);
                for max in [0, 1, 7, 100, usize::MAX] {
                    let missed = timing.missed(after, until, max);
                    assert_eq!(missed.count, all.len() as u64, "{timing:?} {start} {hours}");
                    assert_eq!(
                        missed.newest,
                        all[all.len().saturating_sub(max)..],
                        "{timing:?} {start} {hours}"
                    );
                }
            }
        }
    }
}

#[test]
fn two_weeks_off_are_counted_not_walked() {
    let (after, until) = (at("2026-03-20T00:00:00Z"), at("2026-04-03T00:00:00Z"));
    for timing in [every("5s", "0s", "x"), cron("*/5 * * * * *", BERLIN)] {
        let missed = timing.missed(after, until, 100);
        assert_eq!(missed.count, 14 * 86_400 / 5);
        assert_eq!(missed.newest.len(), 100);
        assert_eq!(missed.newest[99].at, until);
        assert_eq!(missed.newest[0].at, until.plus_millis(-99 * 5_000));
    }
    assert_eq!(every("5s", "0s", "x").missed(until, after, 100), Missed { count: 0, newest: Vec::new() });
    // Even since the epoch.
    let missed = cron("* * * * * *", BERLIN).missed(Timestamp::MIN, until, 2);
    assert_eq!(missed.count, until.0.unsigned_abs() / 1_000_000);
    assert_eq!(missed.newest[1].at, until);
}

#[test]
fn intervals_stand_on_multiples_of_the_epoch() {
    let timing = every("7s", "0s", "x");
    let due = timing.due_in(Timestamp(0), Timestamp(30_000_000), usize::MAX);
    assert_eq!(due.iter().map(|due| due.at.0 / 1_000_000).collect::<Vec<_>>(), [7, 14, 21, 28]);
    assert_eq!(due[0].local, "1970-01-01T00:00:07+00:00[UTC]");
    assert_eq!(timing.next_after(Timestamp(6_999_999)).unwrap().at, Timestamp(7_000_000));
    assert_eq!(timing.next_after(Timestamp(7_000_000)).unwrap().at, Timestamp(14_000_000));
    assert_eq!(timing.next_after(Timestamp::MAX), None);
    assert_eq!(timing.next_after(Timestamp(i64::MAX)), None);
    assert_eq!(timing.next_after(Timestamp(i64::MIN)).unwrap().at, Timestamp(0));
    assert_eq!(cron("@daily", BERLIN).next_after(Timestamp::MAX), None);
}

#[test]
fn bounds_are_inclusive_and_a_refusal_names_its_field() {
    let interval = |every: &str| Timing::Interval { every: Span::parse(every).unwrap() };
    let pattern = |cron: &str| Timing::Cron { cron: cron.into() };
    let compile = |timing: &Timing, zone: &str, jitter: &str| {
        CompiledTiming::compile(timing, zone, Span::parse(jitter).unwrap(), "x").map(|_| ())
    };
    for (timing, zone, jitter) in
        [(interval("1s"), "UTC", "0s"), (interval("366d"), BERLIN, "1d"), (pattern("@daily"), "UTC", "1ms")]
    {
        assert_eq!(compile(&timing, zone, jitter), Ok(()));
    }
    for (timing, zone, jitter, field, part) in [
        (interval("999ms"), "UTC", "0s", "every", "PT0.999S"),
        (interval("-5s"), "UTC", "0s", "every", "from PT1S to P366D"),
        (interval("366d1ms"), "UTC", "0s", "every", "from PT1S to P366D"),
        (pattern("61 * * * *"), "UTC", "0s", "cron", "minute"),
        (pattern("0 0 31 2 *"), "UTC", "0s", "cron", "never fires"),
        (pattern("@reboot"), "UTC", "0s", "cron", "@reboot"),
        (pattern("@daily"), "Europe/Berln", "0s", "timeZone", "Europe/Berlin"),
        (pattern("@daily"), "UTC", "-1ms", "jitter", "-PT0.001S"),
        (pattern("@daily"), "UTC", "86400001ms", "jitter", "from PT0S to P1D"),
    ] {
        let error = compile(&timing, zone, jitter).expect_err(part);
        assert_eq!(error.field, field);
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn jitter_is_the_same_for_every_tick_and_belongs_to_the_name() {
    let timing = every("1h", "10m", "backup");
    let due = timing.due_in(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"), usize::MAX);
    assert_eq!(due.len(), 24);
    // This number must never change: that would move every schedule of every user.
    assert_eq!(due[0].at.since(due[0].tick), std::time::Duration::from_millis(BACKUP_SHIFT_MS));
    let due_shift_us = due[0].at.0 - due[0].tick.0;
    for due in &due {
        assert_eq!(due.at.0 - due.tick.0, due_shift_us);
        assert_eq!(due.tick.0 % 3_600_000_000, 0);
    }
    let mut tenths = [0; 10];
    for number in 0..10_000 {
        let shift = shift_ms(&format!("task-{number}"), Span::from_secs(10));
        tenths[usize::try_from(shift / 1_000).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|count| (900..1_100).contains(count)), "{tenths:?}");
    assert_eq!(shift_ms("backup", Span::ZERO), 0);
    assert_eq!(shift_ms("backup", Span::from_millis(1)), 0);
}

const BACKUP_SHIFT_MS: u64 = 18_015;

#[test]
fn a_note_tells_when_it_runs_with_jitter() {
    let timing = Timing::Cron { cron: "30 2 * * *".into() };
    let timing = CompiledTiming::compile(&timing, BERLIN, Span::from_secs(600), "backup").unwrap();
    let due = timing.next_after(at("2026-03-29T00:00:00Z")).unwrap();
    assert_eq!(due.tick, at("2026-03-29T01:00:00Z"));
    let shown = due.local.get(11..19).unwrap();
    assert_eq!(
        due.note,
        Some(format!("02:30 does not exist on this day (clocks go forward); runs at {shown}"))
    );
    // Between a tick and its due time, that due time is still to come.
    assert_eq!(timing.next_after(due.tick).as_ref(), Some(&due));
    assert_eq!(timing.missed(due.tick, due.at, 9), Missed { count: 1, newest: vec![due.clone()] });
    assert_ne!(timing.next_after(due.at), Some(due));
}

#[test]
fn timings_are_stored_with_their_kind() {
    for (timing, json) in [
        (Timing::Interval { every: Span::from_secs(5) }, r#"{"kind":"INTERVAL","every":5000}"#),
        (Timing::Cron { cron: "@daily".into() }, r#"{"kind":"CRON","cron":"@daily"}"#),
    ] {
        assert_eq!(serde_json::to_string(&timing).unwrap(), json);
        assert_eq!(serde_json::from_str::<Timing>(json).unwrap(), timing);
    }
}
