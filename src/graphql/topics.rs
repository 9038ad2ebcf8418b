//! Owns which subscriptions may be executed once for all who ask the same, and where each of them stands. What is not
//! listed is nobody else's. It must never let anything of a caller but its rights into what is shared.

use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, Selection, VariableDefinition,
};
use async_graphql::{Name, Value, Variables};

use super::access::Asked;
use super::context::resume;
use crate::domain::access::Viewer;
use crate::domain::event::EventCursor;
use crate::domain::log::LogCursor;
use crate::domain::resume::{Ahead, Course, LastEventId, Standing};
use crate::engine::Engine;

/// A subscription that says only where to begin: as an event, as a line.
struct Shareable {
    field: &'static str,
    after: Option<&'static str>,
    log_after: Option<&'static str>,
}

const SHAREABLE: &[Shareable] = &[
    Shareable { field: "events", after: Some("after"), log_after: None },
    Shareable { field: "job", after: Some("after"), log_after: None },
    Shareable { field: "jobFollow", after: Some("after"), log_after: Some("logAfter") },
    Shareable { field: "jobLog", after: None, log_after: Some("after") },
];

/// A subscription as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// Its text.
    pub text: &'a str,
    /// The document of that text.
    pub asked: Asked<'a>,
    /// Its variables.
    pub variables: &'a Variables,
    /// Where a client that reconnects says it stood.
    pub resume: Option<&'a LastEventId>,
}

/// How the subscription may be shared; `None` for one that is for its caller alone.
pub fn course(engine: &Engine, viewer: &Viewer, sent: &Sent<'_>) -> Option<Course<Viewer>> {
    let operation = operation(sent.asked.document, sent.asked.operation_name)?;
    let field = only_field(operation)?;
    let shareable = SHAREABLE.iter().find(|one| one.field == field.name.node.as_str())?;
    let mut cursors = Vec::new();
    let mut given = |argument: Option<&str>| {
        argument.map_or(Ok(None), |argument| cursor(sent, operation, field, argument, &mut cursors))
    };
    let (after, log_after) = (given(shareable.after).ok()?, given(shareable.log_after).ok()?);
    let (resumed, log_resumed) = resume(sent.resume);
    let after = match resumed.filter(|_| shareable.after.is_some()) {
        Some(resumed) => Some(resumed),
        None => read(after, EventCursor::parse).ok()?,
    };
    let log = match log_resumed.filter(|_| shareable.log_after.is_some()) {
        Some(resumed) => Some(resumed),
        None => read(log_after, LogCursor::parse).ok()?,
    };
    let newest = engine.writer.cursor();
    // Of a place that cannot be, the resolver tells.
    if after.is_some_and(|after| after.epoch != newest.epoch || after.seq > newest.seq) {
        return None;
    }
    let sight = viewer.sight();
    let (start, head, ahead) = if shareable.field == "events" {
        let newest = Standing { cursor: Some(newest), ..Standing::default() };
        let start = Standing { cursor: after.or(newest.cursor), ..Standing::default() };
        (start, newest, Ahead::Comes)
    } else {
        let start = Standing { cursor: after, log, job: None };
        (start.clone(), start, Ahead::Unknown)
    };
    Some(Course { viewer: Viewer::of_sight(sight), sight, cursors, start, head, ahead })
}

fn operation<'a>(document: &'a ExecutableDocument, name: Option<&str>) -> Option<&'a OperationDefinition> {
    let mut operations = document.operations.iter();
    let found = operations.find(|(known, _)| name.is_none() || known.map(Name::as_str) == name);
    found.map(|(_, operation)| &operation.node)
}

/// The root field; the door has seen to it that there is one.
fn only_field(operation: &OperationDefinition) -> Option<&Field> {
    match operation.selection_set.node.items.as_slice() {
        [only] => match &only.node {
            Selection::Field(field) => Some(&field.node),
            _ => None,
        },
        _ => None,
    }
}

/// The subscription is for its caller alone.
#[derive(Debug, Clone, Copy)]
struct Private;

/// The text of a cursor among the arguments, if it is given. Refuses something else, and a variable that says more than
/// where to begin.
fn cursor(
    sent: &Sent<'_>,
    operation: &OperationDefinition,
    field: &Field,
    argument: &str,
    cursors: &mut Vec<String>,
) -> Result<Option<String>, Private> {
    let Some(value) = field.get_argument(argument) else { return Ok(None) };
    let value = value.node.clone().into_const_with(|name| {
        let mut definitions = operation.variable_definitions.iter();
        let definition = definitions.find(|definition| definition.node.name.node == name).ok_or(Private)?;
        if !may_be_left_out(&definition.node) || uses(sent.text, &name) != 2 {
            return Err(Private);
        }
        let value = sent.variables.get(&name).cloned().unwrap_or_default();
        cursors.push(name.to_string());
        Ok(value)
    });
    match value? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(Private),
    }
}

fn may_be_left_out(definition: &VariableDefinition) -> bool {
    definition.var_type.node.nullable
        && definition.default_value.is_none()
        && definition.directives.is_empty()
}

/// How often a variable stands in a text, its definition included. A comment that names it counts too: then the
/// subscription is not shared.
fn uses(text: &str, name: &str) -> usize {
    let goes_on = |rest: &str| rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    text.split('$').skip(1).filter(|rest| rest.strip_prefix(name).is_some_and(|rest| !goes_on(rest))).count()
}

/// The cursor of a text; a text that is none is the resolver's to refuse.
fn read<C>(text: Option<String>, parse: impl Fn(&str) -> Option<C>) -> Result<Option<C>, Private> {
    text.map(|text| parse(&text).ok_or(Private)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_of_a_variable_are_counted() {
        let text = "subscription ($a: X, $ab: Y) { f(a: $a, b: [$ab, $ab]) { g } }";
        assert_eq!((uses(text, "a"), uses(text, "ab"), uses(text, "b")), (2, 3, 0));
    }
}
