//! Owns `logs`: what a job wrote, so far, as it comes, or whole and byte by byte.

use std::fs::File;
use std::path::PathBuf;

use serde_json::Value;

use crate::client::answers::{Answer, LogBatch};
use crate::client::operations::{self, LogPart, PageOf};
use crate::client::{Client, ClientError, ErrorKind};

use super::input::JOB_HELP;
use super::outcome::{Stop, exit};
use super::patience::{Outage, persistently};
use super::{Context, input};

/// Lines of one request.
const LOG_PAGE: usize = 500;
/// Lines that `--tail` may ask for.
const TAIL_MAX: u64 = 1_000;
/// Attempts looked at in one request.
const ATTEMPT_PAGE: usize = 100;

/// `beadle logs`.
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    #[arg(help = JOB_HELP, value_parser = input::job_id)]
    id: String,
    /// Only the newest lines
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(u64).range(1..=TAIL_MAX))]
    tail: Option<u64>,
    /// Only this stream
    #[arg(long, value_enum)]
    stream: Option<Stream>,
    /// Only lines that hold this text, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// Go on until nothing more can come
    #[arg(long)]
    follow: bool,
    /// The whole log byte by byte, both streams to stdout
    #[arg(long, conflicts_with_all = ["tail", "grep", "follow"])]
    raw: bool,
    /// The same into a file, which must not exist
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["tail", "grep", "follow", "raw"])]
    output: Option<PathBuf>,
    /// Of this attempt [default: the current one, else the last]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..))]
    attempt: Option<i32>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn word(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// Whose log is read.
enum Source {
    /// Of the current, else the last attempt of a job.
    Job(String),
    /// Of one attempt.
    Attempt(String),
}

/// Prints a log.
pub fn logs(context: &mut Context, args: &LogsArgs) -> Result<u8, Stop> {
    if args.raw || args.output.is_some() {
        return download(context, args);
    }
    let streams = args.stream.map(|stream| stream.word().to_uppercase()).into_iter().collect();
    let (first, last) = match args.tail {
        Some(lines) => (None, usize::try_from(lines).ok()),
        None => (Some(LOG_PAGE), None),
    };
    let part = LogPart { streams, grep: args.grep.clone(), first, last, ..LogPart::default() };
    if args.follow && args.attempt.is_some() && args.tail.is_none() {
        // From its beginning, and one that has not begun yet is waited for.
        return follow(context, args, LogPart { first: None, ..part });
    }
    let end = so_far(context, args, part.clone())?;
    if args.follow {
        // Also behind the end of an attempt: another one may come.
        return follow(context, args, LogPart { after: Some(end.cursor), first: None, last: None, ..part });
    }
    Ok(exit::OK)
}

/// Everything that is there, page by page. With `--json` it is one document, or one line when more follows.
fn so_far(context: &mut Context, args: &LogsArgs, mut part: LogPart) -> Result<LogBatch, Stop> {
    let id = &args.id;
    let mut source = match args.attempt {
        Some(number) => {
            read(context, args, |client| attempt_id(client, id, i64::from(number)).map(Source::Attempt))?
        }
        None => Source::Job(id.clone()),
    };
    let path = source.path();
    let mut all: Option<Value> = None;
    loop {
        let answer = read(context, args, |client| source.read(client, &part))?;
        context.screen.log(&answer.value)?;
        let batch = answer.value;
        if context.screen.is_json() {
            all = Some(joined(all, path, answer.data, source.path()));
        }
        // The newest lines are one page: what comes after them is the end.
        if batch.has_more && part.first.is_some() {
            if matches!(source, Source::Job(_)) {
                // The pages belong to one attempt, also when the next one begins between them.
                source = read(context, args, |client| attempt_id(client, id, batch.attempt))
                    .map(Source::Attempt)?;
            }
            part.after = Some(batch.cursor);
            continue;
        }
        if let Some(data) = all {
            if args.follow {
                context.screen.item(&data)?;
            } else {
                context.screen.data(&data)?;
            }
        }
        if batch.is_forgotten {
            let bytes = &batch.dropped_bytes;
            context.screen.note(&format!("the log of {bytes} bytes was forgotten to make room"));
        } else if batch.has_more {
            context.screen.note("older lines were not searched: leave out --tail");
        }
        return Ok(batch);
    }
}

/// Who follows a log bears that the daemon is away; who only looks is told.
fn read<T>(
    context: &mut Context,
    args: &LogsArgs,
    ask: impl Fn(&Client) -> Result<T, ClientError>,
) -> Result<T, Stop> {
    if args.follow { persistently(context, ask) } else { Ok(ask(&context.client()?)?) }
}

impl Source {
    fn read(&self, client: &Client, part: &LogPart) -> Result<Answer<LogBatch>, ClientError> {
        match self {
            Source::Job(id) => operations::job_log(client, id, part),
            Source::Attempt(id) => operations::attempt_log(client, id, part),
        }
    }

    /// Where the batch is in the data.
    fn path(&self) -> &'static str {
        match self {
            Source::Job(_) => "/job/log",
            Source::Attempt(_) => "/node/log",
        }
    }
}

