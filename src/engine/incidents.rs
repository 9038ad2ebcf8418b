//! Owns what callers may do about incidents, and what time does to them. How failures are counted is the store's.

use super::Engine;
use super::bulk::{Anew, BulkAnswer, RETRY_BATCH, allowed, half_done, too_many, whole};
use crate::base::clock::Timestamp;
use crate::base::points;
use crate::domain::access::Viewer;
use crate::domain::event::EventCursor;
use crate::domain::id::{IncidentId, TokenId};
use crate::domain::incident::IncidentAction;
use crate::domain::limits::{INCIDENT_DAYS_MAX, NAME_BYTES_MAX, TEXT_BYTES_MAX};
use crate::domain::rejection::{Rejection, UserErrorCode, check_text};
use crate::store::incident_upkeep::TendIncidents;
use crate::store::incidents::ChangeIncident;
use crate::store::writer::{Outcome, Refusal};

/// Whose keys are no caller's.
const NOBODY: TokenId = TokenId(0);

impl Engine {
    /// Acknowledges, resolves or ignores an incident.
    pub async fn change_incident(
        &self,
        viewer: &Viewer,
        id: IncidentId,
        action: IncidentAction,
        note: Option<String>,
    ) -> Outcome<EventCursor> {
        check_seen(viewer, id)?;
        check_text("note", note.as_deref().unwrap_or_default(), TEXT_BYTES_MAX)?;
        match &action {
            IncidentAction::Acknowledge { assignee } => {
                check_text("assignee", assignee.as_deref().unwrap_or_default(), NAME_BYTES_MAX)?;
            }
            IncidentAction::Ignore { until, until_count } => {
                if until.is_some_and(|until| until <= self.clock.now()) {
                    return Err(Rejection::invalid("until", "must lie in the future").into());
                }
                if until_count.is_some_and(|more| more < 1) {
                    return Err(Rejection::invalid("untilCount", "must be at least 1").into());
                }
            }
            IncidentAction::Resolve => {}
        }
        let actor = viewer.token_name.clone();
        Ok(self.writer.apply(ChangeIncident { id, action, note, actor }).await?.cursor)
    }

    /// Makes each failed job of an incident anew that nobody made anew yet.
    pub async fn retry_incident(&self, viewer: &Viewer, id: IncidentId, max: i32) -> Outcome<BulkAnswer> {
        check_seen(viewer, id)?;
        let limit = allowed(max)?;
        if self.reader.incident(id).await?.is_none() {
            return Err(no_incident(id).into());
        }
        let (engine, viewer) = (self.clone(), viewer.clone());
        whole(async move {
            let ids = engine.own.jobs_to_retry(id, limit + 1).await?;
            let cursor = Some(engine.writer.cursor());
            let mut answer = BulkAnswer { matched_count: ids.len(), changed_count: 0, cursor, refusal: None };
            if ids.len() > limit {
                return Ok(BulkAnswer { cursor: None, refusal: Some(too_many(limit)), ..answer });
            }
            // Whoever asks, and whoever else at once: the key is the incident's, so that no job is made twice.
            let key = Some((NOBODY, format!("{id} retry")));
            let anew = Anew { reason: Some(format!("retry of {id}")), key, counts_known: false };
            for some in ids.chunks(RETRY_BATCH) {
                // Somebody may have made one by hand since.
                let made =
                    engine.own.made_anew(some).await.map_err(|fault| half_done(&answer, fault.into()))?;
                let left: Vec<_> = some.iter().copied().filter(|id| !made.contains(id)).collect();
                if left.is_empty() {
                    continue;
                }
                engine.make_anew(&viewer, &anew, &left, &mut answer).await?;
            }
            Ok(answer)
        })
        .await
    }
}

/// Incidents are about the jobs of everybody: whoever sees only its own has none.
fn check_seen(viewer: &Viewer, id: IncidentId) -> Result<(), Rejection> {
    if viewer.sight().own().is_some() { Err(no_incident(id)) } else { Ok(()) }
}

fn no_incident(id: IncidentId) -> Rejection {
    Rejection::at(UserErrorCode::NotFound, "id", format!("there is no incident {id}"))
}

/// Opens what was ignored until now, and forgets what was resolved and not seen for as long as failed jobs are kept, and
/// at least as long as its histogram reaches.
pub(super) async fn tend(engine: &Engine, failed_before: Timestamp) -> Result<(), String> {
    points::pass("incidents.tend")?;
    let now = engine.clock.now();
    let resolved_before = failed_before.min(now.plus_millis(-INCIDENT_DAYS_MAX * 86_400_000));
    let is_due = engine.own.has_due_incidents(now, resolved_before);
    let mut has_more = is_due.await.map_err(|fault| fault.to_string())?;
    while has_more && !engine.shutdown.is_begun() {
        has_more = match engine.writer.apply(TendIncidents { resolved_before }).await {
            Ok(committed) => committed.answer,
            Err(Refusal::Fault(fault)) => return Err(fault.to_string()),
            Err(Refusal::Rejected(rejection)) => return Err(rejection.message),
        };
    }
    Ok(())
}
