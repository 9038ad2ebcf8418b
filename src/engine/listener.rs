//! Owns listening to a running attempt: its output goes to the recorder and its reports are added up. Secrets
//! are hidden here, before anything is handed on. It must never fail or hold up a job.

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::base::background;
use crate::base::clock::Timestamp;
use crate::domain::error_line::ErrorLine;
use crate::domain::log::{LogStream, NewLine};
use crate::domain::mask::{MaskedStream, Masks};
use crate::domain::report::Reported;
use crate::exec::{FLOOD_BYTES, Heard, MAX_PIECE_BYTES, Piece, ReportChannel, Stream};
use crate::store::claim::Claimed;

/// What was seen of the output.
#[derive(Debug, Default)]
pub struct Listened {
    /// Bytes of output.
    pub bytes: i64,
    /// Bytes that could not be handed on and were not yet told of.
    pub lost_bytes: i64,
    /// The line of its output that tells why it failed, should it have failed.
    pub error_line: Option<String>,
}

/// Listens to one attempt.
pub struct Listener<'a> {
    engine: &'a Engine,
    claimed: &'a Claimed,
    channel: Option<ReportChannel>,
    told: watch::Sender<Reported>,
    alive: watch::Sender<bool>,
    ear: Ear,
    listened: Listened,
}

/// What is remembered of the output so far.
#[derive(Debug, Default)]
struct Ear {
    masked: [MaskedStream; 2],
    error_line: ErrorLine,
}

impl<'a> Listener<'a> {
    /// Tells `told` what is reported through `channel`, and `alive` of each sign of life: it is true while output
    /// is being handed on, for then the silence is ours.
    pub fn new(
        engine: &'a Engine,
        claimed: &'a Claimed,
        channel: Option<ReportChannel>,
        (told, alive): (watch::Sender<Reported>, watch::Sender<bool>),
    ) -> Listener<'a> {
        Listener { engine, claimed, channel, told, alive, ear: Ear::default(), listened: Listened::default() }
    }

    /// Listens until the process is `over` and everything that it said before was heard.
    #[expect(clippy::manual_async_fn, reason = "it would have room for the listener twice")]
    pub fn run(
        mut self,
        output: mpsc::Receiver<Vec<Piece>>,
        over: &CancellationToken,
    ) -> impl Future<Output = Listened> {
        // Dropped at its end, so that whoever hears of the attempt knows.
        async move { self.listen(output, over).await }
    }

    async fn listen(&mut self, mut output: mpsc::Receiver<Vec<Piece>>, over: &CancellationToken) -> Listened {
        // A process may close its output and go on: the end of the output is not the end.
        let mut is_output_open = true;
        loop {
            // Whoever never stops to report must not starve those who watch the process, in this same task.
            tokio::task::coop::consume_budget().await;
            tokio::select! {
                pieces = output.recv(), if is_output_open => match pieces {
                    Some(pieces) => self.take(pieces).await,
                    None => is_output_open = false,
                },
                heard = next(&mut self.channel) => self.hear(heard),
                () = over.cancelled() => break,
            }
        }
        // What was handed over is taken; whoever still writes, after an end that could not be forced, is not heard.
        output.close();
        while let Ok(pieces) = output.try_recv() {
            self.take(pieces).await;
        }
        self.finish().await
    }

    fn hear(&mut self, heard: Heard) {
        tell(&self.told, &self.alive, &heard, self.engine.clock.now());
    }

    async fn take(&mut self, pieces: Vec<Piece>) {
        self.alive.send_replace(true);
        // What was reported before the output was written counts for it: a secret that is named first never shows.
        if let Some(channel) = &mut self.channel {
            let heard = channel.drain();
            self.hear(heard);
            self.alive.send_replace(true);
        }
        let bytes: usize =
            pieces.iter().map(|piece| piece.bytes.len() + usize::from(piece.is_line_end)).sum();
        self.listened.bytes += i64::try_from(bytes).unwrap_or(0);
        let lines = if bytes >= FLOOD_BYTES {
            let (mut ear, masks) = (std::mem::take(&mut self.ear), self.told.borrow().masks().clone());
            let (ear, lines) = background::run(move || {
                let lines = ear.take(pieces, &masks);
                (ear, lines)
            })
            .await;
            self.ear = ear;
            lines
        } else {
            self.ear.take(pieces, self.told.borrow().masks())
        };
        self.hand_on(lines).await;
        self.alive.send_replace(false);
    }

    async fn hand_on(&mut self, lines: Vec<NewLine>) {
        if lines.is_empty() {
            return;
        }
        // Bytes that were lost are told with the next lines that are not.
        let gap = std::mem::take(&mut self.listened.lost_bytes);
        self.listened.lost_bytes = self.engine.recorder.append(self.claimed.attempt, lines, gap).await;
    }

    async fn finish(&mut self) -> Listened {
        if let Some(channel) = &mut self.channel {
            let heard = channel.finish();
            self.hear(heard);
        }
        let now = self.engine.clock.now();
        let mut lines = Vec::new();
        let remark = {
            let reported = self.told.borrow();
            for (stream, masked) in
                [LogStream::Stdout, LogStream::Stderr].into_iter().zip(&mut self.ear.masked)
            {
                cut(&masked.finish(reported.masks()), (now, stream), &mut lines);
            }
            reported.remark()
        };
        if let Some(remark) = remark {
            let (stream, bytes) = (LogStream::System, remark.into_bytes());
            lines.push(NewLine { at: now, stream, bytes, is_line_end: true });
        }
        self.ear.look_for_errors(&lines);
        self.hand_on(lines).await;
        let reported = self.told.borrow();
        let error_line = std::mem::take(&mut self.ear.error_line);
        self.listened.error_line = error_line.pick().map(|line| reported.masks().hide(&line));
        drop(reported);
        std::mem::take(&mut self.listened)
    }
}

