//! A nudge may be lost: the poll makes it good.

use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use crate::support::daemon::Daemon;

/// A job as the daemon would write it, by somebody who nudges nobody.
const UNSEEN: &str = r#"INSERT INTO jobs (id, state, command, search_text, queue, priority, rank_us, labels, origin,
        requested_by, retry_policy, kill_grace_ms, restartable, attempt_count, try_count, created_at_us, run_at_us)
    VALUES (1000000, 'QUEUED',
        '{"argv":["/bin/true"],"script":null,"shell":null,"working_directory":null,"environment":[],"inherit_environment":[]}',
        'true', 'default', 0, 0, '[]', 'API', 'nobody',
        '{"max_attempts":1,"initial_delay":5000,"max_delay":600000,"factor":2.0,"retry_on":null,"exit_codes":null}',
        10000, 0, 0, 0, 0, 0);
    INSERT INTO job_counts (queue, state, job_count) VALUES ('default', 'QUEUED', 1)
        ON CONFLICT (queue, state) DO UPDATE SET job_count = job_count + 1"#;

#[test]
fn a_job_that_nobody_told_of_is_found_by_the_poll() {
    let daemon = Daemon::start();
    let file = format!("sqlite://{}", daemon.data().join("beadle.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut writer = SqliteConnection::connect(&file).await.expect("the store can be opened");
        sqlx::raw_sql(UNSEEN).execute(&mut writer).await.expect("the job is written");
        writer.close().await.expect("it is closed");
    });
    assert_eq!(daemon.wait_final("job_1000000").job["state"], json!("SUCCEEDED"));
    // The wait above asks by reading only: nothing but the poll looks for work.
    let counts = daemon.graphql("{ jobCounts { queued running succeeded } }", json!({}));
    assert_eq!(counts["jobCounts"], json!({"queued": 0, "running": 0, "succeeded": 1}));
}
