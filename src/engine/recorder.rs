//! Owns output on its way to the log store: it gathers the lines of all running attempts for a moment and
//! writes them in one transaction. It must never fail or hold up a job: what cannot be kept is counted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use super::health::HealthBoard;
use super::supervisor::Ground;
use crate::base::clock::{self, Clock, Timestamp};
use crate::base::{points, task};
use crate::domain::health::HealthStatus;
use crate::domain::id::AttemptId;
use crate::domain::log::{LogStream, NewLine};
use crate::store::logs::{DroppedChunk, HEAD_BYTES, LogEnd, LogTurn, Logs, NewChunk, line_bytes};

/// How long lines are gathered before they are written and pushed together.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes that end the gathering: a turn should not take long.
const GATHER_BYTES: usize = 1024 * 1024;
/// Lines and bytes that end a chunk: a reader unpacks a chunk whole.
const CHUNK_LINES: usize = 4_096;
const CHUNK_BYTES: usize = 256 * 1024;
/// Memory that a line takes beside its bytes.
const LINE_OVERHEAD: usize = 48;
/// Batches of lines that may wait.
const WAITING_MAX: usize = 32;
/// How long an attempt's output waits for room before it is dropped and counted.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum Message {
    Lines { attempt: AttemptId, lines: Vec<NewLine>, gap: i64 },
    End { attempt: AttemptId, lost_bytes: i64, reply: oneshot::Sender<LogEnd> },
}

impl Message {
    /// Whose it is, and the bytes of output that go with it when it is lost.
    fn bytes_of(&self) -> (AttemptId, i64) {
        match self {
            Message::Lines { attempt, lines, gap } => {
                let bytes = lines.iter().map(line_bytes).sum::<usize>();
                (*attempt, i64::try_from(bytes).unwrap_or(i64::MAX).saturating_add(*gap))
            }
            Message::End { attempt, lost_bytes, .. } => (*attempt, *lost_bytes),
        }
    }
}

/// How far the logs of running attempts reach: lines by attempt, and a number that changes with every write.
#[derive(Debug, Clone)]
pub struct LogNews {
    changes: watch::Receiver<u64>,
    reached: Arc<Mutex<HashMap<AttemptId, i64>>>,
}

impl LogNews {
    /// Tells of each write.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Lines of the attempt so far; `None` when it does not run here.
    pub fn reached(&self, attempt: AttemptId) -> Option<i64> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).get(&attempt).copied()
    }
}

/// The way to the recorder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Message>,
    news: LogNews,
}

impl Recorder {
    /// Hands over lines, behind a gap of so many bytes. Gives the bytes that had to be dropped, the gap
    /// included: zero when all is well. Once it had to drop it does not wait for room until there is some.
    pub async fn append(&self, attempt: AttemptId, lines: Vec<NewLine>, gap: i64) -> i64 {
        let bytes: usize = lines.iter().map(line_bytes).sum();
        let message = Message::Lines { attempt, lines, gap };
        let sent = if gap > 0 {
            self.queue.try_send(message).is_ok()
        } else {
            clock::within(PATIENCE, self.queue.send(message)).await.is_some_and(|sent| sent.is_ok())
        };
        if sent { 0 } else { i64::try_from(bytes).unwrap_or(i64::MAX).saturating_add(gap) }
    }

    /// Closes an attempt's log; `None` when the log store gives no answer in time. It is closed all the same.
    pub async fn end(&self, attempt: AttemptId, lost_bytes: i64) -> Option<LogEnd> {
        let (reply, answer) = oneshot::channel();
        if let Err(TrySendError::Full(end)) = self.queue.try_send(Message::End { attempt, lost_bytes, reply })
        {
            let queue = self.queue.clone();
            // Not cut off by our patience: what is known of the log must not stay for ever.
            drop(task::spawn(async move { queue.send(end).await.is_ok() }));
        }
        clock::within(PATIENCE, answer).await?.ok()
    }

    /// How far the logs reach.
    pub fn news(&self) -> &LogNews {
        &self.news
    }
}

/// A chunk that is on the disk.
#[derive(Debug, Clone, Copy)]
struct Kept {
    first_line: i64,
    bytes: i64,
    dropped_before: i64,
}

/// How the room of one log is shared out. Its beginning is kept whatever follows, and never all of the room: the end
/// says why it ended.
#[derive(Debug, Clone, Copy, Default)]
struct Room {
    cap_bytes: i64,
    head_bytes: i64,
    /// Bytes that close a chunk.
    chunk_limit: usize,
}

