//! The traps of two engines behind one seam, each shut.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use beadle::args;
use beadle::base::clock;
use beadle::store::FaultKind;
use beadle::store::db::{Db, Kind, Sql, Value};
use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::stage::on_both;

const ECHO: Sql = Sql::both("SELECT $1", &[Kind::Int]);
const PUT: Sql = Sql::both("INSERT INTO probes (id, body) VALUES ($1, $2)", &[Kind::Int, Kind::Text]);
const COUNT: Sql = Sql::both("SELECT count(*) FROM probes", &[]);
const SLOW: Sql = Sql::both(
    "INSERT INTO probes (id, body)
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
     SELECT 1000 + max(i), 'slow' FROM n",
    &[Kind::Int],
);
const PROBES: &str = "CREATE TABLE probes (id BIGINT NOT NULL PRIMARY KEY, body TEXT)";

/// Refused by the engines in the middle of a transaction.
const BAD: i64 = 1;

async fn count(db: &Db) -> i64 {
    let row = db.optional(&COUNT, &[]).await.expect("probes can be counted");
    row.expect("a count gives a row").get(0).expect("a count is a number")
}

async fn put(db: &Db, id: i64) {
    let mut tx = db.begin().await.expect("a transaction begins");
    tx.execute(&PUT, &args![id, "good"]).await.expect("a good row");
    tx.commit().await.expect("a good transaction commits");
}

#[test]
fn other_arguments_than_declared_never_reach_the_driver() {
    on_both(async |stage| {
        let (db, _) = stage.hand.store().databases();
        let mut cases: Vec<Vec<Value>> = vec![args!["text"].to_vec(), args![1.5].to_vec(), Vec::new()];
        cases.extend([
            args![None::<String>].to_vec(),
            args![1_i64, 2_i64].to_vec(),
            args![vec![1_u8]].to_vec(),
        ]);
        for values in cases {
            let outside = AssertUnwindSafe(db.rows(&ECHO, &values)).catch_unwind().await;
            assert!(outside.is_err(), "{values:?} was taken");
            let mut tx = db.begin().await.unwrap();
            let inside = AssertUnwindSafe(tx.rows(&ECHO, &values)).catch_unwind().await;
            assert!(inside.is_err(), "{values:?} was taken inside a transaction");
            let changed = AssertUnwindSafe(tx.execute(&ECHO, &values)).catch_unwind().await;
            assert!(changed.is_err(), "{values:?} was taken by a change");
        }
        let row = db.optional(&ECHO, &args![7_i64]).await.unwrap().unwrap();
        assert_eq!(row.get::<i64>(0).unwrap(), 7);
    });
}

#[test]
fn a_transaction_that_failed_once_refuses_to_commit_and_keeps_nothing() {
    on_both(async |stage| {
        let (db, _) = stage.hand.store().databases();
        db.run_script(PROBES.to_owned()).await.unwrap();
        put(&db, BAD).await;
        let mut tx = db.begin().await.unwrap();
        tx.execute(&PUT, &args![2_i64, "kept by nobody"]).await.unwrap();
        let fault = tx.execute(&PUT, &args![BAD, "twice"]).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Constraint);
        // The caller that swallows the error is told twice more.
        assert!(tx.execute(&PUT, &args![3_i64, "after the failure"]).await.is_err());
        assert!(tx.rows(&COUNT, &[]).await.is_err());
        assert!(tx.commit().await.is_err());
        assert_eq!(count(&db).await, 1);
        for id in 10..13 {
            put(&db, id).await;
        }
        assert_eq!(count(&db).await, 4, "after a failed transaction the next ones work");
    });
}

#[test]
fn a_statement_that_was_cut_off_spoils_its_transaction() {
    on_both(async |stage| {
        let (db, _) = stage.hand.store().databases();
        db.run_script(PROBES.to_owned()).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let cut = tx.execute(&SLOW, &args![200_000_i64]).now_or_never();
        assert!(cut.is_none(), "the statement was over before it could be cut off");
        assert!(tx.commit().await.is_err());
        put(&db, 2).await;
        assert_eq!(count(&db).await, 1);
    });
}

#[test]
fn a_read_that_nobody_waits_for_any_more_ends_and_frees_its_reader() {
    const ENDLESS: Sql = Sql::both(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT max(i) FROM n",
        &[Kind::Int],
    );
    on_both(async |stage| {
        // PostgreSQL's server ends a statement by its own rules.
        if !stage.is_sqlite() {
            return;
        }
        let (db, _) = stage.hand.store().databases();
        for _ in 0..3 {
            let values = args![i64::MAX];
            let reads = (0..5).map(|_| db.rows(&ENDLESS, &values));
            assert!(clock::within(Duration::from_millis(50), join_all(reads)).await.is_none());
        }
        let row = db.optional(&ECHO, &args![7_i64]).await.expect("a reader is free").unwrap();
        assert_eq!(row.get::<i64>(0).unwrap(), 7);
        let closed = clock::within(Duration::from_secs(30), db.close()).await;
        assert!(closed.is_some(), "a statement that nobody waits for holds up the end");
    });
}

#[test]
fn a_dropped_transaction_keeps_nothing() {
    on_both(async |stage| {
        let (db, _) = stage.hand.store().databases();
        db.run_script(PROBES.to_owned()).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        tx.execute(&PUT, &args![1_i64, "dropped"]).await.unwrap();
        drop(tx);
        put(&db, 2).await;
        assert_eq!(count(&db).await, 1);
    });
}

