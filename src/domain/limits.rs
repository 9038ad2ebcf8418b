//! Owns every bound of the product that is not a setting. Each has a test that reaches it.

/// Jobs in one `jobEnqueueMany`.
pub const ENQUEUE_MANY_MAX: usize = 1_000;
/// Jobs that one job may wait for.
pub const DEPENDENCIES_MAX: usize = 1_000;
/// Jobs that one bulk mutation may change.
pub const BULK_MAX: i32 = 100_000;
/// Rows in one page of any list.
pub const PAGE_MAX: i32 = 200;
/// Arguments of one command.
pub const ARGV_MAX: usize = 1_000;
/// Bytes of one command, all arguments or the script together.
pub const COMMAND_BYTES_MAX: usize = 128 * 1024 - 1;
/// Handlers of one program.
pub const HANDLERS_MAX: usize = 1_000;
/// Environment variables of one command.
pub const ENVIRONMENT_MAX: usize = 200;
/// Bytes of a name (task, schedule, queue, label key).
pub const NAME_BYTES_MAX: usize = 200;
/// Bytes of a short free text (reason, label value, key).
pub const TEXT_BYTES_MAX: usize = 1_000;
/// Bytes of a description.
pub const DESCRIPTION_BYTES_MAX: usize = 10_000;
/// Labels on one job.
pub const LABELS_MAX: usize = 50;
/// Labels that a job may ask of a worker.
pub const RUNS_ON_MAX: usize = 10;
/// Different lists of such labels that one claim looks at, of those that its worker fits.
pub const SELECTORS_MAX: usize = 1_000;
/// Grants of one token.
pub const GRANTS_MAX: usize = 20;
/// Globs of one grant.
pub const GLOBS_MAX: usize = 100;
/// Tokens that are valid at once.
pub const TOKENS_MAX: i64 = 1_000;
/// Values in one list of a filter.
pub const FILTER_VALUES_MAX: usize = 200;
/// Milliseconds from SIGTERM to SIGKILL when nobody says otherwise.
pub const KILL_GRACE_MILLIS: i64 = 10_000;
/// Tries of one job.
pub const ATTEMPTS_MAX: i32 = 1_000;
/// Priority lies in `-PRIORITY_MAX..=PRIORITY_MAX`.
pub const PRIORITY_MAX: i32 = 100;
/// The longest length of time that a caller may give: 366 days, in milliseconds.
pub const SPAN_MILLIS_MAX: i64 = 366 * 86_400 * 1_000;
/// Milliseconds of waiting that raise a job's effective priority by one step.
pub const AGEING_STEP_MILLIS: i64 = 60_000;
/// Due times shown by a preview.
pub const PREVIEW_MAX: i32 = 200;
/// Jobs made for missed ticks under `RUN_ALL`.
pub const CATCH_UP_MAX: usize = 100;
/// Counts under a filter stop here.
pub const COUNT_CAP: i64 = 10_000;
/// Jobs that are read whole to be put into an order that no index has them in.
pub const JOBS_GATHERED_MAX: i64 = 10_000;
/// Jobs that one page of a list looks at in a row, and one count; a fifth of them where an index leads to each.
pub const JOBS_WALKED_MAX: i64 = 50_000;
/// Lines in one page of a log.
pub const LOG_LINES_MAX: i32 = 1_000;
/// Bytes in one page of a log.
pub const LOG_PAGE_BYTES_MAX: usize = 512 * 1024;
/// Bytes of all pages of logs in one answer.
pub const LOG_ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of it that are pushed at once to those who follow.
pub const LOG_PUSH_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the text that lines of a log are searched for.
pub const LOG_GREP_BYTES_MAX: usize = 200;
/// Chunks of a log, and bytes in them, that one page with a filter looks at: it ends there, with what was found.
pub const LOG_SCAN_CHUNKS_MAX: usize = 4_096;
/// See `LOG_SCAN_CHUNKS_MAX`.
pub const LOG_SCAN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How many times as much a search of the newest lines looks at, for it cannot be continued.
pub const LOG_SCAN_LAST_FACTOR: usize = 4;
/// Events read at once by a subscription.
pub const EVENT_PAGE_MAX: usize = 200;
/// Bytes of them, roughly; the event that reaches it is the last one of its page.
pub const EVENT_PAGE_BYTES_MAX: usize = 128 * 1024;
/// Bytes of the error line that a failure keeps.
pub const ERROR_LINE_BYTES_MAX: usize = 500;
/// Successes of a task whose median is the estimate for the next one.
pub const ESTIMATE_SUCCESSES: i64 = 20;
/// The newest jobs of a task among which its successes are looked for.
pub const ESTIMATE_JOBS_MAX: i64 = 200;
/// Milliseconds between two pushes of what a running job reports.
pub const PROGRESS_PUSH_MILLIS: u64 = 250;
/// Bytes of one line of the report channel; a longer one is ignored.
pub const REPORT_LINE_BYTES_MAX: usize = 96 * 1024;
/// Bytes of a job's structured result, everything that was reported merged.
pub const REPORT_OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Secrets that one attempt may ask to be hidden, beside those of its command's environment.
pub const MASKS_MAX: usize = 32;
/// Bytes of the shortest secret that is hidden: shorter ones stand in any text.
pub const MASK_BYTES_MIN: usize = 4;
/// A longer secret is refused, and one of the environment hidden in pieces: every byte of output would be compared
/// with all of it.
pub const MASK_BYTES_MAX: usize = 8 * 1024;
/// Starts that a queue's rate may allow in its period: each is a row while the period lasts.
pub const RATE_STARTS_MAX: i32 = 100_000;
/// The longest period of a queue's rate: a day, in milliseconds.
pub const RATE_PERIOD_MILLIS_MAX: i64 = 86_400_000;
/// Jobs before a waiting one are counted up to here.
pub const AHEAD_MAX: i64 = 1_000;
/// Jobs that a blocker names.
pub const BLOCKING_JOBS_MAX: i64 = 20;
/// With every extension that it asks for, an attempt runs at most this many times its timeout, unless its job or task
/// says how long it may run at most.
pub const TIMEOUT_FACTOR_MAX: i64 = 10;
/// Bytes of the JSON text of a task's parameter schema.
pub const PARAMETERS_SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Levels of a parameter schema, with what its references lead to.
pub const PARAMETERS_SCHEMA_DEPTH_MAX: usize = 100;
/// Values in a parameter schema, with each reference counted as what it leads to.
pub const PARAMETERS_SCHEMA_PARTS_MAX: usize = 10_000;
/// Patterns in a parameter schema.
pub const PARAMETERS_PATTERNS_MAX: usize = 64;
/// Bytes of the JSON text of a job's parameters.
pub const PARAMETERS_BYTES_MAX: usize = 64 * 1024;
/// Names of an attempt's variables that are kept.
pub const RAN_NAMES_MAX: usize = 200;
/// Bytes of each that are kept.
pub const RAN_NAME_BYTES_MAX: usize = 200;
/// Ended jobs that the statistics of a task look at.
pub const STATISTICS_JOBS_MAX: i64 = 100;
/// Characters of an incident's title.
pub const INCIDENT_TITLE_CHARS_MAX: usize = 200;
/// Incidents that are told apart; with so many, a failure of a new kind is counted by its task and outcome alone.
pub const INCIDENTS_MAX: i64 = 10_000;
/// The newest failures of an open incident whose jobs are kept longer than retention says.
pub const INCIDENT_JOBS_KEPT: i64 = 20;
/// Days for which it is known how often an incident happened in each minute.
pub const INCIDENT_DAYS_MAX: i64 = 30;
/// Bars of an incident's histogram.
pub const INCIDENT_BUCKETS_MAX: i32 = 200;
/// Events that the feed keeps longer than retention says for a sink that has not been told of them.
pub const SINK_BACKLOG_MAX: i64 = 1_000_000;
/// Dead letters of one sink; the oldest ones make room.
pub const DEAD_LETTERS_MAX: i64 = 10_000;
