//! Owns the incident: failures of one kind, and what becomes of it when it is looked at, resolved, or comes back. Alerts
//! are told when it opens, comes back or has grown tenfold, never for each failure.

use async_graphql::{Enum, InputObject, SimpleObject};

use super::attempt::{AttemptOutcome, Ended};
use super::command::Command;
use super::error_line::looks_like_error;
use super::fingerprint::{Subject, Traits};
use super::id::{IncidentId, JobId, TaskId};
use super::limits::{FILTER_VALUES_MAX, INCIDENT_TITLE_CHARS_MAX};
use super::task::TaskRef;
use crate::base::clock::Timestamp;

/// An incident that has grown so many times since its last alert is told again: N failures make at most log N alerts.
const ESCALATION_FACTOR: i64 = 10;

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum)]
pub enum IncidentStatus {
    /// Somebody should look at it.
    Open,
    /// Somebody does.
    Acknowledged,
    /// It is over; the next failure opens it again, as a regression.
    Resolved,
    /// Nobody wants to hear of it, for ever, until a date or until it has happened so often.
    Ignored,
}

/// Every status, for reading words from the store.
const STATUSES: [IncidentStatus; 4] =
    [IncidentStatus::Open, IncidentStatus::Acknowledged, IncidentStatus::Resolved, IncidentStatus::Ignored];

impl IncidentStatus {
    /// The word in the store and the API.
    pub fn word(self) -> &'static str {
        match self {
            IncidentStatus::Open => "OPEN",
            IncidentStatus::Acknowledged => "ACKNOWLEDGED",
            IncidentStatus::Resolved => "RESOLVED",
            IncidentStatus::Ignored => "IGNORED",
        }
    }

    /// The status of a word from the store.
    pub fn from_word(word: &str) -> Option<IncidentStatus> {
        STATUSES.into_iter().find(|status| status.word() == word)
    }
}

/// What happened to an incident, as its events say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentNews {
    /// The first failure of its kind.
    Opened,
    /// It came back after it was resolved.
    Regressed,
    /// It has grown tenfold since the last alert.
    Escalated,
    /// Somebody looks at it.
    Acknowledged,
    /// Somebody says that it is over.
    Resolved,
    /// Somebody wants to hear no more of it.
    Ignored,
    /// The time or the count for which it was ignored is over.
    Reopened,
}

impl IncidentNews {
    /// The word in events.
    pub fn word(self) -> &'static str {
        match self {
            IncidentNews::Opened => "OPENED",
            IncidentNews::Regressed => "REGRESSED",
            IncidentNews::Escalated => "ESCALATED",
            IncidentNews::Acknowledged => "ACKNOWLEDGED",
            IncidentNews::Resolved => "RESOLVED",
            IncidentNews::Ignored => "IGNORED",
            IncidentNews::Reopened => "REOPENED",
        }
    }
}

/// Failures with the same fingerprint, grouped for review.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Incident {
    /// Its row.
    #[graphql(skip)]
    pub id: IncidentId,
    /// Task, program or part of the daemon, and the error line of the first failure.
    pub title: String,
    /// Names this kind of failure; made of task, outcome, code and error line without what differs from run to run.
    pub fingerprint: String,
    /// Where it stands.
    pub status: IncidentStatus,
    /// The task whose attempts fail.
    #[graphql(skip)]
    pub task_id: Option<TaskId>,
    /// The task's name at the last failure; null for an ad hoc command and for a part of the daemon.
    pub task_name: Option<String>,
    /// The part of the daemon that failed; null when attempts did.
    pub subsystem: Option<String>,
    /// How the attempts ended; null for a part of the daemon.
    pub outcome: Option<AttemptOutcome>,
    /// The newest error line, as it was written.
    pub error_line: Option<String>,
    /// Failed attempts so far, or failures of the part of the daemon.
    pub occurrence_count: i32,
    /// When the first one failed.
    pub first_seen_at: Timestamp,
    /// When the last one failed.
    pub last_seen_at: Timestamp,
    /// When it came back after it was resolved.
    pub regressed_at: Option<Timestamp>,
    /// The newest job that failed so.
    #[graphql(skip)]
    pub sample_job_id: Option<JobId>,
    /// Who looks at it.
    pub assignee: Option<String>,
    /// What somebody wrote on it.
    pub note: Option<String>,
    /// Until when it is ignored; null with `ignoredUntilCount` null means for ever.
    pub ignored_until: Option<Timestamp>,
    /// At which count it opens again.
    pub ignored_until_count: Option<i32>,
    /// Who changed its status last.
    pub status_by: Option<String>,
    /// When its status changed last.
    pub status_at: Option<Timestamp>,
}

