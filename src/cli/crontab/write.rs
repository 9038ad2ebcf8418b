//! Owns how a translated crontab is written down as a definition file, with its remarks as comments.

use std::fmt::Write as _;

use super::{Job, Translation};

/// The definition file. `source` is the name of the crontab.
pub fn toml(translation: &Translation, source: &str) -> String {
    let mut text = format!(
        "# From {}, by `beadle import crontab`.\n# Read it, then: beadle plan FILE, beadle apply FILE.\n",
        one_line(source)
    );
    if !translation.remarks.is_empty() {
        text.push_str("#\n# What is left out, or not quite the same:\n");
    }
    for remark in &translation.remarks {
        let place = if remark.line == 0 { String::new() } else { format!("line {}: ", remark.line) };
        let _ = writeln!(text, "# - {place}{}", one_line(&remark.text));
    }
    translation.jobs.iter().for_each(|job| one(&mut text, job));
    text
}

fn one(text: &mut String, job: &Job) {
    let _ = writeln!(text, "\n# line {}: {}", job.line, one_line(&job.source));
    let _ = writeln!(text, "[tasks.{}]", key(&job.name));
    let mut say = |name: &str, value: &str| {
        let _ = writeln!(text, "{name} = {}", quoted(value));
    };
    if let Some(description) = &job.description {
        say("description", description);
    }
    say("script", &job.script);
    if let Some(shell) = &job.shell {
        say("shell", shell);
    }
    if let Some(directory) = &job.directory {
        say("working_directory", directory);
    }
    if !job.environment.is_empty() {
        let pairs: Vec<_> = job
            .environment
            .iter()
            .map(|(name, value)| format!("{} = {}", key(name), quoted(value)))
            .collect();
        let _ = writeln!(text, "environment = {{ {} }}", pairs.join(", "));
    }
    let _ = writeln!(text, "\n[schedules.{}]\ntask = {}", key(&job.name), quoted(&job.name));
    let _ = writeln!(text, "cron = {}\ntime_zone = {}", quoted(&job.cron), quoted(&job.time_zone));
    if job.jitter_minutes > 0 {
        let _ = writeln!(text, "jitter = \"{}m\"", job.jitter_minutes);
    }
    text.push_str("misfire = \"skip\"\noverlap = \"allow\"\n");
}

/// A key that is not bare is quoted.
fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { name.to_owned() } else { basic(name) }
}

/// The form that is easiest to read: plain, or over several lines as it is.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
    let is_literal = value.chars().all(is_plain) && !value.contains("'''") && !value.ends_with('\'');
    if value.contains('\n') && is_literal {
        return format!("'''\n{value}'''");
    }
    if is_literal && !value.contains('\'') && value.contains(['"', '\\']) {
        return format!("'{value}'");
    }
    basic(value)
}

fn basic(value: &str) -> String {
    let mut text = String::from('"');
    for sign in value.chars() {
        match sign {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            sign if sign.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(sign));
            }
            sign => text.push(sign),
        }
    }
    text.push('"');
    text
}

/// A comment must not end before its line does.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
