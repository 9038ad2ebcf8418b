//! Owns what a shared subscription has told lately, and who of its members is to be waited for. It must never wait for
//! one who does not read: the fastest member sets the pace, and the others get a moment.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::limits::{TOPIC_BYTES_MAX, TOPIC_FRAMES_MAX, TOPIC_PACE, TOPIC_REST, TOPIC_REST_MAX};
use super::topics_frame::Frame;
use super::topics_line::Line;
use crate::base::clock::{Clock as _, SystemClock, sleep, within};
use crate::domain::resume::{Ahead, Standing};

/// Lines that are written to before others get a turn.
const LINES_AT_ONCE: usize = 32;
/// Events that a stream may be behind a member who waits for it.
const AHEAD_MAX: i64 = 10_000;
/// What a timer can tell apart.
const SHORTEST_REST: Duration = Duration::from_millis(1);

/// The newest frames of a topic.
#[derive(Debug)]
pub struct Ring {
    held: Mutex<Held>,
    news: watch::Sender<u64>,
    taken: Notify,
    /// Those who are written to, first come first served.
    lines: Mutex<Vec<Weak<Line>>>,
}

#[derive(Debug)]
struct Held {
    /// Behind what the first frame here stands.
    base: Standing,
    /// The number of the first frame here; they are counted from 0.
    first: u64,
    frames: VecDeque<Kept>,
    bytes: usize,
    /// No member stands behind more frames.
    furthest: u64,
    /// Members that wait for the next frame.
    waiting: usize,
    /// Members that waited for the newest frame and have not taken it.
    pending: usize,
    is_over: bool,
}

#[derive(Debug)]
struct Kept {
    frame: Arc<Frame>,
    /// Where it ends, and the next one begins.
    to: Standing,
    /// Whether it leads there. Otherwise it says why nothing does, and everybody who stands there has to hear it.
    is_well: bool,
}

/// The frame that a member waits for.
pub type WaitsFor = Option<u64>;

/// What a member gets.
#[derive(Debug)]
pub enum Taken {
    /// The frame, and behind what it stands then.
    Frame(Arc<Frame>, Standing),
    /// Nothing yet.
    Nothing,
    /// The frame is no longer here.
    Behind,
    /// There is none, and none will follow.
    Over,
}

/// How somebody who stands somewhere comes to the frames.
#[derive(Debug)]
pub enum Found {
    /// This frame follows.
    Next(u64),
    /// From there to here first; then this frame follows.
    Until(Standing, u64),
    /// The topic comes there by itself.
    Wait,
    /// Not at all.
    Apart,
}

impl Ring {
    /// Nothing was told; what will be begins behind `base`.
    pub fn new(base: Standing) -> Ring {
        let held = Held {
            base,
            first: 0,
            frames: VecDeque::new(),
            bytes: 0,
            furthest: 0,
            waiting: 0,
            pending: 0,
            is_over: false,
        };
        let (news, taken, lines) = (watch::Sender::new(0), Notify::new(), Mutex::default());
        Ring { held: Mutex::new(held), news, taken, lines }
    }

