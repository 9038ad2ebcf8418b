//! Owns the words for output: lines, batches of lines, the cursor that names a position in a log, and which lines
//! are wanted.

use std::fmt;

use aho_corasick::AhoCorasick;
use async_graphql::{Enum, InputValueError, InputValueResult, Scalar, ScalarType, SimpleObject, Value};

use super::error_line;
use super::id::AttemptId;
use super::limits::LOG_GREP_BYTES_MAX;
use super::rejection::{Rejection, check_text};
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

    /// The word in the API.
    pub fn word(self) -> &'static str {
        match self {
            LogStream::Stdout => "STDOUT",
            LogStream::Stderr => "STDERR",
            LogStream::System => "SYSTEM",
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
    /// Behind every line of the attempt, also those that are still to come.
    pub const fn behind_all(attempt: AttemptId) -> LogCursor {
        LogCursor { attempt, line: i64::MAX }
    }

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
    /// Bytes of output that stood before it, behind the last line shown, and were not kept.
    pub dropped_before: BigInt,
}

/// Which lines of a log are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    streams: Vec<LogStream>,
    text: Option<Text>,
    kind: LineKind,
}

/// Which lines are wanted by what they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LineKind {
    /// All.
    #[default]
    Any,
    /// Those that say by themselves that something failed.
    Error,
}

/// A text to be found in a line; ASCII letters in any case.
#[derive(Debug, Clone)]
struct Text {
    lower: String,
    finder: AhoCorasick,
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.lower == other.lower
    }
}

impl Eq for Text {}

impl Text {
    fn new(text: &str) -> Text {
        let lower = text.to_ascii_lowercase();
        let finder = AhoCorasick::builder().ascii_case_insensitive(true).build([&lower]);
        Text { lower, finder: finder.expect("a short text makes a small automaton") }
    }

    /// Whether the bytes hold it. What is shown for bytes that are not UTF-8 is only there once it is shown.
    fn is_in(&self, bytes: &[u8]) -> bool {
        if !self.is_of_bytes() {
            return String::from_utf8_lossy(bytes).to_ascii_lowercase().contains(&self.lower);
        }
        self.finder.is_match(bytes)
    }

    fn is_of_bytes(&self) -> bool {
        !self.lower.contains(char::REPLACEMENT_CHARACTER)
    }
}

impl LogFilter {
    /// Lines of these streams (none means all) that hold `grep`. A plain text, so that nobody can send a pattern
    /// that takes long to match.
    pub fn new(streams: Vec<LogStream>, grep: Option<String>) -> Result<LogFilter, Rejection> {
        if let Some(grep) = &grep {
            check_text("grep", grep, LOG_GREP_BYTES_MAX)?;
            if grep.is_empty() {
                return Err(Rejection::invalid("grep", "must not be empty"));
            }
        }
        let text = grep.map(|grep| Text::new(&grep));
        Ok(LogFilter { streams, text, kind: LineKind::Any })
    }

    /// The same, of lines of this kind only.
    #[must_use]
    pub fn of_kind(mut self, kind: LineKind) -> LogFilter {
        self.kind = kind;
        self
    }

    /// Whether every line is wanted.
    pub fn is_all(&self) -> bool {
        self.streams.is_empty() && self.text.is_none() && self.kind == LineKind::Any
    }

    /// Whether a line is wanted. In time that grows with its length alone.
    pub fn takes(&self, stream: LogStream, line: &[u8]) -> bool {
        (self.streams.is_empty() || self.streams.contains(&stream))
            && self.text.as_ref().is_none_or(|text| text.is_in(line))
            && (self.kind == LineKind::Any
                || (stream != LogStream::System && error_line::looks_like_error(line)))
    }

    /// Whether a line among these bytes can be wanted: they hold whole lines and whatever stands between them.
    pub fn can_take_of(&self, lines: &[u8]) -> bool {
        self.text.as_ref().is_none_or(|text| !text.is_of_bytes() || text.is_in(lines))
    }
}

