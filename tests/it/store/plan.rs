//! History costs the claim nothing: SQLite's plans walk the partial indexes, whatever has finished.

use beadle::store::db::Sql;
use beadle::store::statements;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::stage::{Place, Stage, enqueue, new_job, on_sqlite};

const FINISHED: &str = "INSERT INTO jobs (id, state, command, search_text, queue, priority, rank_us, labels, origin, requested_by,
        retry_policy, kill_grace_ms, restartable, attempt_count, try_count, created_at_us, run_at_us, started_at_us,
        finished_at_us)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    SELECT 1000000 + i, 'SUCCEEDED', '{}', 'x', 'default', 0, i, '[]', 'API', 'x', '{}', 0, 1, 1, 1, i, i, i, i FROM n;
    ANALYZE";

/// The one text over the state that holds every part.
fn statement(parts: &[&str]) -> &'static Sql {
    let has_all = |sql: &&Sql| parts.iter().all(|part| sql.sqlite_text().contains(part));
    let mut found: Vec<_> = statements::state().into_iter().filter(has_all).collect();
    found.sort_by_key(|sql| sql.sqlite_text());
    found.dedup_by_key(|sql| sql.sqlite_text());
    assert_eq!(found.len(), 1, "{parts:?} must name one text");
    found[0]
}

async fn plan(stage: &Stage, sql: &Sql) -> Vec<String> {
    let Place::Directory(directory) = &stage.place else { panic!("this place is no SQLite file") };
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.path().join("beadle.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.expect("the file can be opened");
    let text = format!("EXPLAIN QUERY PLAN {}", sql.sqlite_text());
    let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(&mut connection).await.expect("a plan");
    rows.iter().map(|row| row.get::<String, _>(3)).collect()
}

#[test]
fn a_claim_over_a_hundred_thousand_finished_jobs_walks_partial_indexes() {
    on_sqlite(async |stage| {
        stage.apply(enqueue(vec![new_job(); 50])).await;
        stage.execute(FINISHED).await;
        // The planner learns of the new statistics when it opens the file.
        let stage = stage.reopen().await;
        for (name, parts, indexes) in [
            (
                "claim::ROOM",
                vec!["SELECT name, concurrency_limit", "'RUNNING'"],
                vec!["jobs_running", "jobs_queued"],
            ),
            ("claim::BEST", vec!["row_number() OVER", "rank_us"], vec!["jobs_queued"]),
            ("claim::HAS_QUEUED", vec!["count(*) FROM queues", "EXISTS"], vec!["jobs_queued"]),
            ("claim::NEXT_DUE", vec!["SELECT run_at_us FROM jobs"], vec!["jobs_waiting"]),
            (
                "claim::STOPS",
                vec!["stop_requested_at_us IS NOT NULL", "worker_id = $1"],
                vec!["jobs_running"],
            ),
            ("transition::DUE", vec!["SELECT id, queue, state, task_name"], vec!["jobs_waiting"]),
            ("queues::OLDEST", vec!["SELECT min(run_at_us)"], vec!["jobs_queued"]),
            (
                "schedules::OPEN_JOB",
                vec!["WHERE schedule_id = $1 AND finished_at_us IS NULL"],
                vec!["jobs_schedule_open"],
            ),
            (
                "prune::OLD_JOBS",
                vec!["SELECT id, queue, state FROM jobs\n", "LIMIT $4"],
                vec!["jobs_finished"],
            ),
            ("attempts::OPEN", vec!["SELECT id, job_id, cookie"], vec!["attempts_open"]),
        ] {
            let steps = plan(&stage, statement(&parts)).await;
            println!("{name}\n  {}", steps.join("\n  "));
            for index in indexes {
                assert!(
                    steps.iter().any(|step| step.contains(index)),
                    "{name} leaves {index} aside: {steps:#?}"
                );
            }
            let reads_all = |step: &&String| {
                let is_table = ["jobs", "head", "attempts"]
                    .iter()
                    .any(|table| step.starts_with(&format!("SCAN {table}")));
                is_table && !step.contains("INDEX")
            };
            assert_eq!(steps.iter().find(reads_all), None, "{name} reads a whole table: {steps:#?}");
        }
    });
}
