//! Owns the reading of a process's output: two pipes, read as bytes, cut into pieces at line ends.
//! It must never lose a byte that was written before the exit, read on for ever, or decide what is
//! dropped: that is the receiver's part.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memchr;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::base::background;
use crate::base::clock::{Clock, Timestamp, within};

/// Bytes read at once; a pipe holds as many.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Output that comes in parts this large at once is a flood: it is taken in where it holds up nobody.
pub const FLOOD_BYTES: usize = CHUNK_BYTES / 2;
/// Longest piece; a longer line is cut.
pub const MAX_PIECE_BYTES: usize = 16 * 1024;
/// Pieces in one batch.
pub const BATCH_PIECES_MAX: usize = 4_096;
/// Batches that wait for the receiver before the reader waits for it.
pub const BATCHES_MAX: usize = 4;
/// How long an unfinished line is held back for its end.
pub const TAIL_FLUSH: Duration = Duration::from_millis(100);
/// After the exit: how long the pipes may be silent before they are given up.
pub const DRAIN_IDLE: Duration = Duration::from_millis(500);
/// After the exit: how long the pipes are read at most, silent or not.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);
/// The most that an unprivileged pipe can hold, taken out before it is given up.
const PIPE_BYTES_MAX: u64 = 1024 * 1024;

thread_local! {
    /// Where a chunk stands between its reading and its splitting: one for each thread, since a process
    /// that writes nothing should cost no memory, and many run at once.
    static CHUNK: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(CHUNK_BYTES));
}

/// Which of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line, or a part of one, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it was written to.
    pub stream: Stream,
    /// When its last byte arrived.
    pub at: Timestamp,
    /// What was written, without the newline; any bytes, at most `MAX_PIECE_BYTES`.
    pub bytes: Vec<u8>,
    /// Whether a newline ended it; the rest of the line follows otherwise.
    pub is_line_end: bool,
}

/// What the reading came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Whether a process that outlived the attempt still held a pipe when it was given up.
    pub is_output_held_open: bool,
    /// Bytes read from standard output, newlines included.
    pub stdout_bytes: u64,
    /// Bytes read from standard error, newlines included.
    pub stderr_bytes: u64,
}

/// The two pipes, ready to be read in the runtime; `stderr` is `None` when the first one is for both.
pub(super) fn pipes(stdout: OwnedFd, stderr: Option<OwnedFd>) -> std::io::Result<[Source; 2]> {
    let stderr = match stderr {
        Some(stderr) => Source::new(Stream::Stderr, stderr)?,
        None => Source { pipe: None, line: Line::new(Stream::Stderr), bytes_count: 0 },
    };
    Ok([Source::new(Stream::Stdout, stdout)?, stderr])
}

/// Reads both pipes until they end, or until the drain that `ended` begins gives up.
pub(super) async fn read(
    sources: [Source; 2],
    batches: mpsc::Sender<Vec<Piece>>,
    ended: CancellationToken,
    clock: Arc<dyn Clock>,
) -> DrainReport {
    let mut reader = Reader { sources, batches, batch: Vec::new(), full: Vec::new(), drain: None, clock };
    let mut read = 0;
    while reader.is_open() && !reader.is_drained() {
        read = match reader.next(&ended).await {
            Event::Readable(at) if read >= FLOOD_BYTES => {
                let apart = background::run(move || (reader.take_chunk(at), reader));
                let read;
                (read, reader) = apart.await;
                read
            }
            Event::Readable(at) => reader.take_chunk(at),
            Event::Ended => {
                reader.begin_drain();
                0
            }
            Event::Quiet => 0,
        };
        reader.flush_quiet_tails();
        reader.send().await;
        tokio::task::coop::consume_budget().await;
    }
    reader.finish().await
}

/// One pipe and the line that is being read from it.
#[derive(Debug)]
pub(super) struct Source {
    /// `None` after its end.
    pipe: Option<Receiver>,
    line: Line,
    bytes_count: u64,
}

impl Source {
    fn new(stream: Stream, pipe: OwnedFd) -> std::io::Result<Source> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        // Unchecked, for it is a pipe: the standard library has just made it.
        let pipe = Some(Receiver::from_owned_fd_unchecked(pipe)?);
        Ok(Source { pipe, line: Line::new(stream), bytes_count: 0 })
    }

    /// Resolves when there is something to read, or the end. Never when that has been read.
    async fn readable(&self) {
        match &self.pipe {
            // An error shows again in the read that follows.
            Some(pipe) => drop(pipe.readable().await),
            None => std::future::pending().await,
        }
    }
}

/// The unfinished line of a stream.
#[derive(Debug)]
pub(super) struct Line {
    stream: Stream,
    tail: Vec<u8>,
    /// When the tail's last byte arrived, in both times.
    at: (Timestamp, Option<Instant>),
}

impl Line {
    pub(super) fn new(stream: Stream) -> Line {
        Line { stream, tail: Vec::new(), at: (Timestamp::MIN, None) }
    }

    /// Takes the first piece, or what there is of one, out of `bytes`.
    pub(super) fn take(&mut self, bytes: &mut &[u8], at: (Timestamp, Instant)) -> Option<Piece> {
        self.at = (at.0, Some(at.1));
        let room = MAX_PIECE_BYTES - self.tail.len();
        // The newline of a line that just fits stands one byte behind the room.
        let reach = &bytes[..bytes.len().min(room + 1)];
        let end = memchr(b'\n', reach);
        let taken = end.unwrap_or(reach.len().min(room));
        // A whole line, as most are, is copied once.
        if self.tail.is_empty() {
            self.tail = bytes[..taken].to_vec();
        } else {
            self.tail.extend_from_slice(&bytes[..taken]);
        }
        *bytes = &bytes[taken + usize::from(end.is_some())..];
        (end.is_some() || !bytes.is_empty()).then(|| self.cut(end.is_some()))
    }

