//! Owns which line of an attempt's output tells why it failed. It hears the output as it is written and remembers a few
//! lines of it, never more. It reads English: what it does not know counts as any other line.

mod words;

use memchr::memrchr;

use self::words::has_error_word;
use super::limits::ERROR_LINE_BYTES_MAX;
use super::log::LogStream;

/// What a line is worth as the reason of a failure; of the same worth the last one tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It could be anything.
    Plain,
    /// It says that something failed, and not what: `make: *** [all] Error 2`.
    Summary,
    /// It says what failed.
    Reason,
}

/// Picks the error line while the output is heard.
#[derive(Debug, Default)]
pub struct ErrorLine {
    streams: [Heard; 2],
}

/// What is remembered of one stream.
#[derive(Debug, Default)]
struct Heard {
    /// The beginning of the line that is being written.
    line: Vec<u8>,
    /// The last line that is not empty.
    last: Vec<u8>,
    summary: Option<String>,
    reason: Option<String>,
    /// The worth of a line that ended in a colon: what follows belongs to it.
    unfinished: Option<Worth>,
    /// Python lists the calls; the first line that is not indented is the exception.
    is_in_traceback: bool,
}

impl ErrorLine {
    /// Hears a line, or a piece of one.
    pub fn hear(&mut self, stream: LogStream, bytes: &[u8], is_line_end: bool) {
        let at = match stream {
            LogStream::Stderr => 0,
            LogStream::Stdout => 1,
            LogStream::System => return,
        };
        self.streams[at].hear(bytes, is_line_end);
    }

    /// The line: of the error output before the other one, a reason before a summary before the last line that is not
    /// empty.
    pub fn pick(mut self) -> Option<String> {
        for heard in &mut self.streams {
            heard.end_line();
            let last = || Some(shown(&heard.last)).filter(|last| !last.is_empty());
            if let Some(line) = heard.reason.take().or_else(|| heard.summary.take()).or_else(last) {
                return Some(line);
            }
        }
        None
    }
}

impl Heard {
    fn hear(&mut self, bytes: &[u8], is_line_end: bool) {
        // A progress bar draws over its own line: what stands there last counts.
        let bytes = match memrchr(b'\r', bytes.trim_ascii_end()) {
            Some(at) => {
                self.line.clear();
                &bytes[at + 1..]
            }
            None => bytes,
        };
        if self.line.last() == Some(&b'\r') && !bytes.is_empty() {
            self.line.clear();
        }
        let room = ERROR_LINE_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if is_line_end {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        if self.line.trim_ascii().is_empty() {
            self.line.clear();
            return;
        }
        let is_exception = self.is_in_traceback && !self.line[0].is_ascii_whitespace();
        if is_exception {
            self.is_in_traceback = false;
        }
        if self.line.starts_with(b"Traceback (most recent call last)") {
            self.is_in_traceback = true;
        }
        if let Some(worth) = self.unfinished.take() {
            let tail = shown(&self.line);
            if let Some(line) = self.slot(worth) {
                line.push(' ');
                line.push_str(&tail);
                cut(line);
            }
        } else {
            let worth = if is_exception { Worth::Reason } else { worth(&self.line) };
            if worth > Worth::Plain {
                let line = shown(&self.line);
                self.unfinished = line.ends_with(':').then_some(worth);
                match worth {
                    Worth::Reason => self.reason = Some(line),
                    _ => self.summary = Some(line),
                }
            }
        }
        std::mem::swap(&mut self.line, &mut self.last);
        self.line.clear();
    }

    fn slot(&mut self, worth: Worth) -> Option<&mut String> {
        if worth == Worth::Reason { self.reason.as_mut() } else { self.summary.as_mut() }
    }
}

/// Whether a line says by itself that something failed.
pub fn looks_like_error(line: &[u8]) -> bool {
    worth(line) > Worth::Plain
}

/// A line as a failure shows it: without colours, not too long, and nothing in it that a store refuses.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(ERROR_LINE_BYTES_MAX)]);
    let mut line = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest),
            // PostgreSQL keeps no U+0000 in text.
            '\0' => line.push('\u{fffd}'),
            _ => line.push(c),
        }
    }
    let mut line = line.trim().to_owned();
    cut(&mut line);
    line
}

