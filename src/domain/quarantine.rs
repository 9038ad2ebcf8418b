//! Owns the question which job killed the daemon. Pure: it judges what a dead daemon left behind.
//!
//! A daemon that died says nothing about who did it: a job that kills it, an operator's `kill -9` and the kernel's want
//! of memory look alike, and whatever else ran was lost too. So a job is convicted by what only a killer does again and
//! again. Lost twice in a row it is a suspect: it goes on as its retry policy says, but not before the daemon has
//! stood for a while, and one suspect some time after the other. It is convicted when the third daemon dies as well,
//! soon after the suspect was started, having stood well until then, with no other suspect started near it.
//!
//! So one job that kills does not condemn its neighbours, and a daemon that is killed every other second condemns nobody.
//! What it cannot tell: a job that takes longer than `SOON` to kill is tried as often as its policy allows.

use std::time::Duration;

use super::duration::Span;
use crate::base::clock::Timestamp;

/// Attempts in a row that were lost with their daemon before a job is convicted.
const LOST_MAX: usize = 3;
/// A daemon that has stood this long was well.
const CALM: Duration = Duration::from_secs(5);
/// A killer kills within this time, the restart of the daemon included.
const SOON: Duration = Duration::from_secs(10);
/// Between the starts of two suspects: more than `SOON`, for a start may be late by a moment.
const APART: Duration = Duration::from_secs(12);
/// Suspects that start apart from each other; behind so many they share their times.
const APART_MAX: u32 = 60;

/// What is known of an attempt that a dead daemon left open.
#[derive(Debug, Clone, Copy)]
pub struct LeftOpen {
    /// When the attempt was started.
    pub started_at: Timestamp,
    /// When its daemon began.
    pub worker_started_at: Timestamp,
    /// How many attempts of the job right before it were lost with their daemon too, counted up to two.
    pub lost_before: usize,
}

impl LeftOpen {
    fn is_suspect(&self) -> bool {
        self.lost_before + 1 >= LOST_MAX - 1
    }
}

/// What an attempt that was left open says about its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Nothing.
    Unsuspected,
    /// It may kill the daemon: its next try waits at least so long.
    Suspect(Span),
    /// It killed the daemon three times: it is not tried again.
    Killer,
}

/// Judges what one dead daemon left open, now that the next one has begun at `restarted_at`.
pub fn judge(left: &[LeftOpen], restarted_at: Timestamp) -> Vec<Finding> {
    let mut place = 0;
    let findings = left.iter().enumerate().map(|(at, one)| {
        if !one.is_suspect() {
            return Finding::Unsuspected;
        }
        let others = left.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, other)| other);
        if one.lost_before + 1 >= LOST_MAX && is_convicted(one, others, restarted_at) {
            return Finding::Killer;
        }
        let wait = CALM + APART * place;
        place = (place + 1).min(APART_MAX);
        Finding::Suspect(Span::from_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    });
    findings.collect()
}

fn is_convicted<'a>(
    one: &LeftOpen,
    mut others: impl Iterator<Item = &'a LeftOpen>,
    restarted_at: Timestamp,
) -> bool {
    let was_calm = one.started_at.since(one.worker_started_at) >= CALM;
    let died_soon = restarted_at.since(one.started_at) <= SOON;
    let is_alone = others.all(|other| !other.is_suspect() || one.started_at.since(other.started_at) >= SOON);
    was_calm && died_soon && is_alone
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: Timestamp = Timestamp(1_000_000_000_000);

    /// An attempt started so many milliseconds after its daemon.
    fn left(started_ms: i64, lost_before: usize) -> LeftOpen {
        LeftOpen { started_at: BEGAN.plus_millis(started_ms), worker_started_at: BEGAN, lost_before }
    }

    fn suspect(seconds: i64) -> Finding {
        Finding::Suspect(Span::from_millis(seconds * 1_000))
    }

    #[test]
    fn a_job_is_convicted_at_its_third_loss_in_a_row_on_a_daemon_that_stood_well_before() {
        let died = BEGAN.plus_millis(6_500);
        for (lost_before, finding) in [(0, Finding::Unsuspected), (1, suspect(5)), (2, Finding::Killer)] {
            assert_eq!(judge(&[left(6_000, lost_before)], died), [finding], "{lost_before} before");
        }
        // Fresh neighbours change nothing, and are not touched.
        let findings = judge(&[left(6_000, 0), left(6_000, 2), left(6_100, 0)], died);
        assert_eq!(findings, [Finding::Unsuspected, Finding::Killer, Finding::Unsuspected]);
    }

    #[test]
    fn a_daemon_that_dies_again_and_again_by_itself_convicts_nobody() {
        // Started before the daemon stood well: whoever kills daemons by the second hits it by chance.
        assert_eq!(judge(&[left(4_900, 2)], BEGAN.plus_millis(5_000)), [suspect(5)]);
        // It had run for long, or nobody started the daemon again soon.
        assert_eq!(judge(&[left(6_000, 2)], BEGAN.plus_millis(16_001)), [suspect(5)]);
    }

    #[test]
    fn of_several_suspects_none_is_convicted_for_another_and_they_start_apart() {
        let died = BEGAN.plus_millis(6_500);
        assert_eq!(judge(&[left(6_000, 2), left(6_200, 2)], died), [suspect(5), suspect(17)]);
        assert_eq!(judge(&[left(6_000, 2), left(6_200, 1)], died), [suspect(5), suspect(17)]);
        // The older one has shown for long enough that it does not kill.
        let died = BEGAN.plus_millis(16_500);
        assert_eq!(judge(&[left(6_000, 2), left(16_000, 2)], died), [suspect(5), Finding::Killer]);
        let many = vec![left(100, 1); 100];
        let findings = judge(&many, died);
        assert_eq!((findings[1], findings[60], findings[99]), (suspect(17), suspect(725), suspect(725)));
    }
}
