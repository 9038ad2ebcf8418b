//! Owns a long history: statements that fill a store with jobs that have ended, for tests of what a long past costs.
//! The jobs of `past.sql` stand for nothing but themselves; nobody ran them.

/// Statements that make `count` jobs which have ended, the last one at `end_us`, one each `step_us`. No job may exist.
pub fn past(count: i64, end_us: i64, step_us: i64) -> String {
    let script = include_str!("past.sql")
        .replace("{count}", &count.to_string())
        .replace("{end_us}", &end_us.to_string())
        .replace("{step_us}", &step_us.to_string());
    format!("PRAGMA synchronous = OFF; BEGIN; {script} COMMIT;")
}
