//! Owns which parts of a job are read. What is long, is taken apart, or is looked up elsewhere, is read only when it is
//! asked for. Everything else always is, but where nothing is asked for that most lists do not show.

/// A choice of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobParts(i64);

impl JobParts {
    /// None of them: what most lists show of a job.
    pub const NONE: JobParts = JobParts(0);
    /// `command`.
    pub const COMMAND: JobParts = JobParts(1);
    /// `labels`.
    pub const LABELS: JobParts = JobParts(2);
    /// `retry_policy`.
    pub const RETRY_POLICY: JobParts = JobParts(4);
    /// `failure`.
    pub const FAILURE: JobParts = JobParts(8);
    /// `progress`.
    pub const PROGRESS: JobParts = JobParts(16);
    /// `parameters`.
    pub const PARAMETERS: JobParts = JobParts(32);
    /// `runs_on`.
    pub const RUNS_ON: JobParts = JobParts(64);
    /// `event_cursor`.
    pub const LAST_EVENT: JobParts = JobParts(128);
    /// What is neither long nor shown by most lists; it comes with every other part.
    pub const DETAILS: JobParts = JobParts(256);
    /// All of them.
    pub const ALL: JobParts = JobParts(511);

    /// These and those.
    #[must_use]
    pub const fn and(self, other: JobParts) -> JobParts {
        JobParts(self.0 | other.0)
    }

    /// A bit for each part, as the store's statements know them.
    pub const fn bits(self) -> i64 {
        self.0
    }
}
