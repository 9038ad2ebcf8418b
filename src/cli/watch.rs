//! Owns staying with a job until it is final: over lost connections and restarts of the daemon, by cursors.
//! It never changes anything: whoever goes away leaves the job as it is.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::base::clock::{Clock, SystemClock};
use crate::base::settings::show_length;
use crate::client::answers::{JobNow, LogBatch};
use crate::client::operations::{self, Cursors};
use crate::client::{ClientError, ErrorKind};

use super::input::JOB_HELP;
use super::outcome::{self, Stop, exit};
use super::patience::Outage;
use super::{Context, bar, input};

/// `follow`.
#[derive(Debug, clap::Args)]
pub struct FollowArgs {
    #[arg(help = JOB_HELP, value_parser = input::job_id)]
    id: String,
    /// Exit with 124 after this time; the job goes on
    #[arg(long, visible_alias = "wait-timeout", value_name = "LENGTH", value_parser = input::own_length)]
    timeout: Option<Duration>,
}

/// `wait`.
#[derive(Debug, clap::Args)]
pub struct WaitArgs {
    #[arg(help = "The jobs: 1234 or job_1234", required = true, value_name = "ID", value_parser = input::job_id)]
    ids: Vec<String>,
    /// Exit with 124 after this time; the jobs go on
    #[arg(long, visible_alias = "wait-timeout", value_name = "LENGTH", value_parser = input::own_length)]
    timeout: Option<Duration>,
}

/// Whether the command that made a job stays with it.
#[derive(Debug, Default, clap::Args)]
pub struct WatchArgs {
    /// Stream the job's log and exit with the job's code
    #[arg(long, group = "watching")]
    follow: bool,
    /// Wait for the job and exit with its code
    #[arg(long, group = "watching")]
    wait: bool,
    /// Exit with 124 after this time; the job goes on
    #[arg(long, requires = "watching", value_name = "LENGTH", value_parser = input::own_length)]
    wait_timeout: Option<Duration>,
}

impl WatchArgs {
    /// Whether the command stays.
    pub fn stays(&self) -> bool {
        self.follow || self.wait
    }

    /// Stays with the job as the flags say.
    pub fn stay(&self, context: &mut Context, id: &str) -> Result<u8, Stop> {
        let what = if self.follow { What::StateAndLog } else { What::State };
        watch(context, id, what, self.wait_timeout)
    }
}

/// `beadle follow`.
pub fn follow(context: &mut Context, args: &FollowArgs) -> Result<u8, Stop> {
    watch(context, &args.id, What::StateAndLog, args.timeout)
}

/// Waits for all of the jobs; the code is that of the first one, as they were given, that did not succeed.
pub fn wait(context: &mut Context, args: &WaitArgs) -> Result<u8, Stop> {
    let deadline = deadline(args.timeout);
    let mut code = exit::OK;
    for id in &args.ids {
        let ended = watch_until(context, id, What::State, args.timeout, deadline)?;
        code = if code == exit::OK { ended } else { code };
    }
    Ok(code)
}

/// What is streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    State,
    StateAndLog,
}

/// How far one connection came.
enum Leg {
    /// The job is final and everything was shown.
    Arrived,
    /// The connection is gone, or never was.
    Lost(ClientError),
}

/// What is known of the job so far. It outlives every connection.
#[derive(Default)]
struct Journey {
    cursors: Cursors,
    job: Option<JobNow>,
    attempt: i64,
    dropped_bytes: String,
}

fn watch(context: &mut Context, id: &str, what: What, limit: Option<Duration>) -> Result<u8, Stop> {
    watch_until(context, id, what, limit, deadline(limit))
}

fn deadline(limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| SystemClock.monotonic().checked_add(limit))
}

/// Until `deadline`, which lies `limit` behind the beginning of the whole command.
fn watch_until(
    context: &mut Context,
    id: &str,
    what: What,
    limit: Option<Duration>,
    deadline: Option<Instant>,
) -> Result<u8, Stop> {
    let mut journey = Journey::default();
    let mut outage = Outage::new(context.patience, context.patience.stream);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(SystemClock.monotonic()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(journey.timed_out(id, limit.unwrap_or_default()));
        }
        let error = match journey.leg(context, id, what, left, &mut outage)? {
            Leg::Arrived => return Ok(journey.arrive(context)),
            Leg::Lost(error) => error,
        };
        if let Err(stop) = journey.recover(context, error, deadline, &mut outage) {
            // The end is known, only the rest of the log is not: the job's own code is the better answer.
            let is_final = journey.job.as_ref().is_some_and(JobNow::is_final);
            if stop.code == exit::UNREACHABLE && is_final {
                context.screen.note("the connection was lost before the end of the log");
                return Ok(journey.arrive(context));
            }
            return Err(stop);
        }
    }
}