fn cut(line: &mut String) {
    let mut end = line.len().min(ERROR_LINE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
}

/// Goes behind a terminal's control sequence, whose escape was just read.
pub(super) fn skip_escape(rest: &mut std::str::Chars<'_>) {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some('[') => {
            for c in ahead.by_ref() {
                if ('\u{40}'..='\u{7e}').contains(&c) {
                    break;
                }
            }
        }
        // A title or a link; it ends with a bell or an escape and a backslash.
        Some(']') => {
            while let Some(c) = ahead.next() {
                if c == '\u{7}' {
                    break;
                }
                if c == '\u{1b}' {
                    ahead.next();
                    break;
                }
            }
        }
        _ => {}
    }
    *rest = ahead;
}

/// Beginnings of lines that speak of an error and are not the reason: frames, source, advice, lesser levels.
const ASIDE: [&str; 33] = [
    "at ",
    "file \"",
    "from ",
    "raise ",
    "throw ",
    "traceback (most",
    "during handling of",
    "the above exception",
    "note:",
    "hint:",
    "help:",
    "warning",
    "warn ",
    "warn:",
    "info ",
    "info:",
    "debug ",
    "debug:",
    "notice:",
    "= note",
    "= help",
    "for more information",
    "goroutine ",
    "... ",
    "a complete log of this run",
    "usage:",
    "run with",
    "see ",
    "try ",
    "#",
    "please ",
    "[info]",
    "[warn",
];

/// What only says that something failed.
const SUMMARIES: [&str; 42] = [
    "*** [",
    "could not compile",
    "aborting due to",
    "previous error",
    "exit status ",
    "exited with",
    "returned non-zero",
    "non-zero exit",
    "exit code",
    "elifecycle",
    "failures=",
    "errors=",
    " failed in ",
    "failed, ",
    "build failed",
    "tests failed",
    "test failed",
    "ld returned",
    "compilation terminated",
    "errors generated",
    "error generated",
    "unreachable=",
    "failed with result",
    "failed with status",
    "main process exited",
    "control process",
    "process completed with",
    "failed to execute goal",
    "didn't exit successfully",
    "rsync error:",
    "job for ",
    "see \"systemctl",
    "failed building wheel",
    "failed to build",
    "error: subprocess-exited",
    "stopping.",
    "command failed",
    "will not be",
    "were not transferred",
    "re-run maven",
    "[help 1]",
    "error in 1 of",
];

/// Judges a line. Most lines are plain, and for those it is one walk over the bytes.
fn worth(line: &[u8]) -> Worth {
    let is_assertion = line.starts_with(b"E   ");
    if !is_assertion && !has_error_word(line) && !line.starts_with(b"npm ERR!") {
        return Worth::Plain;
    }
    let text = shown(line);
    let lower = text.to_ascii_lowercase();
    let lower =
        lower.strip_prefix("npm err! ").or_else(|| lower.strip_prefix("npm error ")).unwrap_or(&lower);
    if is_assertion {
        return Worth::Reason;
    }
    let is_aside = ASIDE.iter().any(|start| lower.starts_with(start)) || is_call(lower) || is_lesser(&text);
    if is_aside || !has_error_word(lower.as_bytes()) {
        // Of what npm writes in front of each line only its code is worth something.
        return if lower.starts_with("code e") { Worth::Summary } else { Worth::Plain };
    }
    if SUMMARIES.iter().any(|part| lower.contains(part)) { Worth::Summary } else { Worth::Reason }
}

/// A call in a list of calls, as Go writes it: `main.load(0x1)`.
fn is_call(text: &str) -> bool {
    text.ends_with(')') && !text.contains(' ')
}

/// Whether a line of a log names a level below the errors before it names one of them.
fn is_lesser(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).take(12);
    for word in words {
        match word {
            "ERROR" | "FATAL" | "CRITICAL" | "PANIC" | "SEVERE" | "ALERT" | "EMERG" | "error" | "fatal"
            | "panic" => {
                return false;
            }
            "WARN" | "WARNING" | "INFO" | "DEBUG" | "TRACE" | "NOTICE" => return true,
            _ => {}
        }
    }
    ["level=info", "level=warn", "level=debug", "\"level\":\"info\"", "\"level\":\"warn"]
        .iter()
        .any(|level| text.contains(level))
}

#[cfg(test)]
mod tests;
