//! Patterns on a plain calendar, against tables and against stepping through.

use super::*;
use chrono::{DateTime, NaiveDateTime};

fn reading(text: &str) -> i64 {
    text.parse::<NaiveDateTime>().expect(text).and_utc().timestamp()
}

fn written(reading: i64) -> String {
    DateTime::from_timestamp(reading, 0).unwrap().format("%Y-%m-%dT%H:%M:%S").to_string()
}

#[test]
fn patterns_find_their_next_readings() {
    let table = [
        ("* * * * *", "2026-01-31T23:59:01", ["2026-02-01T00:00:00", "2026-02-01T00:01:00"]),
        ("*/10 * * * * *", "2026-01-01T00:00:01", ["2026-01-01T00:00:10", "2026-01-01T00:00:20"]),
        ("0 30 2 * * *", "2026-01-01T02:30:01", ["2026-01-02T02:30:00", "2026-01-03T02:30:00"]),
        ("15,45 8-10/2 * * *", "2026-01-01T08:46:00", ["2026-01-01T10:15:00", "2026-01-01T10:45:00"]),
        ("0 0 29 2 *", "2096-03-01T00:00:00", ["2104-02-29T00:00:00", "2108-02-29T00:00:00"]),
        ("0 0 * feb MON#5", "2060-01-01T00:00:00", ["2072-02-29T00:00:00", "2112-02-29T00:00:00"]),
        ("0 9 * * MON-FRI", "2026-01-30T09:00:01", ["2026-02-02T09:00:00", "2026-02-03T09:00:00"]),
        ("0 9 * * sat-sun", "2026-01-30T09:00:01", ["2026-01-31T09:00:00", "2026-02-01T09:00:00"]),
        ("0 9 * * 7", "2026-01-30T09:00:01", ["2026-02-01T09:00:00", "2026-02-08T09:00:00"]),
        ("0 0 13 * FRI", "2026-01-10T00:00:00", ["2026-01-13T00:00:00", "2026-01-16T00:00:00"]),
        ("0 0 31 JAN,APR,dec *", "2026-02-01T00:00:00", ["2026-12-31T00:00:00", "2027-01-31T00:00:00"]),
        ("0 0 L * *", "2026-02-01T00:00:00", ["2026-02-28T00:00:00", "2026-03-31T00:00:00"]),
        ("0 0 15W * ?", "2026-02-01T00:00:00", ["2026-02-16T00:00:00", "2026-03-16T00:00:00"]),
        ("0 0 * * FRIL", "2026-02-01T00:00:00", ["2026-02-27T00:00:00", "2026-03-27T00:00:00"]),
        ("@hourly", "2026-01-01T00:00:01", ["2026-01-01T01:00:00", "2026-01-01T02:00:00"]),
        ("@daily", "2026-01-01T00:00:01", ["2026-01-02T00:00:00", "2026-01-03T00:00:00"]),
        ("@Midnight", "2026-01-01T00:00:01", ["2026-01-02T00:00:00", "2026-01-03T00:00:00"]),
        ("@weekly", "2026-01-01T00:00:01", ["2026-01-04T00:00:00", "2026-01-11T00:00:00"]),
        (" @monthly ", "2026-01-01T00:00:01", ["2026-02-01T00:00:00", "2026-03-01T00:00:00"]),
        ("@yearly", "2026-01-01T00:00:01", ["2027-01-01T00:00:00", "2028-01-01T00:00:00"]),
        ("@annually", "2026-01-01T00:00:01", ["2027-01-01T00:00:00", "2028-01-01T00:00:00"]),
    ];
    for (text, from, [first, second]) in table {
        let pattern = CronPattern::compile(text).unwrap_or_else(|error| panic!("{error}"));
        let found = pattern.next_from(reading(from)).expect(text);
        assert_eq!(written(found), first, "{text}");
        assert_eq!(pattern.next_from(found), Some(found), "{text}");
        assert_eq!(written(pattern.next_from(found + 1).expect(text)), second, "{text}");
    }
}

