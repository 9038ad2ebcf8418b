//! Owns `backup`, `restore`, `migrate` and `doctor`: they work on the data directory's files, without a daemon.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::app::admin::{self, Content, Depth, Existing, Level, Moved, Progress};
use crate::base::settings::{DATA_DIR, Settings, Sources, cores};

use super::Context;
use super::outcome::{Stop, exit};
use super::output;

/// The variable of the setting `database`.
const DATABASE: &str = "BEADLE_DATABASE";
const TO_HELP: &str =
    "The empty PostgreSQL database, as postgres://user@host/name [default: $BEADLE_DATABASE]";

/// `beadle backup`.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// The file to write: a tar of the databases and a manifest, for its owner only
    file: PathBuf,
    /// Leave out what the jobs wrote
    #[arg(long)]
    without_logs: bool,
    /// Replace the file when it is there
    #[arg(long)]
    force: bool,
}

/// `beadle restore`.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// A backup, or a copy that a start made before a migration
    file: PathBuf,
    /// Move a store that is there aside
    #[arg(long)]
    force: bool,
}

/// `beadle migrate`.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// The data directory of the stopped daemon [default: as for every command]
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    #[arg(long, value_name = "URL", help = TO_HELP)]
    to: Option<String>,
}

/// `beadle doctor`.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Compare every index with its table too
    #[arg(long)]
    full: bool,
}

fn existing(force: bool) -> Existing {
    if force { Existing::Replaced } else { Existing::Kept }
}

fn directory<'a>(context: &'a Context<'_>) -> Result<&'a Path, Stop> {
    context.target.data_dir.as_deref().ok_or_else(|| {
        Stop::new(exit::USAGE, "there is no place for the data: set BEADLE_DATA_DIR, or give --data-dir")
    })
}

/// These commands work on files: a daemon on PostgreSQL has its state elsewhere.
fn refuse_database(context: &Context) -> Result<(), Stop> {
    let data_dir = context.target.data_dir.as_deref().and_then(Path::to_str);
    let sources = Sources {
        flags: data_dir.map(|path| (DATA_DIR.to_owned(), path.to_owned())).into_iter().collect(),
        config: None,
        environment: context.environment.to_vec(),
        cores: cores(),
    };
    // Settings that cannot be read keep nobody from a backup.
    if Settings::load(&sources).is_ok_and(|loaded| loaded.settings.database.is_some()) {
        let message = "the state is in PostgreSQL (`database` is set): `pg_dump` and `pg_restore` work on it";
        return Err(Stop::new(exit::REFUSED, message));
    }
    Ok(())
}

/// Writes a backup.
pub fn backup(context: &mut Context, args: &BackupArgs) -> Result<u8, Stop> {
    refuse_database(context)?;
    let what = if args.without_logs { Content::WithoutLogs } else { Content::All };
    let manifest = admin::back_up(directory(context)?, &args.file, (what, existing(args.force)))
        .map_err(|reason| Stop::new(exit::REFUSED, reason))?;
    context.screen.data(&json!({ "file": args.file, "manifest": manifest }))?;
    for finding in &manifest.findings {
        context.screen.note(&format!("the backup is whole, but the state in it breaks a rule: {finding}"));
    }
    let parts: Vec<_> = manifest
        .files
        .iter()
        .map(|part| format!("{} ({})", part.name, output::bytes(&part.bytes.to_string())))
        .collect();
    let newest = manifest.newest_event;
    context.screen.line(&format!("{}: {}, up to event {newest}", args.file.display(), parts.join(", ")))?;
    Ok(exit::OK)
}

/// Puts a backup back.
pub fn restore(context: &mut Context, args: &RestoreArgs) -> Result<u8, Stop> {
    refuse_database(context)?;
    let restored = admin::restore(&args.file, directory(context)?, existing(args.force))
        .map_err(|reason| Stop::new(exit::REFUSED, reason))?;
    context.screen.data(&json!({
        "placed": restored.placed,
        "moved": restored.moved,
        "manifest": restored.manifest,
    }))?;
    for path in &restored.moved {
        context.screen.line(&format!("moved aside  {}", path.display()))?;
    }
    for path in &restored.placed {
        context.screen.line(&format!("restored     {}", path.display()))?;
    }
    context.screen.line(
        "Cursors from before are refused as expired, tokens that were revoked since the backup are good again, and \
         schedules catch up by their misfire policy at the next start.",
    )?;
    Ok(exit::OK)
}

