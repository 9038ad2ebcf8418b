//! Owns how the daemon's own log is written: to standard error, as text or as JSON lines. Whoever logs must never wait
//! for whoever reads: lines go through a bounded queue to a thread of its own, and what finds no room is counted.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::clock::pause;
use super::environment::variable;
use super::settings::LogFormat;
use super::task::panic_message;

/// Lines that wait for the reader of standard error; the next one is dropped.
const WAITING_LINES_MAX: usize = 1_024;
/// Bytes of them.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// How long the end of the program waits for its last lines to be taken.
const FLUSH_PATIENCE: Duration = Duration::from_millis(500);
const FLUSH_LOOK: Duration = Duration::from_millis(2);

// There is one standard error, so there is one of these.
static DROPPED_LINES: AtomicU64 = AtomicU64::new(0);
static WAITING_BYTES: AtomicUsize = AtomicUsize::new(0);
static WAITING_LINES: AtomicUsize = AtomicUsize::new(0);

/// Starts the log. `level` is one of error, warn, info, debug, trace. Does nothing when it runs already.
pub fn init(format: LogFormat, level: &str) {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    // Other crates speak only when something is wrong.
    let targets = Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("beadle", level);
    let registry = tracing_subscriber::registry().with(targets);
    let (sender, lines) = sync_channel(WAITING_LINES_MAX);
    let is_terminal = io::stderr().is_terminal();
    let is_coloured = is_terminal && variable("NO_COLOR").is_none();
    let outlet = Outlet { sender, is_coloured };
    let layer = tracing_subscriber::fmt::layer().with_ansi(false);
    let is_json = match format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let begun = if is_json {
        let json = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
        registry.with(json.with_writer(outlet)).try_init()
    } else {
        registry.with(layer.with_target(false).with_writer(outlet)).try_init()
    };
    // Without a thread nobody takes lines: they are counted as dropped, and the daemon works.
    if begun.is_ok() && std::thread::Builder::new().name("log".to_owned()).spawn(move || pump(&lines)).is_ok()
    {
        log_panics();
    }
}

/// Lines that were dropped because nobody took those before them.
pub fn dropped_line_count() -> u64 {
    DROPPED_LINES.load(Ordering::Relaxed)
}

/// Waits a moment until the lines so far are written. Only for the end of the program: it blocks the thread.
pub fn flush() {
    let looks = FLUSH_PATIENCE.as_millis() / FLUSH_LOOK.as_millis();
    for _ in 0..looks {
        if WAITING_LINES.load(Ordering::Acquire) == 0 {
            return;
        }
        pause(FLUSH_LOOK);
    }
}

/// The words of a panic go through the log like all others: the usual way would wait for the reader.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let backtrace = Backtrace::capture();
        let backtrace =
            (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
        let words = panic_message(panic.payload());
        tracing::error!(at, thread = thread.name(), backtrace, "panicked: {words}");
        if thread.name() == Some("main") {
            flush();
        }
    }));
}

/// Writes lines as they come, and says what was dropped in between.
fn pump(lines: &Receiver<Vec<u8>>) {
    let mut told = 0;
    for line in lines {
        // Nobody may be there: that is no reason to stop.
        let _ = io::stderr().write_all(&line);
        WAITING_BYTES.fetch_sub(line.len(), Ordering::Relaxed);
        WAITING_LINES.fetch_sub(1, Ordering::Release);
        let dropped = dropped_line_count();
        // A word about it that found no room would be lost too.
        let has_room = WAITING_LINES.load(Ordering::Relaxed) < WAITING_LINES_MAX / 2
            && WAITING_BYTES.load(Ordering::Relaxed) < WAITING_BYTES_MAX / 2;
        if dropped > told && has_room {
            tracing::warn!(lines = dropped - told, "lines of this log were dropped: nobody took them");
            told = dropped;
        }
    }
}

/// Where the lines go.
#[derive(Debug)]
struct Outlet {
    sender: SyncSender<Vec<u8>>,
    is_coloured: bool,
}

/// One line on its way.
#[derive(Debug)]
struct Line<'a> {
    outlet: &'a Outlet,
    level: Option<Level>,
}

impl<'a> MakeWriter<'a> for Outlet {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { outlet: self, level: None }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a> {
        Line { outlet: self, level: self.is_coloured.then(|| *about.level()) }
    }
}

impl Write for Line<'_> {
    /// Takes a whole line: the formatter writes each in one piece.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = match self.level {
            Some(level) => coloured(bytes, level),
            None => bytes.to_vec(),
        };
        let length = line.len();
        let has_room = WAITING_BYTES.fetch_add(length, Ordering::Relaxed) + length <= WAITING_BYTES_MAX;
        WAITING_LINES.fetch_add(1, Ordering::Relaxed);
        if !has_room || self.outlet.sender.try_send(line).is_err() {
            WAITING_BYTES.fetch_sub(length, Ordering::Relaxed);
            WAITING_LINES.fetch_sub(1, Ordering::Relaxed);
            DROPPED_LINES.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line with the word of its level in colour.
fn coloured(line: &[u8], level: Level) -> Vec<u8> {
    let (word, colour) = match level {
        Level::ERROR => ("ERROR", 31),
        Level::WARN => ("WARN", 33),
        Level::INFO => ("INFO", 32),
        Level::DEBUG => ("DEBUG", 34),
        Level::TRACE => ("TRACE", 35),
    };
    let Some(at) = line.windows(word.len()).position(|part| part == word.as_bytes()) else {
        return line.to_vec();
    };
    let (before, rest) = line.split_at(at);
    let (_, after) = rest.split_at(word.len());
    [before, format!("\x1b[{colour}m{word}\x1b[0m").as_bytes(), after].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_of_the_level_is_coloured() {
        let line = coloured(b"2026-01-01T00:00:00Z  WARN a WARN b\n", Level::WARN);
        assert_eq!(line, b"2026-01-01T00:00:00Z  \x1b[33mWARN\x1b[0m a WARN b\n");
        assert_eq!(coloured(b"nothing\n", Level::INFO), b"nothing\n");
    }

    #[test]
    fn a_line_that_finds_no_room_is_counted_and_nobody_waits() {
        let (sender, lines) = sync_channel(2);
        let outlet = Outlet { sender, is_coloured: false };
        let before = dropped_line_count();
        for _ in 0..5 {
            outlet.make_writer().write_all(b"line\n").expect("writing never fails");
        }
        assert_eq!(dropped_line_count() - before, 3);
        assert_eq!(lines.try_iter().count(), 2);
    }
}
