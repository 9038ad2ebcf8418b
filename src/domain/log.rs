//! Owns the words for output: lines, batches of lines, and the cursor that names a position in a log.

use std::fmt;

use async_graphql::{Enum, InputValueError, InputValueResult, Scalar, ScalarType, SimpleObject, Value};

use super::id::AttemptId;
use super::scalars::BigInt;
use crate::base::clock::Timestamp;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum)]
pub enum LogStream {
    /// The command's standard output.
    Stdout,
    /// The command's standard error.
    Stderr,
    /// A remark of the daemon.
    System,
}

impl LogStream {
    /// The number in a stored chunk.
    pub fn number(self) -> u8 {
        match self {
            LogStream::Stdout => 1,
            LogStream::Stderr => 2,
            LogStream::System => 3,
        }
    }

    /// The stream of a number from a stored chunk.
    pub fn from_number(number: u8) -> Option<LogStream> {
        [LogStream::Stdout, LogStream::Stderr, LogStream::System]
            .into_iter()
            .find(|stream| stream.number() == number)
    }
}

/// A position in the log of one attempt: `line` lines lie behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogCursor {
    /// The attempt.
    pub attempt: AttemptId,
    /// Lines behind it, dropped ones included.
    pub line: i64,
}

impl fmt::Display for LogCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.attempt.0, self.line)
    }
}

impl LogCursor {
    /// Reads a cursor that we gave; `None` for anything else.
    pub fn parse(text: &str) -> Option<LogCursor> {
        let (attempt, line) = text.split_once('.')?;
        // Attempt 0 is the beginning of a log that has no attempt yet.
        let attempt = attempt.parse().ok().filter(|id| *id >= 0)?;
        Some(LogCursor { attempt: AttemptId(attempt), line: line.parse().ok().filter(|line| *line >= 0)? })
    }
}

/// Opaque position in an attempt's log.
#[Scalar(name = "LogCursor")]
impl ScalarType for LogCursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => LogCursor::parse(text)
                .ok_or_else(|| InputValueError::custom("not a log cursor that this API gave")),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

/// One line of output, or a piece of one that was too long or not finished in time.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct LogLine {
    /// The position right behind it.
    pub cursor: LogCursor,
    /// When it was read from the command.
    pub at: Timestamp,
    /// Where it came from.
    pub stream: LogStream,
    /// The bytes, shown as UTF-8; what is not UTF-8 becomes U+FFFD.
    pub text: String,
    /// Whether the line goes on in the next piece of the same stream.
    pub is_truncated: bool,
}

/// Lines in order; `after: cursor` continues exactly behind the last one. A gap is counted, never silent.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct LogBatch {
    /// Number of the attempt within its job; 0 when there is none yet.
    pub attempt: i32,
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// Lies behind the last line.
    pub cursor: LogCursor,
    /// Whether more lines can be read at once.
    pub has_more: bool,
    /// Whether the attempt has ended and nothing follows.
    pub is_complete: bool,
    /// Bytes of output between the first and the last line that were not kept.
    pub dropped_bytes: BigInt,
}

/// A line on its way into the store: bytes as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLine {
    /// When it was read.
    pub at: Timestamp,
    /// Where it came from.
    pub stream: LogStream,
    /// The bytes, without the newline.
    pub bytes: Vec<u8>,
    /// Whether a newline ended it.
    pub is_line_end: bool,
}
