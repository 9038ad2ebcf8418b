//! Cron patterns where clocks change: tables, and three years compared with a watched clock.

use super::*;

const ZONES: [&str; 8] = [
    BERLIN,
    NEW_YORK,
    LORD_HOWE,
    "Asia/Kathmandu",
    "UTC",
    "Africa/Cairo",
    "America/Havana",
    "Africa/Casablanca",
];

/// The times of day after the date in `local`, with the offset, and the note.
fn lines(due: &[DueTime]) -> Vec<String> {
    due.iter()
        .map(|due| {
            let local = due.local.split('[').next().unwrap();
            match &due.note {
                Some(note) => format!("{local} {note}"),
                None => local.to_owned(),
            }
        })
        .collect()
}

#[test]
fn fixed_times_at_a_change_of_clocks() {
    let table: &[(&str, &str, &str, &[&str])] = &[
        (
            "30 2 * * *",
            BERLIN,
            "2026-03-28T00:00:00Z",
            &[
                "2026-03-28T02:30:00+01:00",
                "2026-03-29T03:00:00+02:00 02:30 does not exist on this day (clocks go forward); runs at 03:00",
                "2026-03-30T02:30:00+02:00",
            ],
        ),
        (
            "30 2 * * *",
            BERLIN,
            "2026-10-24T00:00:00Z",
            &[
                "2026-10-24T02:30:00+02:00",
                "2026-10-25T02:30:00+02:00 02:30 happens twice on this day; runs at the first",
                "2026-10-26T02:30:00+01:00",
            ],
        ),
        (
            "0 2,3 * * *",
            BERLIN,
            "2026-03-29T00:00:00Z",
            &[
                "2026-03-29T03:00:00+02:00 02:00 does not exist on this day (clocks go forward); runs at 03:00",
                "2026-03-30T02:00:00+02:00",
                "2026-03-30T03:00:00+02:00",
            ],
        ),
        (
            "15,30,45 2 * * *",
            BERLIN,
            "2026-03-29T00:00:00Z",
            &[
                "2026-03-29T03:00:00+02:00 02:15 and 2 more times do not exist on this day (clocks go forward); \
                 runs at 03:00",
                "2026-03-30T02:15:00+02:00",
            ],
        ),
        // From within the second showing of the hour, nothing comes again.
        (
            "15 1,2,3 * * *",
            BERLIN,
            "2026-10-25T00:30:00Z",
            &["2026-10-25T03:15:00+01:00", "2026-10-26T01:15:00+01:00"],
        ),
        (
            "15 1,2,3 * * *",
            BERLIN,
            "2026-10-25T01:30:00Z",
            &["2026-10-25T03:15:00+01:00", "2026-10-26T01:15:00+01:00"],
        ),
        ("0 3 * * *", BERLIN, "2026-03-29T00:59:59Z", &["2026-03-29T03:00:00+02:00"]),
        ("59 1 * * *", BERLIN, "2026-03-29T00:00:00Z", &["2026-03-29T01:59:00+01:00"]),
        (
            "15 30 2 * * *",
            NEW_YORK,
            "2026-03-08T05:00:00Z",
            &[
                "2026-03-08T03:00:00-04:00 02:30:15 does not exist on this day (clocks go forward); runs at 03:00",
                "2026-03-09T02:30:15-04:00",
            ],
        ),
        (
            "30 1 * * *",
            NEW_YORK,
            "2026-11-01T04:00:00Z",
            &[
                "2026-11-01T01:30:00-04:00 01:30 happens twice on this day; runs at the first",
                "2026-11-02T01:30:00-05:00",
            ],
        ),
        (
            "15 2 * * *",
            LORD_HOWE,
            "2026-10-03T00:00:00Z",
            &[
                "2026-10-04T02:30:00+11:00 02:15 does not exist on this day (clocks go forward); runs at 02:30",
                "2026-10-05T02:15:00+11:00",
            ],
        ),
        (
            "45 1 * * *",
            LORD_HOWE,
            "2026-04-04T00:00:00Z",
            &[
                "2026-04-05T01:45:00+11:00 01:45 happens twice on this day; runs at the first",
                "2026-04-06T01:45:00+10:30",
            ],
        ),
        // Midnight itself is skipped.
        (
            "@daily",
            "Africa/Cairo",
            "2026-04-22T23:00:00Z",
            &[
                "2026-04-24T01:00:00+03:00 00:00 does not exist on this day (clocks go forward); runs at 01:00",
                "2026-04-25T00:00:00+03:00",
            ],
        ),
        // A whole day is skipped.
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T23:00:00Z",
            &[
                "2011-12-31T00:00:00+14:00 12:00 does not exist on this day (clocks go forward); runs at 00:00",
                "2011-12-31T12:00:00+14:00",
            ],
        ),
        (
            "0 5 29 2 *",
            "Asia/Kathmandu",
            "2026-01-01T00:00:00Z",
            &["2028-02-29T05:00:00+05:45", "2032-02-29T05:00:00+05:45"],
        ),
    ];
    for (pattern, zone, after, wanted) in table {
        let due = cron(pattern, zone).due_in(at(after), Timestamp::MAX, wanted.len());
        assert_eq!(lines(&due), *wanted, "{pattern} {zone}");
    }
}

