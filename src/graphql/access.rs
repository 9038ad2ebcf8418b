//! Owns the tables of rights: which grant each root field needs, and which fields are open to a token that sees its
//! own jobs only. Both deny what is not listed. The door asks them once for every request, whatever its transport.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, OperationType, Selection, SelectionSet, Type, TypeKind,
    TypeSystemDefinition,
};
use async_graphql::{ComplexObject, Context, Name};

use super::context::ApiContext;
use super::errors::{bad_input, fault};
use crate::domain::access::{GrantVerb, Viewer};
use crate::domain::command::EnvironmentVariable;
use crate::domain::filter::JobFilter;
use crate::domain::id::{IncidentId, JobId};
use crate::domain::job::Job;
use crate::domain::limits::TEXT_BYTES_MAX;

/// The grant that a root field needs; `None` for a field that does not exist.
pub fn grant_for(field: &str) -> Option<GrantVerb> {
    Some(match field {
        "viewer" | "node" | "daemon" | "health" | "eventCursor" | "job" | "jobs" | "jobCounts" | "task"
        | "tasks" | "schedule" | "schedules" | "schedulePreview" | "queue" | "queues" | "workers"
        | "events" | "jobFollow" | "jobLog" | "incident" | "incidents" | "sinks" => GrantVerb::Read,
        "jobEnqueue" | "jobEnqueueMany" | "jobRetry" | "jobBulkRetry" | "incidentRetry" => GrantVerb::Enqueue,
        "jobCancel" | "jobBulkCancel" => GrantVerb::Cancel,
        "jobHold"
        | "jobRelease"
        | "jobUpdate"
        | "taskPut"
        | "taskArchive"
        | "schedulePut"
        | "schedulePause"
        | "scheduleResume"
        | "scheduleTrigger"
        | "scheduleDelete"
        | "queuePut"
        | "queuePause"
        | "queueResume"
        | "incidentAcknowledge"
        | "incidentResolve"
        | "incidentIgnore"
        | "sinkRedeliver"
        | "sinkDiscard" => GrantVerb::Operate,
        "tokens" | "tokenCreate" | "tokenRevoke" => GrantVerb::Admin,
        _ => return None,
    })
}

/// Of these types only these fields are open to a token that sees its own jobs only.
const NARROW: &[(&str, &[&str])] = &[
    ("Query", &["viewer", "node", "daemon", "eventCursor", "job", "jobs", "jobCounts", "events"]),
    ("Subscription", &["events", "job", "jobFollow", "jobLog"]),
    ("Daemon", &["version", "startedAt"]),
    ("Queue", &["id", "name", "isPaused", "pauseReason"]),
    ("Schedule", &["id", "name"]),
    ("Worker", &["id"]),
    ("Sink", &["name"]),
    ("Event", &["cursor", "type", "at", "actor", "subject", "jobId", "taskName", "data"]),
];

/// Of the other types every plain field is open, and these that lead on to further objects.
const LEADS: &[(&str, &[&str])] = &[
    ("Attempt", &["job", "log", "failure", "ran"]),
    ("AttemptConnection", &["edges", "nodes", "pageInfo"]),
    ("AttemptEdge", &["node"]),
    ("Command", &["environment"]),
    ("ConcurrencyBlocker", &["holders"]),
    ("DependencyBlocker", &["jobs"]),
    ("EventBatch", &["events"]),
    (
        "Job",
        &[
            "task",
            "queue",
            "attempts",
            "currentAttempt",
            "log",
            "retryOf",
            "dependsOn",
            "blockers",
            "schedule",
            "command",
            "labels",
            "runsOn",
            "retryPolicy",
            "failure",
            "progress",
            "incident",
        ],
    ),
    ("JobConnection", &["edges", "nodes", "pageInfo"]),
    ("JobEdge", &["node"]),
    ("JobFollowUpdate", &["job", "log"]),
    ("JobUpdate", &["job"]),
    ("LogBatch", &["lines"]),
    ("PausedBlocker", &["queue"]),
    ("RateBlocker", &["queue"]),
    ("Task", &["command", "queue", "jobs", "retryPolicy", "runsOn"]),
    ("Viewer", &["grants"]),
    ("WorkerBlocker", &["runsOn"]),
];

/// Whether a token that sees its own jobs only may ask for this field.
fn is_open(kind: &str, field: &str, is_plain: bool) -> bool {
    let listed = |table: &[(&str, &[&str])]| {
        table.iter().find(|(name, _)| *name == kind).map(|(_, fields)| fields.contains(&field))
    };
    // Which mutations it may ask for is the other table's question; what they answer was made for it.
    if kind == "Mutation" || kind.ends_with("Payload") {
        return true;
    }
    listed(NARROW).unwrap_or_else(|| is_plain || listed(LEADS).unwrap_or(false))
}

/// A request, as far as its rights are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The document.
    pub document: &'a ExecutableDocument,
    /// Which of its operations will run.
    pub operation_name: Option<&'a str>,
    /// Names of that operation's root fields, without introspection.
    pub root_fields: &'a [&'a str],
}

/// Whether the viewer may ask this; else which grant is missing for which field.
pub fn permit(viewer: &Viewer, asked: &Asked<'_>) -> Result<(), String> {
    permit_roots(viewer, asked.root_fields)?;
    if viewer.sight().own().is_none() {
        return Ok(());
    }
    let operation =
        asked.document.operations.iter().find(|(name, _)| {
            asked.operation_name.is_none() || name.map(Name::as_str) == asked.operation_name
        });
    // Which operation is meant has been judged before; without one nothing runs.
    let Some((_, operation)) = operation else { return Ok(()) };
    let root = match operation.node.ty {
        OperationType::Query => "Query",
        OperationType::Mutation => "Mutation",
        OperationType::Subscription => "Subscription",
    };
    let mut walk = Walk { document: asked.document, seen: HashSet::new() };
    walk.set(root, &operation.node.selection_set.node).map_err(|field| {
        let token = &viewer.token_name;
        format!("{field} needs the grant READ for more than its own jobs, which the token {token} lacks")
    })
}

