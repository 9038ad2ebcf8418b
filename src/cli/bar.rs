//! Owns how progress is shown to a person: as a bar, and in words. Pure; it never prints.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::settings::show_length;
use crate::client::answers::Progress;

/// Signs between the brackets.
const WIDTH: u8 = 20;

/// One line for a terminal: a bar where the fraction is known, and the rest in words. The estimate is the daemon's, and
/// may be all that there is. `None` when nothing is known.
pub fn line(progress: Option<&Progress>, estimate: Option<&str>, now: Timestamp) -> Option<String> {
    let own = progress.and_then(|progress| progress.estimated_finish_at.as_deref());
    let left = time_left(own.or(estimate), now).map(|left| format!("eta {}", show_length(left)));
    let known = progress.map(words).filter(|known| !known.is_empty());
    let said = [known, left].into_iter().flatten().collect::<Vec<_>>().join("  ");
    let bar = progress.and_then(|progress| progress.fraction).map(|fraction| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
        let full = (fraction.clamp(0.0, 1.0) * f64::from(WIDTH) + 1e-9) as u8;
        format!("[{}{}] ", "#".repeat(full.into()), "-".repeat((WIDTH - full).into()))
    });
    (bar.is_some() || !said.is_empty()).then(|| bar.unwrap_or_default() + &said)
}

/// What is known, without the bar and the time that is left.
pub fn words(progress: &Progress) -> String {
    let percent = progress.fraction.map(|fraction| format!("{:3.0}%", (fraction * 100.0).floor()));
    let unit = progress.unit.as_ref().map_or(String::new(), |unit| format!(" {unit}"));
    let counted = progress.done.as_ref().map(|done| match &progress.total {
        Some(total) => format!("{done}/{total}{unit}"),
        None => format!("{done}{unit}"),
    });
    let parts = [percent, counted, progress.status.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// In whole seconds, so that it can be read while it changes.
fn time_left(end: Option<&str>, now: Timestamp) -> Option<Duration> {
    let end = Timestamp::parse(end?)?;
    Some(Duration::from_secs(end.since(now).as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_known_is_shown() {
        let now = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
        for (progress, shown) in [
            (json!({ "fraction": 0.0 }), "[--------------------]   0%"),
            (json!({ "fraction": 0.3 }), "[######--------------]  30%"),
            (json!({ "fraction": 0.999 }), "[###################-]  99%"),
            (json!({ "fraction": 1.0 }), "[####################] 100%"),
            (json!({ "done": "3" }), "3"),
            (json!({ "done": "3", "total": "0", "unit": "files" }), "3/0 files"),
            (json!({ "status": "copying" }), "copying"),
            (
                json!({ "fraction": 0.5, "status": "copying", "estimatedFinishAt": "2026-01-31T12:01:30.900Z" }),
                "[##########----------]  50%  copying  eta 1m30s",
            ),
        ] {
            let progress: Progress = serde_json::from_value(progress).unwrap();
            assert_eq!(line(Some(&progress), None, now).as_deref(), Some(shown));
        }
    }

    #[test]
    fn an_estimate_alone_is_shown_too() {
        let now = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
        let at = Some("2026-01-31T12:00:30Z");
        assert_eq!(line(None, None, now), None);
        assert_eq!(line(None, at, now).as_deref(), Some("eta 30s"));
        let said: Progress = serde_json::from_value(json!({ "status": "copying" })).unwrap();
        assert_eq!(line(Some(&said), at, now).as_deref(), Some("copying  eta 30s"));
    }
}
