//! The command line: one command, one conversation with the daemon over its public API.
//! It never asks anything, and but for `serve` it never uses a layer of the daemon.

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::base::environment;
use crate::base::settings::{Settings, data_dir};
use crate::client::{Client, Target};

mod admin;
mod bar;
mod bulk;
mod crontab;
mod events;
mod help;
mod import;
mod incidents;
mod input;
mod jobs;
mod logs;
mod open;
mod outcome;
mod output;
mod pages;
mod parameters;
mod patience;
mod plan;
mod queues;
mod report;
mod retries;
mod run;
mod schedules;
mod serve;
mod sinks;
mod site;
mod status;
mod tasks;
mod tokens;
mod top;
mod upcoming;
mod waiting;
mod watch;
mod why;

#[cfg(test)]
mod tests;

use outcome::{Stop, exit};
use output::Screen;
use patience::Patience;

const URL_HELP: &str = "The daemon's address [default: $BEADLE_URL, what the daemon wrote into its data directory, http://127.0.0.1:7878]";
const DATA_DIR_HELP: &str = "The daemon's data directory [default: $BEADLE_DATA_DIR, else $STATE_DIRECTORY, \
                             else $XDG_STATE_HOME/beadle, else ~/.local/state/beadle]";

/// What only the whole program can give: the layers above and beside the client.
#[derive(Debug, Clone, Copy)]
pub struct Daemon {
    /// Runs the daemon until it is told to stop.
    pub serve: fn(Settings) -> Result<(), String>,
    /// The public schema in the schema language.
    pub sdl: fn() -> String,
    /// Shows a local page in the user's browser.
    pub browse: fn(&Path) -> Result<(), String>,
    /// Stands beside a daemon and ends its attempts, which bear this mark, when its lease is over.
    pub guard: fn(&str),
}

/// A task daemon you talk to in GraphQL.
#[derive(Debug, Parser)]
#[command(name = "beadle", version, disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Global {
    /// Print the GraphQL data as JSON; streams print one object a line
    #[arg(long, global = true, help_heading = "Every command")]
    json: bool,
    #[arg(long, global = true, help_heading = "Every command", value_name = "URL", help = URL_HELP)]
    url: Option<String>,
    #[arg(long, global = true, help_heading = "Every command", value_name = "PATH", help = DATA_DIR_HELP)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(serve::ServeArgs),
    /// Stand beside a daemon; started by it
    #[command(hide = true)]
    Guard {
        /// What the cookies of its attempts begin with
        mark: String,
    },
    /// Run a task, or a command after --
    Run(Box<run::RunArgs>),
    /// Stream a job's log and exit with the job's code
    Follow(watch::FollowArgs),
    /// Wait for jobs and exit with the code of the first that failed
    Wait(watch::WaitArgs),
    /// Print what a job wrote
    Logs(logs::LogsArgs),
    /// Show the daemon at a glance
    Status(status::StatusArgs),
    /// Print the link to the dashboard with the token in it, and open it
    Open(open::OpenArgs),
    /// Show what runs now and how far it is, drawn anew every second
    Top(top::TopArgs),
    /// List the next due times of all schedules
    Next(upcoming::NextArgs),
    /// Say why a job waits, or how it ended
    Why(why::WhyArgs),
    /// Show what applying definition files would change
    Plan(plan::PlanArgs),
    /// Make tasks, queues and schedules be as definition files say
    Apply(plan::PlanArgs),
    /// Translate other schedulers' files into a definition file
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// List jobs, newest first
    Jobs(jobs::JobsArgs),
    /// Show one job
    Job(jobs::JobArgs),
    /// Stop a job, or keep it from starting; or all that match
    Cancel(jobs::CancelArgs),
    /// Keep a job that waits from starting
    Hold(waiting::HoldArgs),
    /// Let a job that is on hold wait for its turn
    Release(waiting::HoldArgs),
    /// Change where and when a job waits
    Update(waiting::UpdateArgs),
    /// Repeat a final job as a new one; or all that failed
    Retry(run::RetryArgs),
    /// Define what to run
    #[command(subcommand)]
    Task(tasks::TaskCommand),
    /// Define when to run it
    #[command(subcommand)]
    Schedule(schedules::ScheduleCommand),
    /// Operate the lanes that jobs wait in
    #[command(subcommand)]
    Queue(queues::QueueCommand),
    /// Look at what failed, by kind, and say what is done about it
    #[command(subcommand)]
    Incidents(incidents::IncidentsCommand),
    /// Manage who may come in, and what they may do
    #[command(subcommand)]
    Token(tokens::TokenCommand),
    /// See how the systems are that events are reported to, and what they would not take
    #[command(subcommand)]
    Sink(sinks::SinkCommand),
    /// Print the feed of changes
    Events(events::EventsArgs),
    /// Show how the daemon's parts are; exits with 1 when one is down
    Health,
    /// Print the settings in force, and where each came from
    Config(serve::ServeArgs),
    /// Write a backup of the data directory into one file, while the daemon runs or not
    Backup(admin::BackupArgs),
    /// Put a backup into a data directory that no daemon uses
    Restore(admin::RestoreArgs),
    /// Look whether the data directory is well, while the daemon runs or not; exits with 1 when it is not
    Doctor(admin::DoctorArgs),
    /// Inside a job: say how far it is, what came out, and what is to follow
    Report(report::ReportArgs),
    /// Print the public GraphQL schema
    Schema,
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// What a command works with.
struct Context<'a> {
    target: Target,
    environment: &'a [(String, String)],
    daemon: Daemon,
    patience: Patience,
    screen: Screen<'a>,
}