    /// Changes with each frame and at the end.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// A member that waits here is written to.
    pub fn add(&self, line: &Arc<Line>) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(line));
    }

    fn lines(&self) -> Vec<Arc<Line>> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut there = Vec::with_capacity(lines.len());
        lines.retain(|line| line.upgrade().map(|line| there.push(line)).is_some());
        there
    }

    /// Tells the next frame, behind which everybody stands at `to`, and writes it to those who wait on a line. One that is
    /// not well is the last and leads nowhere.
    pub async fn tell(&self, frame: Arc<Frame>, to: Standing, is_well: bool) {
        let number = self.publish(Arc::clone(&frame), to.clone(), is_well);
        let mut is_taken = false;
        for (index, line) in self.lines().iter().enumerate() {
            if index % LINES_AT_ONCE == LINES_AT_ONCE - 1 {
                // A write takes some microseconds, and others want this thread too.
                tokio::task::yield_now().await;
            }
            is_taken |= line.push(number, &frame, &to);
        }
        if is_taken {
            self.held().reach(number + 1, &self.taken);
        }
    }

    /// Makes the frame known. Gives its number.
    fn publish(&self, frame: Arc<Frame>, to: Standing, is_well: bool) -> u64 {
        let mut held = self.held();
        let number = held.end();
        held.bytes += frame.weight();
        held.frames.push_back(Kept { frame, to, is_well });
        while held.frames.len() > TOPIC_FRAMES_MAX || (held.bytes > TOPIC_BYTES_MAX && held.frames.len() > 1)
        {
            let Some(gone) = held.frames.pop_front() else { break };
            held.bytes -= gone.frame.weight();
            held.base = gone.to;
            held.first += 1;
        }
        held.pending = std::mem::take(&mut held.waiting);
        drop(held);
        self.news.send_modify(|count| *count += 1);
        number
    }

    /// Nothing follows.
    pub fn end(&self) {
        self.held().is_over = true;
        self.news.send_modify(|count| *count += 1);
        self.lines().iter().for_each(|line| line.call());
    }

    /// Whether nothing follows.
    pub fn is_over(&self) -> bool {
        self.held().is_over
    }

    /// Resolves when the next frame may be told: somebody has the newest one, everybody who waited for it has had a moment
    /// to take it, and the daemon has rested from it, the longer the more take part. What happens meanwhile goes into one
    /// frame.
    pub async fn paced(&self) {
        let told_at = SystemClock.monotonic();
        self.taken(told_at).await;
        let members = u32::try_from(self.news.receiver_count()).unwrap_or(u32::MAX);
        let rest = TOPIC_REST.saturating_mul(members).min(TOPIC_REST_MAX);
        let left = rest.saturating_sub(SystemClock.monotonic().duration_since(told_at));
        if left >= SHORTEST_REST {
            sleep(left).await;
        }
    }

    async fn taken(&self, told_at: Instant) {
        loop {
            let (is_taken, pending) = {
                let held = self.held();
                (held.furthest >= held.end(), held.pending)
            };
            let taken = self.taken.notified();
            if !is_taken {
                taken.await;
                continue;
            }
            let left = TOPIC_PACE.saturating_sub(SystemClock.monotonic().duration_since(told_at));
            if pending == 0 || left.is_zero() || within(left, taken).await.is_none() {
                return;
            }
        }
    }

    /// Takes the frame of this number. Who has a line, and stands at that place, waits there when there is none yet.
    pub fn take(&self, number: u64, waits_for: &mut WaitsFor, line: Option<(&Line, &Standing)>) -> Taken {
        let mut held = self.held();
        let Some(index) = number.checked_sub(held.first) else {
            held.leave(waits_for, &self.taken);
            return Taken::Behind;
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(Kept { frame, to, .. }) = held.frames.get(index) {
            let (frame, to) = (Arc::clone(frame), to.clone());
            held.leave(waits_for, &self.taken);
            held.reach(number + 1, &self.taken);
            return Taken::Frame(frame, to);
        }
        if held.is_over {
            return Taken::Over;
        }
        held.reach(number, &self.taken);
        if let Some((line, at)) = line {
            // Under the lock: the next frame comes behind this.
            line.wait(number, at);
        } else if *waits_for != Some(number) {
            held.leave(waits_for, &self.taken);
            held.waiting += 1;
            *waits_for = Some(number);
        }
        Taken::Nothing
    }

    /// A member does not wait any longer.
    pub fn leave(&self, waits_for: &mut WaitsFor) {
        self.held().leave(waits_for, &self.taken);
    }

    /// How somebody who stands here comes to the frames.
    pub fn find(&self, at: &Standing, ahead: Ahead) -> Found {
        let mut held = self.held();
        let mut above = None;
        for (number, to) in held.boundaries() {
            match at.compare(to) {
                Some(Ordering::Equal) => return Found::Next(number),
                Some(Ordering::Less) if above.is_none() || ahead == Ahead::Comes => {
                    above = Some((to, number));
                }
                Some(Ordering::Less) | None => {}
                // Between two frames: the way to the end of the one is short.
                Some(Ordering::Greater) => break,
            }
        }
        let (end, newest) = held.boundaries().next().unwrap_or((held.first, &held.base));
        if let Some((mut until, mut number)) = above {
            if number == held.first {
                // Far behind: what is told meanwhile would be gone when it comes here.
                (until, number) = (newest, end);
            }
            let is_known = ahead == Ahead::Comes || until.job.is_some();
            return if is_known { Found::Until(until.clone(), number) } else { Found::Apart };
        }
        let is_ahead = at.compare(newest) == Some(Ordering::Greater) && is_near(at, newest);
        if !is_ahead || ahead == Ahead::Unknown || held.is_over {
            return Found::Apart;
        }
        held.reach(end, &self.taken);
        Found::Wait
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a stream that stands behind `newest` is soon at `at`. It may have stood still for hours, because of one member
/// who has left it since.
fn is_near(at: &Standing, newest: &Standing) -> bool {
    let seq = |standing: &Standing| standing.cursor.map_or(0, |cursor| cursor.seq);
    seq(at).saturating_sub(seq(newest)) <= AHEAD_MAX
}

impl Held {
    /// The number of the next frame.
    fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// Where the frames meet, each place with the number of the frame that follows; the newest first.
    fn boundaries(&self) -> impl Iterator<Item = (u64, &Standing)> {
        let behind = self.frames.iter().enumerate().rev().filter(|(_, kept)| kept.is_well);
        behind
            .map(|(index, kept)| (self.first + index as u64 + 1, &kept.to))
            .chain([(self.first, &self.base)])
    }

    /// Some member stands before this frame.
    fn reach(&mut self, number: u64, taken: &Notify) {
        if number > self.furthest {
            self.furthest = number;
            taken.notify_one();
        }
    }

    fn leave(&mut self, waits_for: &mut WaitsFor, taken: &Notify) {
        let Some(number) = waits_for.take() else { return };
        if number == self.end() {
            self.waiting = self.waiting.saturating_sub(1);
        } else if number + 1 == self.end() {
            self.pending = self.pending.saturating_sub(1);
            if self.pending == 0 {
                taken.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{Response, value};
    use futures_util::FutureExt as _;

    use super::*;
    use crate::domain::event::EventCursor;
    use crate::web::errors::Answer;

    fn at(seq: i64) -> Standing {
        Standing { cursor: Some(EventCursor { epoch: 1, seq }), ..Standing::default() }
    }

    fn tell(ring: &Ring, to: i64, text: &str) {
        let answer = Answer::shape(Response::new(value!({ "a": text })));
        ring.publish(Arc::new(Frame::new(&answer)), at(to), true);
    }

    /// As `next NUMBER`, `until SEQ then NUMBER`, `wait` or `apart`.
    fn found(ring: &Ring, seq: i64) -> String {
        match ring.find(&at(seq), Ahead::Comes) {
            Found::Next(number) => format!("next {number}"),
            Found::Until(until, number) => {
                let seq = until.cursor.map(|cursor| cursor.seq).unwrap_or_default();
                format!("until {seq} then {number}")
            }
            Found::Wait => "wait".to_owned(),
            Found::Apart => "apart".to_owned(),
        }
    }

    #[test]
    fn everybody_finds_the_way_to_a_boundary_of_frames() {
        let ring = Ring::new(at(10));
        assert_eq!(
            (found(&ring, 10), found(&ring, 3), found(&ring, 12)),
            ("next 0".to_owned(), "until 10 then 0".to_owned(), "wait".to_owned())
        );
        tell(&ring, 20, "");
        tell(&ring, 20, "idle");
        tell(&ring, 30, "");
        for (seq, way) in [
            (3, "until 30 then 3"),
            (10, "next 0"),
            (15, "until 20 then 1"),
            // Behind what was told to those who were idle.
            (20, "next 2"),
            (29, "until 30 then 3"),
            (30, "next 3"),
            (31, "wait"),
        ] {
            assert_eq!(found(&ring, seq), way, "from {seq}");
        }
        assert_eq!(found(&ring, 30 + AHEAD_MAX), "wait");
        assert_eq!(found(&ring, 31 + AHEAD_MAX), "apart", "it would be long in coming");
        ring.end();
        assert_eq!((found(&ring, 30), found(&ring, 31)), ("next 3".to_owned(), "apart".to_owned()));
        let elsewhere = Standing { cursor: Some(EventCursor { epoch: 2, seq: 20 }), ..Standing::default() };
        assert!(matches!(ring.find(&elsewhere, Ahead::Comes), Found::Apart));
    }

    #[test]
    fn why_a_stream_ends_is_heard_by_those_who_come_when_it_was_told() {
        let ring = Ring::new(at(10));
        tell(&ring, 20, "");
        let refused = Answer::shape(Response::from_errors(Vec::new()));
        ring.publish(Arc::new(Frame::new(&refused)), at(20), false);
        ring.end();
        for (seq, way) in [(3, "until 20 then 1"), (10, "next 0"), (15, "until 20 then 1"), (20, "next 1")] {
            assert_eq!(found(&ring, seq), way, "from {seq}");
        }
    }

    #[test]
    fn who_follows_a_job_comes_to_the_newest_frame_or_stays_apart() {
        let ring = Ring::new(Standing::default());
        let find = |standing: &Standing| ring.find(standing, Ahead::Unknown);
        assert!(matches!(find(&Standing::default()), Found::Next(0)), "as the first one");
        assert!(matches!(find(&at(5)), Found::Apart), "nobody knows whether it comes there");
        tell(&ring, 8, "");
        assert!(matches!(find(&at(5)), Found::Apart), "no job was shown there");
        assert!(matches!(find(&at(8)), Found::Next(1)));
        assert!(matches!(find(&at(9)), Found::Apart));
    }

    #[test]
    fn a_ring_is_bounded_in_frames_and_bytes() {
        let ring = Ring::new(at(0));
        let mut waits_for = None;
        for seq in 1..=i64::try_from(TOPIC_FRAMES_MAX).expect("small") + 5 {
            tell(&ring, seq, "");
        }
        assert!(matches!(ring.take(4, &mut waits_for, None), Taken::Behind));
        assert!(matches!(ring.take(5, &mut waits_for, None), Taken::Frame(..)));
        assert_eq!(found(&ring, 3), format!("until {0} then {0}", TOPIC_FRAMES_MAX + 5));
        for seq in 1_000..1_004 {
            tell(&ring, seq, &"x".repeat(TOPIC_BYTES_MAX / 4));
        }
        let held = ring.held();
        assert!(held.bytes <= TOPIC_BYTES_MAX && held.frames.len() == 1, "{} bytes", held.bytes);
    }

    #[tokio::test]
    async fn the_fastest_one_is_waited_for_and_the_others_for_a_moment() {
        let ring = Ring::new(at(0));
        let patience = TOPIC_PACE * 4;
        let (mut fast, mut deaf) = (None, None);
        assert!(matches!(ring.take(0, &mut fast, None), Taken::Nothing));
        tell(&ring, 1, "");
        assert!(within(patience, ring.paced()).await.is_none(), "nobody has it");
        assert!(matches!(ring.take(0, &mut fast, None), Taken::Frame(..)));
        within(patience, ring.paced()).await.expect("all who waited have it");
        assert!(matches!(ring.take(1, &mut fast, None), Taken::Nothing));
        assert!(matches!(ring.take(1, &mut deaf, None), Taken::Nothing));
        tell(&ring, 2, "");
        assert!(matches!(ring.take(1, &mut fast, None), Taken::Frame(..)));
        let began = SystemClock.monotonic();
        ring.paced().await;
        assert!(began.elapsed() >= TOPIC_PACE / 2, "a moment for the other one");
        assert!(matches!(ring.take(2, &mut fast, None), Taken::Nothing));
        tell(&ring, 3, "");
        assert!(matches!(ring.take(2, &mut fast, None), Taken::Frame(..)));
        within(patience, ring.paced()).await.expect("nobody else waits any more");
        ring.leave(&mut deaf);
    }

    #[tokio::test]
    async fn the_more_take_part_the_longer_is_the_rest() {
        let ring = Ring::new(at(0));
        let crowd: Vec<_> = (0..400).map(|_| ring.news()).collect();
        let mut waits_for = None;
        assert!(matches!(ring.take(0, &mut waits_for, None), Taken::Nothing));
        tell(&ring, 1, "");
        assert!(matches!(ring.take(0, &mut waits_for, None), Taken::Frame(..)));
        let began = SystemClock.monotonic();
        ring.paced().await;
        assert!(began.elapsed() >= TOPIC_REST * 399, "so many are written to in that time");
        drop(crowd);
        assert!(matches!(ring.take(1, &mut waits_for, None), Taken::Nothing));
        tell(&ring, 2, "");
        assert!(matches!(ring.take(1, &mut waits_for, None), Taken::Frame(..)));
        assert!(ring.paced().now_or_never().is_some(), "nobody is there to rest from");
    }
}