impl Room {
    fn of(cap_bytes: i64) -> Room {
        let eighth = usize::try_from(cap_bytes / 8).unwrap_or(CHUNK_BYTES);
        Room { cap_bytes, head_bytes: HEAD_BYTES.min(cap_bytes / 2), chunk_limit: CHUNK_BYTES.min(eighth) }
    }
}

/// What is known of a log that is being written.
#[derive(Debug, Default)]
struct Open {
    room: Room,
    next_line: i64,
    total_bytes: i64,
    dropped_bytes: i64,
    /// Dropped bytes that the next chunk must tell of.
    gap: i64,
    head_bytes: i64,
    /// Chunks behind the head, oldest first: they make room when the cap is reached.
    tail: VecDeque<Kept>,
    tail_bytes: i64,
    gathered: Vec<NewLine>,
}

/// The recorder's own side: give it to one task that calls `run`.
#[derive(Debug)]
pub struct RecorderLoop {
    logs: Logs,
    clock: Arc<dyn Clock>,
    room: Room,
    queue: mpsc::Receiver<Message>,
    changes: watch::Sender<u64>,
    reached: Arc<Mutex<HashMap<AttemptId, i64>>>,
    open: HashMap<AttemptId, Open>,
    /// Chunks that a gap closed early.
    ready: Vec<NewChunk>,
    hand: Hand,
    health: HealthBoard,
}

/// What a turn has in hand: when it panics, this is what it may have lost.
#[derive(Debug, Default)]
struct Hand {
    messages: VecDeque<Message>,
    /// Bytes of the message that is being looked at.
    looked_at: Option<(AttemptId, i64)>,
    /// What is not known to be on the disk.
    turn: Option<LogTurn>,
    ends: Vec<End>,
    /// Whether these ends were in the hand of a turn that panicked: they are tried once more only.
    is_second: bool,
}

type End = (AttemptId, oneshot::Sender<LogEnd>);

/// Both sides of the recorder. An attempt keeps `cap_bytes` of its output at most.
pub fn channel(logs: Logs, ground: Ground, cap_bytes: i64) -> (Recorder, RecorderLoop) {
    let (sender, queue) = mpsc::channel(WAITING_MAX);
    let (changes, changes_receiver) = watch::channel(0);
    let reached = Arc::new(Mutex::new(HashMap::new()));
    let news = LogNews { changes: changes_receiver, reached: reached.clone() };
    let (open, ready, room) = (HashMap::new(), Vec::new(), Room::of(cap_bytes));
    let (Ground { clock, health, .. }, hand) = (ground, Hand::default());
    (
        Recorder { queue: sender, news },
        RecorderLoop { logs, clock, room, queue, changes, reached, open, ready, hand, health },
    )
}

impl RecorderLoop {
    /// Writes output until every `Recorder` is gone. May be called again after a panic.
    pub async fn run(&mut self) {
        self.recover();
        if !self.hand.messages.is_empty() {
            self.turn().await;
        }
        while let Some(first) = self.queue.recv().await {
            self.gather(first).await;
            points::reach("recorder.turn");
            self.turn().await;
        }
    }

    /// What a turn that panicked had in hand is counted with the attempts that it belonged to; ends are tried once more.
    fn recover(&mut self) {
        let Hand { messages, looked_at, turn, mut ends, is_second } = std::mem::take(&mut self.hand);
        let mut lost: Vec<(AttemptId, i64)> = looked_at.into_iter().collect();
        for message in messages {
            lost.push(message.bytes_of());
            if let Message::End { attempt, reply, .. } = message {
                ends.push((attempt, reply));
            }
        }
        let mut lost_bytes = 0;
        if let Some(turn) = turn {
            lost_bytes += turn.chunks.iter().map(chunk_bytes).sum::<i64>();
            self.forget(&turn);
        }
        for (attempt, bytes) in lost {
            lost_bytes += bytes;
            let open = self.open.entry(attempt).or_insert_with(|| Open::new(self.room));
            open.lose(bytes, attempt, &mut self.ready);
        }
        if lost_bytes > 0 {
            let message =
                format!("panicked: {lost_bytes} bytes of output were lost, and are counted as such");
            tracing::error!(part = "recorder", "{message}");
            self.health.set("recorder", HealthStatus::Degraded, Some(message), self.clock.now());
        }
        if is_second {
            self.publish(&ends);
            self.close(ends);
            return;
        }
        let again = |(attempt, reply)| Message::End { attempt, lost_bytes: 0, reply };
        self.hand =
            Hand { messages: ends.into_iter().map(again).collect(), is_second: true, ..Hand::default() };
    }

