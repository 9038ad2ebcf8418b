//! History costs the claim nothing: SQLite's plans walk the partial indexes, whatever has finished. And what is named by
//! number is found by number on PostgreSQL, whatever it believes of the state that it must have.

use beadle::store::db::Sql;
use beadle::store::statements;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _, SqliteConnection, TypeInfo};

use super::stage::{Place, Stage, enqueue, new_job, on_postgres, on_sqlite};

const FINISHED: &str = "INSERT INTO jobs (id, state, command, search_text, queue, priority, rank_us, labels, origin, requested_by,
        retry_policy, kill_grace_ms, restartable, attempt_count, try_count, created_at_us, run_at_us, started_at_us,
        finished_at_us)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    SELECT 1000000 + i, 'SUCCEEDED', '{}', 'x', 'default', 0, i, '[]', 'API', 'x', '{}', 0, 1, 1, 1, i, i, i, i FROM n";

/// The one text among the statements that holds every part.
pub fn statement(all: Vec<&'static Sql>, parts: &[&str]) -> &'static Sql {
    let has_all = |sql: &&Sql| parts.iter().all(|part| sql.sqlite_text().contains(part));
    let mut found: Vec<_> = all.into_iter().filter(has_all).collect();
    found.sort_by_key(|sql| sql.sqlite_text());
    found.dedup_by_key(|sql| sql.sqlite_text());
    assert_eq!(found.len(), 1, "{parts:?} must name one text");
    found[0]
}

pub async fn plan(stage: &Stage, file: &str, sql: &Sql) -> Vec<String> {
    explained(stage, file, ("EXPLAIN QUERY PLAN", 3), sql).await
}

/// A column of what SQLite says to a statement that begins so.
async fn explained(stage: &Stage, file: &str, (ask, column): (&str, usize), sql: &Sql) -> Vec<String> {
    let Place::Directory(directory) = &stage.place else { panic!("this place is no SQLite file") };
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.path().join(file));
    let mut connection = SqliteConnection::connect_with(&options).await.expect("the file can be opened");
    let text = format!("{ask} {}", sql.sqlite_text());
    let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(&mut connection).await.expect("a plan");
    rows.iter().map(|row| row.get::<String, _>(column)).collect()
}

#[test]
fn a_claim_over_a_hundred_thousand_finished_jobs_walks_partial_indexes() {
    on_sqlite(async |stage| {
        stage.apply(enqueue(vec![new_job(); 50])).await;
        stage.execute(FINISHED).await;
        assert_plans(&stage).await;
        // Statistics change no plan. The planner learns of them when it opens the file.
        stage.execute("ANALYZE").await;
        assert_plans(&stage.reopen().await).await;
    });
}

