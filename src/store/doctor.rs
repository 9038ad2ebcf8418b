//! Owns the look at a store's rules: what must hold of its rows at each moment, asked by reading only. A daemon may be
//! at work meanwhile: each rule is one statement, so it sees one moment. It must never repair anything.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::Reader;
use super::beside::{Depth, named, one_text};
use super::db::{Db, Sql};
use super::fault::Result;
use super::migrations::{self, Set};
use super::open;
use crate::base::clock::Timestamp;

/// Rows of a broken rule that are named.
macro_rules! first_rows {
    ($text:literal) => {
        concat!($text, " LIMIT 3")
    };
}

// Only events of a state tell one: progress and output do not.
macro_rules! last_words {
    ($to:literal, $state:literal) => {
        concat!(
            "SELECT 'job_' || jobs.id || ' is ' || jobs.state || ', its last event says ' || coalesce(",
            $to,
            ", ",
            $state,
            ", 'nothing')
             FROM (SELECT job_id, max(seq) AS seq FROM events
                   WHERE job_id IS NOT NULL AND kind IN ('JOB_CREATED', 'JOB_STATE_CHANGED')
                   GROUP BY job_id) AS newest
             JOIN events ON events.seq = newest.seq
             JOIN jobs ON jobs.id = newest.job_id
             WHERE coalesce(",
            $to,
            ", ",
            $state,
            ", '') <> jobs.state
             LIMIT 3"
        )
    };
}

const STATES: Sql = Sql::each(
    last_words!("(events.data ->> 'to')", "(events.data ->> 'state')"),
    last_words!("(CAST(events.data AS jsonb) ->> 'to')", "(CAST(events.data AS jsonb) ->> 'state')"),
    &[],
);

const COUNTS: Sql = Sql::both(
    first_rows!(
        "SELECT 'queue ' || queue || ' is counted ' || sum(difference) || ' too many ' || state
         FROM (SELECT queue, state, job_count AS difference FROM job_counts
               UNION ALL
               SELECT queue, state, -count(*) FROM jobs GROUP BY queue, state) AS sides
         GROUP BY queue, state
         HAVING sum(difference) <> 0"
    ),
    &[],
);

const ATTEMPTS: Sql = Sql::both(
    first_rows!(
        "SELECT 'job_' || id || ' is ' || state || ' with ' || open_count || ' open attempts'
         FROM (SELECT jobs.id AS id, jobs.state AS state,
                      (SELECT count(*) FROM attempts
                       WHERE attempts.job_id = jobs.id AND attempts.outcome IS NULL) AS open_count
               FROM jobs
               WHERE jobs.state = 'RUNNING'
                  OR jobs.id IN (SELECT job_id FROM attempts WHERE outcome IS NULL)) AS looked
         WHERE open_count <> CASE WHEN state = 'RUNNING' THEN 1 ELSE 0 END"
    ),
    &[],
);

const STRAYS: Sql = Sql::both(
    first_rows!(
        "SELECT 'attempt_' || attempts.id || ' is of job_' || attempts.job_id || ', which is not there'
         FROM attempts
         WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = attempts.job_id)"
    ),
    &[],
);

// A limit that was lowered leaves more running than it allows, but lets nobody else in.
const KEYS: Sql = Sql::both(
    first_rows!(
        "SELECT limit_key || ' of limit ' || key_limit || ' has ' || running_count || ' running, ' || open_count
                || ' let in and ' || gated_count || ' before its gate'
         FROM (SELECT k.limit_key AS limit_key,
                      coalesce((SELECT job_limit FROM concurrency_keys WHERE name = k.limit_key), 1) AS key_limit,
                      (SELECT count(*) FROM jobs
                       WHERE state = 'RUNNING' AND jobs.limit_key = k.limit_key) AS running_count,
                      (SELECT count(*) FROM jobs
                       WHERE state = 'QUEUED' AND jobs.limit_key = k.limit_key AND gated_at_us IS NULL) AS open_count,
                      (SELECT count(*) FROM jobs
                       WHERE state = 'QUEUED' AND jobs.limit_key = k.limit_key AND gated_at_us IS NOT NULL
                         AND NOT EXISTS (SELECT 1 FROM queues
                                         WHERE queues.name = jobs.queue AND paused_at_us IS NOT NULL)) AS gated_count
               FROM (SELECT DISTINCT limit_key FROM jobs
                     WHERE limit_key IS NOT NULL AND finished_at_us IS NULL) AS k) AS looked
         WHERE (open_count > 0 AND running_count + open_count > key_limit)
            OR (gated_count > 0 AND running_count + open_count < key_limit)"
    ),
    &[],
);