#[test]
fn wildcards_keep_their_rhythm_at_a_change_of_clocks() {
    let table: &[(&str, &str, &str, &[&str])] = &[
        (
            "@hourly",
            BERLIN,
            "2026-03-28T23:30:00Z",
            &["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"],
        ),
        (
            "@hourly",
            BERLIN,
            "2026-10-24T23:30:00Z",
            &[
                "2026-10-25T02:00:00+02:00 02:00 happens twice on this day and runs twice; this is the first",
                "2026-10-25T02:00:00+01:00 02:00 happens twice on this day and runs twice; this is the second",
                "2026-10-25T03:00:00+01:00",
            ],
        ),
        (
            "*/30 2 * * *",
            BERLIN,
            "2026-03-28T12:00:00Z",
            &["2026-03-30T02:00:00+02:00", "2026-03-30T02:30:00+02:00"],
        ),
        (
            "*/30 2 * * *",
            BERLIN,
            "2026-10-25T00:00:00Z",
            &[
                "2026-10-25T02:30:00+02:00 02:30 happens twice on this day and runs twice; this is the first",
                "2026-10-25T02:00:00+01:00 02:00 happens twice on this day and runs twice; this is the second",
                "2026-10-25T02:30:00+01:00 02:30 happens twice on this day and runs twice; this is the second",
                "2026-10-26T02:00:00+01:00",
            ],
        ),
        (
            "*/15 2 * * *",
            LORD_HOWE,
            "2026-10-03T00:00:00Z",
            &["2026-10-04T02:30:00+11:00", "2026-10-04T02:45:00+11:00", "2026-10-05T02:00:00+11:00"],
        ),
        (
            "*/15 1 * * *",
            LORD_HOWE,
            "2026-04-04T14:00:00Z",
            &[
                "2026-04-05T01:15:00+11:00",
                "2026-04-05T01:30:00+11:00 01:30 happens twice on this day and runs twice; this is the first",
                "2026-04-05T01:45:00+11:00 01:45 happens twice on this day and runs twice; this is the first",
                "2026-04-05T01:30:00+10:30 01:30 happens twice on this day and runs twice; this is the second",
                "2026-04-05T01:45:00+10:30 01:45 happens twice on this day and runs twice; this is the second",
                "2026-04-06T01:00:00+10:30",
            ],
        ),
        (
            "@hourly",
            NEW_YORK,
            "2026-03-08T05:30:00Z",
            &["2026-03-08T01:00:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-08T04:00:00-04:00"],
        ),
        (
            "*/30 1 * * *",
            NEW_YORK,
            "2026-11-01T05:00:00Z",
            &[
                "2026-11-01T01:30:00-04:00 01:30 happens twice on this day and runs twice; this is the first",
                "2026-11-01T01:00:00-05:00 01:00 happens twice on this day and runs twice; this is the second",
                "2026-11-01T01:30:00-05:00 01:30 happens twice on this day and runs twice; this is the second",
                "2026-11-02T01:00:00-05:00",
            ],
        ),
        (
            "0 */6 29 2 *",
            "UTC",
            "2026-01-01T00:00:00Z",
            &[
                "2028-02-29T00:00:00+00:00",
                "2028-02-29T06:00:00+00:00",
                "2028-02-29T12:00:00+00:00",
                "2028-02-29T18:00:00+00:00",
                "2032-02-29T00:00:00+00:00",
            ],
        ),
        // In 2027 the 28th of March is the day of the gap, and the last day of the pattern.
        ("*/30 2 24-28 3 *", BERLIN, "2027-03-27T12:00:00Z", &["2028-03-24T02:00:00+01:00"]),
    ];
    for (pattern, zone, after, wanted) in table {
        let due = cron(pattern, zone).due_in(at(after), Timestamp::MAX, wanted.len());
        assert_eq!(lines(&due), *wanted, "{pattern} {zone}");
    }
}