    /// Takes the first message and those that come within a moment in hand. The end of a log is not kept waiting.
    async fn gather(&mut self, first: Message) {
        let until = self.clock.monotonic() + GATHER;
        let mut bytes = message_bytes(&first);
        let mut is_urgent = matches!(first, Message::End { .. });
        self.hand.messages.push_back(first);
        while bytes < GATHER_BYTES {
            let left = until.saturating_duration_since(self.clock.monotonic());
            let next = if is_urgent || left.is_zero() {
                self.queue.try_recv().ok()
            } else {
                clock::within(left, self.queue.recv()).await.flatten()
            };
            let Some(next) = next else { return };
            bytes += message_bytes(&next);
            is_urgent |= matches!(next, Message::End { .. });
            self.hand.messages.push_back(next);
        }
    }

    async fn turn(&mut self) {
        while let Some(message) = self.hand.messages.pop_front() {
            self.hand.looked_at = Some(message.bytes_of());
            match message {
                Message::Lines { attempt, lines, gap } => {
                    let open = self.open.entry(attempt).or_insert_with(|| Open::new(self.room));
                    open.lose(gap, attempt, &mut self.ready);
                    open.gathered.extend(lines);
                }
                Message::End { attempt, lost_bytes, reply } => {
                    self.hand.ends.push((attempt, reply));
                    let open = self.open.entry(attempt).or_insert_with(|| Open::new(self.room));
                    open.lose(lost_bytes, attempt, &mut self.ready);
                    open.tell_gap(self.clock.now());
                }
            }
            self.hand.looked_at = None;
        }
        let ready = std::mem::take(&mut self.ready);
        let turn = self.hand.turn.insert(LogTurn { chunks: ready, ..LogTurn::default() });
        for (attempt, open) in &mut self.open {
            open.cut(*attempt, &mut turn.chunks);
            open.make_room(*attempt, &mut turn.dropped);
        }
        // A log of nothing leaves nothing: there is no end of it to be kept.
        let ends = self.hand.ends.iter().map(|(attempt, _)| self.open[attempt].end(*attempt));
        turn.ends = ends.filter(|end| !end.is_of_nothing()).collect();
        let written = if turn.is_empty() { Ok(()) } else { self.logs.write(turn, self.clock.now()).await };
        let turn = self.hand.turn.take().unwrap_or_default();
        if let Err(fault) = written {
            tracing::error!(chunks = turn.chunks.len(), "output could not be kept: {fault}");
            self.forget(&turn);
        }
        if !self.hand.ends.is_empty() {
            points::reach("log.ended");
        }
        self.publish(&self.hand.ends);
        let Hand { ends, .. } = std::mem::take(&mut self.hand);
        self.close(ends);
    }

    /// Answers those who wait for the ends of logs.
    fn close(&mut self, ends: Vec<End>) {
        for (attempt, reply) in ends {
            if let Some(open) = self.open.remove(&attempt) {
                let _ = reply.send(open.end(attempt));
            }
        }
    }

    /// A turn that was not written: what it dropped is still there, and what it added is a gap before what
    /// comes next.
    fn forget(&mut self, turn: &LogTurn) {
        for dropped in turn.dropped.iter().rev() {
            if let Some(open) = self.open.get_mut(&dropped.attempt) {
                open.take_back(dropped);
            }
        }
        for chunk in &turn.chunks {
            if let Some(open) = self.open.get_mut(&chunk.attempt) {
                open.forget(chunk);
            }
        }
    }