/// Which incidents.
#[derive(Debug, Clone, Default, InputObject)]
pub struct IncidentFilter {
    /// With one of these statuses; open and acknowledged ones when left out.
    pub statuses: Option<Vec<IncidentStatus>>,
    /// Of this task.
    pub task: Option<TaskRef>,
    /// Whose title or error line contains this, in any case.
    pub text: Option<String>,
}

impl IncidentFilter {
    /// Whether every list is short enough.
    pub fn is_bounded(&self) -> bool {
        self.statuses.as_ref().is_none_or(|statuses| statuses.len() <= FILTER_VALUES_MAX)
    }

    /// The statuses that are wanted.
    pub fn wanted(&self) -> Vec<IncidentStatus> {
        self.statuses.clone().unwrap_or_else(|| vec![IncidentStatus::Open, IncidentStatus::Acknowledged])
    }
}

/// What somebody does about an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncidentAction {
    /// Looks at it.
    Acknowledge {
        /// Who; `None` leaves it as it was.
        assignee: Option<String>,
    },
    /// Says that it is over.
    Resolve,
    /// Wants to hear no more of it.
    Ignore {
        /// Until then.
        until: Option<Timestamp>,
        /// Until it has happened so many times more.
        until_count: Option<i64>,
    },
}

impl IncidentAction {
    /// What its event says.
    pub fn news(&self) -> IncidentNews {
        match self {
            IncidentAction::Acknowledge { .. } => IncidentNews::Acknowledged,
            IncidentAction::Resolve => IncidentNews::Resolved,
            IncidentAction::Ignore { .. } => IncidentNews::Ignored,
        }
    }

    /// The status that it leads to, or `None` when it makes no sense for where the incident stands: what is over can
    /// only be ignored from now on.
    pub fn leads_to(&self, from: IncidentStatus) -> Option<IncidentStatus> {
        match (self, from) {
            (IncidentAction::Ignore { .. }, _) => Some(IncidentStatus::Ignored),
            (_, IncidentStatus::Resolved) => None,
            (IncidentAction::Acknowledge { .. }, _) => Some(IncidentStatus::Acknowledged),
            (IncidentAction::Resolve, _) => Some(IncidentStatus::Resolved),
        }
    }
}

/// One failure on its way into an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// Its kind.
    pub fingerprint: String,
    /// What the incident is called when this is its first failure.
    pub title: String,
    /// The task whose attempt failed.
    pub task: Option<(TaskId, String)>,
    /// The part of the daemon that failed.
    pub subsystem: Option<String>,
    /// How the attempt ended.
    pub outcome: Option<AttemptOutcome>,
    /// The error line as it was written.
    pub error_line: Option<String>,
    /// The fingerprint that it is counted under when there are too many kinds to tell apart.
    pub coarse: String,
}

/// Whether an attempt that ended so has failed. One that was cancelled or interrupted did what somebody wanted.
pub fn is_failure(outcome: AttemptOutcome) -> bool {
    match outcome {
        AttemptOutcome::Exited
        | AttemptOutcome::Signaled
        | AttemptOutcome::TimedOut
        | AttemptOutcome::OutOfMemory
        | AttemptOutcome::SpawnFailed
        | AttemptOutcome::Panicked
        | AttemptOutcome::Lost => true,
        AttemptOutcome::Succeeded | AttemptOutcome::Cancelled | AttemptOutcome::Interrupted => false,
    }
}

