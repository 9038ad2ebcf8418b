//! Owns `import`: other schedulers' files as a definition file, with a word on all that could not be translated.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::crontab::{self, Settings};
use super::outcome::{Stop, exit};
use super::{Context, plan, site};

/// Where the machine says which zone its clock is in.
const LOCAL_TIME: &str = "/etc/localtime";
/// What stands in front of the zone's name in the target of that link.
const ZONE_FOLDER: &str = "zoneinfo/";
/// Crontabs of the system: in these each job names its user.
const OF_SYSTEM: [&str; 2] = ["/etc/crontab", "/etc/cron.d"];

/// Whether a file is one of those, by whatever name it is given.
fn is_of_system(file: &Path) -> bool {
    let whole = std::fs::canonicalize(file).unwrap_or_default();
    [file, &whole].iter().any(|path| OF_SYSTEM.iter().any(|place| path.starts_with(place)))
}

/// `beadle import`.
#[derive(Debug, clap::Subcommand)]
pub enum ImportCommand {
    /// Print a crontab as tasks and schedules for `apply`, and say what is left out
    Crontab(CrontabArgs),
}

/// `beadle import crontab`.
#[derive(Debug, clap::Args)]
pub struct CrontabArgs {
    /// The crontab, - for stdin: crontab -l | beadle import crontab -
    file: PathBuf,
    /// Each job names its user before its command, as in /etc/crontab and /etc/cron.d
    #[arg(long)]
    user_field: bool,
    /// The time zone that cron goes by [default: $TZ, else the machine's]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Apply it at once instead of printing it
    #[arg(long)]
    apply: bool,
}

/// One of the import commands.
pub fn import(context: &mut Context, command: ImportCommand) -> Result<u8, Stop> {
    let ImportCommand::Crontab(args) = command;
    let name = if args.file == Path::new("-") { "stdin".to_owned() } else { args.file.display().to_string() };
    let text = site::read(&args.file)?;
    let has_users = args.user_field || is_of_system(&args.file);
    let variable = |wanted: &str| {
        let found = context.environment.iter().find(|(name, value)| name == wanted && !value.is_empty());
        found.map(|(_, value)| value.clone())
    };
    let zone = args.time_zone.or_else(|| variable("TZ").map(|zone| zone.trim_start_matches(':').to_owned()));
    let known = zone.or_else(machines_zone);
    // cron starts the jobs of a person's own crontab in that person's home.
    let home = variable("HOME").filter(|_| !has_users);
    let settings = Settings { time_zone: known.clone().unwrap_or_else(|| "UTC".to_owned()), home, has_users };
    let translation = crontab::translate(&text, &settings);
    for remark in &translation.remarks {
        let place = if remark.line == 0 { name.clone() } else { format!("{name}:{}", remark.line) };
        context.screen.note(&format!("{place}: {}", remark.text));
    }
    if known.is_none() {
        context
            .screen
            .note("the machine does not say its time zone; UTC is taken, give another by --time-zone");
    }
    let toml = crontab::toml(&translation, &name);
    if args.apply {
        let site = site::of_text(&name, &toml)?;
        return plan::apply_site(context, site, false);
    }
    if context.screen.is_json() {
        let remarks: Vec<_> = translation
            .remarks
            .iter()
            .map(|remark| json!({ "line": (remark.line > 0).then_some(remark.line), "text": remark.text }))
            .collect();
        let names: Vec<_> = translation.jobs.iter().map(|job| &job.name).collect();
        context.screen.data(&json!({ "toml": toml, "jobs": names, "remarks": remarks }))?;
        return Ok(exit::OK);
    }
    context.screen.whole("toml", &toml)
}

/// The name of the zone that the machine's clock is in.
fn machines_zone() -> Option<String> {
    let target = std::fs::read_link(LOCAL_TIME).ok()?;
    let target = target.to_str()?;
    let (_, zone) = target.split_once(ZONE_FOLDER)?;
    Some(zone.to_owned())
}
