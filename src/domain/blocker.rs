//! Owns the reasons why a job that waits has not started, in the order in which they hold.

use async_graphql::{SimpleObject, Union};

use super::concurrency::LimitKey;
use super::id::JobId;
use super::job::{JobState, Label};
use super::limits::AHEAD_MAX;
use super::placement;
use super::queue::QueueRoom;
use crate::base::clock::Timestamp;
use crate::base::settings::show_length;

/// Why a job has not started yet.
#[derive(Debug, Clone, PartialEq, Eq, Union)]
pub enum Blocker {
    /// Somebody keeps it on hold.
    Held(HeldBlocker),
    /// Its queue is paused.
    Paused(PausedBlocker),
    /// Its time has not come.
    Scheduled(ScheduledBlocker),
    /// It waits for other jobs.
    Dependency(DependencyBlocker),
    /// As many of its key run as may, or are about to.
    Concurrency(ConcurrencyBlocker),
    /// No worker that is there has the labels that it asks for.
    Worker(WorkerBlocker),
    /// Its queue has started as many jobs as it may for now.
    Rate(RateBlocker),
    /// There is no place free for it.
    Capacity(CapacityBlocker),
}

/// Somebody keeps the job on hold.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct HeldBlocker {
    /// One sentence for people.
    pub message: String,
    /// Who: a token's name.
    pub by: String,
}

/// The job's queue is paused.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(complex)]
pub struct PausedBlocker {
    /// One sentence for people.
    pub message: String,
    /// The queue's name.
    #[graphql(skip)]
    pub queue_name: String,
    /// Why, by the word of who paused it.
    pub reason: Option<String>,
    /// Who: a token's name.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
}

/// The job's time has not come.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct ScheduledBlocker {
    /// One sentence for people.
    pub message: String,
    /// When it comes.
    pub run_at: Timestamp,
}

/// The job waits for other jobs.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(complex)]
pub struct DependencyBlocker {
    /// One sentence for people.
    pub message: String,
    /// Those that are not final yet, at most 20.
    #[graphql(skip)]
    pub job_ids: Vec<JobId>,
}

/// As many jobs of its key run as may, or are about to.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(complex)]
pub struct ConcurrencyBlocker {
    /// One sentence for people.
    pub message: String,
    /// The job's `concurrencyKey`; for the limit of a task, `task:` and its name; for that of a schedule, its id.
    pub key: String,
    /// Jobs of the key that may run at once.
    pub limit: i32,
    /// Those that run or come first, at most 20.
    #[graphql(skip)]
    pub holder_ids: Vec<JobId>,
}

/// No worker that is there has the labels that the job asks for.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct WorkerBlocker {
    /// One sentence for people.
    pub message: String,
    /// The labels that its worker must have, all of them.
    pub runs_on: Vec<Label>,
}

/// The job's queue has started as many jobs as it may for now.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(complex)]
pub struct RateBlocker {
    /// One sentence for people.
    pub message: String,
    /// The queue's name.
    #[graphql(skip)]
    pub queue_name: String,
    /// When the queue may start its next job.
    pub until: Timestamp,
}

/// There is no place free for the job: in its queue, or on any worker that may run it.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct CapacityBlocker {
    /// One sentence for people.
    pub message: String,
    /// Jobs of its queue that come before it, counted up to 1,000.
    pub ahead_count: i32,
}

impl Blocker {
    /// The same for whoever may not know of the jobs that come first.
    #[must_use]
    pub fn without_others(self) -> Blocker {
        match self {
            Blocker::Concurrency(one) => {
                let message = format!("{}: others come first", rule(one.limit, &one.key));
                Blocker::Concurrency(ConcurrencyBlocker { message, holder_ids: Vec::new(), ..one })
            }
            other => other,
        }
    }
}

/// Who of a key stands before a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The key.
    pub key: LimitKey,
    /// Jobs of it that may run at once.
    pub limit: i32,
    /// Those that run or come first.
    pub holders: Vec<JobId>,
}

