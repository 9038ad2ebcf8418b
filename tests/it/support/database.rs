//! Owns a look into a store's files, for tests that spoil or make one by hand. No daemon may be at work on them.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.expect("a database of ours")
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// Runs statements; the file is closed in order, without a journal.
pub fn execute(path: &Path, script: &str) {
    block_on(async {
        let mut connection = connect(path).await;
        let script = AssertSqlSafe(script.to_owned());
        sqlx::raw_sql(script).execute(&mut connection).await.expect("the test's statements");
        connection.close().await.expect("our own database");
    });
}

/// The first column of a query, as text.
pub fn texts(path: &Path, query: &str) -> Vec<String> {
    block_on(async {
        let mut connection = connect(path).await;
        let query = AssertSqlSafe(query.to_owned());
        let rows = sqlx::query(query).fetch_all(&mut connection).await.expect("the test's query");
        connection.close().await.expect("our own database");
        rows.iter().map(|row| row.get(0)).collect()
    })
}
