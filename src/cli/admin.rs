//! Owns `backup`, `restore` and `doctor`: they work on the data directory's files, without a daemon.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::app::admin::{self, Content, Depth, Existing, Level};
use crate::base::settings::{DATA_DIR, Settings, Sources, cores};

use super::Context;
use super::outcome::{Stop, exit};
use super::output;

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

/// Writes a backup.
pub fn backup(context: &mut Context, args: &BackupArgs) -> Result<u8, Stop> {
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

/// Looks at everything and says how it is.
pub fn doctor(context: &mut Context, args: &DoctorArgs, data_dir: Option<&Path>) -> Result<u8, Stop> {
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