const DEPENDENCIES: Sql = Sql::both(
    first_rows!(
        "SELECT 'job_' || job_id || ' waits for job_' || depends_on_id || ', and one of them is not there'
         FROM job_dependencies
         WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = job_dependencies.job_id)
            OR NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = job_dependencies.depends_on_id)"
    ),
    &[],
);

const BLOCKED: Sql = Sql::both(
    first_rows!(
        "SELECT 'job_' || jobs.id || ' is BLOCKED, and all that it waits for is done'
         FROM jobs
         WHERE jobs.state = 'BLOCKED'
           AND NOT EXISTS (SELECT 1 FROM dependency_ends)
           AND NOT EXISTS (SELECT 1 FROM job_dependencies
                           JOIN jobs AS needed ON needed.id = job_dependencies.depends_on_id
                           WHERE job_dependencies.job_id = jobs.id AND needed.finished_at_us IS NULL)"
    ),
    &[],
);

const EVENTS: Sql = Sql::each(
    first_rows!(
        "SELECT 'events ' || (previous + 1) || ' to ' || (seq - 1) || ' are missing'
         FROM (SELECT seq, lag(seq) OVER (ORDER BY seq) AS previous FROM events) AS pairs
         WHERE seq > previous + 1"
    ),
    // There a transaction that was undone leaves a gap in the numbers, and in nothing else.
    "SELECT name FROM meta WHERE FALSE",
    &[],
);

const NUMBERS: Sql = Sql::each(
    first_rows!(
        "SELECT 'the last ' || used.name || ' number is kept as ' || coalesce(counters.value, 0) || ', but '
                || used.newest || ' is in use'
         FROM (SELECT 'job' AS name, max(id) AS newest FROM jobs
               UNION ALL SELECT 'attempt', max(id) FROM attempts
               UNION ALL SELECT 'task', max(id) FROM tasks
               UNION ALL SELECT 'schedule', max(id) FROM schedules
               UNION ALL SELECT 'queue', max(id) FROM queues
               UNION ALL SELECT 'worker', max(id) FROM workers
               UNION ALL SELECT 'token', max(id) FROM tokens
               UNION ALL SELECT 'incident', max(id) FROM incidents
               UNION ALL SELECT 'event', max(seq) FROM events) AS used
         LEFT JOIN counters ON counters.name = used.name
         WHERE used.newest > coalesce(counters.value, 0)"
    ),
    // There the numbers come from sequences, which cannot be behind.
    "SELECT name FROM meta WHERE FALSE",
    &[],
);

/// Of the logs: a whole log has its lines, up to its end and no further; one that was forgotten has none.
pub(super) const LOG_ENDS: Sql = Sql::both(
    first_rows!(
        "SELECT 'attempt_' || log_ends.attempt_id || ' wrote ' || log_ends.line_count || ' lines, and what is kept ends at '
                || coalesce(kept.line_end, 0)
         FROM log_ends
         LEFT JOIN (SELECT attempt_id, max(first_line + line_count) AS line_end FROM log_chunks
                    GROUP BY attempt_id) AS kept ON kept.attempt_id = log_ends.attempt_id
         WHERE kept.line_end > log_ends.line_count
            OR (log_ends.forgotten_at_us IS NOT NULL AND kept.line_end IS NOT NULL)
            OR (log_ends.forgotten_at_us IS NULL AND kept.line_end IS NULL
                AND log_ends.byte_count > log_ends.dropped_bytes)"
    ),
    &[],
);

const VERSION: Sql = Sql::each("SELECT sqlite_version()", "SELECT version()", &[]);
const NEWEST_AT: Sql = Sql::both("SELECT at_us FROM events ORDER BY seq DESC LIMIT 1", &[]);

/// A rule of the rows.
struct Rule {
    name: &'static str,
    rows: &'static Sql,
}

const OF_STATE: &[Rule] = &[
    Rule { name: "states", rows: &STATES },
    Rule { name: "counts", rows: &COUNTS },
    Rule { name: "attempts", rows: &ATTEMPTS },
    Rule { name: "strays", rows: &STRAYS },
    Rule { name: "keys", rows: &KEYS },
    Rule { name: "dependencies", rows: &DEPENDENCIES },
    Rule { name: "blocked", rows: &BLOCKED },
    Rule { name: "events", rows: &EVENTS },
    Rule { name: "numbers", rows: &NUMBERS },
];

