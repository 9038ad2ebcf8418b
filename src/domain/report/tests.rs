//! What lines of the channel add up to.

use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp(1_000_000_000);

fn heard(lines: &[&str]) -> Reported {
    let mut reported = Reported::default();
    for line in lines {
        reported.hear(line.as_bytes(), NOW);
    }
    reported
}

#[test]
fn progress_is_a_fraction_or_counted() {
    for (line, fraction, done, unit) in [
        (r#"{"progress": {"fraction": 0.25}}"#, Some(0.25), None, None),
        (r#"{"progress": {"done": 3, "total": 12, "unit": "files"}}"#, Some(0.25), Some(3), Some("files")),
        (r#"{"progress": {"done": 3}}"#, None, Some(3), None),
        (r#"{"progress": {"done": 3, "total": 0}}"#, None, Some(3), None),
        (r#"{"progress": {"done": 3.7, "total": 12}, "new": [1]}"#, Some(0.25), Some(3), None),
        (r#"{"progress": {"fraction": 7}}"#, Some(1.0), None, None),
        (r#"{"progress": {"fraction": -7}}"#, Some(0.0), None, None),
    ] {
        let reported = heard(&[line]);
        let progress = reported.progress().expect(line);
        assert_eq!(progress.fraction, fraction, "{line}");
        assert_eq!(progress.done.map(|done| done.0), done, "{line}");
        assert_eq!(progress.unit.as_deref(), unit, "{line}");
        assert_eq!((progress.updated_at, reported.remark()), (NOW, None), "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_counted_and_changes_nothing() {
    let lines = ["", "  ", "nonsense", "[1]", "3", "\"x\"", "{", "{} {}"];
    let reported = heard(&lines);
    assert_eq!(reported.ignored_count, 6);
    for bad in [
        r#"{"progress": 3}"#,
        r#"{"progress": {}}"#,
        r#"{"progress": {"done": -1}}"#,
        r#"{"status": 3}"#,
        r#"{"output": [1]}"#,
        r#"{"extendTimeout": -1}"#,
        r#"{"retryAfter": "soon"}"#,
        r#"{"noRetry": 1}"#,
        r#"{"mask": "abc"}"#,
    ] {
        let reported = heard(&[bad]);
        assert_eq!(reported.refused_count, 1, "{bad}");
        assert!(reported.progress().is_none() && reported.output().0 == 0, "{bad}");
        assert_eq!(reported.advice(), RetryAdvice::default(), "{bad}");
    }
    let remark = heard(&["x", r#"{"status": 3}"#]).remark().unwrap();
    assert_eq!(
        remark,
        "reports ignored: 1 that were no JSON object or too long, 1 values that were not acceptable"
    );
}

#[test]
fn a_status_and_a_progress_leave_each_other_alone() {
    let lines = [r#"{"status": "copying\n"}"#, r#"{"progress": {"fraction": 0.5}}"#];
    let reported = heard(&lines);
    let progress = reported.progress().unwrap();
    assert_eq!((progress.fraction, progress.status.as_deref()), (Some(0.5), Some("copying ")));
    let reported = heard(&[lines[0], lines[1], r#"{"status": ""}"#]);
    assert_eq!(reported.progress().unwrap().status, None);
    let long = format!(r#"{{"status": "{}"}}"#, "é".repeat(TEXT_BYTES_MAX));
    assert_eq!(heard(&[&long]).progress().unwrap().status.as_ref().unwrap().len(), TEXT_BYTES_MAX);
}

#[test]
fn the_end_is_estimated_from_the_rate_since_the_first_word() {
    let mut reported = Reported::default();
    let mut at = |seconds: i64, fraction: f64| {
        let line = json!({ "progress": { "fraction": fraction } }).to_string();
        let now = NOW.plus_millis(seconds * 1_000);
        reported.hear(line.as_bytes(), now);
        let end = reported.progress().unwrap().estimated_finish_at;
        end.map(|end| end.since(now).as_secs())
    };
    assert_eq!(at(0, 0.2), None);
    assert_eq!(at(10, 0.4), Some(30));
    assert_eq!(at(20, 0.4), Some(60), "it has become slower");
    assert_eq!(at(30, 1.0), None, "done");
    assert_eq!(at(40, 0.0), None, "something new");
    assert_eq!(at(50, 0.5), Some(10));
}

#[test]
fn output_is_merged_at_the_top_and_has_a_size() {
    let mut reported =
        heard(&[r#"{"output": {"a": {"x": 1}, "b": 1}}"#, r#"{"output": {"a": {"y": 2}, "c": null}}"#]);
    let merged = json!({"a": {"y": 2}, "b": 1, "c": null});
    assert_eq!(reported.output(), (2, merged.as_object().unwrap()));
    let large = json!({"output": {"large": "x".repeat(REPORT_OUTPUT_BYTES_MAX)}}).to_string();
    reported.hear(large.as_bytes(), NOW);
    assert_eq!(reported.output(), (2, merged.as_object().unwrap()));
    assert_eq!(reported.refused_count, 1);
}

#[test]
fn time_is_extended_up_to_the_cap() {
    let (minute, hour) = (Span::from_secs(60), Span::from_secs(3_600));
    assert_eq!(heard(&[]).allowed(minute, None), minute);
    let reported = heard(&[r#"{"extendTimeout": 30}"#, r#"{"extendTimeout": 0.5}"#]);
    assert_eq!(reported.allowed(minute, None), Span::from_millis(90_500));
    assert_eq!(reported.allowed(minute, Some(hour)), Span::from_millis(90_500));
    assert_eq!(reported.allowed(minute, Some(minute)), minute);
    for much in [r#"{"extendTimeout": 1e6}"#, r#"{"extendTimeout": 1e15}"#] {
        assert_eq!(heard(&[much, much]).allowed(minute, None), Span::from_secs(60 * TIMEOUT_FACTOR_MAX));
        assert_eq!(heard(&[much, much]).allowed(minute, Some(hour)), hour);
    }
}

#[test]
fn the_last_word_about_a_retry_counts() {
    let advice = heard(&[r#"{"retryAfter": 5}"#, r#"{"retryAfter": 7.5}"#]).advice();
    assert_eq!(advice, RetryAdvice { is_final: false, retry_after: Some(Span::from_millis(7_500)) });
    assert!(heard(&[r#"{"noRetry": true}"#]).advice().is_final);
    assert!(!heard(&[r#"{"noRetry": true}"#, r#"{"noRetry": false}"#]).advice().is_final);
}

#[test]
fn a_secret_is_hidden_in_what_was_said_before_and_after() {
    let reported = heard(&[
        r#"{"status": "login as hunter2", "output": {"early": "hunter2"}}"#,
        r#"{"output": {"x": ["a hunter2"], "hunter2": 1, "pin": 12345678}, "mask": ["hunter2", "34567"]}"#,
        r#"{"progress": {"done": 1, "unit": "hunter2s"}}"#,
    ]);
    let progress = reported.progress().unwrap();
    assert_eq!(progress.status.as_deref(), Some("login as ***"));
    assert_eq!(progress.unit.as_deref(), Some("***s"));
    let shown = json!({"early": "***", "x": ["a ***"], "***": 1, "pin": "12***8"});
    assert_eq!(reported.output().1, shown.as_object().unwrap());
}

#[test]
fn the_middle_of_what_was_taken_is_the_estimate() {
    let micros = |micros: &[i64]| median(micros.to_vec()).map(|middle| middle.as_micros());
    assert_eq!(micros(&[]), None);
    for (taken, middle) in [(&[7][..], 7), (&[9, 1, 5], 5), (&[4, 1, 100, 2], 3), (&[-5], 0)] {
        assert_eq!(micros(taken), Some(middle), "{taken:?}");
    }
}

#[test]
fn a_secret_that_the_job_was_given_is_hidden_from_the_first_word_on() {
    let mut reported = Reported::hiding(["hunter2", "no"]);
    reported.hear(br#"{"status": "no hunter2", "output": {"hunter2": ["hunter2"]}}"#, Timestamp(1));
    assert_eq!(reported.progress().unwrap().status.as_deref(), Some("no ***"));
    assert_eq!(Value::Object(reported.output().1.clone()).to_string(), r#"{"***":["***"]}"#);
}