/// What a clock of the zone shows every five minutes of three years, read from the zone's tables only.
fn watched(zone: &str) -> Vec<(i64, i64)> {
    use chrono::TimeZone as _;
    let tz: chrono_tz::Tz = zone.parse().unwrap();
    let (from, until) = (at("2025-12-31T00:00:00Z").0 / SECOND_US, at("2029-01-02T00:00:00Z").0 / SECOND_US);
    (from..until)
        .step_by(300)
        .map(|at| {
            let shown = tz.timestamp_opt(at, 0).unwrap().naive_local().and_utc().timestamp();
            (at, shown)
        })
        .collect()
}

const WATCHED_FROM: &str = "2026-01-01T00:00:00Z";
const WATCHED_UNTIL: &str = "2029-01-01T00:00:00Z";

#[test]
fn three_years_of_fixed_times_agree_with_a_watched_clock() {
    for zone in ZONES {
        let watched = watched(zone);
        for minute_of_day in [0, 15, 30, 55, 60, 85, 90, 115, 120, 125, 135, 150, 175, 180, 720, 1_410, 1_435]
        {
            // Each day's time fires when the clock has reached or passed it.
            let mut wanted = Vec::new();
            let mut reading = watched[0].1.div_euclid(86_400) * 86_400 + minute_of_day * 60;
            while reading < watched[0].1 {
                reading += 86_400;
            }
            for (instant, shown) in &watched {
                if *shown >= reading {
                    wanted.push(*instant);
                    reading += 86_400;
                }
            }
            let (from, until) = (at(WATCHED_FROM), at(WATCHED_UNTIL));
            wanted.retain(|instant| {
                let instant = Timestamp(*instant * SECOND_US);
                from < instant && instant <= until
            });
            let pattern = format!("{} {} * * *", minute_of_day % 60, minute_of_day / 60);
            let timing = cron(&pattern, zone);
            let due = timing.due_in(from, until, usize::MAX);
            let got: Vec<i64> = due.iter().map(|due| due.at.0 / SECOND_US).collect();
            assert!(got == wanted, "{zone} {pattern}");
            assert!((1_095..=1_097).contains(&got.len()), "{zone} {pattern}: once a day");
            assert_eq!(timing.missed(from, until, 0).count, wanted.len() as u64, "{zone} {pattern}");
        }
    }
}