    /// The tail as a piece, if there is any.
    pub(super) fn flush(&mut self) -> Option<Piece> {
        (!self.tail.is_empty()).then(|| self.cut(false))
    }

    fn cut(&mut self, is_line_end: bool) -> Piece {
        let mut bytes = std::mem::take(&mut self.tail);
        // The tail grew by doubling; a piece may be kept for long.
        bytes.shrink_to_fit();
        Piece { stream: self.stream, at: self.at.0, bytes, is_line_end }
    }

    /// When a tail that nothing is added to has to be flushed.
    fn flush_at(&self) -> Option<Instant> {
        let since = self.at.1.filter(|_| !self.tail.is_empty())?;
        Some(since + TAIL_FLUSH)
    }
}

enum Event {
    Readable(usize),
    Ended,
    Quiet,
}

/// The time after the exit.
#[derive(Debug, Clone, Copy)]
struct Drain {
    idle_until: Instant,
    until: Instant,
}

struct Reader {
    sources: [Source; 2],
    batches: mpsc::Sender<Vec<Piece>>,
    batch: Vec<Piece>,
    /// Batches of one chunk that are complete.
    full: Vec<Vec<Piece>>,
    drain: Option<Drain>,
    clock: Arc<dyn Clock>,
}

impl Reader {
    fn is_open(&self) -> bool {
        self.sources.iter().any(|source| source.pipe.is_some())
    }

    fn is_drained(&self) -> bool {
        let now = self.clock.monotonic();
        self.drain.is_some_and(|drain| drain.until.min(drain.idle_until) <= now)
    }

    fn begin_drain(&mut self) {
        let now = self.clock.monotonic();
        self.drain = Some(Drain { idle_until: now + DRAIN_IDLE, until: now + DRAIN_MAX });
    }

    async fn next(&self, ended: &CancellationToken) -> Event {
        let [stdout, stderr] = &self.sources;
        let event = async {
            tokio::select! {
                () = stdout.readable() => Event::Readable(0),
                () = stderr.readable() => Event::Readable(1),
                () = ended.cancelled(), if self.drain.is_none() => Event::Ended,
            }
        };
        match self.wake_at() {
            None => event.await,
            Some(at) => {
                let length = at.saturating_duration_since(self.clock.monotonic());
                within(length, event).await.unwrap_or(Event::Quiet)
            }
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let flush_at = self.sources.iter().filter_map(|source| source.line.flush_at()).min();
        let drain_at = self.drain.map(|drain| drain.until.min(drain.idle_until));
        [flush_at, drain_at].into_iter().flatten().min()
    }

    /// Reads once. Gives the bytes read: none at the end, or when there is nothing now.
    fn take_chunk(&mut self, index: usize) -> usize {
        CHUNK.with_borrow_mut(|chunk| {
            chunk.clear();
            let source = &mut self.sources[index];
            let Some(pipe) = &source.pipe else { return 0 };
            match pipe.try_read_buf(chunk) {
                Err(error) if is_passing(&error) => 0,
                // A pipe that cannot be read is as good as ended.
                Ok(0) | Err(_) => {
                    source.pipe = None;
                    self.batch.extend(source.line.flush());
                    0
                }
                Ok(read) => {
                    source.bytes_count = source.bytes_count.saturating_add(read as u64);
                    self.split(index, chunk);
                    read
                }
            }
        })
    }

    fn split(&mut self, index: usize, mut bytes: &[u8]) {
        let at = (self.clock.now(), self.clock.monotonic());
        if let Some(drain) = &mut self.drain {
            drain.idle_until = at.1 + DRAIN_IDLE;
        }
        // With nobody to receive, the bytes are only counted.
        while !bytes.is_empty() && !self.batches.is_closed() {
            let piece = self.sources[index].line.take(&mut bytes, at);
            self.batch.extend(piece);
            if self.batch.len() >= BATCH_PIECES_MAX {
                self.full.push(std::mem::take(&mut self.batch));
            }
        }
    }

    /// Gives out the unfinished lines that nothing was added to for long enough.
    fn flush_quiet_tails(&mut self) {
        let now = self.clock.monotonic();
        for source in &mut self.sources {
            if source.line.flush_at().is_some_and(|at| at <= now) {
                self.batch.extend(source.line.flush());
            }
        }
    }

    async fn send(&mut self) {
        if !self.batch.is_empty() {
            self.full.push(std::mem::take(&mut self.batch));
        }
        for batch in self.full.drain(..) {
            // An error says that the receiver has gone, and does not want it.
            let _ = self.batches.send(batch).await;
        }
    }

    async fn finish(mut self) -> DrainReport {
        // What stands in a pipe now was written in time, even if the receiver was slow to take what
        // came before it. A flood is cut at what a pipe can hold.
        for index in 0..self.sources.len() {
            let most = self.sources[index].bytes_count.saturating_add(PIPE_BYTES_MAX);
            while self.sources[index].bytes_count < most && self.take_chunk(index) > 0 {
                self.send().await;
            }
        }
        for source in &mut self.sources {
            self.batch.extend(source.line.flush());
        }
        self.send().await;
        DrainReport {
            is_output_held_open: self.is_open(),
            stdout_bytes: self.sources[0].bytes_count,
            stderr_bytes: self.sources[1].bytes_count,
        }
    }
}

fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted)
}