/// What the rows say of a job that waits.
#[derive(Debug, Clone)]
pub struct WaitingJob {
    /// Its state.
    pub state: JobState,
    /// Its task's name.
    pub task_name: Option<String>,
    /// Its queue.
    pub queue_name: String,
    /// Its earliest start.
    pub run_at: Timestamp,
    /// Who keeps it on hold.
    pub held_by: Option<String>,
    /// Since when, by whom and why its queue is paused.
    pub paused: Option<(Timestamp, Option<String>, Option<String>)>,
    /// Who of its key comes first.
    pub gate: Option<Gate>,
    /// The jobs that it waits for.
    pub dependencies: Vec<JobId>,
    /// The labels that its worker must have.
    pub runs_on: Vec<Label>,
    /// Whether a worker that is there has them.
    pub is_fit: bool,
    /// The room of its queue, and when its rate allows the next start.
    pub room: Option<(QueueRoom, Option<Timestamp>)>,
    /// Jobs of its queue that may start and come before it.
    pub ahead: i64,
    /// Whether a claim at this moment would take it.
    pub is_next: bool,
}

/// Why the job waits; empty for one that does not, or that the next claim takes.
pub fn explain(job: &WaitingJob) -> Vec<Blocker> {
    match job.state {
        JobState::Held => {
            let by = job.held_by.clone().unwrap_or_default();
            vec![Blocker::Held(HeldBlocker { message: format!("on hold by {by}"), by })]
        }
        JobState::Blocked => vec![depends(&job.dependencies)],
        JobState::Scheduled | JobState::Retrying => {
            let what =
                if job.state == JobState::Retrying { "its next try is" } else { "it starts not before" };
            let message = format!("{what} {}", job.run_at);
            vec![Blocker::Scheduled(ScheduledBlocker { message, run_at: job.run_at })]
        }
        JobState::Queued if !job.is_next => queued(job),
        _ => Vec::new(),
    }
}

fn depends(jobs: &[JobId]) -> Blocker {
    let message = match jobs {
        // They ended this moment.
        [] => "the jobs that it depends on have ended; it is next to be looked at".to_owned(),
        jobs => format!("waits for {}", list(jobs)),
    };
    Blocker::Dependency(DependencyBlocker { message, job_ids: jobs.to_vec() })
}

fn queued(job: &WaitingJob) -> Vec<Blocker> {
    let mut blockers = Vec::new();
    if let Some((at, by, reason)) = &job.paused {
        let by = by.clone().unwrap_or_default();
        let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        blockers.push(Blocker::Paused(PausedBlocker {
            message: format!("the queue {} was paused by {by}{why}", job.queue_name),
            queue_name: job.queue_name.clone(),
            reason: reason.clone(),
            by,
            at: *at,
        }));
    }
    if let Some(gate) = &job.gate {
        blockers.push(gated(job, gate));
    }
    if !job.is_fit && !job.runs_on.is_empty() {
        blockers.push(unplaced(&job.runs_on));
    }
    if !blockers.is_empty() {
        return blockers;
    }
    let ahead_count = i32::try_from(job.ahead).unwrap_or(i32::MAX);
    let capacity = |message: String| Blocker::Capacity(CapacityBlocker { message, ahead_count });
    if let Some((queue, until)) = &job.room {
        if let Some(room) = queue.by_concurrency().filter(|room| job.ahead >= *room) {
            let limit = queue.concurrency_limit.unwrap_or_default();
            let free = if room == 0 { String::new() } else { format!(" and has {room} free") };
            blockers.push(capacity(format!(
                "the queue {} runs {} of {limit} jobs{free}; {} before this one",
                job.queue_name,
                queue.running,
                count(job.ahead)
            )));
        }
        if let (Some(room), Some(until)) = (queue.by_rate(), until)
            && job.ahead >= room
        {
            let (starts, per) = queue.rate.unwrap_or_default();
            let (jobs, per) = (if starts == 1 { "job" } else { "jobs" }, show_length(per.to_std()));
            blockers.push(Blocker::Rate(RateBlocker {
                message: format!(
                    "the queue {} starts {starts} {jobs} in {per}; {} before this one",
                    job.queue_name,
                    count(job.ahead)
                ),
                queue_name: job.queue_name.clone(),
                until: *until,
            }));
        }
    }
    if blockers.is_empty() {
        let whose = placement::selector(&job.runs_on)
            .map(|labels| format!(" of workers with {}", spaced(&labels)))
            .unwrap_or_default();
        blockers.push(capacity(format!("all slots{whose} are taken; {} before this one", count(job.ahead))));
    }
    blockers
}