async fn assert_plans(stage: &Stage) {
    for (name, parts, indexes) in [
        (
            "room::ROOM",
            vec!["SELECT name, concurrency_limit", "'RUNNING'"],
            vec!["jobs_running", "jobs_queued", "queue_starts_latest"],
        ),
        ("room::BEST", vec!["PARTITION BY jobs.queue"], vec!["jobs_queued"]),
        ("keys::LOAD", vec!["SELECT k.atom"], vec!["jobs_key_running", "jobs_key_open", "jobs_keyed"]),
        ("keys::BEST", vec!["PARTITION BY jobs.limit_key"], vec!["jobs_keyed"]),
        ("keys::OPEN", vec!["SELECT id, limit_key FROM jobs"], vec!["jobs_key_open"]),
        ("blockers::WAITING", vec!["AS before"], vec!["jobs_queued"]),
        (
            "claim::NEXT",
            vec!["SELECT (SELECT run_at_us FROM jobs", "SELECT start_by_us"],
            vec!["jobs_waiting", "jobs_start_by"],
        ),
        ("claim::STOPS", vec!["stop_requested_at_us IS NOT NULL", "worker_id = $1"], vec!["jobs_running"]),
        (
            "transition::DUE",
            vec!["SELECT id, queue, state, task_name, limit_key", "AND run_at_us <= $1"],
            vec!["jobs_waiting"],
        ),
        ("queues::OLDEST", vec!["SELECT min(run_at_us)"], vec!["jobs_queued"]),
        (
            "ticks::OPEN_JOB",
            vec!["WHERE schedule_id = $1 AND finished_at_us IS NULL LIMIT 1"],
            vec!["jobs_schedule_open"],
        ),
        (
            "ticks::WAITING_JOB",
            vec!["WHERE schedule_id = $1 AND finished_at_us IS NULL AND state <> 'RUNNING'"],
            vec!["jobs_schedule_open"],
        ),
        (
            "ticks::OPEN_JOBS",
            vec!["WHERE schedule_id = $1 AND finished_at_us IS NULL AND id > $2"],
            vec!["jobs_schedule_open"],
        ),
        (
            "prune::OLD_SUCCESSES",
            vec!["SELECT id, queue, state FROM jobs\n", "'SUCCEEDED', 'CANCELLED'", "LIMIT $2"],
            vec!["jobs_finished (state=? AND finished_at_us"],
        ),
        (
            "prune::OLD_FAILURES",
            vec!["SELECT id, queue, state FROM jobs\n", "'FAILED', 'EXPIRED'", "LIMIT $2"],
            vec![
                "jobs_finished (state=? AND finished_at_us",
                "SEARCH failed USING INDEX sqlite_autoindex_attempts_1 (job_id=?",
                "SEARCH newest USING COVERING INDEX attempts_incident (incident_id=?",
            ],
        ),
        (
            "incidents::OF_ATTEMPTS",
            vec!["SELECT id, incident_id FROM attempts"],
            vec!["SEARCH attempts USING INTEGER PRIMARY KEY"],
        ),
        (
            "estimates::DURATIONS",
            vec!["FROM jobs AS of_task"],
            vec!["jobs_task", "SEARCH jobs USING INTEGER PRIMARY KEY", "SEARCH attempts"],
        ),
        (
            "dependencies::FOLLOWED",
            vec!["WHERE depends_on_id = $1 AND job_id > $2 LIMIT 1"],
            vec!["job_dependencies_on (depends_on_id=? AND job_id>?)"],
        ),
        (
            "ends::OPEN",
            vec!["SELECT id, attempt_number, worker_id FROM attempts"],
            vec!["SEARCH attempts USING INTEGER PRIMARY KEY"],
        ),
        (
            "dependencies::LOOK",
            vec!["SELECT ended.id, job_dependencies.job_id"],
            vec!["job_dependencies_on (depends_on_id=? AND job_id>?)"],
        ),
        (
            "dependencies::OPEN",
            vec!["ORDER BY job_dependencies.depends_on_id DESC"],
            vec!["sqlite_autoindex_job_dependencies_1 (job_id=?)"],
        ),
        (
            "dependencies::FAILED",
            vec!["SELECT first.job_id, jobs.id, jobs.state"],
            vec!["sqlite_autoindex_job_dependencies_1 (job_id=?)"],
        ),
        (
            "dependencies::OUTPUTS",
            vec!["jobs.output", "job_dependencies.depends_on_id > $2"],
            vec!["sqlite_autoindex_job_dependencies_1 (job_id=? AND depends_on_id>?)"],
        ),
        (
            "task_history::ENDED",
            vec!["SELECT id, state, started_at_us, finished_at_us", "ORDER BY id DESC"],
            vec!["jobs_task"],
        ),
        (
            "incidents::NOT_RETRIED",
            vec!["anew.retry_of = jobs.id"],
            vec!["attempts_incident (incident_id=?", "jobs_retry_of (retry_of=?"],
        ),
        (
            "incidents::OF_JOBS",
            vec!["SELECT jobs.id, (SELECT attempts.incident_id"],
            vec!["SEARCH attempts USING INDEX sqlite_autoindex_attempts_1 (job_id=?"],
        ),
        (
            "incident_counts::ATTEMPTS",
            vec!["UPDATE attempts SET incident_id"],
            vec!["SEARCH attempts USING INTEGER PRIMARY KEY"],
        ),
        ("incident_upkeep::REOPEN", vec!["due.ignored_until_us <= $1"], vec!["incidents_ignored"]),
        ("incident_upkeep::FORGET", vec!["old.status_at_us < $1"], vec!["incidents_resolved"]),
        (
            "incident_upkeep::FORGET_MINUTES",
            vec!["DELETE FROM incident_minutes"],
            vec!["incident_minutes_age"],
        ),
        ("attempts::OPEN", vec!["SELECT id, job_id, cookie"], vec!["attempts_open"]),
    ] {
        let steps = plan(stage, "beadle.db", statement(statements::state(), &parts)).await;
        println!("{name}\n  {}", steps.join("\n  "));
        for index in indexes {
            assert!(steps.iter().any(|step| step.contains(index)), "{name} leaves {index} aside: {steps:#?}");
        }
        let reads_all = |step: &&String| {
            let is_table =
                ["jobs", "head", "attempts"].iter().any(|table| step.starts_with(&format!("SCAN {table}")));
            is_table && !step.contains("INDEX")
        };
        assert_eq!(steps.iter().find(reads_all), None, "{name} reads a whole table: {steps:#?}");
    }
}

#[test]
fn who_follows_a_long_log_does_not_walk_it_each_time() {
    on_sqlite(async |stage| {
        for (name, parts) in [
            ("logs::READ", ["first_line + line_count > $2", "ORDER BY first_line"]),
            ("logs::READ_LAST", ["first_line < $2", "ORDER BY first_line DESC"]),
        ] {
            let steps = plan(&stage, "logs.db", statement(statements::logs(), &parts)).await;
            println!("{name}\n  {}", steps.join("\n  "));
            let is_narrow = |step: &&String| step.contains("(attempt_id=? AND first_line");
            let reads = steps.iter().filter(|step| step.contains("log_chunks") || step.contains("begun"));
            assert_eq!(reads.clone().count(), reads.filter(is_narrow).count(), "{name}: {steps:#?}");
        }
    });
}