#[test]
fn malformed_patterns_are_refused_with_a_reason() {
    let table = [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * * *", "7 fields"),
        ("60 * * * *", "\"60\" in the minute"),
        ("* 24 * * *", "\"24\" in the hour"),
        ("60 * * * * *", "in the second"),
        ("* * 0 * *", "day of month"),
        ("* * 32 * *", "1 to 31"),
        ("* * * 13 *", "JAN to DEC"),
        ("* * * * 8", "SUN to SAT"),
        ("MON * * * *", "in the minute"),
        ("* * * MON *", "in the month"),
        ("* * * * JAN", "in the day of week"),
        ("* * * JANUARY *", "in the month"),
        ("1,,2 * * * *", "in the minute"),
        (", * * * *", "in the minute"),
        ("1- * * * *", "in the minute"),
        ("*/0 * * * *", "step"),
        ("*/ * * * *", "step"),
        ("*/60 * * * *", "step"),
        ("5/10 * * * *", "single value"),
        ("30-10 * * * *", "ange"),
        ("* * * * FRI-MON", "ange"),
        ("1-2-3 * * * *", "ange"),
        ("* * * * 1#6", "day of week"),
        ("? * * * *", "in the minute"),
        ("a b c d e", "in the minute"),
        ("* * * * \u{e9}", "day of week"),
        ("0 0 31 2 *", "never fires"),
        ("0 0 30 FEB *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("@reboot", "does not fire when the daemon starts"),
        ("@REBOOT", "does not fire"),
        ("@every 5s", "`every`"),
        ("@fortnightly", "@daily @midnight"),
    ];
    for (text, reason) in table {
        let error = CronPattern::compile(text).map(|_| ()).expect_err(text);
        assert!(error.contains(reason), "{text:?}: {error}");
    }
    let long = vec!["1"; 200].join(",");
    assert!(CronPattern::compile(&format!("{long} * * * *")).expect_err("long").contains("256"));
}

#[test]
fn what_fires_at_other_times_than_it_says_is_refused_where_it_is_new() {
    for (text, reason) in [
        ("0 0 15 * L", "needs a day"),
        ("0 0 * * MON,l", "needs a day"),
        ("0 0 L,LW * *", "L and LW"),
        ("0 0 0 * * SUN-SUN/2", "write SUN"),
    ] {
        assert!(CronPattern::compile(text).is_ok(), "{text}");
        let error = CronPattern::check(text).map(|_| ()).expect_err(text);
        assert!(error.contains(reason), "{text:?}: {error}");
    }
    for text in ["0 0 L * *", "0 0 LW * *", "0 0 * * FRIL", "0 0 * * SUN-MON", "@weekly"] {
        assert!(CronPattern::check(text).is_ok(), "{text}");
    }
}

#[test]
fn wildcards_and_steps_in_hour_or_minute_follow_elapsed_time() {
    for (text, follows) in [
        ("* * * * *", true),
        ("*/5 2 * * *", true),
        ("0 */2 * * *", true),
        ("0 1-5/2 * * *", true),
        ("@hourly", true),
        ("0 30 * * * *", true),
        ("30 2 * * *", false),
        ("0-30 1,2,3 * * *", false),
        ("* 30 2 * * *", false),
        ("30 2 */2 * *", false),
        ("@daily", false),
    ] {
        assert_eq!(CronPattern::compile(text).unwrap().follows_elapsed_time(), follows, "{text}");
    }
}

#[test]
fn counts_agree_with_stepping_through() {
    let from = reading("2026-02-26T21:13:07");
    for text in
        ["* * * * *", "*/7 3-5 * * *", "1,59 0,23 * * 1-5", "*/20 59 23 * * *", "30 2 1 * *", "@hourly"]
    {
        let pattern = CronPattern::compile(text).unwrap();
        for length in [0, 1, 59, 3_600, 10_013, 86_400, 4 * 86_400 + 12_345] {
            for from in [from, from + 9_973, from - 47_000] {
                let mut stepped = 0;
                let mut next = pattern.next_from(from).unwrap();
                while next < from + length {
                    stepped += 1;
                    next = pattern.next_from(next + 1).unwrap();
                }
                assert_eq!(pattern.count(from, from + length), stepped, "{text} {length}");
            }
        }
    }
}

#[test]
fn every_second_is_matched_as_its_fields_say() {
    let pattern = CronPattern::compile("*/20 5,50 1,23 * * *").unwrap();
    let start = reading("2026-01-01T00:00:00");
    let mut next = start;
    for second in 0..DAY {
        let (h, m, s) = (second / 3_600, second / 60 % 60, second % 60);
        if [1, 23].contains(&h) && [5, 50].contains(&m) && s % 20 == 0 {
            assert_eq!(pattern.next_from(next), Some(start + second));
            next = start + second + 1;
        }
    }
    assert_eq!(pattern.next_from(next), Some(start + DAY + 3_600 + 300));
}
