//! Owns the operations of `incidents`.

use serde_json::json;

use super::super::answers::{
    Answer, IncidentDetail, IncidentRetried, IncidentRow, Outcome, Page, WithIncident,
};
use super::super::inputs::{
    IncidentAcknowledge, IncidentFilter, IncidentIgnore, IncidentResolve, IncidentRetry,
};
use super::super::{Client, ClientError};
use super::{
    INCIDENT, INCIDENT_ACKNOWLEDGE, INCIDENT_IGNORE, INCIDENT_RESOLVE, INCIDENT_RETRY, INCIDENTS, PageOf,
    list, mutate, one,
};

/// A page of incidents, the one that failed last first.
pub fn incidents(
    client: &Client,
    page: &PageOf<IncidentFilter>,
) -> Result<Answer<Page<IncidentRow>>, ClientError> {
    list(client, INCIDENTS, "incidents", page)
}

/// One incident; `NotFound` when there is none.
pub fn incident(client: &Client, id: &str) -> Result<Answer<IncidentDetail>, ClientError> {
    one(client, INCIDENT, "incident", json!({ "id": id }), id)
}

/// Says that somebody looks at an incident.
pub fn incident_acknowledge(
    client: &Client,
    input: &IncidentAcknowledge,
) -> Result<Answer<Outcome<WithIncident>>, ClientError> {
    mutate(client, INCIDENT_ACKNOWLEDGE, "incidentAcknowledge", input)
}

/// Says that an incident is over.
pub fn incident_resolve(
    client: &Client,
    input: &IncidentResolve,
) -> Result<Answer<Outcome<WithIncident>>, ClientError> {
    mutate(client, INCIDENT_RESOLVE, "incidentResolve", input)
}

/// Asks to hear no more of an incident.
pub fn incident_ignore(
    client: &Client,
    input: &IncidentIgnore,
) -> Result<Answer<Outcome<WithIncident>>, ClientError> {
    mutate(client, INCIDENT_IGNORE, "incidentIgnore", input)
}

/// Makes the failed jobs of an incident anew.
pub fn incident_retry(
    client: &Client,
    input: &IncidentRetry,
) -> Result<Answer<Outcome<IncidentRetried>>, ClientError> {
    mutate(client, INCIDENT_RETRY, "incidentRetry", input)
}
