//! Owns the next tries of dead letters that somebody put back. They hold up neither each other nor the feed's own way.

use std::time::Duration;

use super::{Post, SAVE_EVERY, SICK_TRIES, Step};
use crate::notify::delivery::{Answer, Blame};
use crate::store::sinks::Postponed;

/// Dead letters that are put back in one go.
const AGAIN_MAX: usize = 50;
/// Dead letters of which it is remembered how often they were tried in vain since they were put back.
const AGAIN_KNOWN_MAX: usize = 10_000;

impl Post {
    /// Tells what somebody put back and is due, at most once in a while. One that is answered with an error waits for its
    /// own next try and holds up no other.
    pub(super) async fn tell_again(&mut self) -> Step<()> {
        if self.engine.clock.monotonic() < self.again_at {
            return Ok(());
        }
        let (mut rest, mut failed_count) = (SAVE_EVERY, 0);
        let due =
            self.engine.own.letters_again(&self.outlet.name, self.engine.clock.now(), AGAIN_MAX).await?;
        for letter in due {
            self.keep_turn().await?;
            let seq = letter.event.cursor.seq;
            if !self.engine.own.is_letter_again(&self.outlet.name, seq).await? {
                continue;
            }
            match self.send(std::slice::from_ref(&letter.event)).await? {
                Answer::Delivered => {
                    self.again_vain.remove(&seq);
                    self.unsaved.redelivered.push(seq);
                    self.count_delivered(1);
                }
                Answer::Refused { why, .. } => {
                    self.again_vain.remove(&seq);
                    self.unsaved.postponed.push(Postponed { seq, failure: why, at: None });
                }
                Answer::Later { why, after, blame: Blame::Message } => {
                    self.postpone(seq, why, after);
                    failed_count += 1;
                }
                Answer::Later { why, after, blame: Blame::Sink } => {
                    self.failed(&why).await?;
                    rest = self.rest(after);
                    break;
                }
            }
            self.save().await?;
            // The feed's own way must not wait for many of them.
            if failed_count >= SICK_TRIES {
                break;
            }
        }
        self.again_at = self.engine.clock.monotonic() + rest;
        Ok(())
    }

    /// Gives a dead letter its next try.
    fn postpone(&mut self, seq: i64, failure: String, asked: Option<Duration>) {
        // Those that were given up meanwhile are in it for ever: no more than there may be letters.
        if self.again_vain.len() > AGAIN_KNOWN_MAX {
            self.again_vain.clear();
        }
        let vain = self.again_vain.entry(seq).or_default();
        *vain = vain.saturating_add(1);
        let vain = *vain;
        let at = Some(self.engine.clock.now().plus(self.pause_after(vain, asked)));
        self.unsaved.postponed.push(Postponed { seq, failure, at });
    }
}
