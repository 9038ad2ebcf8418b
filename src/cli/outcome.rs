//! Owns the exit codes: what each means, and which one an end of a job or a failed request gets.
//! It never prints.

use std::io;

use crate::client::answers::{Answer, JobNow, Outcome, UserError};
use crate::client::{ClientError, ErrorKind};

/// The exit codes that are not a job's own.
pub mod exit {
    /// Done.
    pub const OK: u8 = 0;
    /// The daemon answered with an error.
    pub const REFUSED: u8 = 1;
    /// The command line or a setting is wrong.
    pub const USAGE: u8 = 2;
    /// The thing named does not exist.
    pub const NOT_FOUND: u8 = 3;
    /// No token, a wrong one, or one without the right.
    pub const DENIED: u8 = 4;
    /// No daemon answers.
    pub const UNREACHABLE: u8 = 5;
    /// The wait was over before the job.
    pub const TIMED_OUT: u8 = 124;
    /// Whoever read our output is gone: as if SIGPIPE had ended us.
    pub const PIPE_CLOSED: u8 = 128 + 13;
}

/// The early end of a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Stop {
    /// The exit code.
    pub code: u8,
    /// For people; empty when there is nothing to say.
    pub message: String,
}

impl Stop {
    /// An end with a reason.
    pub fn new(code: u8, message: impl Into<String>) -> Stop {
        Stop { code, message: message.into() }
    }
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Stop {
        let code = match error.kind {
            ErrorKind::Usage => exit::USAGE,
            ErrorKind::Unreachable => exit::UNREACHABLE,
            ErrorKind::Denied => exit::DENIED,
            ErrorKind::NotFound => exit::NOT_FOUND,
            ErrorKind::Refused => exit::REFUSED,
        };
        Stop::new(code, error.message)
    }
}

impl From<io::Error> for Stop {
    /// A failed write of ours: a closed pipe ends quietly.
    fn from(error: io::Error) -> Stop {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Stop::new(exit::PIPE_CLOSED, "");
        }
        Stop::new(exit::REFUSED, format!("cannot write the output: {error}"))
    }
}

/// What a mutation did, or why it was refused.
pub fn accepted<T>(answer: Answer<Outcome<T>>) -> Result<T, Stop> {
    match answer.value {
        Outcome::Done(value) => Ok(value),
        Outcome::Refused { errors, .. } => Err(refused(&errors)),
    }
}

fn refused(errors: &[UserError]) -> Stop {
    let has = |code: &str| errors.iter().any(|error| error.code == code);
    let lines: Vec<_> = errors.iter().map(line).collect();
    let code = if has("FORBIDDEN") {
        exit::DENIED
    } else if has("NOT_FOUND") {
        exit::NOT_FOUND
    } else {
        exit::REFUSED
    };
    Stop::new(code, lines.join("\n"))
}

fn line(error: &UserError) -> String {
    match error.path.as_deref() {
        Some(path) if !path.is_empty() => {
            format!("{}: {} (at {})", error.code, error.message, path.join("."))
        }
        _ => format!("{}: {}", error.code, error.message),
    }
}

/// The exit code that stands for how a job ended: its own, where it had one.
pub fn of_job(job: &JobNow) -> u8 {
    let failure = job.failure.as_ref();
    match job.state.as_str() {
        "SUCCEEDED" => exit::OK,
        "FAILED" => failure
            .and_then(|failure| {
                own_code(failure.exit_code).or_else(|| signal_code(failure.signal.as_deref()))
            })
            .unwrap_or(exit::REFUSED),
        // Stopped by somebody, or never started: whatever its process said on the way out is not a result.
        _ => exit::REFUSED,
    }
}

/// A job that failed although its process said 0 must not look like a success.
fn own_code(code: Option<i64>) -> Option<u8> {
    code.and_then(|code| u8::try_from(code & 0xff).ok()).filter(|code| *code != 0)
}

fn signal_code(signal: Option<&str>) -> Option<u8> {
    let name = signal?;
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    let number = match SIGNALS.iter().find(|(known, _)| *known == bare) {
        Some((_, number)) => *number,
        None => bare.parse().ok()?,
    };
    u8::try_from(number.checked_add(128)?).ok()
}

const SIGNALS: [(&str, i32); 30] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", 16),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("SYS", libc::SIGSYS),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(state: &str, failure: &serde_json::Value) -> JobNow {
        serde_json::from_value(json!({ "id": "job_1", "state": state, "failure": failure })).unwrap()
    }

    #[test]
    fn a_jobs_end_becomes_its_own_exit_code() {
        for (state, failure, expected) in [
            ("SUCCEEDED", json!(null), 0),
            ("FAILED", json!({ "message": "m", "exitCode": 7 }), 7),
            ("FAILED", json!({ "message": "m", "exitCode": 255 }), 255),
            ("FAILED", json!({ "message": "m", "exitCode": 0 }), 1),
            ("FAILED", json!({ "message": "m", "exitCode": 256 }), 1),
            ("FAILED", json!({ "message": "m", "signal": "SIGKILL" }), 137),
            ("FAILED", json!({ "message": "m", "signal": "SIGTERM" }), 143),
            ("FAILED", json!({ "message": "m", "signal": "SIGSEGV" }), 139),
            ("FAILED", json!({ "message": "m", "signal": "34" }), 162),
            ("FAILED", json!({ "message": "m", "signal": "SIGRTMIN+1" }), 1),
            ("FAILED", json!({ "message": "no such program" }), 1),
            ("FAILED", json!(null), 1),
            ("CANCELLED", json!({ "message": "m", "signal": "SIGTERM" }), 1),
            ("EXPIRED", json!(null), 1),
            ("SKIPPED", json!(null), 1),
        ] {
            assert_eq!(of_job(&job(state, &failure)), expected, "{state} {failure}");
        }
    }

    #[test]
    fn a_failed_request_becomes_its_exit_code() {
        for (kind, expected) in [
            (ErrorKind::Refused, 1),
            (ErrorKind::Usage, 2),
            (ErrorKind::NotFound, 3),
            (ErrorKind::Denied, 4),
            (ErrorKind::Unreachable, 5),
        ] {
            let error = ClientError { kind, message: "m".into(), errors: Vec::new() };
            assert_eq!(Stop::from(error), Stop::new(expected, "m"));
        }
    }

    #[test]
    fn a_refusal_names_the_code_and_the_field() {
        let error = |code: &str, path: Option<&[&str]>| UserError {
            code: code.into(),
            message: "no".into(),
            path: path.map(|path| path.iter().map(|step| (*step).to_owned()).collect()),
        };
        let errors = [error("INVALID", Some(&["run", "task"])), error("CONFLICT", None)];
        assert_eq!(refused(&errors), Stop::new(1, "INVALID: no (at run.task)\nCONFLICT: no"));
        assert_eq!(refused(&[error("NOT_FOUND", None)]).code, 3);
        assert_eq!(refused(&[error("FORBIDDEN", Some(&["run", "task"]))]).code, 4);
    }

    #[test]
    fn a_closed_pipe_ends_quietly() {
        let stop = Stop::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(stop, Stop::new(141, ""));
    }
}
