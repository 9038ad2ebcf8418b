//! Owns who may do what: tokens' grants, and the questions whether they suffice for a verb, a task or a job.
//! Default deny. Nobody else decides whether a viewer may see a job.

use async_graphql::{Enum, SimpleObject};
use serde::{Deserialize, Serialize};

use super::filter::JobFilter;
use super::glob;
use super::id::{JobId, TokenId};
use super::job::Job;
use super::rejection::{Rejection, UserErrorCode};
use crate::base::clock::Timestamp;

/// What a grant allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GrantVerb {
    /// See everything but tokens.
    Read,
    /// Make jobs of tasks.
    Enqueue,
    /// Cancel jobs.
    Cancel,
    /// Change tasks, schedules and queues.
    Operate,
    /// Run any command line.
    Command,
    /// Everything.
    Admin,
}

impl GrantVerb {
    /// The word in the API.
    pub fn word(self) -> &'static str {
        match self {
            GrantVerb::Read => "READ",
            GrantVerb::Enqueue => "ENQUEUE",
            GrantVerb::Cancel => "CANCEL",
            GrantVerb::Operate => "OPERATE",
            GrantVerb::Command => "COMMAND",
            GrantVerb::Admin => "ADMIN",
        }
    }
}

/// One thing that a token may do.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Serialize, Deserialize)]
pub struct Grant {
    /// What.
    pub verb: GrantVerb,
    /// Globs of task names; null means all.
    pub tasks: Option<Vec<String>>,
    /// Only for jobs that this token made.
    pub own_jobs_only: bool,
}

impl Grant {
    /// A grant for everything of its verb.
    pub fn of(verb: GrantVerb) -> Grant {
        Grant { verb, tasks: None, own_jobs_only: false }
    }

    /// Whether it is for everything of its verb.
    fn is_whole(&self) -> bool {
        self.tasks.is_none() && !self.own_jobs_only
    }

    /// Whether its globs let a job of this task pass; an ad hoc command has no name that one could match.
    fn fits(&self, task: Option<&str>) -> bool {
        let Some(globs) = &self.tasks else { return true };
        task.is_some_and(|name| globs.iter().any(|pattern| glob::matches(pattern, name)))
    }
}

/// Which jobs and facts a viewer gets to see: the question of every list, as a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Sight {
    /// Everything: for the daemon itself and for ADMIN.
    #[default]
    All,
    /// Everything but what concerns tokens.
    AllButTokens,
    /// The jobs that this token made, and what happens to them.
    OwnJobs(TokenId),
}

impl Sight {
    /// The token whose jobs alone are seen.
    pub fn own(self) -> Option<TokenId> {
        match self {
            Sight::OwnJobs(token) => Some(token),
            Sight::All | Sight::AllButTokens => None,
        }
    }
}

/// Who is asking.
#[derive(Debug, Clone, SimpleObject)]
pub struct Viewer {
    /// The token's row.
    #[graphql(skip)]
    pub token_id: TokenId,
    /// The token's name.
    pub token_name: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// When its token stops being valid.
    #[graphql(skip)]
    pub expires_at: Option<Timestamp>,
}

impl Viewer {
    /// Whether some grant is about `verb`, however narrow.
    pub fn may(&self, verb: GrantVerb) -> bool {
        self.has(verb, |_| true)
    }

    /// Whether it may do everything.
    pub fn is_admin(&self) -> bool {
        self.has(GrantVerb::Admin, |_| true)
    }

    /// Whether a grant covers everything of `verb`.
    pub fn may_all(&self, verb: GrantVerb) -> bool {
        self.has(verb, Grant::is_whole)
    }

    fn has(&self, verb: GrantVerb, covers: impl Fn(&Grant) -> bool) -> bool {
        self.grants
            .iter()
            .any(|grant| grant.verb == GrantVerb::Admin || (grant.verb == verb && covers(grant)))
    }

    /// What it gets to see. A token without READ sees what it made, as the answers of its own mutations.
    pub fn sight(&self) -> Sight {
        if self.is_admin() {
            Sight::All
        } else if self.may_all(GrantVerb::Read) {
            Sight::AllButTokens
        } else {
            Sight::OwnJobs(self.token_id)
        }
    }

    /// Somebody who sees this and may do nothing, for what is done once for all who see the same.
    pub fn of_sight(sight: Sight) -> Viewer {
        let grants = match sight {
            Sight::All => vec![Grant::of(GrantVerb::Admin)],
            Sight::AllButTokens => vec![Grant::of(GrantVerb::Read)],
            Sight::OwnJobs(_) => Vec::new(),
        };
        let token_id = sight.own().unwrap_or(TokenId(0));
        Viewer { token_id, token_name: String::new(), grants, expires_at: None }
    }

    /// Whether it may see this job: the one place that decides it. The lists ask the same by `sight`.
    pub fn sees(&self, job: &Job) -> bool {
        self.sight().own().is_none_or(|token| job.token_id == Some(token))
    }

    /// Whether it may make jobs of this task; without a task, of any command line. `path` is the field at fault.
    pub fn check_enqueue(&self, path: &str, task: Option<&str>) -> Result<(), Rejection> {
        let Some(name) = task else {
            if self.may(GrantVerb::Command) {
                return Ok(());
            }
            let message = "this token may not run ad hoc commands: it lacks the COMMAND grant";
            return Err(Rejection::at(UserErrorCode::Forbidden, path, message));
        };
        if self.has(GrantVerb::Enqueue, |grant| grant.fits(Some(name))) {
            return Ok(());
        }
        let message =
            format!("this token may not make jobs of {name}: it lacks an ENQUEUE grant for that task");
        Err(Rejection::at(UserErrorCode::Forbidden, path, message))
    }

    /// Whether it may cancel this job. One that it may neither cancel nor see does not exist for it.
    pub fn check_cancel(&self, job: &Job) -> Result<(), Rejection> {
        let covers = |grant: &Grant| {
            grant.fits(job.task_name.as_deref())
                && (!grant.own_jobs_only || job.token_id == Some(self.token_id))
        };
        if self.has(GrantVerb::Cancel, covers) {
            return Ok(());
        }
        if !self.sees(job) {
            return Err(no_job(job.id));
        }
        let message =
            format!("this token may not cancel {}: it lacks a CANCEL grant that covers that job", job.id);
        Err(Rejection::at(UserErrorCode::Forbidden, "id", message))
    }

    /// The filter of a change of many jobs, narrowed to what this token sees and may change by `verb`.
    /// Globs cannot be asked of the store: a token that has only such grants must name its jobs one by one.
    pub fn narrowed(&self, verb: GrantVerb, filter: JobFilter) -> Result<JobFilter, Rejection> {
        if !self.has(verb, |grant| grant.tasks.is_none()) {
            let message = format!(
                "this token may not change many jobs at once: it lacks a {} grant for all tasks",
                verb.word()
            );
            return Err(Rejection::new(UserErrorCode::Forbidden, message));
        }
        let is_own = !self.has(verb, Grant::is_whole);
        let sight = if is_own { Sight::OwnJobs(self.token_id) } else { self.sight() };
        Ok(JobFilter { sight, ..filter })
    }
}

/// The refusal of a job that does not exist, or not for the caller.
pub fn no_job(id: JobId) -> Rejection {
    Rejection::at(UserErrorCode::NotFound, "id", format!("there is no job {id}"))
}

#[cfg(test)]
mod tests;
