//! Owns output on its way to the log store: it gathers the lines of all running attempts for a moment and
//! writes them in one transaction. It must never fail or hold up a job: what cannot be kept is counted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::base::clock::{self, Clock};
use crate::domain::id::AttemptId;
use crate::domain::log::NewLine;
use crate::store::logs::{DroppedChunk, HEAD_BYTES, LogEnd, LogTurn, Logs, NewChunk, line_bytes};

/// How long lines are gathered before they are written and pushed together.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes that end the gathering early.
const GATHER_BYTES: usize = 1024 * 1024;
/// Batches of lines that may wait.
const WAITING_MAX: usize = 256;
/// How long an attempt's output waits for room before it is dropped and counted.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum Message {
    Lines { attempt: AttemptId, lines: Vec<NewLine> },
    End { attempt: AttemptId, lost_bytes: i64, reply: oneshot::Sender<LogEnd> },
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
    /// Hands over lines. Gives the bytes that had to be dropped: zero when all is well.
    pub async fn append(&self, attempt: AttemptId, lines: Vec<NewLine>) -> i64 {
        let bytes: usize = lines.iter().map(line_bytes).sum();
        let message = Message::Lines { attempt, lines };
        match clock::within(PATIENCE, self.queue.send(message)).await {
            Some(Ok(())) => 0,
            _ => i64::try_from(bytes).unwrap_or(i64::MAX),
        }
    }

    /// Closes an attempt's log; `None` when the log store gives no answer in time.
    pub async fn end(&self, attempt: AttemptId, lost_bytes: i64) -> Option<LogEnd> {
        let (reply, answer) = oneshot::channel();
        let message = Message::End { attempt, lost_bytes, reply };
        clock::within(PATIENCE, async {
            self.queue.send(message).await.ok()?;
            answer.await.ok()
        })
        .await
        .flatten()
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

/// What is known of a log that is being written.
#[derive(Debug, Default)]
struct Open {
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
    cap_bytes: i64,
    queue: mpsc::Receiver<Message>,
    changes: watch::Sender<u64>,
    reached: Arc<Mutex<HashMap<AttemptId, i64>>>,
    open: HashMap<AttemptId, Open>,
}

/// Both sides of the recorder. An attempt keeps `cap_bytes` of its output at most.
pub fn channel(logs: Logs, clock: Arc<dyn Clock>, cap_bytes: i64) -> (Recorder, RecorderLoop) {
    let (sender, queue) = mpsc::channel(WAITING_MAX);
    let (changes, changes_receiver) = watch::channel(0);
    let reached = Arc::new(Mutex::new(HashMap::new()));
    let news = LogNews { changes: changes_receiver, reached: reached.clone() };
    let open = HashMap::new();
    (Recorder { queue: sender, news }, RecorderLoop { logs, clock, cap_bytes, queue, changes, reached, open })
}

impl RecorderLoop {
    /// Writes output until every `Recorder` is gone.
    pub async fn run(&mut self) {
        while let Some(first) = self.queue.recv().await {
            let messages = self.gather(first).await;
            self.turn(messages).await;
        }
    }

    /// The first message and those that come within a moment. The end of a log is not kept waiting.
    async fn gather(&mut self, first: Message) -> Vec<Message> {
        let until = self.clock.monotonic() + GATHER;
        let mut bytes = message_bytes(&first);
        let mut is_urgent = matches!(first, Message::End { .. });
        let mut messages = vec![first];
        loop {
            let left = until.saturating_duration_since(self.clock.monotonic());
            let next = if is_urgent || left.is_zero() || bytes >= GATHER_BYTES {
                self.queue.try_recv().ok()
            } else {
                clock::within(left, self.queue.recv()).await.flatten()
            };
            let Some(next) = next else { return messages };
            bytes += message_bytes(&next);
            is_urgent |= matches!(next, Message::End { .. });
            messages.push(next);
            if bytes >= 4 * GATHER_BYTES {
                return messages;
            }
        }
    }

    async fn turn(&mut self, messages: Vec<Message>) {
        let mut ended = Vec::new();
        for message in messages {
            match message {
                Message::Lines { attempt, lines } => {
                    self.open.entry(attempt).or_default().gathered.extend(lines);
                }
                Message::End { attempt, lost_bytes, reply } => {
                    self.open.entry(attempt).or_default().dropped_bytes += lost_bytes;
                    ended.push((attempt, lost_bytes, reply));
                }
            }
        }
        let mut turn = LogTurn::default();
        for (attempt, open) in &mut self.open {
            open.cut(*attempt, self.cap_bytes, &mut turn);
        }
        for (attempt, lost_bytes, _) in &ended {
            let open = &self.open[attempt];
            turn.ends.push(LogEnd {
                attempt: *attempt,
                line_count: open.next_line,
                byte_count: open.total_bytes + lost_bytes,
                dropped_bytes: open.dropped_bytes,
            });
        }
        if let Err(fault) = self.logs.write(&turn, self.clock.now()).await {
            tracing::error!(chunks = turn.chunks.len(), "output could not be kept: {fault}");
            self.forget(&turn);
        }
        self.publish(&ended);
        for ((_, _, reply), end) in ended.into_iter().zip(turn.ends) {
            self.open.remove(&end.attempt);
            let _ = reply.send(LogEnd { dropped_bytes: end.dropped_bytes, ..end });
        }
    }

    /// A turn that was not written: its bytes are a gap before the next chunk.
    fn forget(&mut self, turn: &LogTurn) {
        for chunk in &turn.chunks {
            if let Some(open) = self.open.get_mut(&chunk.attempt) {
                let bytes = chunk_bytes(chunk);
                open.dropped_bytes += bytes;
                open.gap += bytes + chunk.dropped_before;
                open.tail.retain(|kept| kept.first_line != chunk.first_line);
            }
        }
    }

    fn publish(&self, ended: &[(AttemptId, i64, oneshot::Sender<LogEnd>)]) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        for (attempt, open) in &self.open {
            reached.insert(*attempt, open.next_line);
        }
        for (attempt, ..) in ended {
            reached.remove(attempt);
        }
        drop(reached);
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Open {
    /// Makes a chunk of what was gathered, and drops old ones when the cap is reached.
    fn cut(&mut self, attempt: AttemptId, cap_bytes: i64, turn: &mut LogTurn) {
        if self.gathered.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.gathered);
        let chunk = NewChunk {
            attempt,
            first_line: self.next_line,
            lines,
            dropped_before: std::mem::take(&mut self.gap),
        };
        let bytes = chunk_bytes(&chunk);
        self.next_line += i64::try_from(chunk.lines.len()).unwrap_or(i64::MAX);
        self.total_bytes += bytes;
        if self.head_bytes < HEAD_BYTES && self.tail.is_empty() {
            self.head_bytes += bytes;
        } else {
            self.tail_bytes += bytes;
            let dropped_before = chunk.dropped_before;
            self.tail.push_back(Kept { first_line: chunk.first_line, bytes, dropped_before });
        }
        turn.chunks.push(chunk);
        while self.head_bytes + self.tail_bytes > cap_bytes && self.tail.len() > 1 {
            let Some(oldest) = self.tail.pop_front() else { return };
            self.tail_bytes -= oldest.bytes;
            self.dropped_bytes += oldest.bytes;
            if let Some(next) = self.tail.front_mut() {
                let bytes = oldest.bytes + oldest.dropped_before;
                next.dropped_before += bytes;
                let (first_line, next_first_line) = (oldest.first_line, next.first_line);
                turn.dropped.push(DroppedChunk { attempt, first_line, next_first_line, bytes });
            }
        }
    }
}

fn chunk_bytes(chunk: &NewChunk) -> i64 {
    i64::try_from(chunk.lines.iter().map(line_bytes).sum::<usize>()).unwrap_or(i64::MAX)
}

fn message_bytes(message: &Message) -> usize {
    match message {
        Message::Lines { lines, .. } => lines.iter().map(line_bytes).sum(),
        Message::End { .. } => 0,
    }
}