/// Moves a stopped daemon's store to PostgreSQL.
pub fn migrate(context: &mut Context, args: &MigrateArgs) -> Result<u8, Stop> {
    let variable = || {
        let found = context.environment.iter().find(|(name, value)| name == DATABASE && !value.is_empty());
        found.map(|(_, value)| value.clone())
    };
    let url = args.to.clone().or_else(variable).ok_or_else(|| {
        Stop::new(
            exit::USAGE,
            format!("there is no place to move to: give --to postgres://..., or set {DATABASE}"),
        )
    })?;
    let from = match &args.from {
        Some(from) => from.clone(),
        None => directory(context)?.to_path_buf(),
    };
    let screen = &mut context.screen;
    let moved = admin::move_up(&from, &url, |progress| match progress {
        Progress::Sent(table, count, all) => screen.note(&format!("{table}: {count} of {all} rows sent")),
        Progress::ReadBack(table, count) => screen.note(&format!("{table}: {count} rows read back")),
    });
    let moved = moved.map_err(|reason| Stop::new(exit::REFUSED, reason))?;
    tell_of_move(context, &moved, &from)?;
    Ok(exit::OK)
}

fn tell_of_move(context: &mut Context, moved: &Moved, from: &Path) -> Result<(), Stop> {
    let tables: Vec<_> = moved
        .tables
        .iter()
        .map(|table| json!({ "name": table.name, "rows": table.row_count, "sha256": table.sha256 }))
        .collect();
    let row_count: u64 = moved.tables.iter().map(|table| table.row_count).sum();
    context.screen.data(&json!({
        "epoch": moved.epoch,
        "newestEvent": moved.newest_event,
        "rows": row_count,
        "mendedTexts": moved.mended_count,
        "tables": tables,
    }))?;
    let rows: Vec<_> = moved
        .tables
        .iter()
        .map(|table| [table.name.to_owned(), table.row_count.to_string(), table.sha256.clone()])
        .collect();
    context.screen.table(["TABLE", "ROWS", "SHA-256, EQUAL ON BOTH SIDES"], &rows)?;
    if moved.mended_count > 0 {
        let count = moved.mended_count;
        context
            .screen
            .note(&format!("{count} texts held U+0000, which PostgreSQL cannot hold; they have U+FFFD now"));
    }
    let care = match &moved.unmarked {
        None => "; the file `moved` keeps a daemon without a database from starting on them.".to_owned(),
        Some(why) => format!(
            ": do not start a daemon on them again. The directory could not be marked as moved: {why}"
        ),
    };
    let (newest, from) = (moved.newest_event, from.display());
    context.screen.line(&format!("{row_count} rows were moved, up to event {newest}."))?;
    context.screen.line(&format!(
        "Go on with `beadle serve --database URL --data-dir {from}`: the directory keeps the admin token and the spool. \
         Its beadle.db and logs.db are as they were and used no longer{care}"
    ))?;
    Ok(())
}

/// Looks at everything and says how it is.
pub fn doctor(context: &mut Context, args: &DoctorArgs, data_dir: Option<&Path>) -> Result<u8, Stop> {
    refuse_database(context)?;
    let flags = data_dir.and_then(Path::to_str).map(|path| (DATA_DIR.to_owned(), path.to_owned()));
    let sources = Sources {
        flags: flags.into_iter().collect(),
        config: None,
        environment: context.environment.to_vec(),
        cores: cores(),
    };
    let settings = Settings::load(&sources).map(|loaded| loaded.settings.data_dir);
    let depth = if args.full { Depth::Full } else { Depth::Quick };
    let checks = admin::examine(directory(context)?, depth, settings)
        .map_err(|reason| Stop::new(exit::REFUSED, reason))?;
    let is_well = checks.iter().all(|check| check.level != Level::Fail);
    let objects: Vec<_> = checks
        .iter()
        .map(|check| json!({ "check": check.name, "level": check.level.word(), "message": check.words }))
        .collect();
    context.screen.data(&json!({ "isWell": is_well, "checks": objects }))?;
    let rows: Vec<_> = checks
        .iter()
        .map(|check| [check.level.word().to_owned(), check.name.to_owned(), check.words.clone()])
        .collect();
    context.screen.table(["LEVEL", "CHECK", "FOUND"], &rows)?;
    Ok(if is_well { exit::OK } else { exit::REFUSED })
}
