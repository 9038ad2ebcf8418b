//! Owns `serve` and `config`: from flags, environment and file to settings, and the start of the daemon with them.
//! The flags are made from the one table of settings.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, FromArgMatches};
use serde_json::json;

use crate::base::settings::{DATA_DIR, KEYS, Key, Loaded, Settings, Shape, Sources, cores};
use crate::domain::sink::SinkFilter;

use super::Context;
use super::outcome::{Stop, exit};

/// `beadle serve` and `beadle config`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// The settings file [default: beadle.toml in the data directory, when there is one]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingFlags,
}

/// The flags that were given, by the keys of their settings.
#[derive(Debug, Clone, Default)]
struct SettingFlags(Vec<(String, String)>);

/// The flags' names without dashes, in the order of the table.
static NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| KEYS.iter().map(|key| key.flag().trim_start_matches('-').to_owned()).collect());

/// The settings that have a flag here. The data directory's is the one that every command has.
fn flags() -> impl Iterator<Item = (&'static Key, &'static str)> {
    KEYS.iter().zip(NAMES.iter().map(String::as_str)).filter(|(key, _)| key.name != DATA_DIR)
}

fn flag(key: &'static Key, name: &'static str) -> Arg {
    let arg = Arg::new(key.name).long(name).help(key.help).action(ArgAction::Append);
    match key.shape {
        Shape::One | Shape::List => arg.value_name("VALUE"),
        Shape::Switch => {
            arg.value_name("true|false").num_args(0..=1).require_equals(true).default_missing_value("true")
        }
    }
}

impl clap::Args for SettingFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        flags().fold(command, |command, (key, name)| command.arg(flag(key, name)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        SettingFlags::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<SettingFlags, clap::Error> {
        let given = |key: &'static Key| matches.get_many::<String>(key.name).into_iter().flatten();
        let pairs = flags().flat_map(|(key, _)| given(key).map(|value| (key.name.to_owned(), value.clone())));
        Ok(SettingFlags(pairs.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = SettingFlags::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Runs the daemon until it is told to stop.
pub fn serve(context: &mut Context, args: &ServeArgs, data_dir: Option<&Path>) -> Result<u8, Stop> {
    let loaded = load(context, args, data_dir)?;
    (context.daemon.serve)(loaded.settings).map_err(|reason| Stop::new(exit::REFUSED, reason))?;
    Ok(exit::OK)
}

/// Prints what is in force.
pub fn config(context: &mut Context, args: &ServeArgs, data_dir: Option<&Path>) -> Result<u8, Stop> {
    let loaded = load(context, args, data_dir)?;
    let keys = loaded.rows().map(|(key, value, origin)| (key.name.to_owned(), value, origin));
    let rows: Vec<_> = keys.chain(loaded.sink_rows()).collect();
    let settings: Vec<_> = rows
        .iter()
        .map(|(key, value, origin)| {
            json!({ "key": key, "value": value, "origin": origin.layer(), "from": origin.to_string() })
        })
        .collect();
    context.screen.data(&json!({ "settings": settings }))?;
    let rows: Vec<_> =
        rows.into_iter().map(|(key, value, origin)| [key, value, origin.to_string()]).collect();
    context.screen.table(["SETTING", "VALUE", "ORIGIN"], &rows)?;
    Ok(exit::OK)
}

fn load(context: &Context, args: &ServeArgs, data_dir: Option<&Path>) -> Result<Loaded, Stop> {
    let mut flags = args.settings.0.clone();
    if let Some(path) = data_dir {
        let text =
            path.to_str().ok_or_else(|| Stop::new(exit::USAGE, "the data directory's name is not UTF-8"))?;
        flags.push((DATA_DIR.to_owned(), text.to_owned()));
    }
    let sources = Sources {
        flags,
        config: args.config.clone(),
        environment: context.environment.to_vec(),
        cores: cores(),
    };
    let usage = |message: String| Stop::new(exit::USAGE, message);
    let loaded = Settings::load(&sources).map_err(usage)?;
    for sink in &loaded.settings.sinks {
        SinkFilter::of(sink).map_err(usage)?;
    }
    Ok(loaded)
}