/// Whether the viewer may use these root fields at all; else which grant is missing for which.
pub fn permit_roots(viewer: &Viewer, fields: &[&str]) -> Result<(), String> {
    let lacks = |field: &str, verb: GrantVerb| {
        format!("{field} needs the grant {}, which the token {} lacks", verb.word(), viewer.token_name)
    };
    for field in fields {
        // A field that does not exist is the validator's to refuse; a test holds the table against the schema.
        let Some(verb) = grant_for(field) else { continue };
        if !viewer.may(verb) {
            return Err(lacks(field, verb));
        }
        // A definition holds a command line, so whoever writes one must be allowed to run any.
        if *field == "taskPut" && !viewer.may(GrantVerb::Command) {
            return Err(lacks(field, GrantVerb::Command));
        }
    }
    Ok(())
}

/// Whether the viewer may read the daemon's numbers, which tell of every job; else which grant is missing.
pub fn permit_metrics(viewer: &Viewer) -> Result<(), String> {
    if viewer.sight().own().is_none() {
        return Ok(());
    }
    let token = &viewer.token_name;
    Err(format!("the metrics need the grant READ for more than its own jobs, which the token {token} lacks"))
}

/// Types by name, each with its fields and the types that they lead to.
type Shape = HashMap<String, HashMap<String, String>>;

static SHAPE: LazyLock<Shape> = LazyLock::new(|| {
    let document = parse_schema(super::sdl()).expect("we printed it ourselves");
    let mut shape = Shape::new();
    for definition in document.definitions {
        let TypeSystemDefinition::Type(kind) = definition else { continue };
        let fields = match kind.node.kind {
            TypeKind::Object(object) => object.fields,
            TypeKind::Interface(interface) => interface.fields,
            // Only reached through fragments that name a member.
            TypeKind::Union(_) => Vec::new(),
            _ => continue,
        };
        let fields = fields
            .into_iter()
            .map(|field| (field.node.name.node.to_string(), named(&field.node.ty.node).to_owned()));
        shape.insert(kind.node.name.node.to_string(), fields.collect());
    }
    shape
});

fn named(kind: &Type) -> &str {
    match &kind.base {
        BaseType::Named(name) => name.as_str(),
        BaseType::List(inner) => named(inner),
    }
}

/// A walk over the fields of an operation. A fragment names its own type and is looked into once, so the walk
/// is no longer than the document.
struct Walk<'a> {
    document: &'a ExecutableDocument,
    seen: HashSet<&'a str>,
}

impl<'a> Walk<'a> {
    /// The first field that is not open, as `Type.field`.
    fn set(&mut self, kind: &str, set: &'a SelectionSet) -> Result<(), String> {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let name = field.node.name.node.as_str();
                    // Introspection tells of the schema, not of rows. A field that does not exist is the
                    // validator's to refuse.
                    let Some(next) = SHAPE.get(kind).and_then(|fields| fields.get(name)) else { continue };
                    if !is_open(kind, name, !SHAPE.contains_key(next)) {
                        return Err(format!("{kind}.{name}"));
                    }
                    self.set(next, &field.node.selection_set.node)?;
                }
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let kind = condition.map_or(kind, |condition| condition.node.on.node.as_str());
                    self.set(kind, &fragment.node.selection_set.node)?;
                }
                Selection::FragmentSpread(spread) => {
                    let name = spread.node.fragment_name.node.as_str();
                    let Some(fragment) = self.document.fragments.get(name) else { continue };
                    let kind = fragment.node.type_condition.node.on.node.as_str();
                    if self.seen.insert(name) {
                        self.set(kind, &fragment.node.selection_set.node)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The job, if it exists for the caller.
pub async fn job_seen(ctx: &Context<'_>, id: JobId) -> async_graphql::Result<Option<Job>> {
    let job = ctx.reader().job(id).await.map_err(fault)?;
    seen(ctx, job)
}

/// The job, unless the caller may not see it.
pub fn seen(ctx: &Context<'_>, job: Option<Job>) -> async_graphql::Result<Option<Job>> {
    let viewer = ctx.viewer()?;
    Ok(job.filter(|job| viewer.sees(job)))
}

#[ComplexObject]
impl EnvironmentVariable {
    /// The value; null when it is a secret.
    async fn value(&self) -> Option<&str> {
        (!self.is_secret).then_some(self.value.as_str())
    }
}

/// The filter over what the caller may see, if it is bounded.
pub fn check_filter(ctx: &Context<'_>, filter: JobFilter) -> async_graphql::Result<JobFilter> {
    let text = filter.text.as_deref().unwrap_or_default();
    if !filter.is_bounded() || text.len() > TEXT_BYTES_MAX || text.contains('\0') {
        return Err(bad_input("a list of the filter holds too many values, or its text is too long"));
    }
    let sight = ctx.viewer()?.sight();
    // Whoever sees no incidents learns nothing of them by asking for their jobs either.
    let incident_id = filter.incident_id.map(|id| if sight.own().is_some() { IncidentId(0) } else { id });
    Ok(JobFilter { incident_id, sight, ..filter })
}

#[cfg(test)]
mod tests;