impl Occurrence {
    /// The failure of an attempt, by the task with its name that it ran for, if there is one, and by what it ran.
    pub fn of_attempt(task: Option<(TaskId, &str)>, command: &Command, ended: &Ended) -> Occurrence {
        let program = program(command);
        let subject = task.map_or(Subject::Command(program), |(id, _)| Subject::Task(id));
        // Names of programs may be made up for each run.
        let coarse = task.map_or(Subject::Command(""), |_| subject);
        let line = reason(ended);
        let traits = Traits {
            subject,
            outcome: Some(ended.outcome),
            exit_code: ended.exit_code,
            signal: ended.signal.as_deref(),
            line,
        };
        Occurrence {
            fingerprint: traits.fingerprint(),
            title: title(task.map_or(program, |(_, name)| name), line),
            task: task.map(|(id, name)| (id, name.to_owned())),
            subsystem: None,
            outcome: Some(ended.outcome),
            error_line: Some(line.to_owned()),
            coarse: Traits { subject: coarse, exit_code: None, signal: None, line: "", ..traits }
                .fingerprint(),
        }
    }

    /// The failure of a part of the daemon.
    pub fn of_subsystem(name: &str, message: Option<&str>) -> Occurrence {
        let line = message.unwrap_or("failed");
        let subject = Subject::Subsystem(name);
        let traits = Traits { subject, outcome: None, exit_code: None, signal: None, line };
        Occurrence {
            fingerprint: traits.fingerprint(),
            title: title(name, line),
            task: None,
            subsystem: Some(name.to_owned()),
            outcome: None,
            error_line: message.map(|message| message.replace('\0', "\u{fffd}")),
            coarse: Traits { line: "", ..traits }.fingerprint(),
        }
    }
}

/// The line that tells why. What was written last before a limit or a crash ended the attempt is the reason only when it
/// looks like one.
fn reason(ended: &Ended) -> &str {
    let is_own_end = !matches!(
        ended.outcome,
        AttemptOutcome::TimedOut | AttemptOutcome::OutOfMemory | AttemptOutcome::Lost
    );
    let line = ended.error_line.as_deref().filter(|line| is_own_end || looks_like_error(line.as_bytes()));
    line.unwrap_or(&ended.message)
}

/// The name of what an ad hoc job runs.
fn program(command: &Command) -> &str {
    let path = command.handler.as_deref().or(command.argv.first().map(String::as_str)).unwrap_or("command");
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path)
}

fn title(subject: &str, line: &str) -> String {
    let line = line.replace('\0', "\u{fffd}");
    let title = format!("{subject}: {}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    match title.char_indices().nth(INCIDENT_TITLE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &title[..end]),
        None => title,
    }
}

/// What decides about an incident when it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub status: IncidentStatus,
    /// Failures, those that are just counted included.
    pub occurrence_count: i64,
    /// Failures before it opened the last time.
    pub count_before: i64,
    /// Failures at the last alert.
    pub alerted_count: i64,
    /// An ignored one opens at this instant.
    pub ignored_until: Option<Timestamp>,
    /// An ignored one opens at this count.
    pub ignored_until_count: Option<i64>,
}

