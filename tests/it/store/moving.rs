//! The list of what a move takes with it is whole: every table and column that the migrations make, on both engines.

use std::collections::BTreeSet;

use beadle::store::moving::TABLES;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use super::stage::{Place, on_both};

/// Made by each side itself.
const OWN: &str = "migrations";

const OF_SQLITE: &str = "SELECT made.name || '.' || info.name FROM sqlite_master AS made
    JOIN pragma_table_info(made.name) AS info WHERE made.type = 'table' AND made.name NOT LIKE 'sqlite%'";
// What a partition has its table has.
const OF_POSTGRES: &str = "SELECT made.relname || '.' || attribute.attname FROM pg_class AS made
    JOIN pg_attribute AS attribute ON attribute.attrelid = made.oid
    WHERE made.relnamespace = CAST(current_schema() AS regnamespace) AND made.relkind IN ('r', 'p')
      AND NOT made.relispartition AND attribute.attnum > 0 AND NOT attribute.attisdropped";

#[test]
fn the_list_of_tables_is_what_the_migrations_make() {
    let listed: BTreeSet<String> = TABLES
        .iter()
        .flat_map(|table| table.columns.iter().map(move |(column, _)| format!("{}.{column}", table.name)))
        .collect();
    on_both(async |stage| {
        let mut made: Vec<String> = Vec::new();
        match &stage.place {
            Place::Directory(directory) => {
                for name in ["beadle.db", "logs.db"] {
                    let options = SqliteConnectOptions::new().filename(directory.path().join(name));
                    let mut connection =
                        SqliteConnection::connect_with(&options).await.expect("a file of ours");
                    let rows = sqlx::query_scalar(AssertSqlSafe(OF_SQLITE)).fetch_all(&mut connection).await;
                    made.extend(rows.expect("the catalogue can be read"));
                    connection.close().await.expect("the test's connection closes");
                }
            }
            Place::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.expect("the server answers");
                let rows = sqlx::query_scalar(OF_POSTGRES).fetch_all(&mut connection).await;
                made.extend(rows.expect("the catalogue can be read"));
            }
        }
        let made: BTreeSet<String> =
            made.into_iter().filter(|column| !column.starts_with(&format!("{OWN}."))).collect();
        let missing: Vec<_> = made.difference(&listed).collect();
        assert!(missing.is_empty(), "src/store/moving/tables.rs would leave behind {missing:?}");
        let gone: Vec<_> = listed.difference(&made).collect();
        assert!(gone.is_empty(), "no migration makes {gone:?}");
    });
}
