//! Owns what of some events a sink has taken that is told them in parts, as a collector is told log records and spans: each
//! part is told again by itself until it is taken. It must never decide about a next try.

use std::collections::BTreeMap;

use crate::domain::event::Event;
use crate::notify::Part;
use crate::notify::delivery::{Answer, Blame, Sent};

/// Parts of events that are remembered as taken while another part is not. Beyond it the oldest are forgotten, and may
/// be told twice.
const TAKEN_MAX: usize = 10_000;

/// One part of some events.
#[derive(Debug, Clone, Copy)]
struct Taken {
    part: Part,
    first: i64,
    last: i64,
    /// Whether they were told out of turn: then the feed's own way does not forget them.
    is_again: bool,
}

/// What was taken, and what the sink has no place for.
#[derive(Debug, Default)]
pub(super) struct Parts {
    taken: Vec<Taken>,
    absent: BTreeMap<Part, String>,
    /// What it said last of those that it refused while it took the others.
    remarks: BTreeMap<Part, String>,
}

/// Numbers of the first and the last of these events.
fn ends(events: &[Event]) -> (i64, i64) {
    let number = |event: Option<&Event>| event.map_or(0, |event| event.cursor.seq);
    (number(events.first()), number(events.last()))
}

impl Parts {
    /// Whether this part of these events was not taken yet.
    pub(super) fn is_due(&self, part: Part, events: &[Event]) -> bool {
        let (first, last) = ends(events);
        !self.taken.iter().any(|one| one.part == part && one.first <= first && last <= one.last)
    }

    /// What the answers to the parts that were due mean for the events. `seen`: where the sink stands in the feed.
    pub(super) fn judge(&mut self, events: &[Event], has_taken: bool, sent: Vec<Sent>, seen: i64) -> Answer {
        let (first, last) = ends(events);
        let is_taken = |one: &Sent| one.answer == Answer::Delivered;
        // What it takes one part of is the right place; it has none for the other.
        let is_right = has_taken || sent.iter().any(is_taken);
        let mut worst = Answer::Delivered;
        for Sent { part, answer, is_absent, remark } in sent {
            match answer {
                Answer::Delivered => {
                    self.absent.remove(&part);
                    self.remarks.remove(&part);
                    self.remarks.extend(remark.map(|remark| (part, remark)));
                    self.taken.push(Taken { part, first, last, is_again: last <= seen });
                }
                Answer::Refused { why, .. } | Answer::Later { why, .. }
                    if is_absent && (is_right || self.absent.contains_key(&part)) =>
                {
                    self.absent.insert(part, why);
                }
                answer if weight(&answer) > weight(&worst) => {
                    worst = match answer {
                        // Not every event has a span: only those that do are refused.
                        Answer::Refused { why, .. } if part == Part::Spans => {
                            Answer::Refused { why, is_final: false }
                        }
                        answer => answer,
                    };
                }
                _ => {}
            }
        }
        if worst == Answer::Delivered {
            self.taken.retain(|one| one.first < first || last < one.last);
        }
        let over = self.taken.len().saturating_sub(TAKEN_MAX);
        self.taken.drain(..over);
        worst
    }

    /// Forgets what lies behind the sink's position.
    pub(super) fn forget(&mut self, seen: i64) {
        self.taken.retain(|one| one.is_again || one.last > seen);
    }

    /// What the sink has no place for, or did not take of what it was told last, in words.
    pub(super) fn lacking(&self) -> Option<String> {
        let absent =
            self.absent.first_key_value().map(|(part, why)| format!("it takes no {}: {why}", part.word()));
        absent.or_else(|| {
            let (part, why) = self.remarks.first_key_value()?;
            Some(format!("{}: {why}", part.word()))
        })
    }
}

/// What must be dealt with first.
fn weight(answer: &Answer) -> u8 {
    match answer {
        Answer::Delivered => 0,
        Answer::Refused { .. } => 1,
        Answer::Later { blame: Blame::Message, .. } => 2,
        Answer::Later { blame: Blame::Sink, .. } => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::domain::event::{EventCursor, EventType};
    use crate::domain::scalars::Json;

    fn events(numbers: std::ops::RangeInclusive<i64>) -> Vec<Event> {
        let event = |seq| Event {
            cursor: EventCursor { epoch: 1, seq },
            kind: EventType::JobCreated,
            at: Timestamp(0),
            actor: String::new(),
            peer: None,
            subject_id: None,
            job_id: None,
            task_name: None,
            queue_name: None,
            data: Json::default(),
        };
        numbers.map(event).collect()
    }

    fn sent(part: Part, answer: Answer, is_absent: bool) -> Sent {
        Sent { part, answer, is_absent, remark: None }
    }

    fn refused() -> Answer {
        Answer::Refused { why: "it answered 404".to_owned(), is_final: false }
    }

    fn later() -> Answer {
        Answer::Later { why: "it answered 500".to_owned(), after: None, blame: Blame::Message }
    }

    #[test]
    fn a_part_that_was_taken_is_not_due_again_alone_or_with_others() {
        let mut parts = Parts::default();
        let batch = events(5..=9);
        let answers = vec![sent(Part::Records, Answer::Delivered, false), sent(Part::Spans, later(), false)];
        assert_eq!(parts.judge(&batch, false, answers, 4), later());
        assert!(!parts.is_due(Part::Records, &batch) && parts.is_due(Part::Spans, &batch));
        assert!(!parts.is_due(Part::Records, &batch[1..2]), "told singly it is taken too");
        assert!(parts.is_due(Part::Records, &events(9..=10)));
        let taken = vec![sent(Part::Spans, Answer::Delivered, false)];
        assert_eq!(parts.judge(&batch, true, taken, 4), Answer::Delivered);
        assert!(parts.taken.is_empty());
        // One that was put back is remembered until it is through, wherever the feed stands.
        let answers = vec![sent(Part::Records, Answer::Delivered, false), sent(Part::Spans, later(), false)];
        parts.judge(&batch[..1], false, answers, 20);
        parts.forget(30);
        assert!(!parts.is_due(Part::Records, &batch[..1]));
    }

    #[test]
    fn a_place_that_is_not_there_is_no_failure_when_another_one_is() {
        let mut parts = Parts::default();
        let batch = events(1..=2);
        let alone = vec![sent(Part::Records, refused(), true)];
        assert_eq!(parts.judge(&batch, false, alone.clone(), 0), refused(), "the address may be wrong");
        let both = vec![sent(Part::Records, refused(), true), sent(Part::Spans, Answer::Delivered, false)];
        assert_eq!(parts.judge(&batch, false, both, 0), Answer::Delivered);
        assert_eq!(parts.lacking().as_deref(), Some("it takes no log records: it answered 404"));
        assert_eq!(parts.judge(&batch, false, alone, 0), Answer::Delivered, "that is known by now");
        let good = vec![sent(Part::Records, Answer::Delivered, false)];
        assert_eq!(parts.judge(&batch, false, good, 0), Answer::Delivered);
        assert_eq!(parts.lacking(), None);
    }
}
