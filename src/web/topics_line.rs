//! Owns the place in which a member of a topic waits for the next frame on a WebSocket: whoever tells the frame writes it
//! there at once, and the socket's task sleeps on. It must never give one out of its turn, nor one that the member comes
//! to by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::pipe::{Pipe, Pushed};
use super::topics_frame::Frame;
use crate::base::metrics::Place;
use crate::domain::resume::Standing;

/// Where a member waits.
#[derive(Debug)]
pub struct Line {
    pipe: Arc<Pipe>,
    /// The operation's id, as the client gave it.
    id: Arc<str>,
    stand: Mutex<Stand>,
    called: Notify,
}

#[derive(Debug, Default)]
struct Stand {
    /// The number of the frame that is waited for here, and behind what the member stands.
    waits: Option<(u64, Standing)>,
    /// Where it stands, for the daemon's numbers.
    place: Option<Arc<Place>>,
    is_closed: bool,
}

impl Line {
    /// For the operation of this id on this connection.
    pub fn new(pipe: Arc<Pipe>, id: Arc<str>) -> Line {
        Line { pipe, id, stand: Mutex::default(), called: Notify::new() }
    }

    /// The member is counted here.
    pub fn count_at(&self, place: Option<Arc<Place>>) {
        self.stand().place = place;
    }

    /// The member waits for this frame and stands at `at`.
    pub fn wait(&self, number: u64, at: &Standing) {
        let mut stand = self.stand();
        if !stand.is_closed {
            stand.waits = Some((number, at.clone()));
        }
    }

    /// The member waits here no longer. Gives what it waited for then, and behind what it stood.
    pub fn leave(&self) -> Option<(u64, Standing)> {
        self.stand().waits.take()
    }

    /// Resolves when the member has to look for itself.
    pub async fn called(&self) {
        self.called.notified().await;
    }

    /// Nothing is written here any more, as soon as this returns.
    pub fn close(&self) {
        *self.stand() = Stand { is_closed: true, ..Stand::default() };
    }

    /// The member has to look for itself.
    pub fn call(&self) {
        self.called.notify_one();
    }

    /// Writes the frame, behind which everybody stands at `to`, if it is the one that is waited for. Calls the member
    /// where that cannot be done. Gives whether it is on its way.
    pub fn push(&self, number: u64, frame: &Frame, to: &Standing) -> bool {
        let mut stand = self.stand();
        let Some((waited_for, at)) = stand.waits.as_mut().filter(|(waited_for, _)| *waited_for == number)
        else {
            return false;
        };
        // A refusal is the last message: it has to be noted by whoever has the operation.
        if frame.is_failed() || self.pipe.push(&frame.wire(&self.id)) == Pushed::Not {
            self.called.notify_one();
            return false;
        }
        *waited_for += 1;
        *at = to.clone();
        if let (Some(place), Some(cursor)) = (&stand.place, to.cursor) {
            place.reached(cursor.seq);
        }
        true
    }

    fn stand(&self) -> MutexGuard<'_, Stand> {
        self.stand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
