//! Owns `logs`: what a job wrote, so far or as it comes.

use serde_json::{Value, json};

use crate::client::answers::{Answer, LogBatch};
use crate::client::operations::{self, LogPart, PageOf};
use crate::client::{Client, ClientError, ErrorKind};

use super::input::JOB_HELP;
use super::outcome::{Stop, exit};
use super::patience::Outage;
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
    /// Go on until nothing more can come
    #[arg(long)]
    follow: bool,
    /// Of this attempt [default: the current one, else the last]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..))]
    attempt: Option<i32>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Stream {
    Stdout,
    Stderr,
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
    let streams: Vec<String> = args
        .stream
        .map(|stream| match stream {
            Stream::Stdout => "STDOUT".to_owned(),
            Stream::Stderr => "STDERR".to_owned(),
        })
        .into_iter()
        .collect();
    let mut part = LogPart { streams, ..LogPart::default() };
    if args.follow && args.tail.is_none() {
        return follow(context, args, part);
    }
    let client = context.client()?;
    let source = match args.attempt {
        Some(number) => Source::Attempt(attempt_id(&client, &args.id, number)?),
        None => Source::Job(args.id.clone()),
    };
    match args.tail {
        Some(lines) => part.last = usize::try_from(lines).ok(),
        None => part.first = Some(LOG_PAGE),
    }
    let end = so_far(context, &client, &source, part.clone(), args.follow)?;
    if args.follow && !end.is_complete {
        return follow(
            context,
            args,
            LogPart { after: Some(end.cursor), streams: part.streams, ..LogPart::default() },
        );
    }
    Ok(exit::OK)
}

/// Everything that is there, page by page. With `--json` it is one document, or one line when more follows.
fn so_far(
    context: &mut Context,
    client: &Client,
    source: &Source,
    mut part: LogPart,
    is_followed: bool,
) -> Result<LogBatch, Stop> {
    let mut all: Option<Value> = None;
    loop {
        let answer = source.read(client, &part)?;
        context.screen.log(&answer.value)?;
        let batch = answer.value;
        if context.screen.is_json() {
            all = Some(joined(all, answer.data, source.path()));
        }
        // The newest lines are one page: what comes after them is the end.
        if batch.has_more && part.first.is_some() {
            part.after = Some(batch.cursor);
            continue;
        }
        if let Some(data) = all {
            if is_followed {
                context.screen.item(&data)?;
            } else {
                context.screen.data(&data)?;
            }
        }
        if batch.dropped_bytes != "0" {
            context.screen.note(&format!("{} bytes of output were dropped", batch.dropped_bytes));
        }
        return Ok(batch);
    }
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

/// The newer answer with the lines of both.
fn joined(older: Option<Value>, mut newer: Value, path: &str) -> Value {
    let before = older.and_then(|mut data| data.pointer_mut(path).map(|batch| batch["lines"].take()));
    if let (Some(Value::Array(mut lines)), Some(batch)) = (before, newer.pointer_mut(path)) {
        if let Value::Array(more) = batch["lines"].take() {
            lines.extend(more);
        }
        batch["lines"] = json!(lines);
    }
    newer
}

/// The id of a job's attempt, by its number.
fn attempt_id(client: &Client, id: &str, number: i32) -> Result<String, Stop> {
    let mut page = PageOf { first: ATTEMPT_PAGE, after: None, filter: () };
    loop {
        let attempts = operations::job_attempts(client, id, &page)?.value;
        if let Some(attempt) = attempts.nodes.iter().find(|attempt| attempt.number == i64::from(number)) {
            return Ok(attempt.id.clone());
        }
        if attempts.nodes.is_empty() || !attempts.page_info.has_next_page {
            return Err(ClientError::not_found(&format!("attempt {number} of {id}")).into());
        }
        page.after = attempts.page_info.end_cursor;
    }
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