const OF_LOGS: &[Rule] = &[Rule { name: "log ends", rows: &LOG_ENDS }];

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The rule's name.
    pub rule: &'static str,
    /// The first rows that break it, in words.
    pub rows: Vec<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.rows.join("; "))
    }
}

/// How many rules there are, of state and logs.
pub const RULE_COUNT: usize = OF_STATE.len() + OF_LOGS.len();

/// The rules of the state that do not hold.
pub async fn broken_rules(state: &Db) -> Result<Vec<Broken>> {
    broken(state, OF_STATE).await
}

/// The rules of the logs that do not hold.
pub async fn broken_log_rules(logs: &Db) -> Result<Vec<Broken>> {
    broken(logs, OF_LOGS).await
}

async fn broken(db: &Db, rules: &[Rule]) -> Result<Vec<Broken>> {
    let mut broken = Vec::new();
    for rule in rules {
        let rows = db.rows(rule.rows, &[]).await?;
        if !rows.is_empty() {
            let rows = rows.iter().map(|row| row.get(0)).collect::<Result<_>>()?;
            broken.push(Broken { rule: rule.name, rows });
        }
    }
    Ok(broken)
}

/// Which of the two files is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// `beadle.db`.
    State,
    /// `logs.db`.
    Logs,
}

impl Which {
    fn set(self) -> &'static Set {
        if self == Which::State { &migrations::STATE_FILE } else { &migrations::LOGS_FILE }
    }
}

/// What a look at one file of a store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// The version of SQLite that looked.
    pub sqlite: String,
    /// What SQLite finds damaged.
    pub damage: Option<String>,
    /// Migrations that the next start will apply. While there are some the rules are not asked.
    pub pending: Vec<&'static str>,
    /// The rules that do not hold.
    pub broken: Vec<Broken>,
    /// When the newest event happened; of the state only.
    pub newest_at: Option<Timestamp>,
    /// How the asked token stands; of the state only.
    pub token: Option<TokenStanding>,
}

/// How a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStanding {
    /// It opens the door.
    Good,
    /// It was revoked, or is over.
    Over,
    /// The store does not know it.
    Unknown,
}

/// Looks at one file, be a daemon at work on it or not; never from within that daemon. `token` is the digest of a token to be asked for.
pub async fn look(
    path: &Path,
    which: Which,
    depth: Depth,
    (token, now): (Option<&str>, Timestamp),
) -> Result<Looked> {
    // Nothing in this process has the file open.
    open::check_header(path).map_err(|fault| named(fault, path))?;
    let db = Arc::new(Db::open_beside(path).await?);
    let looked = look_at(&db, which, depth, (token, now)).await;
    db.close().await;
    looked
}

async fn look_at(
    db: &Arc<Db>,
    which: Which,
    depth: Depth,
    (token, now): (Option<&str>, Timestamp),
) -> Result<Looked> {
    let mut looked = Looked {
        sqlite: one_text(db, &VERSION).await?,
        damage: db.damage(depth).await?,
        pending: Vec::new(),
        broken: Vec::new(),
        newest_at: None,
        token: None,
    };
    if looked.damage.is_some() {
        return Ok(looked);
    }
    looked.pending = migrations::unapplied(db, which.set()).await?.iter().map(|one| one.name).collect();
    if !looked.pending.is_empty() {
        return Ok(looked);
    }
    if which == Which::Logs {
        looked.broken = broken_log_rules(db).await?;
        return Ok(looked);
    }
    looked.broken = broken_rules(db).await?;
    looked.newest_at =
        db.optional(&NEWEST_AT, &[]).await?.map(|row| row.get(0).map(Timestamp)).transpose()?;
    if let Some(digest) = token {
        let reader = Reader::new(db.clone(), 0);
        looked.token = Some(if reader.viewer(digest, now).await?.is_some() {
            TokenStanding::Good
        } else if reader.knows_token(digest).await? {
            TokenStanding::Over
        } else {
            TokenStanding::Unknown
        });
    }
    Ok(looked)
}

/// Every statement of this file over the state, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[
    &STATES,
    &COUNTS,
    &ATTEMPTS,
    &STRAYS,
    &KEYS,
    &DEPENDENCIES,
    &BLOCKED,
    &EVENTS,
    &NUMBERS,
    &VERSION,
    &NEWEST_AT,
];
