//! Owns what the last jobs of a task add up to. Pure.

use super::duration::Span;
use super::id::JobId;
use super::job::JobState;
use crate::base::clock::Timestamp;

/// A job that has ended, as far as statistics look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedJob {
    /// The job.
    pub id: JobId,
    /// Its final state.
    pub state: JobState,
    /// When its first attempt began; `None` when it never did.
    pub started_at: Option<Timestamp>,
    /// When it became final.
    pub finished_at: Timestamp,
}

/// How many of these ended so.
pub fn count(jobs: &[EndedJob], state: JobState) -> usize {
    jobs.iter().filter(|job| job.state == state).count()
}

/// The length that `percent` of the jobs that succeeded did not exceed, from the first start to the end; `None` when
/// none succeeded. 50 is the median.
pub fn percentile(jobs: &[EndedJob], percent: usize) -> Option<Span> {
    let succeeded = jobs.iter().filter(|job| job.state == JobState::Succeeded);
    let mut lengths: Vec<_> =
        succeeded.filter_map(|job| Some(Span::from_std(job.finished_at.since(job.started_at?)))).collect();
    lengths.sort_unstable();
    // The nearest rank: a length that did occur.
    let rank = (lengths.len() * percent).div_ceil(100).max(1);
    lengths.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: i64, state: JobState, millis: Option<i64>) -> EndedJob {
        let finished_at = Timestamp(1_000_000_000_000);
        let started_at = millis.map(|millis| Timestamp(finished_at.0 - millis * 1_000));
        EndedJob { id: JobId(id), state, started_at, finished_at }
    }

    #[test]
    fn percentiles_are_lengths_of_successes_that_occurred() {
        let mut jobs: Vec<_> =
            (1..=100).map(|number| job(number, JobState::Succeeded, Some(number * 10))).collect();
        jobs.push(job(101, JobState::Failed, Some(1)));
        jobs.push(job(102, JobState::Cancelled, None));
        assert_eq!((count(&jobs, JobState::Succeeded), count(&jobs, JobState::Failed)), (100, 1));
        let of = |jobs: &[EndedJob], percent| percentile(jobs, percent).map(Span::millis);
        assert_eq!((of(&jobs, 50), of(&jobs, 95), of(&jobs, 100)), (Some(500), Some(950), Some(1_000)));
        assert_eq!((of(&jobs[..3], 50), of(&jobs[..3], 95)), (Some(20), Some(30)));
        assert_eq!((of(&jobs[..1], 50), of(&jobs[..1], 95)), (Some(10), Some(10)));
        assert_eq!((of(&jobs[100..], 50), of(&[], 95)), (None, None));
    }
}