impl Journey {
    /// One connection, from opening to end.
    fn leg(
        &mut self,
        context: &mut Context,
        id: &str,
        what: What,
        left: Option<Duration>,
        outage: &mut Outage,
    ) -> Result<Leg, Stop> {
        // The daemon may be back at another address.
        let opened = context.target.client().and_then(|client| match what {
            What::State => operations::job_wait(&client, id, &self.cursors, left),
            What::StateAndLog => operations::job_follow(&client, id, &self.cursors, left),
        });
        let payloads = match opened {
            Ok(payloads) => payloads,
            Err(error) => return Ok(Leg::Lost(error)),
        };
        for payload in payloads {
            match payload {
                Ok(payload) => {
                    outage.is_over();
                    self.show(context, &payload)?;
                }
                Err(error) => return Ok(Leg::Lost(error)),
            }
            if what == What::State && self.job.as_ref().is_some_and(JobNow::is_final) {
                return Ok(Leg::Arrived);
            }
        }
        if self.job.as_ref().is_some_and(JobNow::is_final) {
            return Ok(Leg::Arrived);
        }
        // A daemon that stops ends its streams politely.
        Ok(Leg::Lost(ClientError::lost("the daemon ended the stream before the job was final")))
    }

    /// Shows a message, and only then moves the cursors: what was not shown comes again.
    fn show(&mut self, context: &mut Context, payload: &Value) -> Result<(), Stop> {
        let progress = operations::job_progress(payload)?;
        context.screen.item(payload)?;
        if let Some(batch) = &progress.log {
            self.show_log(context, batch)?;
        }
        let now = SystemClock.now();
        let job = &progress.job;
        let known = bar::line(job.progress.as_ref(), job.estimated_finish_at.as_deref(), now);
        match known.filter(|_| job.state == "RUNNING") {
            Some(line) => context.screen.bar(&line),
            None => context.screen.clear_bar(),
        }
        self.cursors.after = Some(progress.cursor);
        if progress.log_cursor.is_some() {
            self.cursors.log_after = progress.log_cursor;
        }
        self.job = Some(progress.job);
        Ok(())
    }

    fn show_log(&mut self, context: &mut Context, batch: &LogBatch) -> Result<(), Stop> {
        if batch.attempt != self.attempt {
            if self.attempt != 0 && !context.screen.is_json() {
                context.screen.note(&format!("attempt {}", batch.attempt));
            }
            self.attempt = batch.attempt;
        }
        context.screen.log(batch)?;
        self.dropped_bytes.clone_from(&batch.dropped_bytes);
        Ok(())
    }

    /// After a failed connection: waits for the next one, or gives up.
    fn recover(
        &mut self,
        context: &mut Context,
        error: ClientError,
        deadline: Option<Instant>,
        outage: &mut Outage,
    ) -> Result<(), Stop> {
        if error.has_code("CURSOR_EXPIRED") && self.cursors.after.take().is_some() {
            // The feed was trimmed behind us. The state comes anew, the log goes on where it was.
            return Ok(());
        }
        let is_deadline = deadline.is_some_and(|deadline| deadline <= SystemClock.monotonic());
        if is_deadline && error.kind == ErrorKind::Unreachable {
            // We cut the connection ourselves.
            return Ok(());
        }
        if error.kind == ErrorKind::Unreachable || error.has_code("SLOW_CONSUMER") {
            return outage.bear(&mut context.screen, error, deadline);
        }
        Err(error.into())
    }

    fn timed_out(&self, id: &str, limit: Duration) -> Stop {
        let state = self.job.as_ref().map_or("in an unknown state", |job| job.state.as_str());
        Stop::new(exit::TIMED_OUT, format!("{id} is {state} after {}; it goes on", show_length(limit)))
    }

    /// The job is final: says what a code cannot say.
    fn arrive(&self, context: &mut Context) -> u8 {
        let Some(job) = &self.job else {
            return exit::REFUSED;
        };
        if !matches!(self.dropped_bytes.as_str(), "" | "0") {
            context.screen.note(&format!("{} bytes of output were dropped", self.dropped_bytes));
        }
        if job.state != "SUCCEEDED" {
            let reason =
                job.failure.as_ref().map_or(String::new(), |failure| format!(": {}", failure.message));
            context.screen.note(&format!("{} {}{reason}", job.id, job.state));
        }
        outcome::of_job(job)
    }
}