impl Context<'_> {
    /// A client for the daemon as it can be found now.
    fn client(&self) -> Result<Client, Stop> {
        Ok(self.target.client()?)
    }
}

/// The whole program: reads the command line, does it, gives the exit code.
pub fn main(daemon: Daemon) -> ExitCode {
    // Not locked: the daemon's own threads may write too.
    let (mut out, mut err) = (BufWriter::new(io::stdout()), io::stderr());
    let (is_live, is_drawn) = (err.is_terminal(), io::stdout().is_terminal());
    let environment = environment::variables();
    let code = program(
        std::env::args_os(),
        &environment,
        daemon,
        Patience::default(),
        Streams { out: &mut out, err: &mut err, is_live, is_drawn },
    );
    ExitCode::from(code)
}

/// Where a command writes.
struct Streams<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Whether a person watches `err` on a terminal, where a line can be drawn anew.
    is_live: bool,
    /// Whether `out` is a terminal, where a whole picture can be drawn anew.
    is_drawn: bool,
}

/// `main` over plain values, so that a test can be the terminal.
fn program(
    args: impl IntoIterator<Item = OsString>,
    environment: &[(String, String)],
    daemon: Daemon,
    patience: Patience,
    Streams { out, err, is_live, is_drawn }: Streams,
) -> u8 {
    let parsed = help::grouped(Cli::command()).try_get_matches_from(args);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return explain(&error, out, err),
    };
    let variable = |name: &str| {
        let found = environment.iter().find(|(other, value)| other == name && !value.is_empty());
        found.map(|(_, value)| value.clone())
    };
    let target = Target {
        url: cli.global.url.or_else(|| variable("BEADLE_URL")),
        token: variable("BEADLE_TOKEN"),
        data_dir: data_dir(cli.global.data_dir.as_deref(), environment),
    };
    let can_draw = variable("TERM").is_some_and(|term| term != "dumb");
    let screen = Screen::new(out, err, cli.global.json)
        .with_bar(is_live && can_draw)
        .with_pictures(is_drawn && can_draw);
    let mut context = Context { target, environment, daemon, patience, screen };
    let result = dispatch(&mut context, cli.command, cli.global.data_dir)
        .and_then(|code| context.screen.flush().map(|()| code).map_err(Stop::from));
    match result {
        Ok(code) => code,
        Err(stop) => {
            // What was written before belongs before the reason; a reader that is gone misses nothing.
            let _ = context.screen.flush();
            if !stop.message.is_empty() {
                context.screen.note(&stop.message);
            }
            // A known token that lacks a right has been told which.
            if stop.code == exit::DENIED && !stop.message.starts_with("FORBIDDEN") {
                let advice = context.target.advice();
                context.screen.note(&advice);
            }
            stop.code
        }
    }
}

fn dispatch(context: &mut Context, command: Command, data_dir: Option<PathBuf>) -> Result<u8, Stop> {
    match command {
        Command::Serve(args) => serve::serve(context, &args, data_dir.as_deref()),
        Command::Guard { mark } => {
            (context.daemon.guard)(&mark);
            Ok(exit::OK)
        }
        Command::Config(args) => serve::config(context, &args, data_dir.as_deref()),
        Command::Run(args) => run::run(context, *args),
        Command::Retry(args) => run::retry(context, args),
        Command::Follow(args) => watch::follow(context, &args),
        Command::Wait(args) => watch::wait(context, &args),
        Command::Logs(args) => logs::logs(context, &args),
        Command::Status(args) => status::status(context, &args),
        Command::Open(args) => open::open(context, &args),
        Command::Top(args) => top::top(context, &args),
        Command::Next(args) => upcoming::next(context, &args),
        Command::Why(args) => why::why(context, &args),
        Command::Plan(args) => plan::plan(context, &args),
        Command::Apply(args) => plan::apply(context, &args),
        Command::Import(command) => import::import(context, command),
        Command::Health => status::health(context),
        Command::Jobs(args) => jobs::jobs(context, args),
        Command::Job(args) => jobs::job(context, &args),
        Command::Cancel(args) => jobs::cancel(context, args),
        Command::Update(args) => waiting::update(context, args),
        Command::Hold(args) => waiting::hold(context, &args),
        Command::Release(args) => waiting::release(context, &args),
        Command::Task(command) => tasks::task(context, command),
        Command::Schedule(command) => schedules::schedule(context, command),
        Command::Queue(command) => queues::queue(context, command),
        Command::Incidents(command) => incidents::incidents(context, command),
        Command::Token(command) => tokens::token(context, command),
        Command::Sink(command) => sinks::sink(context, command),
        Command::Events(args) => events::events(context, args),
        Command::Backup(args) => admin::backup(context, &args),
        Command::Restore(args) => admin::restore(context, &args),
        Command::Doctor(args) => admin::doctor(context, &args, data_dir.as_deref()),
        Command::Report(args) => report::report(context, &args),
        Command::Schema => {
            let sdl = (context.daemon.sdl)();
            context.screen.whole("sdl", &sdl)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "beadle", &mut script);
            context.screen.whole("script", &String::from_utf8_lossy(&script))
        }
    }
}

/// Help and version go to stdout; what is wrong goes to stderr.
fn explain(error: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let text = error.render();
    // Nobody is left to tell when these fail.
    let _ = if error.use_stderr() {
        write!(err, "{text}")
    } else {
        write!(out, "{text}").and_then(|()| out.flush())
    };
    if error.use_stderr() { exit::USAGE } else { exit::OK }
}
