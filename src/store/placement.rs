//! Owns which of the selectors of jobs that wait a worker fits, and which workers are there to fit them. Selectors are
//! found in the order of their texts, a page at a time, and behind each page what the worker could not fit is leapt over:
//! jobs that only others may run cost it nothing, however many they are.

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::Result;
use super::page;
use super::workers::labels_from;
use super::writer::Batch;
use crate::args;
use crate::domain::id::WorkerId;
use crate::domain::limits::SELECTORS_MAX;
use crate::domain::placement::WorkerLabels;

/// Selectors that are read at once.
const PAGE: usize = 32;

// The different selectors of jobs that may start, from $1 on: each step finds the next one in the index.
const WAITING: Sql = Sql::both(
    "WITH RECURSIVE waiting (runs_on, place) AS (
         SELECT (SELECT jobs.runs_on FROM jobs
                 WHERE jobs.state = 'QUEUED' AND jobs.gated_at_us IS NULL AND jobs.runs_on >= $1
                 ORDER BY jobs.runs_on
                 LIMIT 1),
                CAST(1 AS BIGINT)
         UNION ALL
         SELECT (SELECT jobs.runs_on FROM jobs
                 WHERE jobs.state = 'QUEUED' AND jobs.gated_at_us IS NULL AND jobs.runs_on > waiting.runs_on
                 ORDER BY jobs.runs_on
                 LIMIT 1),
                waiting.place + 1
         FROM waiting
         WHERE waiting.runs_on IS NOT NULL AND waiting.place < $2
     )
     SELECT runs_on FROM waiting WHERE runs_on IS NOT NULL ORDER BY place",
    &[Kind::Text, Kind::Int],
);

const LABELS: Sql = Sql::both("SELECT labels FROM workers WHERE id = $1", &[Kind::Int]);

const THERE: Sql = Sql::both(
    "SELECT id, labels, slots,
            (SELECT count(*) FROM jobs WHERE state = 'RUNNING' AND worker_id = workers.id)
     FROM workers
     WHERE stopped_at_us IS NULL
     ORDER BY id",
    &[],
);

/// A walk over the selectors that wait, in search of those that a worker fits.
struct Walk<'a> {
    labels: &'a WorkerLabels,
    /// Where the next page begins; `None` when the walk is over.
    from: Option<String>,
    found: Vec<String>,
}

impl<'a> Walk<'a> {
    /// From the first selector that waits.
    fn new(labels: &'a WorkerLabels, first: &str) -> Walk<'a> {
        Walk { labels, from: labels.next_from(first), found: Vec::new() }
    }

    /// Takes the page that begins at `from`.
    fn take(&mut self, rows: &[Row]) -> Result<()> {
        let page = rows.iter().map(|row| row.get(0)).collect::<Result<Vec<String>>>()?;
        let last = if page.len() < PAGE { None } else { page.last().cloned() };
        self.found.extend(page.into_iter().filter(|selector| self.labels.fits(selector)));
        self.from =
            last.filter(|_| self.found.len() < SELECTORS_MAX).and_then(|last| self.labels.next_behind(&last));
        Ok(())
    }
}

fn page_size() -> i64 {
    i64::try_from(PAGE).expect("it is small")
}

/// Selectors as the argument of statements.
pub(super) fn selectors_argument(selectors: &[String]) -> String {
    page::words(Some(selectors), Clone::clone).expect("there is a list")
}

/// The selectors of jobs that wait which the worker fits; `first` is the first one that waits.
pub(super) async fn fitting(batch: &mut Batch<'_>, worker: WorkerId, first: &str) -> Result<Vec<String>> {
    let labels = if let Some(labels) = batch.known.labels(worker) {
        labels
    } else {
        let labels = own_labels(worker, batch.tx.optional(&LABELS, &args![worker.0]).await?)?;
        batch.known.see_labels(worker, labels.clone());
        labels
    };
    let mut walk = Walk::new(&labels, first);
    while let Some(from) = walk.from.take() {
        walk.take(&batch.tx.rows(&WAITING, &args![from, page_size()]).await?)?;
    }
    Ok(walk.found)
}

fn own_labels(worker: WorkerId, row: Option<Row>) -> Result<WorkerLabels> {
    let Some(row) = row else { return Ok(WorkerLabels::default()) };
    Ok(WorkerLabels::of(&labels_from(worker, &row.get::<String>(0)?)?))
}

/// A worker that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerThere {
    /// What it fits.
    pub labels: WorkerLabels,
    /// Its free places.
    pub free: i64,
}

impl Reader {
    /// Who is there, with free places or without.
    pub async fn workers_there(&self) -> Result<Vec<WorkerThere>> {
        let there = |row: &Row| {
            let labels = WorkerLabels::of(&labels_from(WorkerId(row.get(0)?), &row.get::<String>(1)?)?);
            Ok(WorkerThere { labels, free: (row.get::<i64>(2)? - row.get::<i64>(3)?).max(0) })
        };
        self.db.rows(&THERE, &[]).await?.iter().map(there).collect()
    }

    /// As `fitting`.
    pub(super) async fn fitting_worker(&self, worker: WorkerId, first: &str) -> Result<Vec<String>> {
        let labels = own_labels(worker, self.db.optional(&LABELS, &args![worker.0]).await?)?;
        self.fitting_labels(&labels, first).await
    }

    /// The selectors of jobs that wait which a worker with these labels fits.
    pub(super) async fn fitting_labels(&self, labels: &WorkerLabels, first: &str) -> Result<Vec<String>> {
        let mut walk = Walk::new(labels, first);
        while let Some(from) = walk.from.take() {
            walk.take(&self.db.rows(&WAITING, &args![from, page_size()]).await?)?;
        }
        Ok(walk.found)
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&WAITING, &LABELS, &THERE];
