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

/// What a daemon keeps beside the jobs and would miss at its next start: their counts, and which numbers are taken.
pub const BOOKS: &str = "
    INSERT INTO job_counts (queue, state, job_count)
    SELECT queue, state, count(*) FROM jobs WHERE TRUE GROUP BY queue, state
    ON CONFLICT (queue, state) DO UPDATE SET job_count = excluded.job_count;
    INSERT INTO queues (id, name, created_at_us) VALUES (11, 'mail', 0), (12, 'reports', 0), (13, 'rare', 0);
    INSERT INTO counters (name, value)
    SELECT 'job', max(id) FROM jobs UNION ALL SELECT 'attempt', max(id) FROM attempts
    UNION ALL SELECT 'event', max(seq) FROM events UNION ALL SELECT 'queue', 13
    ON CONFLICT (name) DO UPDATE SET value = max(counters.value, excluded.value);";
