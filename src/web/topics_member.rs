//! Owns one subscriber of a topic: its way to the frames, from wherever it stands, and on from frame to frame. It gets
//! what it would get alone, in the same order and nothing twice. One who is slow goes on apart, where its pace is its own.

use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

use super::errors::Answer;
use super::limits::TOPIC_SLOW_AFTER;
use super::seats::Seat;
use super::topics::Topic;
use super::topics_frame::Frame;
use super::topics_line::Line;
use super::topics_ring::{Found, Taken, WaitsFor};
use crate::base::clock::{Clock as _, SystemClock};
use crate::base::metrics::Place;
use crate::domain::resume::{Ahead, Standing, Told};

/// What a subscriber is sent.
#[derive(Debug)]
pub enum Piece {
    /// What others get too.
    Shared(Arc<Frame>),
    /// Its own.
    Own(Answer),
}

/// One who has joined a topic.
pub struct Member {
    topic: Arc<Topic>,
    /// Behind what it stands.
    at: Standing,
    ahead: Ahead,
    way: Way,
    waits_for: WaitsFor,
    news: watch::Receiver<u64>,
    /// When it was last given something.
    given_at: Option<Instant>,
    /// Where it stands, for the daemon's numbers.
    place: Option<Arc<Place>>,
    /// Where it waits for what is written to it, on a WebSocket.
    line: Option<Arc<Line>>,
    _seat: Seat,
}

/// How a member comes by what it is sent.
enum Way {
    /// It looks for its frame.
    Looking,
    /// It takes the frame of this number next.
    Along(u64),
    /// An execution of its own leads it there; then this frame follows.
    Until(BoxStream<'static, Answer>, Told, Standing, u64),
    /// An execution of its own, for good.
    Apart(BoxStream<'static, Answer>),
}

impl Member {
    /// Somebody who stands at `at` and has not been sent anything.
    pub fn new(
        topic: Arc<Topic>,
        at: Standing,
        ahead: Ahead,
        (place, line): (Option<Place>, Option<Arc<Line>>),
        seat: Seat,
    ) -> Member {
        let (news, place) = (topic.ring.news(), place.map(Arc::new));
        if let Some(line) = &line {
            line.count_at(place.clone());
            topic.ring.add(line);
        }
        Member {
            topic,
            at,
            ahead,
            way: Way::Looking,
            waits_for: None,
            news,
            given_at: None,
            place,
            line,
            _seat: seat,
        }
    }

    /// Everything that it is sent.
    pub fn pieces(self) -> BoxStream<'static, Piece> {
        stream::unfold(Box::new(self), |mut member| async move {
            let piece = member.next().await?;
            Some((piece, member))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Piece> {
        self.check_pace();
        let piece = self.find_next().await?;
        self.given_at = Some(SystemClock.monotonic());
        Some(piece)
    }

    /// What one who does not keep up costs is its own matter, and how far it may fall behind is judged there.
    fn check_pace(&mut self) {
        let Some(given_at) = self.given_at.take() else { return };
        let took = SystemClock.monotonic().duration_since(given_at);
        if matches!(self.way, Way::Along(_) | Way::Looking) && took > TOPIC_SLOW_AFTER {
            self.go_apart();
        }
    }

    async fn find_next(&mut self) -> Option<Piece> {
        loop {
            match &mut self.way {
                Way::Along(number) => {
                    if let Some((reached, at)) = self.line.as_ref().and_then(|line| line.leave()) {
                        (*number, self.at) = (reached, at);
                    }
                    self.news.borrow_and_update();
                    let line = self.line.as_deref().map(|line| (line, &self.at));
                    match self.topic.ring.take(*number, &mut self.waits_for, line) {
                        Taken::Frame(frame, to) => {
                            *number += 1;
                            self.stand(to);
                            return Some(Piece::Shared(frame));
                        }
                        Taken::Nothing => match &self.line {
                            Some(line) => line.called().await,
                            None => self.wait().await?,
                        },
                        Taken::Behind => self.way = Way::Looking,
                        Taken::Over => return None,
                    }
                }
                Way::Looking => {
                    self.news.borrow_and_update();
                    match self.topic.ring.find(&self.at, self.ahead) {
                        Found::Next(number) => self.way = Way::Along(number),
                        Found::Until(until, number) => {
                            let told = Told::default();
                            let answers = self.topic.run(&self.at, Some(until.clone()), Some(told.clone()));
                            self.way = Way::Until(answers, told, until, number);
                        }
                        Found::Wait => self.wait().await?,
                        Found::Apart => self.go_apart(),
                    }
                }
                Way::Until(answers, told, until, number) => {
                    if let Some(answer) = answers.next().await {
                        let heard = told.heard();
                        if heard.is_well {
                            self.stand(heard.standing);
                        }
                        return Some(Piece::Own(answer));
                    }
                    if !told.heard().is_well {
                        return None;
                    }
                    let (until, number) = (until.clone(), *number);
                    self.way = Way::Along(number);
                    self.stand(until);
                }
                Way::Apart(answers) => return answers.next().await.map(Piece::Own),
            }
        }
    }

    fn stand(&mut self, at: Standing) {
        if let (Some(place), Some(cursor)) = (&self.place, at.cursor) {
            place.reached(cursor.seq);
        }
        self.at = at;
    }

    /// Waits for the topic; `None` when it is gone.
    async fn wait(&mut self) -> Option<()> {
        self.news.changed().await.ok()
    }

    fn go_apart(&mut self) {
        self.leave();
        // From here on it is counted like any other stream.
        self.place = None;
        self.way = Way::Apart(self.topic.run(&self.at, None, None));
    }

    fn leave(&mut self) {
        self.topic.ring.leave(&mut self.waits_for);
        if let Some(line) = self.line.take() {
            line.close();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}