    fn publish(&self, ended: &[End]) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        for (attempt, open) in &self.open {
            reached.insert(*attempt, open.next_line);
        }
        for (attempt, _) in ended {
            reached.remove(attempt);
        }
        drop(reached);
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Open {
    fn new(room: Room) -> Open {
        Open { room, ..Open::default() }
    }

    /// Counts bytes that never came here; the next chunk tells of them.
    fn lose(&mut self, bytes: i64, attempt: AttemptId, ready: &mut Vec<NewChunk>) {
        if bytes == 0 {
            return;
        }
        // What was gathered before the gap belongs before it.
        self.cut(attempt, ready);
        self.gap += bytes;
        self.dropped_bytes += bytes;
        self.total_bytes += bytes;
    }

    /// A gap behind the last line is told by a line of our own.
    fn tell_gap(&mut self, now: Timestamp) {
        if self.gap > 0 {
            let bytes = format!("{} bytes of output were not kept", self.gap).into_bytes();
            self.gathered.push(NewLine { at: now, stream: LogStream::System, bytes, is_line_end: false });
        }
    }

    /// Makes chunks of what was gathered.
    fn cut(&mut self, attempt: AttemptId, chunks: &mut Vec<NewChunk>) {
        let mut lines = std::mem::take(&mut self.gathered).into_iter().peekable();
        while lines.peek().is_some() {
            let mut part = Vec::new();
            let mut part_bytes = 0;
            while part.len() < CHUNK_LINES && part_bytes < self.room.chunk_limit {
                let fits = |line: &NewLine| {
                    part.is_empty() || part_bytes + line_bytes(line) <= self.room.chunk_limit
                };
                let Some(line) = lines.next_if(fits) else { break };
                part_bytes += line_bytes(&line);
                part.push(line);
            }
            let dropped_before = std::mem::take(&mut self.gap);
            let chunk =
                NewChunk { attempt, first_line: self.next_line, lines: Arc::new(part), dropped_before };
            self.add(&chunk);
            chunks.push(chunk);
        }
    }

    fn add(&mut self, chunk: &NewChunk) {
        let bytes = chunk_bytes(chunk);
        self.next_line += i64::try_from(chunk.lines.len()).unwrap_or(i64::MAX);
        self.total_bytes += bytes;
        // Whole chunks: the head may reach over its size, but not into the room of the end.
        let fits = self.head_bytes == 0
            || (self.head_bytes < self.room.head_bytes && self.head_bytes + bytes <= self.room.cap_bytes / 2);
        if fits && self.tail.is_empty() {
            self.head_bytes += bytes;
        } else {
            self.tail_bytes += bytes;
            let (first_line, dropped_before) = (chunk.first_line, chunk.dropped_before);
            self.tail.push_back(Kept { first_line, bytes, dropped_before });
        }
    }

    /// Drops old chunks behind the head while the log is larger than it may be.
    fn make_room(&mut self, attempt: AttemptId, dropped: &mut Vec<DroppedChunk>) {
        while self.head_bytes + self.tail_bytes > self.room.cap_bytes && self.tail.len() > 1 {
            let Some(oldest) = self.tail.pop_front() else { return };
            self.tail_bytes -= oldest.bytes;
            self.dropped_bytes += oldest.bytes;
            if let Some(next) = self.tail.front_mut() {
                let bytes = oldest.bytes + oldest.dropped_before;
                next.dropped_before += bytes;
                dropped.push(DroppedChunk {
                    attempt,
                    first_line: oldest.first_line,
                    next_first_line: next.first_line,
                    bytes,
                    own_bytes: oldest.bytes,
                });
            }
        }
    }

    /// The chunk could not be dropped: it is still there.
    fn take_back(&mut self, dropped: &DroppedChunk) {
        if let Some(next) = self.tail.front_mut() {
            next.dropped_before -= dropped.bytes;
        }
        let dropped_before = dropped.bytes - dropped.own_bytes;
        self.tail.push_front(Kept {
            first_line: dropped.first_line,
            bytes: dropped.own_bytes,
            dropped_before,
        });
        self.tail_bytes += dropped.own_bytes;
        self.dropped_bytes -= dropped.own_bytes;
    }

    /// The chunk could not be written: it is a gap.
    fn forget(&mut self, chunk: &NewChunk) {
        let bytes = chunk_bytes(chunk);
        let kept = self.tail.len();
        self.tail.retain(|kept| kept.first_line != chunk.first_line);
        if self.tail.len() < kept {
            self.tail_bytes -= bytes;
        } else {
            self.head_bytes -= bytes;
        }
        self.dropped_bytes += bytes;
        self.gap += bytes + chunk.dropped_before;
    }

    fn end(&self, attempt: AttemptId) -> LogEnd {
        LogEnd {
            attempt,
            line_count: self.next_line,
            byte_count: self.total_bytes,
            dropped_bytes: self.dropped_bytes,
            is_forgotten: false,
        }
    }
}

/// Bytes of output in a chunk; our own remarks are none.
fn chunk_bytes(chunk: &NewChunk) -> i64 {
    i64::try_from(chunk.lines.iter().map(line_bytes).sum::<usize>()).unwrap_or(i64::MAX)
}

fn message_bytes(message: &Message) -> usize {
    match message {
        // A line costs memory beside its bytes.
        Message::Lines { lines, .. } => lines.iter().map(|line| line_bytes(line) + LINE_OVERHEAD).sum(),
        Message::End { .. } => 0,
    }
}