impl Ear {
    /// The pieces as lines for the log, without secrets.
    fn take(&mut self, pieces: Vec<Piece>, masks: &Masks) -> Vec<NewLine> {
        let mut lines = Vec::with_capacity(pieces.len());
        for piece in pieces {
            hide(masks, &mut self.masked, piece, &mut lines);
        }
        self.look_for_errors(&lines);
        lines
    }

    fn look_for_errors(&mut self, lines: &[NewLine]) {
        for line in lines {
            self.error_line.hear(line.stream, &line.bytes, line.is_line_end);
        }
    }
}

/// Adds up what was reported, whichever way it came.
pub(super) fn tell(
    told: &watch::Sender<Reported>,
    alive: &watch::Sender<bool>,
    heard: &Heard,
    now: Timestamp,
) {
    if heard.is_empty() {
        return;
    }
    alive.send_replace(false);
    told.send_modify(|reported| {
        reported.ignore(heard.too_long_count);
        for line in &heard.lines {
            reported.hear(line, now);
        }
    });
}

async fn next(channel: &mut Option<ReportChannel>) -> Heard {
    match channel {
        Some(channel) => channel.next().await,
        None => std::future::pending().await,
    }
}

/// A piece as lines for the log, without secrets. What may be the beginning of one is held back.
fn hide(masks: &Masks, masked: &mut [MaskedStream; 2], piece: Piece, lines: &mut Vec<NewLine>) {
    let (stream, masked) = match piece.stream {
        Stream::Stdout => (LogStream::Stdout, &mut masked[0]),
        Stream::Stderr => (LogStream::Stderr, &mut masked[1]),
    };
    if masks.is_empty() {
        let (bytes, is_line_end) = (piece.bytes, piece.is_line_end);
        lines.push(NewLine { at: piece.at, stream, bytes, is_line_end });
        return;
    }
    let mut shown = masked.push(masks, &piece.bytes);
    if piece.is_line_end {
        shown.extend(masked.push(masks, b"\n"));
    }
    cut(&shown, (piece.at, stream), lines);
}

/// Bytes as lines and parts of lines.
fn cut(bytes: &[u8], (at, stream): (Timestamp, LogStream), lines: &mut Vec<NewLine>) {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let has_end = text.len() < line.len();
        let mut rest = text;
        while rest.len() > MAX_PIECE_BYTES {
            let (part, left) = rest.split_at(MAX_PIECE_BYTES);
            lines.push(NewLine { at, stream, bytes: part.to_vec(), is_line_end: false });
            rest = left;
        }
        lines.push(NewLine { at, stream, bytes: rest.to_vec(), is_line_end: has_end });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, is_line_end: bool) -> Piece {
        Piece { stream: Stream::Stdout, at: Timestamp(7), bytes: text.as_bytes().to_vec(), is_line_end }
    }

    fn shown(masks: &Masks, pieces: &[(&str, bool)]) -> Vec<(String, bool)> {
        let (mut masked, mut lines) = (<[MaskedStream; 2]>::default(), Vec::new());
        for (text, is_line_end) in pieces {
            hide(masks, &mut masked, piece(text, *is_line_end), &mut lines);
        }
        cut(&masked[0].finish(masks), (Timestamp(7), LogStream::Stdout), &mut lines);
        lines.into_iter().map(|line| (String::from_utf8(line.bytes).unwrap(), line.is_line_end)).collect()
    }

    #[test]
    fn a_secret_is_hidden_over_pieces_and_lines() {
        let mut masks = Masks::default();
        let pieces =
            [("a hun", false), ("ter2", false), (" b", true), ("", true), ("one", true), ("two hun", false)];
        let line = |text: &str, is_line_end| (text.to_owned(), is_line_end);
        let as_it_came: Vec<_> = pieces.iter().map(|(text, is_end)| line(text, *is_end)).collect();
        assert_eq!(shown(&masks, &pieces), as_it_came);
        masks.add("hunter2");
        masks.add("one\ntwo");
        assert_eq!(
            shown(&masks, &pieces),
            [
                line("a ", false),
                line("***", false),
                line(" b", true),
                line("", true),
                line("*** ", false),
                line("hun", false)
            ]
        );
    }

    #[test]
    fn what_was_held_back_is_still_cut_into_pieces() {
        let mut lines = Vec::new();
        let text = [vec![b'x'; MAX_PIECE_BYTES + 1], b"\ny".to_vec()].concat();
        cut(&text, (Timestamp(7), LogStream::Stderr), &mut lines);
        let seen: Vec<_> = lines.iter().map(|line| (line.bytes.len(), line.is_line_end)).collect();
        assert_eq!(seen, [(MAX_PIECE_BYTES, false), (1, true), (1, false)]);
    }
}