/// The older answer with the newer batch, and the lines of both.
fn joined(older: Option<Value>, path: &str, mut newer: Value, newer_path: &str) -> Value {
    let Some(mut whole) = older else { return newer };
    if let (Some(batch), Some(next)) = (whole.pointer_mut(path), newer.pointer_mut(newer_path)) {
        let mut lines = batch["lines"].take();
        if let (Value::Array(lines), Value::Array(more)) = (&mut lines, next["lines"].take()) {
            lines.extend(more);
        }
        *batch = next.take();
        batch["lines"] = lines;
    }
    whole
}

/// The id of a job's attempt, by its number; of its last one without.
fn attempt_id(client: &Client, id: &str, number: impl Into<Option<i64>>) -> Result<String, ClientError> {
    let number = number.into();
    let mut page = PageOf { first: ATTEMPT_PAGE, after: None, filter: () };
    loop {
        let attempts = operations::job_attempts(client, id, &page)?.value;
        let is_last = attempts.nodes.is_empty() || !attempts.page_info.has_next_page;
        let found = match number {
            Some(number) => attempts.nodes.iter().find(|attempt| attempt.number == number),
            None => attempts.nodes.last().filter(|_| is_last),
        };
        match (found, number) {
            (Some(attempt), _) => return Ok(attempt.id.clone()),
            (None, Some(number)) if is_last => {
                return Err(ClientError::not_found(&format!("attempt {number} of {id}")));
            }
            (None, None) if is_last => {
                return Err(ClientError::not_found(&format!("an attempt of {id}")));
            }
            _ => page.after = attempts.page_info.end_cursor,
        }
    }
}

/// The whole log as one text. What breaks off is an error, for half a log looks like a whole one.
fn download(context: &mut Context, args: &LogsArgs) -> Result<u8, Stop> {
    let client = context.client()?;
    let attempt = attempt_id(&client, &args.id, args.attempt.map(i64::from))?;
    let mut text = client.download(&attempt, args.stream.map(Stream::word))?;
    let broken = |error: &std::io::Error| ClientError::lost(&format!("the log is not whole: {error}"));
    match &args.output {
        None => match context.screen.copy(&mut text) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(broken(&error).into()),
            copied => drop(copied?),
        },
        Some(path) => {
            let cannot = |error: &std::io::Error| {
                Stop::new(exit::REFUSED, format!("{} cannot be written: {error}", path.display()))
            };
            let mut file = File::create_new(path).map_err(|error| cannot(&error))?;
            if let Err(error) = std::io::copy(&mut text, &mut file).and_then(|_| file.sync_all()) {
                // We made it, and it would be taken for the whole.
                let _ = std::fs::remove_file(path);
                return Err(broken(&error).into());
            }
            context.screen.note(&format!("{attempt} is in {}", path.display()));
        }
    }
    Ok(exit::OK)
}

/// The log as it comes, over lost connections.
fn follow(context: &mut Context, args: &LogsArgs, mut part: LogPart) -> Result<u8, Stop> {
    let mut outage = Outage::new(context.patience, context.patience.stream);
    loop {
        let opened = context
            .target
            .client()
            .and_then(|client| operations::job_log_follow(&client, &args.id, args.attempt, &part));
        let mut lost = None;
        match opened {
            Err(error) => lost = Some(error),
            Ok(payloads) => {
                for payload in payloads {
                    match payload {
                        Ok(payload) => {
                            outage.is_over();
                            let batch = operations::log_batch(&payload)?;
                            context.screen.item(&payload)?;
                            context.screen.log(&batch)?;
                            part.after = Some(batch.cursor);
                        }
                        Err(error) => lost = Some(error),
                    }
                }
            }
        }
        match lost {
            None => return Ok(exit::OK),
            Some(error) if error.kind == ErrorKind::Unreachable || error.has_code("SLOW_CONSUMER") => {
                outage.bear(&mut context.screen, error, None)?;
            }
            Some(error) => return Err(error.into()),
        }
    }
}