#[test]
fn a_statement_that_was_prepared_before_a_change_of_its_table_runs_after_it() {
    const READ: Sql = Sql::both("SELECT id, body FROM probes ORDER BY id", &[]);
    on_both(async |stage| {
        let (db, _) = stage.hand.store().databases();
        db.run_script(PROBES.to_owned()).await.unwrap();
        for id in 1..=20 {
            put(&db, id).await;
            // On each reader in the end.
            assert_eq!(join_all((0..5).map(|_| db.rows(&READ, &[]))).await.len(), 5);
        }
        let anew =
            "DROP TABLE probes; CREATE TABLE probes (note TEXT, body TEXT, id BIGINT NOT NULL PRIMARY KEY)";
        db.run_script(anew.to_owned()).await.unwrap();
        for id in 1..=20 {
            put(&db, id).await;
            for rows in join_all((0..5).map(|_| db.rows(&READ, &[]))).await {
                let newest: i64 = rows.unwrap().last().expect("a row was put").get(0).unwrap();
                assert_eq!(newest, id);
            }
        }
    });
}

#[test]
fn a_script_that_fails_in_its_middle_leaves_nothing() {
    on_both(async |stage| {
        let (db, _) = stage.hand.store().databases();
        let script = format!("{PROBES}; INSERT INTO probes (id) VALUES (1); INSERT INTO nowhere VALUES (1)");
        assert!(db.run_script(script).await.is_err());
        db.run_script(PROBES.to_owned()).await.expect("the table was not kept");
        assert_eq!(count(&db).await, 0);
    });
}

#[test]
fn one_text_takes_nulls_and_values_of_its_kinds_in_any_order() {
    const ALL: Sql = Sql::both(
        "INSERT INTO kinds (a, b, c, d) VALUES ($1, $2, $3, $4)",
        &[Kind::Int, Kind::Float, Kind::Text, Kind::Bytes],
    );
    const READ: Sql = Sql::both("SELECT a, b, c, d FROM kinds ORDER BY a NULLS FIRST", &[]);
    on_both(async |stage| {
        let (db, _) = stage.hand.store().databases();
        let (float, bytes) = if stage.is_sqlite() { ("REAL", "BLOB") } else { ("DOUBLE PRECISION", "BYTEA") };
        db.run_script(format!("CREATE TABLE kinds (a BIGINT, b {float}, c TEXT, d {bytes})")).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let nulls = args![None::<i64>, None::<f64>, None::<String>, None::<Vec<u8>>];
        tx.execute(&ALL, &nulls).await.unwrap();
        tx.execute(&ALL, &args![i64::MAX, 3.0, "text", vec![0_u8, 255]]).await.unwrap();
        tx.commit().await.unwrap();
        let rows = db.rows(&READ, &[]).await.unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].get::<Option<i64>>(0).unwrap(), None);
        assert_eq!(rows[0].get::<Option<f64>>(1).unwrap(), None);
        assert_eq!(rows[0].get::<Option<String>>(2).unwrap(), None);
        assert_eq!(rows[0].get::<Option<Vec<u8>>>(3).unwrap(), None);
        assert_eq!(rows[1].get::<i64>(0).unwrap(), i64::MAX);
        assert_eq!(rows[1].get::<f64>(1).unwrap().to_bits(), 3.0_f64.to_bits());
        assert_eq!(rows[1].get::<String>(2).unwrap(), "text");
        assert_eq!(rows[1].get::<Vec<u8>>(3).unwrap(), [0, 255]);
    });
}

#[test]
fn a_batch_carries_large_numbers_and_every_sign_unchanged() {
    const BATCH: Sql = Sql::both(
        "INSERT INTO probes (id, body)
         SELECT CAST(r.value ->> 'id' AS BIGINT), r.value ->> 'body' FROM jsonb_each($1) AS r",
        &[Kind::Text],
    );
    const READ: Sql = Sql::both("SELECT id, body FROM probes ORDER BY id", &[]);
    const LISTED: Sql = Sql::both(
        "SELECT count(*) FROM probes WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))
           AND body IN (SELECT atom FROM jsonb_each($2))",
        &[Kind::Text, Kind::Text],
    );
    let rows: Vec<(i64, &str)> = vec![
        (i64::MIN, "it's \"quoted\" \\ and `ticked` $1 ?1 :x"),
        (-1, "line\nfeed\r\ttab \u{1}\u{1f}\u{7f}"),
        ((1 << 53) + 1, "naïve Straße Ελλάδα 漢字 \u{301}"),
        (i64::MAX - 1, "🦀👩‍👩‍👧 \u{10ffff} \u{fffd}"),
        (i64::MAX, "{\"b\":1,\"a\":[ 1 ]}"),
    ];
    on_both(async |stage| {
        let (db, _) = stage.hand.store().databases();
        db.run_script(PROBES.to_owned()).await.unwrap();
        let json: Vec<_> =
            rows.iter().map(|(id, body)| serde_json::json!({"id": id, "body": body})).collect();
        let mut tx = db.begin().await.unwrap();
        tx.execute(&BATCH, &args![serde_json::Value::Array(json).to_string()]).await.unwrap();
        tx.commit().await.unwrap();
        let read = db.rows(&READ, &[]).await.unwrap();
        let read: Vec<(i64, String)> =
            read.iter().map(|row| (row.get(0).unwrap(), row.get(1).unwrap())).collect();
        let expected: Vec<_> = rows.iter().map(|(id, body)| (*id, (*body).to_owned())).collect();
        assert_eq!(read, expected);
        let (ids, bodies): (Vec<i64>, Vec<&str>) = rows.iter().copied().unzip();
        let lists = args![serde_json::json!(ids).to_string(), serde_json::json!(bodies).to_string()];
        let found = db.optional(&LISTED, &lists).await.unwrap().unwrap();
        assert_eq!(found.get::<i64>(0).unwrap(), 5, "a list finds what a batch wrote");
    });
}