#[test]
fn three_years_of_elapsed_time_agree_with_a_watched_clock() {
    // Each pattern with the same rule in Rust: minute, hour, day since 1970.
    type Rule = fn(i64, i64, i64) -> bool;
    let table: [(&str, Rule); 6] = [
        ("*/15 0-4 * * FRI,SUN", |minute, hour, day| {
            minute % 15 == 0 && hour < 5 && matches!(day % 7, 1 | 3)
        }),
        ("@hourly", |minute, _, _| minute == 0),
        ("*/30 1-3 * * *", |minute, hour, _| minute % 30 == 0 && (1..=3).contains(&hour)),
        ("5,45 */6 * * *", |minute, hour, _| (minute == 5 || minute == 45) && hour % 6 == 0),
        ("5 * * * SUN", |minute, _, day| minute == 5 && day % 7 == 3),
        ("*/20 0 * * SAT,SUN", |minute, hour, day| minute % 20 == 0 && hour == 0 && matches!(day % 7, 2 | 3)),
    ];
    for zone in ZONES {
        let watched = watched(zone);
        for (pattern, rule) in table {
            let (from, until) = (at(WATCHED_FROM), at(WATCHED_UNTIL));
            let wanted: Vec<Timestamp> = watched
                .iter()
                .filter(|(_, shown)| rule(shown / 60 % 60, shown / 3_600 % 24, shown / 86_400))
                .map(|(instant, _)| Timestamp(instant * SECOND_US))
                .filter(|instant| from < *instant && *instant <= until)
                .collect();
            let timing = cron(pattern, zone);
            let got: Vec<Timestamp> =
                timing.due_in(from, until, usize::MAX).iter().map(|due| due.at).collect();
            assert!(got == wanted, "{zone} {pattern}: {} instead of {}", got.len(), wanted.len());
            let missed = timing.missed(from, until, 5);
            assert_eq!(missed.count, wanted.len() as u64, "{zone} {pattern}");
            let newest: Vec<Timestamp> = missed.newest.iter().map(|due| due.at).collect();
            assert_eq!(newest, wanted[wanted.len() - 5..], "{zone} {pattern}");
        }
    }
}

#[test]
fn due_times_only_ever_get_later() {
    for zone in ZONES {
        for pattern in ["30 2 * * *", "0 0,1,2,3 * * *", "*/30 0-3 * * *", "0-59 1,2 * * 0"] {
            let timing = cron(pattern, zone);
            let (mut last, until) = (at(WATCHED_FROM), at(WATCHED_UNTIL));
            while last < until {
                let due = timing.next_after(last).unwrap();
                assert!(due.at > last, "{zone} {pattern}");
                // Asked from a moment before, the answer is the same due time; from that time on, another.
                assert_eq!(timing.next_after(Timestamp(due.at.0 - 1)), Some(due.clone()), "{zone} {pattern}");
                last = due.at;
            }
        }
    }
}

#[test]
fn a_pattern_that_only_ever_falls_into_the_gap_ends_its_search() {
    // The last Sunday of March at two: elapsed time never shows it, as long as the zone keeps its rule.
    let due = cron("*/5 2 * 3 SUNL", BERLIN).next_after(at("2026-01-01T00:00:00Z"));
    assert!(due.is_none_or(|due| due.at > at("2099-01-01T00:00:00Z")));
    // As fixed times it fires once a year, at the end of the gap.
    let due = cron("0,5 2 * 3 SUNL", BERLIN).due_in(at("2026-01-01T00:00:00Z"), Timestamp::MAX, 2);
    let instants: Vec<Timestamp> = due.iter().map(|due| due.at).collect();
    assert_eq!(instants, [at("2026-03-29T01:00:00Z"), at("2027-03-28T01:00:00Z")]);
}

#[test]
fn seconds_do_not_make_a_fixed_time_repeat() {
    let timing = cron("*/30 30 2 * * *", BERLIN);
    let spring = timing.due_in(at("2026-03-29T00:00:00Z"), at("2026-03-30T00:00:00Z"), 9);
    assert_eq!(
        lines(&spring),
        [
            "2026-03-29T03:00:00+02:00 02:30 and 1 more time do not exist on this day (clocks go forward); runs at 03:00"
        ]
    );
    let autumn = timing.due_in(at("2026-10-24T12:00:00Z"), at("2026-10-25T12:00:00Z"), 9);
    assert_eq!(
        autumn.iter().map(|due| due.at).collect::<Vec<_>>(),
        [at("2026-10-25T00:30:00Z"), at("2026-10-25T00:30:30Z")]
    );
}
