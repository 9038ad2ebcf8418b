//! Owns output on its way to the log store: it gathers the lines of all running attempts for a moment and
//! writes them in one transaction. It must never fail or hold up a job: what cannot be kept is counted.

mod open;
mod owed;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use self::open::{Open, Room, chunk_bytes};
use self::owed::Owed;
use super::health::HealthBoard;
use super::supervisor::Ground;
use crate::base::clock::{self, Clock};
use crate::base::{points, task};
use crate::domain::id::AttemptId;
use crate::domain::log::NewLine;
use crate::store::logs::{LogEnd, LogTurn, Logs, NewChunk, Unended, line_bytes};

/// How long lines are gathered before they are written and pushed together.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes that end the gathering: a turn should not take long.
const GATHER_BYTES: usize = 1024 * 1024;
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
    Left(Vec<Unended>),
}

impl Message {
    /// Whose it is, and the bytes of output that go with it when it is lost.
    fn bytes_of(&self) -> Option<(AttemptId, i64)> {
        match self {
            Message::Lines { attempt, lines, gap } => {
                let bytes = lines.iter().map(line_bytes).sum::<usize>();
                Some((*attempt, i64::try_from(bytes).unwrap_or(i64::MAX).saturating_add(*gap)))
            }
            Message::End { attempt, lost_bytes, .. } => Some((*attempt, *lost_bytes)),
            Message::Left(_) => None,
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

    /// Ends logs that were left without an end though their attempts are over; soon. One that is still written here is left
    /// alone.
    pub async fn adopt(&self, left: Vec<Unended>) {
        // What finds no room now is found again by the next look.
        let _ = clock::within(PATIENCE, self.queue.send(Message::Left(left))).await;
    }

    /// How far the logs reach.
    pub fn news(&self) -> &LogNews {
        &self.news
    }
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
    /// Ends that could not be written yet.
    owed: Owed,
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
    let (Ground { clock, health, .. }, hand, owed) = (ground, Hand::default(), Owed::default());
    (
        Recorder { queue: sender, news },
        RecorderLoop { logs, clock, room, queue, changes, reached, open, ready, hand, owed, health },
    )
}

impl RecorderLoop {
    /// Writes output until every `Recorder` is gone. May be called again after a panic.
    pub async fn run(&mut self) {
        self.recover();
        if !self.hand.messages.is_empty() {
            self.turn().await;
        }
        while let Some(first) = self.next().await {
            self.gather(first).await;
            points::reach("recorder.turn");
            self.turn().await;
        }
    }

    /// The next message. While ends are owed they are tried again, whether anything comes or not.
    async fn next(&mut self) -> Option<Message> {
        while let Some(wait) = self.owed.wait(self.clock.monotonic()) {
            if !wait.is_zero()
                && let Some(next) = clock::within(wait, self.queue.recv()).await
            {
                return next;
            }
            self.owed.pay(&self.logs, self.clock.as_ref()).await;
        }
        self.queue.recv().await
    }

    /// What a turn that panicked had in hand is counted with the attempts that it belonged to; ends are tried once more.
    fn recover(&mut self) {
        let Hand { messages, looked_at, turn, mut ends, is_second } = std::mem::take(&mut self.hand);
        let mut lost: Vec<(AttemptId, i64)> = looked_at.into_iter().collect();
        for message in messages {
            lost.extend(message.bytes_of());
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
            self.health.explain("recorder", message, self.clock.now());
        }
        if is_second {
            self.owe(&ends);
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
            self.hand.looked_at = message.bytes_of();
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
                Message::Left(left) => {
                    let left = left.into_iter().filter(|one| !self.open.contains_key(&one.attempt));
                    self.owed.extend(left);
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
        if let Err(fault) = &written {
            tracing::error!(chunks = turn.chunks.len(), "output could not be kept: {fault}");
            self.forget(&turn);
        }
        if !self.hand.ends.is_empty() {
            points::reach("log.ended");
        }
        self.publish(&self.hand.ends);
        let Hand { ends, .. } = std::mem::take(&mut self.hand);
        if written.is_err() {
            self.owe(&ends);
        }
        self.close(ends);
    }

    /// Ends that were not written are written later: without its end a log would never make room, nor its gap be told.
    fn owe(&mut self, ends: &[End]) {
        let ends = ends.iter().filter_map(|(attempt, _)| Some(self.open.get(attempt)?.end(*attempt)));
        let ends = ends.filter(|end| !end.is_of_nothing());
        self.owed.extend(ends.map(|end| Unended { attempt: end.attempt, byte_count: end.byte_count }));
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

fn message_bytes(message: &Message) -> usize {
    match message {
        // A line costs memory beside its bytes.
        Message::Lines { lines, .. } => lines.iter().map(|line| line_bytes(line) + LINE_OVERHEAD).sum(),
        Message::End { .. } | Message::Left(_) => 0,
    }
}