/// A queue that was empty when the server last looked: to walk all that wait costs nothing, it believes.
const LATE_STATISTICS: &str = "INSERT INTO jobs (id, state, command, search_text, queue, priority, rank_us, labels, origin,
        requested_by, retry_policy, kill_grace_ms, restartable, attempt_count, try_count, created_at_us, run_at_us,
        finished_at_us)
    SELECT 1000000 + i, 'SUCCEEDED', '{}', 'x', 'default', 0, i, '[]', 'API', 'x', '{}', 0, 1, 1, 1, i, i, i
    FROM generate_series(1, 30000) AS i;
    INSERT INTO attempts (id, job_id, attempt_number, worker_id, cookie, started_at_us, log_bytes, dropped_log_bytes, outcome,
        finished_at_us)
    SELECT id, id, 1, 1, 'x', 1, 0, 0, 'SUCCEEDED', 1 FROM jobs;
    ANALYZE jobs; ANALYZE attempts;
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan";

#[test]
fn what_is_named_by_number_is_found_by_number_on_postgresql() {
    on_postgres(async |stage| {
        let Place::Postgres(url) = &stage.place else { unreachable!("it is PostgreSQL") };
        let mut connection = PgConnection::connect(url).await.expect("the server gives a connection");
        connection.execute(LATE_STATISTICS).await.expect("rows can be written");
        for (at, (parts, key)) in [
            (vec!["UPDATE jobs", "worker_id = $3, attempt_count"], "jobs_pkey"),
            (vec!["UPDATE jobs", "worker_id = NULL, held_by = NULL, progress"], "jobs_pkey"),
            (vec!["UPDATE attempts\n     SET outcome"], "attempts_pkey"),
            (vec!["SELECT id, state, queue, task_id"], "jobs_pkey"),
            (vec!["SELECT id, attempt_number, worker_id FROM attempts"], "attempts_pkey"),
            (vec!["UPDATE jobs SET gated_at_us = $2"], "jobs_pkey"),
            (vec!["UPDATE jobs SET gated_at_us = NULL"], "jobs_pkey"),
            (vec!["UPDATE jobs SET state = 'EXPIRED'"], "jobs_pkey"),
            (vec!["UPDATE jobs SET state = 'QUEUED'"], "jobs_pkey"),
            (vec!["UPDATE jobs SET stop_requested_at_us = $2", "jsonb_each"], "jobs_pkey"),
            (vec!["UPDATE jobs SET stop_requested_at_us = $2", "WHERE id = $1"], "jobs_pkey"),
            (vec!["UPDATE jobs SET output"], "jobs_pkey"),
            (vec!["UPDATE jobs SET progress"], "jobs_pkey"),
            (vec!["SET state = $2, finished_at_us = $3, stop_requested_at_us", "jsonb_each"], "jobs_pkey"),
            (vec!["SELECT id, queue, task_name, run_at_us, on_dependency_failure"], "jobs_pkey"),
            (
                vec!["SELECT id, state, queue, task_name FROM jobs", "finished_at_us IS NULL, FALSE"],
                "jobs_pkey",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let (text, takes) = statement(statements::state(), &parts).postgres_text();
            let types: Vec<_> = takes.iter().map(TypeInfo::name).collect();
            let arguments = vec!["NULL"; takes.len()].join(", ");
            let prepare = format!("PREPARE looked_at_{at} ({}) AS {text}", types.join(", "));
            connection.execute(AssertSqlSafe(prepare)).await.expect("it can be prepared");
            let explain = format!("EXPLAIN EXECUTE looked_at_{at} ({arguments})");
            let rows =
                sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut connection).await.expect("a plan");
            let steps: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            println!("{parts:?}\n  {}", steps.join("\n  "));
            let found = steps.iter().position(|step| step.contains(&format!("Index Scan using {key}")));
            let condition = found.and_then(|at| steps.get(at + 1)).map_or("", String::as_str);
            assert!(condition.contains("Index Cond: (id = "), "{parts:?} looks at each row: {steps:#?}");
        }
    });
}

#[test]
fn what_is_written_row_by_row_builds_no_table_on_the_way() {
    on_sqlite(async |stage| {
        let mut looked_at = 0;
        for (file, all) in [("beadle.db", statements::state()), ("logs.db", statements::logs())] {
            for sql in all.into_iter().filter(|sql| sql.is_for_rows()) {
                // As a list of more than two words in a CHECK, or in the condition of an index, does.
                let steps = explained(&stage, file, ("EXPLAIN", 1), sql).await;
                assert!(!steps.iter().any(|step| step == "OpenEphemeral"), "{}", sql.sqlite_text());
                looked_at += 1;
            }
        }
        assert!(looked_at >= 9, "{looked_at} statements");
    });
}
