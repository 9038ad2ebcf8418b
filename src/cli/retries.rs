//! Owns the flags that say when and how often to try again, the same for a job and a task.

use crate::client::inputs::RetryPolicy;

use super::input;

/// The flags of a retry policy.
#[derive(Debug, clap::Args)]
pub struct RetryFlags {
    /// Tries after the first one failed
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(0..=999))]
    retries: Option<i32>,
    /// Wait before the second try [default: 5s]
    #[arg(long, requires = "retries", value_name = "LENGTH", value_parser = input::length)]
    retry_delay: Option<String>,
    /// No wait between tries is longer [default: 10m]
    #[arg(long, requires = "retries", value_name = "LENGTH", value_parser = input::length)]
    retry_max_delay: Option<String>,
    /// Try again only when a try ended so; may be repeated
    #[arg(long, requires = "retries", value_name = "OUTCOME", value_enum)]
    retry_on: Vec<RetryOn>,
    /// When it exited, try again only after this code; may be repeated
    #[arg(long = "retry-exit-code", requires = "retries", value_name = "CODE",
          value_parser = clap::value_parser!(i32).range(0..=255))]
    exit_codes: Vec<i32>,
    /// When a signal ended it, try again only after this one, such as SIGSEGV; may be repeated
    #[arg(long = "retry-signal", requires = "retries", value_name = "SIGNAL")]
    signals: Vec<String>,
    /// Try again after exit code 75 whatever the other flags say
    #[arg(long, requires = "retries")]
    retry_temporary: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RetryOn {
    /// It exited with a code other than 0
    Exited,
    /// A signal ended it
    Signaled,
    /// It ran out of its time
    TimedOut,
    /// It ran out of memory
    OutOfMemory,
    /// It could not be started
    SpawnFailed,
    /// Its handler panicked
    Panicked,
    /// Its worker died
    Lost,
}

impl RetryOn {
    fn word(self) -> &'static str {
        match self {
            RetryOn::Exited => "EXITED",
            RetryOn::Signaled => "SIGNALED",
            RetryOn::TimedOut => "TIMED_OUT",
            RetryOn::OutOfMemory => "OUT_OF_MEMORY",
            RetryOn::SpawnFailed => "SPAWN_FAILED",
            RetryOn::Panicked => "PANICKED",
            RetryOn::Lost => "LOST",
        }
    }
}

impl RetryFlags {
    /// The policy, when one was asked for.
    pub fn policy(self) -> Option<RetryPolicy> {
        Some(RetryPolicy {
            max_attempts: self.retries?.saturating_add(1),
            initial_delay: self.retry_delay,
            max_delay: self.retry_max_delay,
            retry_on: self.retry_on.into_iter().map(|outcome| outcome.word().to_owned()).collect(),
            exit_codes: self.exit_codes,
            signals: self.signals,
            retries_temporary_failure: self.retry_temporary.then_some(true),
        })
    }
}
