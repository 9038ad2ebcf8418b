//! What a PostgreSQL server does not clean up is said in words, and nothing is said where all is well.

use std::time::Duration;

use beadle::base::clock::within;
use beadle::store::upkeep::UpkeepLimits;
use sqlx::{Connection as _, PgConnection};

use super::stage::{Place, new_job, on_both, on_postgres};
use crate::support::wait::PATIENCE;

const NO_LIMITS: UpkeepLimits =
    UpkeepLimits { transaction: Duration::ZERO, dead_rows: 1_000_000, dead_for_each: 1 };
const USUAL: UpkeepLimits =
    UpkeepLimits { transaction: Duration::from_mins(10), dead_rows: 50_000, dead_for_each: 4 };

#[test]
fn a_transaction_that_stays_open_is_named() {
    on_both(async |stage| {
        stage.enqueue(new_job()).await;
        assert!(stage.reader().upkeep_trouble(USUAL).await.unwrap().is_empty(), "all is well");
        let Place::Postgres(url) = &stage.place else { return };
        let mut connection = PgConnection::connect(url).await.expect("the server answers");
        let mut open = connection.begin().await.expect("a transaction begins");
        sqlx::raw_sql(
            "SET application_name = 'left-open'; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1",
        )
        .execute(&mut *open)
        .await
        .expect("the test's statements");
        let trouble = stage.reader().upkeep_trouble(NO_LIMITS).await.unwrap();
        println!("{trouble:?}");
        assert!(
            trouble.iter().any(|words| words.contains("(left-open, idle in transaction)")),
            "{trouble:?}"
        );
        assert!(stage.reader().upkeep_trouble(USUAL).await.unwrap().is_empty(), "it is not old yet");
        open.rollback().await.expect("it ends");
        let trouble = stage.reader().upkeep_trouble(NO_LIMITS).await.unwrap();
        assert!(!trouble.iter().any(|words| words.contains("left-open")), "{trouble:?}");
    });
}

#[test]
fn a_table_full_of_old_rows_is_named() {
    on_postgres(async |stage| {
        // Nobody cleans up behind this.
        stage.execute("ALTER TABLE queue_starts SET (autovacuum_enabled = off)").await;
        stage
            // The statistics of a connection are told when it ends, if not before.
            .execute(
                "INSERT INTO queue_starts SELECT n, 'default', n FROM generate_series(1, 3000) AS n;
                 DELETE FROM queue_starts WHERE attempt_id > 100",
            )
            .await;
        let limits = UpkeepLimits { dead_rows: 1_000, dead_for_each: 4, ..USUAL };
        let seen = within(PATIENCE, async {
            loop {
                let trouble = stage.reader().upkeep_trouble(limits).await.unwrap();
                if !trouble.is_empty() {
                    break trouble;
                }
            }
        });
        let trouble = seen.await.expect("the statistics arrive");
        println!("{trouble:?}");
        assert_eq!(trouble.len(), 1, "{trouble:?}");
        assert!(trouble[0].starts_with("the table queue_starts holds 2900 old versions"), "{trouble:?}");
        assert!(stage.reader().upkeep_trouble(USUAL).await.unwrap().is_empty(), "so few are no trouble");
    });
}

#[test]
fn the_hot_tables_are_cleaned_sooner_than_others() {
    on_postgres(async |stage| {
        for (table, option) in [
            ("jobs", "autovacuum_vacuum_scale_factor=0.02"),
            ("jobs", "fillfactor=85"),
            ("attempts", "autovacuum_vacuum_scale_factor=0.02"),
            ("events", "autovacuum_vacuum_scale_factor=0.02"),
            ("job_counts", "autovacuum_vacuum_threshold=500"),
            ("counters", "autovacuum_vacuum_scale_factor=0"),
            ("workers", "autovacuum_vacuum_scale_factor=0"),
        ] {
            let count = format!(
                "SELECT count(*) FROM pg_class WHERE oid = '{table}'::regclass AND '{option}' = ANY (reloptions)"
            );
            assert_eq!(stage.number(&count).await, 1, "{table}: {option}");
        }
    });
}
