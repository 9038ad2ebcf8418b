//! Owns who may do what: tokens' grants and the question whether they suffice.

use async_graphql::{Enum, SimpleObject};
use serde::{Deserialize, Serialize};

use super::id::TokenId;

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
}

impl Viewer {
    /// Whether a grant for everything covers `verb`.
    pub fn may(&self, verb: GrantVerb) -> bool {
        self.grants.iter().any(|grant| grant.verb == GrantVerb::Admin || grant.verb == verb)
    }
}
