//! Owns the migrations: which there are, which a database still lacks, and their way into it. What an older Beadle wrote
//! stays as it is until all of them are in; what a newer one wrote is refused.

use super::db::{Db, Durability, Sql};
use super::fault::{Fault, FaultKind, Result};
use super::open::{APPLICATION_ID, SQLITE_TABLES};
use super::page;
use crate::base::clock::Timestamp;
use crate::base::points;

pub(super) struct Migration {
    /// As `state/0001_init`.
    pub(super) name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! migration {
    ($set:literal, $file:literal) => {
        Migration {
            name: concat!($set, "/", $file),
            sqlite: include_str!(concat!("../../migrations/sqlite/", $set, "/", $file, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $set, "/", $file, ".sql")),
        }
    };
}

const STATE: &[Migration] = &[
    migration!("state", "0001_init"),
    migration!("state", "0002_contract"),
    migration!("state", "0003_incidents"),
    migration!("state", "0004_sinks"),
    migration!("state", "0005_attempts"),
    migration!("state", "0006_lists"),
    migration!("state", "0007_leases"),
    migration!("state", "0008_runs_on"),
    migration!("state", "0009_upkeep"),
    migration!("state", "0010_checks"),
];
const LOGS: &[Migration] =
    &[migration!("logs", "0001_init"), migration!("logs", "0002_forgotten"), migration!("logs", "0003_days")];

/// One of the two databases: what it is called, how hard its commits are pressed, and how it came to be.
pub(super) struct Set {
    pub(super) what: &'static str,
    pub(super) durability: Durability,
    pub(super) migrations: &'static [Migration],
    /// What all migrations together make of a new SQLite file.
    whole: &'static str,
}

pub(super) const STATE_FILE: Set = Set {
    what: "the store",
    durability: Durability::Full,
    migrations: STATE,
    whole: include_str!("../../migrations/sqlite/state.sql"),
};
pub(super) const LOGS_FILE: Set = Set {
    what: "the log store",
    durability: Durability::Normal,
    migrations: LOGS,
    whole: include_str!("../../migrations/sqlite/logs.sql"),
};

/// Taken while the table of migrations is made on PostgreSQL.
const MIGRATION_LOCK: i64 = 0x0042_4541_444C_4502;

const MIGRATIONS_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS migrations (name TEXT NOT NULL PRIMARY KEY, applied_at_us BIGINT NOT NULL)";

const APPLIED: Sql = Sql::both("SELECT name FROM migrations ORDER BY name", &[]);

impl Set {
    /// What a new SQLite file begins with: every table, and the marks of all migrations.
    pub(super) fn beginning(&self, now: Timestamp) -> String {
        let mut script =
            format!("PRAGMA application_id = {APPLICATION_ID};\n{MIGRATIONS_TABLE};\n{}", self.whole);
        for migration in self.migrations {
            script.push_str(&migration.mark(now));
        }
        script
    }
}

impl Migration {
    /// The statement that marks it as applied.
    fn mark(&self, now: Timestamp) -> String {
        format!("INSERT INTO migrations (name, applied_at_us) VALUES ('{}', {});\n", self.name, now.0)
    }
}

/// Makes the tables of a log store that was begun anew.
pub(super) async fn migrate_logs(db: &Db, now: Timestamp) -> Result<()> {
    let pending = pending(db, &LOGS_FILE, now).await?;
    migrate(db, &pending, now).await
}

/// Makes the tables of both sets in a PostgreSQL database, or brings them to this version.
pub(super) async fn migrate_postgres(db: &Db, now: Timestamp) -> Result<()> {
    for set in [&STATE_FILE, &LOGS_FILE] {
        let pending = pending(db, set, now).await?;
        migrate(db, &pending, now).await?;
    }
    Ok(())
}

/// The migrations that are still to be applied: none to a SQLite file without tables, which gets all of them here. Refuses
/// what a newer Beadle wrote.
pub(super) async fn pending(db: &Db, set: &Set, now: Timestamp) -> Result<Vec<&'static Migration>> {
    let is_sqlite = db.engine() == "sqlite";
    let is_new = is_sqlite && page::one(db.optional(&SQLITE_TABLES, &[]).await?)?.get::<i64>(0)? == 0;
    if is_new {
        db.run_script(set.beginning(now)).await?;
    } else if !is_sqlite {
        // Two daemons that start at once would both make the table.
        db.run_script(format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK}); {MIGRATIONS_TABLE}")).await?;
    }
    unapplied(db, set).await
}

/// The migrations that are still to be applied to a database that has some.
pub(super) async fn unapplied(db: &Db, set: &Set) -> Result<Vec<&'static Migration>> {
    let applied = applied_migrations(db).await?;
    let known = |name: &String| STATE.iter().chain(LOGS).any(|migration| migration.name == name);
    if let Some(newer) = applied.iter().find(|name| !known(name)) {
        let message = format!(
            "{} was written by a newer Beadle (it has the migration {newer}, which version {} does not know); \
             start that one, or restore a backup",
            set.what,
            env!("CARGO_PKG_VERSION")
        );
        return Err(Fault::new(FaultKind::Damaged, message));
    }
    let is_applied = |migration: &Migration| applied.iter().any(|name| name == migration.name);
    Ok(set.migrations.iter().filter(|migration| !is_applied(migration)).collect())
}

/// Applies the migrations in one transaction: what an older Beadle wrote stays as it is until all of them are in.
pub(super) async fn migrate(db: &Db, pending: &[&'static Migration], now: Timestamp) -> Result<()> {
    let (Some(first), Some(last)) = (pending.first(), pending.last()) else { return Ok(()) };
    let is_sqlite = db.engine() == "sqlite";
    let mut script = String::new();
    for migration in pending {
        // The mark comes first: a second daemon on PostgreSQL waits there.
        script.push_str(&migration.mark(now));
        script.push_str(if is_sqlite { migration.sqlite } else { migration.postgres });
        script.push('\n');
    }
    points::reach("migration.begun");
    if let Err(fault) = db.run_script(script).await {
        let applied = applied_migrations(db).await?;
        if fault.kind == FaultKind::Constraint && applied.iter().any(|applied| applied == last.name) {
            return Ok(());
        }
        let message = format!("the migrations from {} to {} failed: {fault}", first.name, last.name);
        return Err(Fault::new(fault.kind, message));
    }
    points::reach("migration.applied");
    Ok(())
}

pub(super) async fn applied_migrations(db: &Db) -> Result<Vec<String>> {
    db.rows(&APPLIED, &[]).await?.iter().map(|row| row.get::<String>(0)).collect()
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&APPLIED];