impl Standing {
    /// What `added` more failures make of it; `None` when they are no news.
    pub fn after(self, added: i64, now: Timestamp) -> Option<(IncidentNews, Standing)> {
        let count = self.occurrence_count;
        let opened = Standing {
            status: IncidentStatus::Open,
            count_before: count - added,
            alerted_count: count,
            ignored_until: None,
            ignored_until_count: None,
            ..self
        };
        match self.status {
            IncidentStatus::Resolved => Some((IncidentNews::Regressed, opened)),
            IncidentStatus::Ignored if self.is_over(now) => Some((IncidentNews::Reopened, opened)),
            IncidentStatus::Ignored => None,
            IncidentStatus::Open | IncidentStatus::Acknowledged => {
                let told = (self.alerted_count - self.count_before).max(1);
                let has_grown = count - self.count_before >= told.saturating_mul(ESCALATION_FACTOR);
                has_grown.then_some((IncidentNews::Escalated, Standing { alerted_count: count, ..self }))
            }
        }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.ignored_until.is_some_and(|until| until <= now)
            || self.ignored_until_count.is_some_and(|until| until <= self.occurrence_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn standing(status: IncidentStatus, occurrence_count: i64) -> Standing {
        let (ignored_until, ignored_until_count) = (None, None);
        Standing {
            status,
            occurrence_count,
            count_before: 0,
            alerted_count: 1,
            ignored_until,
            ignored_until_count,
        }
    }

    #[test]
    fn it_is_told_again_each_time_it_has_grown_tenfold() {
        let mut now = standing(IncidentStatus::Open, 1);
        let mut told = Vec::new();
        for count in 2..=2_000 {
            now.occurrence_count = count;
            if let Some((news, next)) = now.after(1, NOW) {
                assert_eq!(news, IncidentNews::Escalated);
                told.push(count);
                now = next;
            }
        }
        assert_eq!(told, [10, 100, 1_000]);
    }

    #[test]
    fn one_that_comes_back_begins_to_count_anew() {
        let resolved = Standing { alerted_count: 1_000, ..standing(IncidentStatus::Resolved, 5_001) };
        let (news, mut back) = resolved.after(1, NOW).unwrap();
        assert_eq!(
            (news, back.status, back.count_before),
            (IncidentNews::Regressed, IncidentStatus::Open, 5_000)
        );
        back.occurrence_count = 5_009;
        assert_eq!(back.after(1, NOW), None);
        back.occurrence_count = 5_010;
        assert_eq!(back.after(1, NOW).map(|(news, _)| news), Some(IncidentNews::Escalated));
    }

    #[test]
    fn an_ignored_one_opens_at_its_date_or_its_count_and_not_before() {
        let ignored = standing(IncidentStatus::Ignored, 50);
        let after = |standing: Standing| standing.after(1, NOW).map(|(news, _)| news);
        assert_eq!(after(ignored), None);
        for (until, count, news) in [
            (Some(1_001), None, None),
            (Some(1_000), None, Some(IncidentNews::Reopened)),
            (None, Some(51), None),
            (None, Some(50), Some(IncidentNews::Reopened)),
            (Some(1_001), Some(50), Some(IncidentNews::Reopened)),
        ] {
            let until = until.map(Timestamp);
            let standing = Standing { ignored_until: until, ignored_until_count: count, ..ignored };
            assert_eq!(after(standing), news, "{until:?} {count:?}");
        }
    }

    #[test]
    fn what_is_over_can_only_be_ignored() {
        let acknowledge = IncidentAction::Acknowledge { assignee: None };
        let ignore = IncidentAction::Ignore { until: None, until_count: None };
        for status in STATUSES {
            let is_over = status == IncidentStatus::Resolved;
            assert_eq!(acknowledge.leads_to(status).is_none(), is_over);
            assert_eq!(IncidentAction::Resolve.leads_to(status).is_none(), is_over);
            assert_eq!(ignore.leads_to(status), Some(IncidentStatus::Ignored));
            assert_eq!(IncidentStatus::from_word(status.word()), Some(status));
        }
    }

    #[test]
    fn a_title_is_one_short_line() {
        let long = title("etl", &"x ".repeat(500));
        assert_eq!(long.chars().count(), INCIDENT_TITLE_CHARS_MAX + 3);
        assert_eq!(title("etl", "two\n lines\0"), "etl: two lines\u{fffd}");
    }
}
