//! Owns the shapes of incidents in answers.

use super::{JobRef, Named, Page, answers};
use serde::Deserialize;

answers! {
    /// An incident in a list.
    IncidentRow {
        /// `incident_12`.
        id: String,
        /// Whose failure, and the error line.
        title: String,
        /// `OPEN`, `ACKNOWLEDGED`, ...
        status: String,
        /// Failures so far.
        occurrence_count: i64,
        /// Whether it came back after it was resolved.
        is_regression: bool,
        /// RFC 3339.
        last_seen_at: String,
        /// Who looks at it.
        #[serde(default)]
        assignee: Option<String>,
    }
    /// One incident, whole.
    IncidentDetail {
        /// `incident_12`.
        id: String,
        /// Whose failure, and the error line of the first one.
        title: String,
        /// Names this kind of failure.
        fingerprint: String,
        /// `OPEN`, `ACKNOWLEDGED`, ...
        status: String,
        /// Null for an ad hoc command and a part of the daemon.
        task: Option<Named>,
        /// The part of the daemon that failed.
        subsystem: Option<String>,
        /// How the attempts ended.
        outcome: Option<String>,
        /// The newest one.
        error_line: Option<String>,
        /// Failures so far.
        occurrence_count: i64,
        /// RFC 3339.
        first_seen_at: String,
        /// RFC 3339.
        last_seen_at: String,
        /// RFC 3339.
        regressed_at: Option<String>,
        /// How often in each hour of the last day.
        histogram: Vec<i64>,
        /// The newest job that failed so.
        sample_job: Option<JobRef>,
        /// The newest ones.
        jobs: Page<JobRef>,
        /// Who looks at it.
        assignee: Option<String>,
        /// What somebody wrote on it.
        note: Option<String>,
        /// RFC 3339.
        ignored_until: Option<String>,
        /// At which count it opens again.
        ignored_until_count: Option<i64>,
        /// Who changed its status last.
        status_by: Option<String>,
        /// RFC 3339.
        status_at: Option<String>,
    }
    /// An incident of which only id and status are asked.
    IncidentRef {
        /// `incident_12`.
        id: String,
        /// `OPEN`, `ACKNOWLEDGED`, ...
        status: String,
    }
    /// The payload of the mutations that give an incident.
    WithIncident {
        /// The incident after the commit.
        incident: IncidentRef,
    }
    /// The payload of `incidentRetry`.
    IncidentRetried {
        /// Failed jobs that nobody had made anew.
        matched_count: i64,
        /// Jobs that were made anew.
        retried_count: i64,
    }
}