fn unplaced(runs_on: &[Label]) -> Blocker {
    let what = if runs_on.len() == 1 { "the label" } else { "all of the labels" };
    let labels = spaced(&placement::selector(runs_on).unwrap_or_default());
    let message = format!("no worker that is there has {what} {labels}");
    Blocker::Worker(WorkerBlocker { message, runs_on: runs_on.to_vec() })
}

/// A selector for people.
fn spaced(selector: &str) -> String {
    selector.replace(',', ", ")
}

fn gated(job: &WaitingJob, gate: &Gate) -> Blocker {
    let key = match &gate.key {
        LimitKey::Key(key) => key.clone(),
        LimitKey::Schedule(id) => id.to_string(),
        LimitKey::Task(id) => format!("task:{}", job.task_name.clone().unwrap_or_else(|| id.to_string())),
    };
    let first = match gate.holders.as_slice() {
        // Those that come first stand in a paused queue.
        [] => "none may start now".to_owned(),
        [holder] => format!("{holder} comes first"),
        holders => format!("{} come first", list(holders)),
    };
    Blocker::Concurrency(ConcurrencyBlocker {
        message: format!("{}: {first}", rule(gate.limit, &key)),
        key,
        limit: gate.limit,
        holder_ids: gate.holders.clone(),
    })
}

fn rule(limit: i32, key: &str) -> String {
    let at_once = if limit == 1 { "one job at a time".to_owned() } else { format!("{limit} jobs at once") };
    format!("{at_once} with the key {key}")
}

fn count(ahead: i64) -> String {
    match ahead {
        0 => "none comes".to_owned(),
        1 => "1 comes".to_owned(),
        AHEAD_MAX.. => format!("{AHEAD_MAX} or more come"),
        ahead => format!("{ahead} come"),
    }
}