/// Lines in order; `after: cursor` continues exactly behind the last one. A gap is counted, never silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogBatch {
    /// Number of the attempt within its job; 0 when there is none yet.
    pub attempt: i32,
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// Lies behind the last line.
    pub cursor: LogCursor,
    /// Whether more lines can be read at once. A page with a filter may end with few lines or none because enough
    /// was looked at; with `last` it says that older lines were not looked at.
    pub has_more: bool,
    /// Whether the attempt has ended and nothing follows.
    pub is_complete: bool,
    /// Bytes of output between the first and the last line that were not kept.
    pub dropped_bytes: BigInt,
    /// Whether the log was forgotten to make room for newer ones: then `droppedBytes` is all of it.
    pub is_forgotten: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_anywhere_and_in_any_case() {
        for (grep, line, is_found) in [
            ("error", "an Error: no", true),
            ("ERROR", "terrors", true),
            ("error", "err or", false),
            (".*", "any", false),
            (".*", "a.*b", true),
            ("\u{e9}", "caf\u{e9}", true),
            // Only ASCII has two cases here.
            ("\u{c9}", "caf\u{e9}", false),
            (" ", "a b", true),
            ("x", "", false),
        ] {
            let filter = LogFilter::new(Vec::new(), Some(grep.to_owned())).unwrap();
            assert_eq!(filter.takes(LogStream::Stdout, line.as_bytes()), is_found, "{grep:?} in {line:?}");
            assert!(filter.can_take_of(line.as_bytes()) || !is_found, "{grep:?} in {line:?}");
        }
        let all = LogFilter::default();
        assert!(all.takes(LogStream::Stdout, b"anything") && all.can_take_of(b"anything") && all.is_all());
    }

    #[test]
    fn a_line_is_searched_as_it_is_shown() {
        let finds = |grep: &str, line: &[u8]| {
            LogFilter::new(Vec::new(), Some(grep.to_owned())).unwrap().takes(LogStream::Stdout, line)
        };
        assert!(finds("\u{fffd}b", b"a\xffb") && !finds("\u{fffd}b", b"ab"));
        assert!(finds("\u{e9}", b"\xf0\x9f\xc3\xa9"), "behind a character that was cut off");
        let filter = LogFilter::new(Vec::new(), Some("\u{fffd}".to_owned())).unwrap();
        assert!(filter.can_take_of(b"\xff"));
    }

    #[test]
    fn lines_that_look_like_an_error_are_those_of_the_command() {
        let errors = LogFilter::default().of_kind(LineKind::Error);
        assert!(!errors.is_all() && errors.can_take_of(b"anything"));
        assert!(errors.takes(LogStream::Stdout, b"error: no such host"));
        assert!(!errors.takes(LogStream::Stderr, b"0 errors"));
        assert!(!errors.takes(LogStream::System, b"error: no such host"));
        let both = LogFilter::new(vec![LogStream::Stderr], Some("HOST".to_owned()))
            .unwrap()
            .of_kind(LineKind::Error);
        assert!(both.takes(LogStream::Stderr, b"error: no such host"));
        assert!(!both.takes(LogStream::Stderr, b"error: no such file"));
        assert!(!both.takes(LogStream::Stdout, b"error: no such host"));
    }

    #[test]
    fn a_text_to_search_for_has_a_length() {
        let filter = |grep: &str| LogFilter::new(Vec::new(), Some(grep.to_owned()));
        assert!(filter(&"x".repeat(LOG_GREP_BYTES_MAX)).is_ok());
        for bad in ["", "a\0b", &"x".repeat(LOG_GREP_BYTES_MAX + 1)] {
            assert!(filter(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn streams_are_all_or_those_that_are_named() {
        assert!(LogFilter::default().takes(LogStream::System, b""));
        let errors = LogFilter::new(vec![LogStream::Stderr], None).unwrap();
        assert!(
            errors.takes(LogStream::Stderr, b"") && !errors.takes(LogStream::Stdout, b"") && !errors.is_all()
        );
    }
}