fn list(jobs: &[JobId]) -> String {
    jobs.iter().map(JobId::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::duration::Span;

    const T: Timestamp = Timestamp(1_700_000_000_000_000);

    fn waiting(state: JobState) -> WaitingJob {
        WaitingJob {
            state,
            task_name: Some("build".to_owned()),
            queue_name: "q".to_owned(),
            run_at: T,
            held_by: Some("ann".to_owned()),
            paused: None,
            gate: None,
            dependencies: vec![JobId(3), JobId(4)],
            runs_on: Vec::new(),
            is_fit: true,
            room: None,
            ahead: 2,
            is_next: false,
        }
    }

    fn messages(job: &WaitingJob) -> Vec<String> {
        let message = |blocker| match blocker {
            Blocker::Held(one) => one.message,
            Blocker::Paused(one) => one.message,
            Blocker::Scheduled(one) => one.message,
            Blocker::Dependency(one) => one.message,
            Blocker::Concurrency(one) => one.message,
            Blocker::Worker(one) => one.message,
            Blocker::Rate(one) => one.message,
            Blocker::Capacity(one) => one.message,
        };
        explain(job).into_iter().map(message).collect()
    }

    #[test]
    fn each_state_has_its_own_reason() {
        for (state, expected) in [
            (JobState::Held, vec!["on hold by ann"]),
            (JobState::Blocked, vec!["waits for job_3, job_4"]),
            (JobState::Scheduled, vec!["it starts not before 2023-11-14T22:13:20.000Z"]),
            (JobState::Retrying, vec!["its next try is 2023-11-14T22:13:20.000Z"]),
            (JobState::Queued, vec!["all slots are taken; 2 come before this one"]),
            (JobState::Running, vec![]),
            (JobState::Failed, vec![]),
        ] {
            assert_eq!(messages(&waiting(state)), expected);
        }
        assert!(explain(&WaitingJob { is_next: true, ..waiting(JobState::Queued) }).is_empty());
    }

    #[test]
    fn a_job_that_no_worker_fits_says_which_labels_it_asks_for() {
        let label = |key: &str, value: &str| Label { key: key.to_owned(), value: value.to_owned() };
        let gpu = WaitingJob { runs_on: vec![label("gpu", "a100")], ..waiting(JobState::Queued) };
        assert_eq!(messages(&gpu), ["all slots of workers with gpu=a100 are taken; 2 come before this one"]);
        let unfit = WaitingJob { is_fit: false, ..gpu };
        assert_eq!(messages(&unfit), ["no worker that is there has the label gpu=a100"]);
        let runs_on = vec![label("gpu", "a100"), label("os", "linux")];
        let two = WaitingJob { runs_on, paused: Some((T, Some("bo".to_owned()), None)), ..unfit.clone() };
        assert_eq!(
            messages(&two),
            [
                "the queue q was paused by bo",
                "no worker that is there has all of the labels gpu=a100, os=linux"
            ]
        );
        // Only who may start looks for a worker, and a job for any worker waits for a slot when there is none.
        let held = WaitingJob { state: JobState::Held, ..unfit.clone() };
        assert_eq!(messages(&held), ["on hold by ann"]);
        let plain = WaitingJob { runs_on: Vec::new(), ..unfit };
        assert_eq!(messages(&plain), ["all slots are taken; 2 come before this one"]);
    }

    #[test]
    fn a_queued_job_names_every_limit_that_holds_it() {
        let room = QueueRoom {
            name: "q".to_owned(),
            concurrency_limit: Some(5),
            running: 4,
            rate: Some((9, Span::from_secs(60))),
            recent_starts: 8,
        };
        let job = WaitingJob { room: Some((room, Some(T))), ..waiting(JobState::Queued) };
        assert_eq!(
            messages(&job),
            [
                "the queue q runs 4 of 5 jobs and has 1 free; 2 come before this one",
                "the queue q starts 9 jobs in 1m; 2 come before this one"
            ]
        );
        assert_eq!(
            messages(&WaitingJob { ahead: 0, ..job.clone() }),
            ["all slots are taken; none comes before this one"]
        );
        let gate = |key, limit| Some(Gate { key, limit, holders: vec![JobId(7)] });
        let paused = WaitingJob {
            paused: Some((T, Some("bo".to_owned()), Some("a move".to_owned()))),
            gate: gate(LimitKey::Key("db".to_owned()), 1),
            ..job.clone()
        };
        assert_eq!(
            messages(&paused),
            ["the queue q was paused by bo: a move", "one job at a time with the key db: job_7 comes first"]
        );
        let told = explain(&WaitingJob { gate: gate(LimitKey::Key("a: b".to_owned()), 2), ..job.clone() });
        let Blocker::Concurrency(told) = told[0].clone().without_others() else { panic!("it is gated") };
        assert_eq!(told.message, "2 jobs at once with the key a: b: others come first");
        assert_eq!(told.holder_ids, []);
        let of_task = WaitingJob { gate: gate(LimitKey::Task(crate::domain::id::TaskId(1)), 3), ..job };
        assert_eq!(messages(&of_task), ["3 jobs at once with the key task:build: job_7 comes first"]);
    }
}
